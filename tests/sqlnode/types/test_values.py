"""Types read and print as PostgreSQL 15 did (values.tsv, see generate_values.py)."""

from pathlib import Path

import pytest

from sqlnode.errors import SqlError
from sqlnode.types.registry import by_oid
from sqlnode.types.typenames import parse_type
from tests.sqlnode.types.intervaltypes import INTERVAL_TYPMODS
from tests.support.sqlcontext import StubContext

LINES = [
    line.split("\t")
    for line in (Path(__file__).parent / "values.tsv").read_text(encoding="utf-8").split("\n")[:-1]
]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _unescape(text: str) -> str:
    return text.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace("\0", "\\")


def outcome(type_name: str, escaped: str) -> tuple[str, str]:
    """(what is printed or the error, the binary form in hexadecimal)."""
    found = INTERVAL_TYPMODS.get(type_name) or parse_type(type_name)
    assert found is not None
    sql_type = by_oid(found[0])
    context = StubContext()
    try:
        # A literal is read without typmod and then cast explicitly, so longer texts are cut.
        value = sql_type.text_in(
            _unescape(escaped), -1 if sql_type.name != "interval" else found[1], context
        )
        if sql_type.apply_typmod is not None and found[1] >= 0:
            value = sql_type.apply_typmod(value, found[1], True)
        printed = sql_type.text_out(value, context)
        data = sql_type.binary_out(value)
        again = sql_type.binary_out(sql_type.binary_in(data, -1))
        assert again == data
    except SqlError as error:
        return f"!{error.sqlstate} {_escape(error.message)}", ""
    return f"={_escape(printed)}", data.hex()


@pytest.mark.parametrize(("type_name", "text", "printed", "data"), LINES)
def test_values_read_and_print_as_postgresql(
    type_name: str, text: str, printed: str, data: str
) -> None:
    assert outcome(type_name, text) == (printed, data)
