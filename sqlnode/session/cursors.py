"""FETCH and MOVE: where a cursor goes, as arithmetic on positions.

A cursor over n rows stands on one of n + 2 places: 0 before the first row, 1 … n on a row, n + 1
after the last. A fetch moves it and gives the rows it comes by, in that order (PostgreSQL's
DoPortalRunFetch).
"""

from dataclasses import dataclass
from typing import Any

from sqlnode.errors import SqlError
from sqlnode.execute.api import Row
from sqlnode.session.portal import Portal

ALL = 2**63 - 1
_NAMES = {0: "FORWARD", 1: "FORWARD", 2: "BACKWARD", 3: "ABSOLUTE", 4: "RELATIVE"}


@dataclass(frozen=True, slots=True)
class Fetch:
    """A movement: `direction` FORWARD, BACKWARD, ABSOLUTE or RELATIVE."""

    direction: str
    count: int

    @classmethod
    def of_node(cls, node: Any) -> "Fetch":
        """The movement of a FetchStmt. BACKWARD and negative counts are FORWARD the other way."""
        direction, count = _NAMES[node.direction], int(node.how_many)
        if direction == "BACKWARD":
            return cls("FORWARD", -count)
        return cls(direction, count)


def moved(size: int, position: int, fetch: Fetch) -> tuple[range, int]:
    """The 1-based rows a movement gives, in order, and where it ends."""
    count = fetch.count
    if fetch.direction == "ABSOLUTE":
        target = count if count >= 0 else size + 1 + count
        target = min(max(target, 0), size + 1)
        return (range(target, target + 1) if 1 <= target <= size else range(0)), target
    if fetch.direction == "RELATIVE" or count == 0:
        target = min(max(position + count, 0), size + 1)
        return (range(target, target + 1) if 1 <= target <= size else range(0)), target
    if count > 0:
        first, last = position + 1, min(position + count, size)
        end = last if position + count <= size else size + 1
        return range(first, last + 1), end
    last = max(position + count, 1)
    end = last if position + count >= 1 else 0
    return range(min(position - 1, size), last - 1, -1), end


async def fetch_rows(portal: Portal, fetch: Fetch) -> list[Row]:
    """Move a cursor and give the rows. Raises SqlError 55000 where it cannot scan backward."""
    if portal.scroll:
        rows = await portal.all_rows()
        picked, portal.position = moved(len(rows), portal.position, fetch)
        return [rows[number - 1] for number in picked]
    skip, wanted = _forward(portal.position, fetch)
    while skip > 0:
        given = await portal.take(skip)
        if not given:
            return []
        skip -= len(given)
    rows = []
    while len(rows) < wanted:
        given = await portal.take(min(wanted - len(rows), 4096))
        if not given:
            break
        rows.extend(given)
    return rows


def _forward(position: int, fetch: Fetch) -> tuple[int, int]:
    """For a cursor that only goes forward: rows to pass over and rows to give."""
    count = fetch.count
    if fetch.direction == "FORWARD" and count > 0:
        return 0, count
    if fetch.direction == "ABSOLUTE" and count > position:
        return count - position - 1, 1
    if fetch.direction == "RELATIVE" and count > 0:
        return count - 1, 1
    raise SqlError(
        "55000",
        "cursor can only scan forward",
        hint="Declare it with SCROLL option to enable backward scan.",
    )
