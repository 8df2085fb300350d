"""The pod's copy of the catalog and storage's word on it: which version is seen, which is wanted.

    hello, frame ──told──▶ wanted > seen? ──▶ read it (again, with pauses) ──saw──▶ next frame
                                                                             catalog_seen

Storage answers a commit that changes the catalog when every pod that follows has seen it
(`storage.catalogs`): so `saw` may be said only when no statement that begins later uses an older
copy.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dormouse.base.errors import DormouseError
from dormouse.base.tasks import cancel, spawn

_NONE_YET = 1
"""A version older than any."""
_PAUSE_MIN, _PAUSE_MAX = 0.05, 1.0

_log = logging.getLogger(__name__)

Reader = Callable[[int], Awaitable[int]]
"""Makes the pod's copy at least this version; answers the one it has. Raises DormouseError."""


class CatalogFollower:
    """What one pod has of the catalog. `wake` is called when there is something to send."""

    def __init__(self, wake: Callable[[], None], *, follows: bool) -> None:
        self.seen = _NONE_YET if follows else 0
        """The version to name when a stream opens; 0: this pod keeps no copy."""
        self._wake = wake
        self._wanted = 0
        self._untold = False
        self._read: Reader | None = None
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<CatalogFollower seen {self.seen}, wanted {self._wanted}>"

    def start(self, version: int, read: Reader) -> None:
        """The pod has a copy of this version, and knows how to read a newer one."""
        self._read = read
        self.saw(version)
        self.told(self._wanted)

    def saw(self, version: int) -> None:
        """From now on no statement begins with an older copy."""
        if max(version, _NONE_YET) > self.seen:
            self.seen = max(version, _NONE_YET)
            self._untold = True
            self._wake()

    def told(self, version: int) -> None:
        """Storage says that the catalog has this version."""
        self._wanted = max(self._wanted, version)
        if self._read is None or self._wanted <= self.seen:
            return
        if self._reading is None or self._reading.done():
            self._reading = spawn(self._catch_up(self._read), name="catalog catches up")

    def take(self) -> int:
        """What the next frame says; 0: nothing new."""
        untold, self._untold = self._untold, False
        return self.seen if untold else 0

    async def close(self) -> None:
        """Stop reading."""
        await cancel(self._reading)

    async def _catch_up(self, read: Reader) -> None:
        pause = _PAUSE_MIN
        while self.seen < self._wanted:
            try:
                self.saw(await read(self._wanted))
            except DormouseError:
                _log.warning("the catalog could not be read again", exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_MAX)
