"""Versions: the current ones in one place, the superseded ones in another.

Every version carries the time of the commit that wrote it. The newest version of a key lies under
the key itself; when a commit replaces or removes it, the old one moves to the history keyspace in
the same atomic batch, with the time at which its life ended.

    time ─────────10────────20────────30────────40──▶
    key a          x1 ───────────────▶ x2 ──────────     current:  a → (30, x2)
    key b                    y1 ────────────────▶ ✗      history:  a@10 → (until 30, x1)
    key c          z1 ──────────────────────────────               b@20 → (until 40, y1)
                                                         current:  c → (10, z1)
                         snapshot 25 sees x1, y1, z1

So the newest version is one point read, and a scan of current data never steps over dead versions.

Reading at snapshot S. The current version decides if it was written at or before S: nothing newer
exists. Otherwise it is too young (or gone), and the version S sees is the youngest in history
written at or before S, if its life ended after S. If S is not older than the tenant's last
overwrite, no version that S could see was ever superseded: a version that is too young was simply
an insertion, and history is never looked at. That is the common case.

Scanning at an older S costs by what has changed since, not by how much history is kept: each
current version that is too young is looked up in history, one seek; and the keys that went away are
found by what their commits wrote of the removals, in a keyspace that holds nothing else.

Two reads, no common state. The current page is read before history. What a commit supersedes in
between is then in both (the same version, counted once); what it superseded earlier is in history.
Nothing falls between, as long as history keeps what S needs: a read holds its snapshot (`reading`).

`visible` is the time of the youngest commit that is durable and published. Commits become visible
in the order of their times, so "everything up to `visible`" is a consistent state: it is what a new
snapshot is. The engine may already hold younger commits; their times give them away.

A commit that is too large for one write of the disk is durable before it is in its place
(storage/rollforward.py): until it is, the newest snapshot of its tenant is the one before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.cache import Record, VersionCache
from storage.engines.interface import Engine, Row, ScanRange
from storage.layout import (
    TIME,
    TIME_MAX,
    history_key,
    history_prefix,
    history_range,
    history_versions,
    removed_range,
    split_history,
    time_of,
)
from storage.locks import LockTable
from storage.merge import latest_rows, seen_of, unsettled, version_at
from storage.refusals import bad_request, snapshot_too_old
from storage.tenants import Tenant, Transaction

_ALL = 1 << 62
_REMOVED_ROWS = 2048
_NEAR_PER_KEY = 2
_NEAR_BYTES = 256 << 10
_READS_NOW_MAX = 8
"""Keys of one request that are read on the event loop's own thread."""
_OLDER_AT_ONCE = 128
"""Keys whose older versions are read in one go: each may be as large as a row can be."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One page of a range at a snapshot."""

    start: bytes
    end: bytes
    reverse: bool
    snapshot: int
    rows_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """Keys with payloads, in the order asked for. They may be none though the range goes on."""

    rows: list[Row]
    resume: bytes
    """Where the next page begins (in reverse: ends, exclusive); empty where there is none."""


