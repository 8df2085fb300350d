"""Settings that are in force in memory and on their way to the disk.

A setting counts from the moment it is told. Where its write fails, because the disk is full, say,
whoever told it is refused and may tell it again; then it is no news any more, and would never be
written. So what could not be written goes with the next change, whatever that is.
"""

from collections.abc import Iterable

from storage.committer import Committer
from storage.engines.interface import Write


class Unwritten:
    """What one kind of settings still owes the disk: as much as there are settings."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._writes: dict[bytes, Write] = {}

    def __repr__(self) -> str:
        return f"<Unwritten {len(self._writes)}>"

    async def write(self, changes: Iterable[Write]) -> None:
        """Make changes durable, and what is still owed. Raises EngineError."""
        self._writes.update({write[0]: write for write in changes})
        going = list(self._writes.values())
        if not going:
            return
        await self._committer.write(going)
        for write in going:
            if self._writes.get(write[0]) is write:
                del self._writes[write[0]]

    def forget(self, key: bytes) -> None:
        """A setting is gone, and what is on the disk of it; or it is written by others."""
        self._writes.pop(key, None)
