"""A payload of which a part is there, or that is another's, is found."""

from collections.abc import Callable

import pytest

from sqlnode.kv.stager import STAGE_BYTES
from tests.e2e.listappend import payload
from tests.e2e.listappend.payload import EVERY, Row

LAST = 3 * EVERY
LIST = (1, EVERY, EVERY + 1, LAST, LAST + 1)
Rows = set[Row]


def test_what_has_a_payload_is_larger_than_a_message() -> None:
    sizes = {payload.size(each) for each in range(0, 6 * EVERY, EVERY)}
    assert len(sizes) == 3
    assert min(sizes) > STAGE_BYTES


def test_a_list_has_the_payload_of_its_last_value_that_has_one() -> None:
    assert payload.wrong((), []) is None
    assert payload.wrong((1, 2), []) is None
    assert payload.wrong(LIST, payload.rows(LAST)) is None
    assert payload.wrong(LIST[:3], payload.rows(EVERY)) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda rows: set(),
        lambda rows: set(sorted(rows)[:-1]),
        lambda rows: rows | {Row(len(rows), EVERY, "")},
        lambda rows: set(payload.rows(EVERY)),
        lambda rows: {*sorted(rows)[1:], min(payload.rows(EVERY))},
        lambda rows: {*sorted(rows)[1:], min(rows)._replace(digest="another")},
    ],
)
def test_a_part_is_found(broken: Callable[[Rows], Rows]) -> None:
    assert payload.wrong(LIST, broken(set(payload.rows(LAST)))) is not None


def test_a_row_that_comes_twice_is_found() -> None:
    rows = list(payload.rows(LAST))
    assert payload.wrong(LIST, [*rows, rows[0]]) is not None


def test_rows_of_a_transaction_that_was_not_are_found() -> None:
    assert payload.wrong((1, 2), payload.rows(EVERY)) is not None
