"""Writes calls.tsv: what PostgreSQL 15 answers to calls of every implemented function.

    python -m tests.sqlnode.functions.generate_calls --dsn postgresql://…

Arguments are combinations of edge values per type, thinned out evenly; a line is
function OID, argument types, `=` and the result's text (`\\N` for NULL) or `!` and the SQLSTATE and
message, then the arguments' texts.
"""

import argparse
import itertools
from pathlib import Path

import psycopg
from psycopg import sql

from sqlnode.builtins.facts import facts
from sqlnode.functions.base import Function
from sqlnode.functions.registry import find_function
from sqlnode.types import oids
from sqlnode.types.registry import by_oid
from tests.sqlnode.functions.values import (
    CONCRETE,
    EXCLUDED,
    NUMBER_TEMPLATES,
    NUMBERS,
    SPECIAL,
    TIMESTAMP_TEXTS,
    VALUES,
)

OUTPUT = Path(__file__).parent / "calls.tsv"
CALLS_MAX = 28
SETTINGS = (
    "SET timezone = 'America/New_York'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'"
)


def implemented() -> list[Function]:
    """The plain functions whose answers depend on their arguments alone."""
    found = []
    for row in facts("pg_proc").rows:
        function = find_function(int(row[0] or 0))
        if function is None or function.call is None or function.name in EXCLUDED:
            continue
        if function.returns_set or not function.argument_types or function.namespace != 11:
            continue
        if all(CONCRETE.get(oid, oid) in VALUES for oid in function.argument_types):
            found.append(function)
    return found


def combinations(function: Function) -> list[tuple[str | None, ...]]:
    """At most CALLS_MAX argument tuples, spread over all combinations."""
    special = SPECIAL.get(function.name, [])
    is_float = function.argument_types[0] in {oids.FLOAT4, oids.FLOAT8}
    if function.name == "to_char" and function.argument_types[0] in NUMBERS:
        special = [None, [t for t in NUMBER_TEMPLATES if t and not (is_float and "FM" in t)]]
    if function.name == "to_timestamp" and len(function.argument_types) == 2:
        special = TIMESTAMP_TEXTS
    choices = []
    for place, declared in enumerate(function.argument_types):
        given = special[place] if place < len(special) else None
        choices.append(given or VALUES[CONCRETE.get(declared, declared)])
    every = list(itertools.product(*choices))
    step = max(1, len(every) / CALLS_MAX)
    return [every[int(i * step)] for i in range(min(CALLS_MAX, len(every)))]


def main() -> None:
    """Ask the server and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    options = parser.parse_args()
    lines = []
    with psycopg.connect(options.dsn, autocommit=True) as connection:
        connection.execute(SETTINGS)
        for function in implemented():
            lines += [ask(connection, function, values) for values in combinations(function)]
    OUTPUT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def ask(
    connection: psycopg.Connection[tuple[str | None, ...]],
    function: Function,
    values: tuple[str | None, ...],
) -> str:
    """One line of the file."""
    types = [CONCRETE.get(oid, oid) for oid in function.argument_types]
    arguments = [
        sql.SQL("{}::{}").format(sql.Literal(value), sql.Identifier("pg_catalog", by_oid(oid).name))
        for value, oid in zip(values, types, strict=True)
    ]
    if function.variadic:
        arguments[-1] = sql.SQL("VARIADIC {}").format(arguments[-1])
    call = sql.SQL("SELECT pg_catalog.{}({})").format(
        sql.Identifier(function.name), sql.SQL(", ").join(arguments)
    )
    try:
        cursor = connection.execute(call)
        result = cursor.pgresult
        data = None if result is None else result.get_value(0, 0)
        outcome = "\\N" if data is None else f"={escape(data.decode())}"
    except psycopg.Error as error:
        outcome = f"!{error.sqlstate} {escape(error.diag.message_primary or '')}"
    texts = ["\\N" if value is None else escape(value) for value in values]
    return "\t".join([str(function.oid), ",".join(map(str, types)), outcome, *texts])


def escape(text: str) -> str:
    """Without tabs and line ends."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


if __name__ == "__main__":
    main()
