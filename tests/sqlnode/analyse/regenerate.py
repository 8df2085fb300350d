"""Record what PostgreSQL 15 makes of the golden statements.

    python -m tests.sqlnode.analyse.regenerate DSN

DSN is a database the command may create tables in; they are dropped again.
"""

import json
import sys
from pathlib import Path
from typing import Any

from psycopg import pq

from tests.sqlnode.analyse import matrix

GOLDEN = Path(__file__).parent / "golden"


def statements(name: str) -> list[str]:
    """The statements of a golden script, one a line."""
    return [line for line in (GOLDEN / name).read_text().splitlines() if line]


def described(connection: Any, sql: str) -> dict[str, Any]:
    """Columns and parameter types, or the error."""
    prepared = connection.prepare(b"s", sql.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        return {"error": _error(prepared, sql)}
    result = connection.describe_prepared(b"s")
    columns = []
    for i in range(result.nfields):
        name = (result.fname(i) or b"").decode()
        columns.append([name, result.ftype(i), result.fmod(i)])
    params = [result.param_type(i) for i in range(result.nparams)]
    connection.exec_(b"DEALLOCATE s")
    return {"columns": columns, "params": params}


def _error(result: Any, sql: str) -> list[Any]:
    def field(which: pq.DiagnosticField) -> str | None:
        value = result.error_field(which)
        return None if value is None else str(value.decode())

    position = field(pq.DiagnosticField.STATEMENT_POSITION)
    return [
        field(pq.DiagnosticField.SQLSTATE),
        field(pq.DiagnosticField.MESSAGE_PRIMARY),
        field(pq.DiagnosticField.MESSAGE_DETAIL),
        field(pq.DiagnosticField.MESSAGE_HINT),
        None if position is None else int(position) - 1,
    ]


def main(dsn: str) -> None:
    """Write one .json beside each script."""
    connection = pq.PGconn.connect(dsn.encode())
    connection.exec_(
        b"SET client_min_messages = error; DROP SCHEMA IF EXISTS golden_analyse CASCADE"
    )
    connection.exec_(b"CREATE SCHEMA golden_analyse; SET search_path = golden_analyse")
    connection.exec_((GOLDEN / "schema.sql").read_bytes())
    for script in ("select.sql", "write.sql"):
        found = {sql: described(connection, sql) for sql in statements(script)}
        lines = [f"{json.dumps(sql)}: {json.dumps(answer)}" for sql, answer in found.items()]
        target = (GOLDEN / script).with_suffix(".json")
        target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    table = [
        f"{label}\t{' '.join(matrix.cell(described(connection, sql)) for sql in row)}"
        for label, row in matrix.rows()
    ]
    (GOLDEN / "matrix.tsv").write_text("\n".join(table) + "\n")
    connection.exec_(b"DROP SCHEMA golden_analyse CASCADE")
    connection.finish()


if __name__ == "__main__":
    main(sys.argv[1])
