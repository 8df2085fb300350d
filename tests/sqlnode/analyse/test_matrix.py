"""Overload and coercion choice over all pairs of common types, against PostgreSQL 15's."""

from tests.sqlnode.analyse import matrix
from tests.sqlnode.analyse.regenerate import GOLDEN
from tests.sqlnode.analyse.support import described


def test_every_pair_of_types_resolves_as_in_postgresql() -> None:
    recorded = dict(line.split("\t") for line in (GOLDEN / "matrix.tsv").read_text().splitlines())
    different = []
    for label, row in matrix.rows():
        for sql, wanted in zip(row, recorded.pop(label).split(), strict=True):
            found = matrix.cell(described(sql))
            if found != wanted:
                different.append((sql, found, wanted))
    assert different == []
    assert recorded == {}
