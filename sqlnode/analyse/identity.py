"""Identity columns: which values INSERT and UPDATE may give them (ISO/IEC 9075-2, 14.11)."""

from collections.abc import Collection, Iterable

from postgast import pg_query_pb2

from sqlnode.analyse.state import Node
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError

_ALWAYS = "a"


def overridden(
    table: Table, given: Iterable[int], node: Node, defaults: Collection[int]
) -> set[int]:
    """The positions among `given` whose values OVERRIDING USER VALUE ignores. `defaults` are those
    that are DEFAULT in every row. Raises SqlError 428C9."""
    found: set[int] = set()
    override = pg_query_pb2.OverridingKind.Name(node.override)
    for at in given:
        column = table.live[at]
        if not column.identity or at in defaults:
            continue
        if override == "OVERRIDING_USER_VALUE":
            found.add(at)
        elif column.identity == _ALWAYS and override != "OVERRIDING_SYSTEM_VALUE":
            raise SqlError(
                "428C9",
                f'cannot insert a non-DEFAULT value into column "{column.name}"',
                detail=_detail(column),
                hint="Use OVERRIDING SYSTEM VALUE to override.",
            )
    return found


def check_update(column: Column) -> None:
    """Raises SqlError 428C9 where UPDATE may only give DEFAULT."""
    if column.identity == _ALWAYS:
        text = f'column "{column.name}" can only be updated to DEFAULT'
        raise SqlError("428C9", text, detail=_detail(column))


def _detail(column: Column) -> str:
    return f'Column "{column.name}" is an identity column defined as GENERATED ALWAYS.'
