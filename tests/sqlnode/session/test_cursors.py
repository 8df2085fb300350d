"""Where a cursor goes: the arithmetic against a cursor that walks row by row."""

from hypothesis import given
from hypothesis import strategies as st

from sqlnode.session.cursors import Fetch, moved


def walk(size: int, position: int, fetch: Fetch) -> tuple[list[int], int]:
    """The dumb twin: one step at a time."""
    if fetch.direction == "FORWARD" and fetch.count:
        step = 1 if fetch.count > 0 else -1
        rows: list[int] = []
        for _ in range(min(abs(fetch.count), size + 2)):
            position += step
            if not 1 <= position <= size:
                return rows, min(max(position, 0), size + 1)
            rows.append(position)
        return rows, position
    if fetch.direction == "ABSOLUTE":
        goal = fetch.count if fetch.count >= 0 else size + 1 + fetch.count
    else:
        goal = position + fetch.count
    goal = min(max(goal, 0), size + 1)
    return ([goal] if 1 <= goal <= size else []), goal


@given(
    st.integers(0, 8),
    st.data(),
    st.sampled_from(["FORWARD", "ABSOLUTE", "RELATIVE"]),
    st.integers(-12, 12) | st.sampled_from([2**63 - 1, 1 - 2**63]),
)
def test_movements(size: int, data: st.DataObject, direction: str, count: int) -> None:
    position = data.draw(st.integers(0, size + 1))
    rows, end = moved(size, position, Fetch(direction, count))
    assert (list(rows), end) == walk(size, position, Fetch(direction, count))
