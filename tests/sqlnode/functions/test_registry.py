"""The registry: whole, consistent, and its inline templates mean what its calls mean."""

import ast

import pytest

from sqlnode.builtins.facts import facts
from sqlnode.errors import SqlError
from sqlnode.functions import registry, runtime
from sqlnode.functions.base import Function
from sqlnode.types import oids

EVERY = [registry.function(int(row[0] or 0)) for row in facts("pg_proc").rows]
INLINE = [function for function in EVERY if function.inline is not None]


@pytest.mark.parametrize("function", INLINE, ids=lambda f: f"{f.name}-{f.oid}")
def test_inline_templates_use_runtime_names_and_each_argument_once(function: Function) -> None:
    assert function.inline is not None
    count = len(function.argument_types)
    for place in range(count):
        assert function.inline.count(f"{{{place}}}") <= (2 if "elements" in function.inline else 1)
    source = function.inline.format(*(f"a{i}" for i in range(count)))
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    arguments = {f"a{i}" for i in range(count)}
    builtins = {"len", "max", "min", "abs", "int", "float", "format"}
    assert names - arguments - builtins <= set(runtime.__all__)


def test_every_operator_has_its_function() -> None:
    for row in facts("pg_operator").rows:
        operator = registry.operator(int(row[0] or 0))
        if operator.function:
            assert registry.function(operator.function).return_type == operator.result


def test_comparison_of_a_type_is_its_btree_class() -> None:
    assert registry.equality(oids.INT4).name == "int4eq"
    assert registry.less(oids.VARCHAR).name == "text_lt"
    assert registry.equality(oids.INT4_ARRAY).name == "array_eq"
    assert registry.equality(oids.REGCLASS).name == "oideq"


def test_a_type_without_order_is_refused() -> None:
    with pytest.raises(SqlError) as caught:
        registry.equality(oids.JSON)
    assert caught.value.sqlstate == "42883"


def test_defaults_and_names_of_arguments_are_known() -> None:
    (made,) = registry.functions("make_interval")
    assert made.argument_names[0] == "years"
    assert made.default_expressions[-1] == "0.0"


def test_casts_are_postgresqls() -> None:
    cast = registry.cast(oids.INT4, oids.INT8)
    assert cast is not None
    assert (cast.context, cast.method) == ("i", "f")
    assert registry.cast(oids.JSON, oids.INT4) is None
