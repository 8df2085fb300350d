"""A session's sequences: what it holds ready of each, what it was given last.

    nextval ─▶ held ready? ──yes──▶ the next one, at once
                   │no
                   └──▶ storage, outside the transaction: as many as will be wanted ──▶ held ready

How many will be wanted: rows travel in batches, so a statement that will surely work through a
batch says how many rows are in it (`expect`): INSERT asks once per batch. Where it may stop early
(LIMIT, a cursor) each question asks for twice as many as the last one of the statement. At the end
of the statement what was not needed goes back (`settle`), and is back before its client hears of
the end (`KvClient.settled`): so a client that is alone sees 1, 2, 3 and no gaps, as in PostgreSQL,
on whichever pods its sessions are. Where somebody else has taken numbers meanwhile, storage does
not take them back, and they are skipped.

CACHE n keeps up to n numbers beyond the statement, as in PostgreSQL: questions are for multiples of
n, and what PostgreSQL would have cached is not given back.

Numbers are not rolled back. The question proves the catalog's version, so that no pod counts on a
sequence that another one has dropped or restarted.
"""

from __future__ import annotations  # the client makes transactions, which know sessions

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proto import kv_pb2 as kv
from sqlnode.catalog.store import sequence_key
from sqlnode.errors import SqlError
from sqlnode.kv.errors import CatalogStale, KvRefused, StreamLost, connection_lost, sql_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from sqlnode.catalog.catalog import Catalog
    from sqlnode.catalog.descriptors import NumberSequence
    from sqlnode.kv.client import KvClient

AHEAD_MAX = 1024
"""Numbers asked for without knowing that they will be wanted."""
BLOCK_MAX = 1 << 16
"""Numbers in one question: what storage gives at most."""
_STALE_RETRIES_MAX = 5
_LOOKS_AT_ONCE = 100


@dataclass(slots=True)
class _Held:
    """What a session has of one sequence."""

    sequence: NumberSequence
    following: int = 0
    """The next of those held ready."""
    ready: int = 0
    last: int | None = None
    """currval()."""
    asked: int = 0
    """How many the last question of this statement was for."""
    batch: int = -1
    """The batch it was asked in."""


