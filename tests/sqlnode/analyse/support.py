"""Analysing a text against the golden schema."""

from functools import cache
from typing import Any

from sqlnode import tree
from sqlnode.analyse.statement import analyse
from sqlnode.errors import SqlError
from sqlnode.parse import parse
from tests.sqlnode.analyse.fake import FakeCatalog
from tests.sqlnode.analyse.regenerate import GOLDEN
from tests.support.sqlcontext import StubContext


@cache
def catalog() -> FakeCatalog:
    """The golden schema."""
    return FakeCatalog((GOLDEN / "schema.sql").read_text())


def analysed(sql: str, *param_types: int, params_allowed: bool = True) -> tree.Analysed:
    """The one statement of `sql`, analysed."""
    known: Any = catalog()
    (raw,) = parse(sql)
    return analyse(
        raw,
        catalog=known,
        search_path=("public",),
        param_types=param_types,
        context=StubContext(catalog=known),
        params_allowed=params_allowed,
    )


def query(sql: str, *param_types: int) -> tree.Query:
    """The query `sql` is."""
    found = analysed(sql, *param_types).statement
    assert isinstance(found, tree.Query)
    return found


def described(sql: str) -> dict[str, Any]:
    """What the golden files hold of a statement."""
    try:
        found = analysed(sql)
    except SqlError as error:
        answer = [error.sqlstate, error.message, error.detail, error.hint, error.position]
        return {"error": answer}
    assert isinstance(found.statement, tree.Query)
    select = found.statement.command is tree.Command.SELECT
    targets = found.statement.targets if select else found.statement.returning
    columns = [[t.name, t.expr.type, t.expr.typmod] for t in targets if not t.junk]
    return {"columns": columns, "params": list(found.param_types)}
