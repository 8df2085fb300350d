"""A small catalog made from CREATE TABLE statements."""

from collections.abc import Sequence
from typing import Any

import postgast

from sqlnode.analyse import typenames
from sqlnode.catalog.descriptors import Column, Index, IndexColumn, Table
from sqlnode.parse import parse

DEFAULT, PRIMARY, UNIQUE = 3, 7, 8


class FakeCatalog:
    """Tables of one schema, public."""

    version = 1
    schemas = ("pg_catalog", "public", "information_schema")

    def __init__(self, ddl: str) -> None:
        self._tables: dict[str, Table] = {}
        for number, raw in enumerate(parse(ddl), start=1):
            table = _table(raw.node, 1000 * number)
            self._tables[table.name] = table

    def relation_oid(self, name: str, schema: str | None, search_path: Sequence[str]) -> int | None:
        """What regclass input looks up."""
        found = self.readable(name, schema, search_path)
        return None if found is None else found.oid

    def readable(
        self, name: str, schema: str | None = None, search_path: Sequence[str] = ()
    ) -> Table | None:
        """The table `name`."""
        return self._tables.get(name) if schema in (None, "public") else None


def _table(node: Any, oid: int) -> Table:
    columns: list[Column] = []
    indexes: list[Index] = []
    name = node.relation.relname
    for number, element in enumerate(node.table_elts, start=1):
        made = element.column_def
        type_oid, typmod = typenames.resolve(made.type_name)
        default = None
        for item in made.constraints:
            kind = item.constraint.contype
            if kind == DEFAULT:
                default = _text_of(item.constraint.raw_expr)
            if kind in (PRIMARY, UNIQUE):
                suffix = "pkey" if kind == PRIMARY else f"{made.colname}_key"
                index_oid = oid + 2 * number
                indexes.append(
                    Index(
                        index_oid,
                        f"{name}_{suffix}",
                        index_oid,
                        (IndexColumn(number),),
                        unique=True,
                        primary=kind == PRIMARY,
                        constraint_oid=index_oid + 1,
                    )
                )
        columns.append(Column(made.colname, number, type_oid, typmod, default=default))
    return Table(oid, name, "public", oid, tuple(columns), indexes=tuple(indexes))


def _text_of(expr: Any) -> str:
    tree = postgast.parse("SELECT 1")
    tree.stmts[0].stmt.select_stmt.target_list[0].res_target.val.CopyFrom(expr)
    return str(postgast.deparse(tree)).removeprefix("SELECT ")
