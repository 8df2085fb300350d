"""Aggregates: PostgreSQL's results, whatever the cut into batches."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.errors import SqlError
from sqlnode.functions.base import Aggregate
from sqlnode.functions.registry import functions
from sqlnode.types import oids

_int4 = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))


def aggregate(name: str, *types: int) -> Aggregate:
    found = next(f for f in functions(name) if f.argument_types == types)
    assert found.aggregate is not None
    return found.aggregate


def run(machine: Aggregate, batches: list[list[object]]) -> object:
    state = machine.new()
    for batch in batches:
        state = machine.add(state, [batch], len(batch))
    return machine.result(state)


@pytest.mark.parametrize("name", ["sum", "avg", "min", "max", "stddev", "var_pop", "bit_or"])
@given(st.lists(_int4), st.integers(0, 20))
def test_batches_do_not_matter(name: str, values: list[object], cut: int) -> None:
    machine = aggregate(name, oids.INT4)
    assert run(machine, [values]) == run(machine, [values[:cut], values[cut:]])


def test_results_are_postgresqls() -> None:
    values: list[object] = [1, 2, 4, None]
    assert str(run(aggregate("avg", oids.INT4), [values])) == "2.3333333333333333"
    assert str(run(aggregate("stddev", oids.INT4), [values])) == "1.5275252316519467"
    assert str(run(aggregate("variance", oids.INT4), [values])) == "2.3333333333333333"
    floats: list[object] = [1.5, 2.0, 4.25]
    assert run(aggregate("stddev", oids.FLOAT8), [floats]) == 1.4648663192705789
    assert run(aggregate("sum", oids.INT8), [[2**62, 2**62]]) == Decimal(2**63)


def test_no_rows() -> None:
    assert run(aggregate("sum", oids.INT4), []) is None
    assert run(aggregate("count", oids.ANY), [[None, None]]) == 0


def test_sum_of_integers_is_a_bigint() -> None:
    machine = aggregate("sum", oids.INT4)
    with pytest.raises(SqlError) as caught:
        machine.result(2**63)
    assert caught.value.sqlstate == "22003"
