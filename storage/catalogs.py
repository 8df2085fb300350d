"""Who has heard of a new catalog: a change of it is acknowledged once every pod that keeps a copy
has seen it.

    commit ──▶ durable, visible ──▶ tell every other reader ──▶ all have seen it ──▶ reply
                                         │ ServerFrame.catalog_version  ▲ ClientFrame.catalog_seen
                                         └──────────▶ pod reads it ─────┘
                                    silent for SEEN_SECONDS: its stream ends ──▶ reply

A pod answers what concerns the schema alone (names, pg_catalog, the columns of a statement) from
its copy, without asking anybody. As the commit waits, a statement that begins anywhere after a
COMMIT was answered meets the schema that was committed. Data need none of this: statements hold
their tables (`storage.wanted`), and a request under no such lock proves its catalog version.

A reader is a stream that has said which version it has. One that hangs must not hold up others for
long, so it is ended; its pod learns of the catalog when it comes back.
"""

import asyncio
import logging
from typing import Protocol

from storage.metrics import CATALOG_TOLD_SECONDS, REFUSED

SEEN_SECONDS = 5.0
"""How long a reader may take to see a new catalog."""

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """A stream whose pod keeps the catalog."""

    def tell_catalog(self, version: int) -> None:
        """Say that the catalog has this version now."""
        ...

    def end(self, reason: str) -> None:
        """End the stream soon."""
        ...


class CatalogReaders:
    """The readers of one tenant's catalog, and what each has seen."""

    def __init__(self) -> None:
        self._seen: dict[Reader, int] = {}
        self._moved = asyncio.Event()

    def __repr__(self) -> str:
        return f"<CatalogReaders {sorted(self._seen.values())}>"

    def saw(self, reader: Reader, version: int, newest: int) -> None:
        """A reader (perhaps a new one) has seen `version`; `newest` is the catalog's."""
        self._seen[reader] = max(version, self._seen.get(reader, 0))
        self._notify()
        if self._seen[reader] < newest:
            reader.tell_catalog(newest)

    def left(self, reader: Reader) -> None:
        """A stream has ended."""
        if self._seen.pop(reader, None) is not None:
            self._notify()

    def behind(self, version: int, *, but: object) -> list[Reader]:
        """The readers, except `but`, that have not seen `version`."""
        return [each for each, seen in self._seen.items() if seen < version and each is not but]

    async def told(self, version: int, *, but: object) -> None:
        """Tell the readers of a version and wait until each has seen it, is gone, or is ended."""
        late = self.behind(version, but=but)
        if not late:
            return
        for reader in late:
            reader.tell_catalog(version)
        with CATALOG_TOLD_SECONDS.time():
            try:
                async with asyncio.timeout(SEEN_SECONDS):
                    while self.behind(version, but=but):
                        await self._moved.wait()
            except TimeoutError:
                self._end_late(version, but)

    def _end_late(self, version: int, but: object) -> None:
        late = self.behind(version, but=but)
        _log.warning(
            "streams ended that did not take a new catalog",
            extra={"streams": len(late), "version": version},
        )
        for reader in late:
            REFUSED.labels("catalog_unseen").inc()
            self.left(reader)
            reader.end("the pod did not take a new catalog in time")

    def _notify(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
