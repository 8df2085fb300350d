"""Every implemented function answers as PostgreSQL 15 did (calls.tsv, see generate_calls.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlnode.errors import SqlError
from sqlnode.functions.registry import function
from sqlnode.types import oids
from sqlnode.types.registry import by_oid, element_of
from tests.support.sqlcontext import StubContext

CALLS = Path(__file__).parent / "calls.tsv"
_POLYMORPHIC = {
    oids.ANYARRAY: oids.INT4_ARRAY,
    oids.ANYELEMENT: oids.INT4,
    oids.ANYCOMPATIBLEARRAY: oids.INT4_ARRAY,
    oids.ANYCOMPATIBLE: oids.INT4,
}


def _unescape(text: str) -> str:
    return text.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace("\0", "\\")


def _by_function() -> dict[int, list[list[str]]]:
    grouped: dict[int, list[list[str]]] = {}
    for line in CALLS.read_text(encoding="utf-8").split("\n")[:-1]:
        fields = line.split("\t")
        grouped.setdefault(int(fields[0]), []).append(fields[1:])
    return grouped


GROUPED = _by_function()


def call(oid: int, types: list[int], texts: list[str]) -> str:
    """The outcome of one call, in the file's form."""
    context = StubContext()
    called = function(oid)
    try:
        values = [
            None if text == "\\N" else by_oid(t).text_in(_unescape(text), -1, context)
            for t, text in zip(types, texts, strict=True)
        ]
        arguments: list[object] = [context] if called.needs_context else []
        if called.needs_types:
            whole = called.variadic == oids.ANY
            arguments.append((*types[:-1], -types[-1]) if whole else tuple(types))
        assert called.call is not None
        result = called.call(*arguments, *values)
        if result is None:
            return "\\N"
        result_type = _POLYMORPHIC.get(called.return_type, called.return_type)
        shown = by_oid(result_type).text_out(result, context)
    except SqlError as error:
        return f"!{error.sqlstate} {_escape(error.message)}"
    return f"={_escape(shown)}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def differences(oid: int) -> Iterator[str]:
    """One line per call whose outcome is not PostgreSQL's."""
    for types_text, expected, *texts in GROUPED[oid]:
        found = call(oid, [int(t) for t in types_text.split(",")], texts)
        if found != expected:
            yield f"{function(oid).name}({', '.join(texts)}): {found} instead of {expected}"


@pytest.mark.parametrize("oid", list(GROUPED), ids=lambda oid: f"{function(oid).name}-{oid}")
def test_calls_answer_as_postgresql(oid: int) -> None:
    assert list(differences(oid)) == []


def test_element_types_are_known() -> None:
    assert element_of(oids.INT4_ARRAY) == oids.INT4