class SessionSequences:
    """See the module. `session` is the backend pid, `catalog` the one whose sequences count now,
    `reload` brings it to a version, `read_only` says whether the transaction may not write."""

    def __init__(
        self,
        client: KvClient,
        *,
        session: int,
        catalog: Callable[[], Catalog],
        reload: Callable[[int], Awaitable[None]],
        read_only: Callable[[], bool],
    ) -> None:
        self._client = client
        self._session = session
        self._session_catalog = catalog
        self._own_catalog: Catalog | None = None
        self._reload = reload
        self._read_only = read_only
        self._held: dict[int, _Held] = {}
        self._asked: list[_Held] = []
        """Those that the statement has asked storage for."""
        self._expected = 0
        self._batch = 0
        self._last = 0

    def __repr__(self) -> str:
        return f"<SessionSequences {len(self._held)}>"

    # --- functions -----------------------------------------------------------------------------

    def ready(self, oid: int) -> int | None:
        """The next number, where one is held ready for this very sequence."""
        held = self._held.get(oid)
        if held is None or not held.ready:
            return None
        now = self._catalog().sequence_by_oid(oid)
        if now is not held.sequence and now != held.sequence:
            return None
        self._check_writable("nextval()")
        return self._given(held)

    async def nextval(self, oid: int) -> int:
        """The next number, from storage. Raises SqlError 2200H, 25006, 42809."""
        held = self._held.setdefault(oid, _Held(self.named(oid)))
        self._check_writable("nextval()")
        count = self._wanted(held)
        reply, sequence = await self._ask(oid, lambda sequence: _take(sequence, count))
        held.sequence, held.ready = sequence, 0
        if not reply.count:
            raise _at_its_end(sequence)
        held.following, held.ready = reply.first, reply.count
        held.asked, held.batch = count, self._batch
        self._asked.append(held)
        return self._given(held)

    def currval(self, oid: int) -> int:
        """What nextval gave this session last. Raises SqlError 55000."""
        sequence = self.named(oid)
        held = self._held.get(oid)
        if held is None or held.last is None:
            text = f'currval of sequence "{sequence.name}" is not yet defined in this session'
            raise SqlError("55000", text)
        return held.last

    def lastval(self) -> int:
        """What nextval gave this session last, of whatever sequence. Raises SqlError 55000."""
        held = self._held.get(self._last)
        if held is None or held.last is None or self._catalog().sequence_by_oid(self._last) is None:
            raise SqlError("55000", "lastval is not yet defined in this session")
        return held.last

    async def setval(self, oid: int, value: int, *, is_called: bool) -> None:
        """Let a sequence go on from a value. Raises SqlError 22003, 25006, 42809."""
        sequence = self.named(oid)
        self._check_writable("setval()")
        if not sequence.min <= value <= sequence.max:
            raise SqlError(
                "22003",
                f'setval: value {value} is out of bounds for sequence "{sequence.name}" '
                f"({sequence.min}..{sequence.max})",
            )
        put = kv.Sequence(put=kv.Sequence.Put(value=value, is_called=is_called))
        await self._ask(oid, lambda _: put)
        held = self._held.setdefault(oid, _Held(sequence))
        held.ready = 0
        if is_called:
            held.last = value

    async def look(self, sequence: NumberSequence) -> tuple[int, int, bool]:
        """last_value, log_cnt and is_called of a sequence, as SELECT shows them. One that a
        snapshot still sees, and that is gone, is shown as it was in the end."""
        if self._catalog().sequence_by_oid(sequence.oid) is None:
            reply = await self._send(_look(sequence), sequence, version=0)
        else:
            reply, _ = await self._ask(sequence.oid, _look)
        return reply.last_value, reply.log_count, reply.is_called

    async def look_at(self, sequences: Sequence[NumberSequence]) -> list[tuple[int, int, bool]]:
        """Likewise of many, some at a time."""
        found: list[tuple[int, int, bool]] = []
        for start in range(0, len(sequences), _LOOKS_AT_ONCE):
            some = sequences[start : start + _LOOKS_AT_ONCE]
            found += await asyncio.gather(*[self.look(each) for each in some])
        return found

    async def new_generation(self) -> int:
        """A name for a sequence's state that was never used, not even in a transaction that was
        rolled back."""
        return (await self._client.generations.take(1))[0]

    def named(self, oid: int) -> NumberSequence:
        """The sequence of an OID. Raises SqlError 42809, XX000."""
        catalog = self._catalog()
        found = catalog.sequence_by_oid(oid)
        if found is not None:
            return found
        name = catalog.relation_name(oid)
        if name is None:
            raise SqlError("XX000", f"could not open relation with OID {oid}")
        raise SqlError("42809", f'"{name[1]}" is not a sequence')

    # --- statements and the session ------------------------------------------------------------

    def expect(self, rows: int) -> None:
        """A batch of so many rows is about to be worked through, all of it."""
        self._expected = rows
        self._batch += 1

    def settle(self) -> None:
        """The statement has ended: what it did not need goes back, but for CACHE."""
        self._expected = 0
        for held in self._asked:
            unused = held.ready - held.ready % held.sequence.cache
            if unused:
                self._give_back(held, unused)
            held.asked = 0
        self._asked.clear()

    def rolled_back(self) -> None:
        """A change of the catalog was undone: what was made in it is gone, and the OIDs of its
        sequences are free for others."""
        catalog = self._catalog()
        for oid in [oid for oid in self._held if catalog.sequence_by_oid(oid) is None]:
            del self._held[oid]

    @contextmanager
    def looking_at(self, catalog: Catalog) -> Iterator[None]:
        """Let the sequences inside the block be those of a change that is being made."""
        self._own_catalog = catalog
        try:
            yield
        finally:
            self._own_catalog = None

    def _catalog(self) -> Catalog:
        return self._own_catalog or self._session_catalog()

    def discard(self) -> None:
        """DISCARD SEQUENCES: as if the session had used none."""
        self._held.clear()
        self._last = 0

    def state(self) -> tuple[int, dict[str, int]]:
        """For another pod: the sequence of lastval(), and currval() by OID."""
        given = {str(oid): held.last for oid, held in self._held.items() if held.last is not None}
        return self._last, given

    def restore(self, last: int, given: Mapping[str, int]) -> None:
        """What `state` gave elsewhere. Of a sequence that is gone nothing is kept."""
        self._last = last
        for oid, value in given.items():
            sequence = self._catalog().sequence_by_oid(int(oid))
            if sequence is not None:
                self._held[int(oid)] = _Held(sequence, last=value)

    # --- storage -------------------------------------------------------------------------------

    def _check_writable(self, what: str) -> None:
        if self._read_only():
            raise SqlError("25006", f"cannot execute {what} in a read-only transaction")

    def _wanted(self, held: _Held) -> int:
        known = self._expected if held.batch != self._batch else 0
        wanted = known or max(min(2 * held.asked, AHEAD_MAX), 1)
        cache = held.sequence.cache
        return min(-(-wanted // cache) * cache, BLOCK_MAX)

    def _given(self, held: _Held) -> int:
        value = held.following
        held.following += held.sequence.increment
        held.ready -= 1
        held.last = value
        self._last = held.sequence.oid
        return value

    def _give_back(self, held: _Held, unused: int) -> None:
        held.ready -= unused
        increment = held.sequence.increment
        following = held.following + held.ready * increment
        asked = kv.Sequence(key=self._key(held.sequence))
        back = kv.Sequence.Return(
            next=following, last=following + (unused - 1) * increment, increment=increment
        )
        getattr(asked, "return").CopyFrom(back)  # a word of Python's
        request = kv.Request(sequence=asked, session=self._session)
        self._client.free(request, epoch=self._client.epoch)

    def _key(self, sequence: NumberSequence) -> bytes:
        return sequence_key(self._client.tenant, sequence.generation)

    async def _ask(
        self, oid: int, question: Callable[[NumberSequence], kv.Sequence]
    ) -> tuple[kv.SequenceReply, NumberSequence]:
        for _ in range(_STALE_RETRIES_MAX):
            try:
                return await self._call(oid, question)
            except CatalogStale as stale:
                # Any change in the tenant makes it so; most are not of this sequence.
                await self._reload(stale.version)
        return await self._call(oid, question)

    async def _call(
        self, oid: int, question: Callable[[NumberSequence], kv.Sequence]
    ) -> tuple[kv.SequenceReply, NumberSequence]:
        sequence = self.named(oid)
        version = self._catalog().version
        return await self._send(question(sequence), sequence, version=version), sequence

    async def _send(
        self, asked: kv.Sequence, sequence: NumberSequence, *, version: int
    ) -> kv.SequenceReply:
        asked.key = self._key(sequence)
        request = kv.Request(sequence=asked, catalog_version=version)
        try:
            # Where the stream breaks, numbers may have been given to nobody: gaps, no duplicates.
            return (await self._client.call(request, retry=True)).sequence
        except KvRefused as refused:
            raise sql_error(refused) from refused
        except StreamLost as lost:
            raise connection_lost() from lost


def _take(sequence: NumberSequence, count: int) -> kv.Sequence:
    take = kv.Sequence.Take(
        count=count,
        start=sequence.first,
        increment=sequence.increment,
        min=sequence.min,
        max=sequence.max,
        cycle=sequence.cycle,
    )
    return kv.Sequence(take=take)


def _look(sequence: NumberSequence) -> kv.Sequence:
    return kv.Sequence(look=kv.Sequence.Look(start=sequence.first, increment=sequence.increment))


def _at_its_end(sequence: NumberSequence) -> SqlError:
    which, bound = (
        ("maximum", sequence.max) if sequence.increment > 0 else ("minimum", sequence.min)
    )
    text = f'nextval: reached {which} value of sequence "{sequence.name}" ({bound})'
    return SqlError("2200H", text)
