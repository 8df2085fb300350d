"""Descriptors read back as they were written; what is no descriptor is refused."""

from decimal import Decimal

import pytest

from sqlnode.catalog import encoding
from sqlnode.catalog.catalog import PUBLIC, Schema
from sqlnode.catalog.descriptors import Column, Constraint, Index, IndexColumn, Table

_TABLE = Table(
    16384,
    "täble",
    "public",
    16384,
    (
        Column("id", 1, 23, not_null=True, comment="key"),
        Column("gone", 2, 25, dropped=True),
        Column("price", 3, 1700, 655366, default="1.50", missing=Decimal("1.50")),
    ),
    heap_index_id=16400,
    indexes=(
        Index(
            16385, "pk", 16386, (IndexColumn(1),), unique=True, primary=True, constraint_oid=16387
        ),
        Index(16388, "i", 16389, (IndexColumn(3, descending=True, nulls_first=True),)),
    ),
    options=("fillfactor=90",),
    tenant=7,
    layouts=((1, 2), (1,), (1, 3)),
    constraints=(Constraint(16390, "c", "c", "price > 0", (3,)),),
    comment="a table",
    rows_estimate=12.0,
)


@pytest.mark.parametrize("descriptor", [_TABLE, PUBLIC, Schema(16391, "s", "bob")])
def test_round_trip(descriptor: Table | Schema) -> None:
    assert encoding.decode(encoding.encode(descriptor), tenant=7) == descriptor


def test_the_tenant_is_where_the_row_is() -> None:
    moved = encoding.decode(encoding.encode(_TABLE), tenant=8)
    assert isinstance(moved, Table)
    assert moved.tenant == 8


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"v":2,"kind":"table"}', b'{"v":1,"kind":"x"}']
)
def test_what_is_no_descriptor_is_refused(data: bytes) -> None:
    with pytest.raises(encoding.BadDescriptor):
        encoding.decode(data, tenant=7)