class Versions:
    """Reads of current and older versions, for all tenants."""

    def __init__(
        self, engine: Engine, cache: VersionCache, locks: LockTable, *, visible: int
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._locks = locks
        self.visible = visible

    def newest_of(self, tenant: Tenant) -> int:
        """The newest snapshot of a tenant."""
        rolling = tenant.rolling
        return self.visible if rolling is None else min(self.visible, rolling.time - 1)

    def snapshot(self, tenant: Tenant, asked: int) -> int:
        """The snapshot to read at: the one asked for, or the newest."""
        newest = self.newest_of(tenant)
        if asked == 0:
            return newest
        if asked > newest:
            raise bad_request("a snapshot from the future")
        if asked < tenant.floor:
            raise snapshot_too_old(tenant.floor)
        return asked

    def get_now(
        self, tenant: Tenant, keys: Sequence[bytes], snapshot: int
    ) -> list[bytes | None] | None:
        """`get` where memory has the answer, but for a few keys, else None."""
        values = []
        reads = 0
        for key in keys:
            record = self._cache.get(key)
            if record is None:
                reads += 1
                record = self._read_now(key) if reads <= _READS_NOW_MAX else None
                if record is None:
                    return None
            since, value = record
            if since > snapshot:
                if snapshot < tenant.last_overwrite:
                    return None
                value = None
            values.append(value)
        return values

    async def get(self, tenant: Tenant, keys: Sequence[bytes], snapshot: int) -> list[bytes | None]:
        """The payloads of `keys` at `snapshot`."""
        with tenant.reading(snapshot):
            records = await self._current(keys)
            # A key that is absent may have been removed by a commit that is not visible yet.
            old = [
                key
                for key in dict.fromkeys(keys)
                if (records[key][0] > snapshot or records[key][1] is None)
                and snapshot < tenant.last_overwrite
            ]
            older = await self._superseded(old, snapshot) if old else {}
        _check_whole(tenant, snapshot)
        return [
            older[key]
            if key in older
            else (records[key][1] if records[key][0] <= snapshot else None)
            for key in keys
        ]

    def newest_now(self, keys: Sequence[bytes], reader: Transaction) -> list[Record] | None:
        """`newest` where memory has the answer and nobody is about to change it, else None."""
        records = []
        for key in keys:
            record = self._cache.get(key) or self._read_now(key)
            writer = self._locks.writer(key)
            if record is None or (
                writer is not reader and isinstance(writer, Transaction) and writer.committing
            ):
                return None
            records.append(record)
        return records

    async def newest(self, keys: Sequence[bytes], reader: Transaction) -> list[Record]:
        """The newest version of each key, all current together when this returns.

        Commits of other transactions that are on their way to a key are waited for.
        """
        while True:
            await self._settled(keys, reader)
            with self._cache.loading() as load:
                records = await self._current(keys)
                stale = not load.stale.isdisjoint(keys)
            if not stale and self._busy_writer(keys, reader) is None:
                return [records[key] for key in keys]

    async def removed_at(self, tenant: Tenant, key: bytes, snapshot: int) -> int:
        """When the absent `key` was removed, if that was after `snapshot`; 0 if it was not."""
        if snapshot >= tenant.last_overwrite:
            return 0
        if snapshot < tenant.floor:
            raise snapshot_too_old(tenant.floor)
        low = history_prefix(key)
        wanted = ScanRange(low, history_key(key, 2**64 - 1) + b"\0", 1, _ALL, reverse=True)
        [page] = await self._engine.scan([wanted])
        until = time_of(page.rows[0][1]) if page.rows else 0
        return until if until > snapshot else 0

    async def scan(self, tenant: Tenant, wanted: Wanted) -> Scanned:
        """One page of a range at a snapshot."""
        with tenant.reading(wanted.snapshot):
            current = ScanRange(
                wanted.start, wanted.end, wanted.rows_max, wanted.bytes_max, wanted.reverse
            )
            [page] = await self._engine.scan([current])
            last = None if page.exhausted else page.rows[-1][0]
            if wanted.snapshot >= tenant.last_overwrite:
                rows = latest_rows(page.rows, wanted.snapshot)
                return Scanned(rows, _past(last, wanted.reverse))
            found = await self._scan_history(tenant, wanted, page.rows, last)
        _check_whole(tenant, wanted.snapshot)
        return found

    async def _scan_history(
        self, tenant: Tenant, wanted: Wanted, current: list[Row], last: bytes | None
    ) -> Scanned:
        """Complete a current page with the older versions the snapshot sees.

        `last` is the last key of the page, None where it reaches the end of the range. Where that
        is too much to read at once the page is cut, and the next one begins there.
        """
        start, end, reverse = wanted.start, wanted.end, wanted.reverse
        if last is not None:
            start, end = (last, end) if reverse else (start, last + b"\0")
        resume = _past(last, reverse)
        recent = tenant.removals.of_range(start, end, wanted.snapshot)
        if recent is not None:
            return await self._with_older(wanted, current, recent, resume)
        low, high = removed_range(start, end)
        asked = ScanRange(low, high, _REMOVED_ROWS, wanted.bytes_max, reverse)
        [page] = await self._engine.scan([asked])
        removals = [split_history(key) for key, _ in page.rows]
        if not page.exhausted:
            # There may be more removals of the key at which the reading stopped: it is asked for.
            stop = removals[-1][0]
            resume = _past(stop, reverse)
            current = [row for row in current if not _precedes(stop, row[0], reverse)]
            removals[-1] = (stop, TIME_MAX)
        return await self._with_older(wanted, current, removals, resume)

    async def _with_older(
        self,
        wanted: Wanted,
        current: list[Row],
        removals: list[tuple[bytes, int]],
        resume: bytes,
    ) -> Scanned:
        """The page at the snapshot: what is old enough, and the older versions of the rest."""
        snapshot, reverse = wanted.snapshot, wanted.reverse
        rows = dict(latest_rows(current, snapshot))
        young = unsettled(current, removals, rows, snapshot, reverse=reverse)
        size = sum(len(key) + len(value) for key, value in rows.items())
        for at in range(0, len(young), _OLDER_AT_ONCE):
            if size > wanted.bytes_max and at:
                # Older versions may be larger than the newest: the page ends before the next one.
                stop = young[at]
                kept = [row for row in rows.items() if _precedes(row[0], stop, reverse)]
                return Scanned(sorted(kept, reverse=reverse), stop + b"\0" if reverse else stop)
            found = await self._older(young[at : at + _OLDER_AT_ONCE], snapshot)
            size += sum(len(key) + len(value) for key, value in found.items())
            rows.update(found)
        return Scanned(sorted(rows.items(), reverse=reverse), resume)

    async def _older(self, keys: Sequence[bytes], snapshot: int) -> dict[bytes, bytes]:
        """What a snapshot sees of neighbours whose newest version is too young for it.

        Where they have few older versions these are read in one go, else key by key.
        """
        low, high = history_range(min(keys), max(keys) + b"\0")
        near = ScanRange(low, high, _NEAR_PER_KEY * len(keys), _NEAR_BYTES)
        [page] = await self._engine.scan([near])
        if not page.exhausted:
            found = await self._superseded(keys, snapshot)
            return {key: value for key, value in found.items() if value is not None}
        return seen_of(page.rows, set(keys), snapshot)

    async def _current(self, keys: Sequence[bytes]) -> dict[bytes, Record]:
        """The newest versions in the engine or in memory; kept in memory where still true."""
        records = {key: self._cache.get(key) for key in keys}
        missing = [key for key, record in records.items() if record is None]
        found: dict[bytes, Record] = {k: record for k, record in records.items() if record}
        if missing:
            absent_since = self.visible
            with self._cache.loading() as load:
                values = await self._engine.get(missing)
                for key, value in zip(missing, values, strict=True):
                    record = (absent_since, None) if value is None else _record(value)
                    found[key] = record
                    if value is not None or self._busy_writer([key], None) is None:
                        self._cache.loaded(load, key, record)
        return found

    def _read_now(self, key: bytes) -> Record | None:
        """The newest version from the engine, where that takes no waiting; kept in memory.

        An absent key on which a commit is on its way is left alone: the engine may have removed it
        already, while the commit is not visible yet.
        """
        values = self._engine.get_now([key])
        if values is None:
            return None
        if values[0] is not None:
            record = _record(values[0])
        elif self._busy_writer([key], None) is None:
            record = (self.visible, None)
        else:
            return None
        self._cache.keep(key, record)
        return record

    async def _superseded(self, keys: Sequence[bytes], snapshot: int) -> dict[bytes, bytes | None]:
        spans = [history_versions(key, snapshot) for key in keys]
        pages = await self._engine.scan(
            [ScanRange(low, high, 1, _ALL, reverse=True) for low, high in spans]
        )
        return {
            key: version_at(page.rows[0] if page.rows else None, snapshot)
            for key, page in zip(keys, pages, strict=True)
        }

    async def _settled(self, keys: Sequence[bytes], reader: Transaction) -> None:
        while (writer := self._busy_writer(keys, reader)) is not None:
            await writer.outcome()

    def _busy_writer(self, keys: Sequence[bytes], reader: Transaction | None) -> Transaction | None:
        for key in keys:
            writer = self._locks.writer(key)
            if writer is not reader and isinstance(writer, Transaction) and writer.committing:
                return writer
        return None


def _check_whole(tenant: Tenant, snapshot: int) -> None:
    """Raises Refusal where history was collected meanwhile: a reader holds it for so long only."""
    if snapshot < tenant.floor:
        raise snapshot_too_old(tenant.floor)


def _record(value: bytes) -> Record:
    return time_of(value), value[TIME.size :]


def _past(last: bytes | None, reverse: bool) -> bytes:
    if last is None:
        return b""
    return last if reverse else last + b"\0"


def _precedes(key: bytes, stop: bytes, reverse: bool) -> bool:
    return key > stop if reverse else key < stop
