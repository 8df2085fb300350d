"""What a tenant's pods must hear of before something goes on: a new catalog, a claim.

    commit ──▶ durable, visible ──▶ tell all other pods ──▶ all have seen it ──▶ reply
    lock with `claim` ────────────▶ tell all other pods ──▶ all have seen it ──▶ lock
                                          │                     ▲
                                          └──▶ pod reads it ────┘    a new catalog
                                          └──▶ pod sends locks ─┘    a claim
                                    silent for SEEN_SECONDS: its stream ends, and all go on

*A new catalog.* A pod answers what concerns the schema alone (names, pg_catalog, the columns of a
statement) from its copy, without asking anybody. As the commit waits, a statement that begins
anywhere after a COMMIT was answered meets the schema that was committed. Data need none of this:
reads and locks prove their catalog version request by request.

*A claim.* Who changes a table locks its mark exclusively. A pod may have transactions that wrote to
the table and have asked nothing yet, for a lock of theirs would cost a message that is almost never
needed. Now it is: the pod sends their locks before it says that it has seen the claim, and so they
are there first and the claim waits for them, as if they had locked the mark when they wrote.

A listener is a stream that has said which catalog it has. One that hangs must not hold up others
for long, so it is ended: with it its transactions' locks, and its copy of the catalog is checked
when its pod comes back.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.metrics import POD_TOLD_SECONDS, REFUSED

SEEN_SECONDS = 5.0
"""How long a listener may take to see what it is told."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """A stream whose pod keeps the catalog."""

    def tell_catalog(self, version: int) -> None:
        """Say that the catalog has this version now."""
        ...

    def tell_claim(self, number: int, keys: Sequence[bytes]) -> None:
        """Say that somebody claims keys."""
        ...

    def end(self, reason: str) -> None:
        """End the stream soon."""
        ...


@dataclass(slots=True)
class _Seen:
    catalog: int = 0
    claim: int = 0


class Listeners:
    """The listeners of one tenant, and what each has seen."""

    def __init__(self) -> None:
        self._seen: dict[Listener, _Seen] = {}
        self._claims = 0
        self._moved = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Listeners {list(self._seen.values())}>"

    def saw_catalog(self, listener: Listener, version: int, newest: int) -> None:
        """A listener (perhaps a new one) has seen `version`; `newest` is the catalog's."""
        # A new one has nothing that earlier claims could ask for.
        seen = self._seen.setdefault(listener, _Seen(claim=self._claims))
        seen.catalog = max(version, seen.catalog)
        self._notify()
        if seen.catalog < newest:
            listener.tell_catalog(newest)

    def saw_claim(self, listener: Listener, number: int) -> None:
        """A listener has seen all claims up to this number."""
        seen = self._seen.get(listener)
        if seen is not None:
            seen.claim = max(number, seen.claim)
            self._notify()

    def left(self, listener: Listener) -> None:
        """A stream has ended."""
        if self._seen.pop(listener, None) is not None:
            self._notify()

    def behind(self, version: int, *, but: object) -> list[Listener]:
        """The listeners, except `but`, that have not seen a catalog version."""
        return self._where(lambda seen: seen.catalog < version, but)

    async def told_catalog(self, version: int, *, but: object) -> None:
        """Return when each has seen the version, is gone, or is ended."""
        late = self.behind(version, but=but)
        for listener in late:
            listener.tell_catalog(version)
        if late:
            await self._all_seen(lambda seen: seen.catalog < version, but)

    async def told_claim(self, keys: Sequence[bytes], *, but: object) -> None:
        """Return when each has seen a claim of `keys`, is gone, or is ended."""
        self._claims += 1
        number = self._claims
        late = self._where(lambda seen: seen.claim < number, but)
        for listener in late:
            listener.tell_claim(number, keys)
        if late:
            await self._all_seen(lambda seen: seen.claim < number, but)

    def _where(self, is_late: Callable[[_Seen], bool], but: object) -> list[Listener]:
        return [each for each, seen in self._seen.items() if each is not but and is_late(seen)]

    async def _all_seen(self, is_late: Callable[[_Seen], bool], but: object) -> None:
        with POD_TOLD_SECONDS.time():
            try:
                async with asyncio.timeout(SEEN_SECONDS):
                    while self._where(is_late, but):
                        await self._moved.wait()
            except TimeoutError:
                self._end(self._where(is_late, but))

    def _end(self, late: Sequence[Listener]) -> None:
        _log.warning("streams ended that did not answer", extra={"streams": len(late)})
        for listener in late:
            REFUSED.labels("unanswered").inc()
            self.left(listener)
            listener.end("the pod did not answer what it was told in time")

    def _notify(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
