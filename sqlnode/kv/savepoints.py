"""The savepoints of one transaction: numbers for storage, and what was noted before each.

Every savepoint has a number that no other of its transaction has. A lock request carries that of
the newest one; rolling back to a savepoint frees what was locked with its number or a greater one
(kv.Undo). So a savepoint costs no message, and rolling back only one where something was locked.
"""

from typing import NamedTuple


class Level(NamedTuple):
    """A savepoint, and what was noted before it."""

    retired: int
    """How many ranges were given up."""
    changes_catalog: bool
    number: int


class Savepoints:
    """See the module. Levels are counted from 0."""

    __slots__ = ("_count", "_levels", "_locked_behind")

    def __init__(self) -> None:
        self._levels: list[Level] = []
        self._count = 0
        self._locked_behind = 0

    def __repr__(self) -> str:
        return f"<Savepoints {[level.number for level in self._levels]}>"

    @property
    def newest(self) -> int:
        """The number of the newest savepoint, 0 if there is none."""
        return self._levels[-1].number if self._levels else 0

    def add(self, level: int, retired: int, *, changes_catalog: bool) -> None:
        """Begin a level."""
        self._count += 1
        self._levels[level:] = [Level(retired, changes_catalog, self._count)]

    def release(self, level: int) -> None:
        """Forget a level and those inside it; locks behind them count as the outer one's."""
        del self._levels[level:]

    def locking(self) -> int:
        """A lock is asked for: the number it carries."""
        self.locked(self.newest)
        return self.newest

    def locked(self, number: int) -> None:
        """Storage has a lock that carries this number."""
        self._locked_behind = max(self._locked_behind, number)

    def back_to(self, level: int) -> Level:
        """Forget the levels inside a level, which stays."""
        del self._levels[level + 1 :]
        return self._levels[level]

    def free(self, number: int) -> bool:
        """Whether something may be locked behind a savepoint; from now on nothing is."""
        locked = self._locked_behind >= number
        self._locked_behind = min(self._locked_behind, number - 1)
        return locked
