"""The engine for more than one machine: a SlateDB tree on object storage, no state of its own.

    apply ──▶ batch in memory ──▶ one object (write-ahead log) ──▶ durable
                    │                                   later, in the background
                    └──▶ table in memory ──▶ sorted objects ──▶ merged ──▶ old ones deleted
    get, scan ──▶ table in memory ─▶ block cache (bounded) ─▶ objects

Durability and replication are the object store's. Reads ask for what is durable only, so nobody
sees a batch that a crash could take back. A commit costs one PUT; with `flush_seconds` above zero
the log waits that long for more to share it, and every commit waits with it.

Ownership: opening writes a new epoch into the manifest, and from then on no write of whoever had
the data before can become durable: it is told so (fenced) and its engine is lost. So unlike with a
file on a disk, the last one to open wins. There is no lock to break when a machine has died, and a
machine that only seemed dead does no harm but one: until it notices the takeover, a second or so if
it reaches the object store, it may still answer reads from before it.

Lost: a log that cannot be written in `write_seconds`, retries included, leaves it open whether the
batch became durable. Nothing may be said about it then, neither done nor failed, so the engine
takes nothing more, and its owner must end and open the data anew, as after a crash.

A batch is held in memory as a whole, and bounded by `batch_bytes_max`.
"""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

from slatedb import uniffi as slate

from storage.config import ObjectStorage
from storage.engines.interface import (
    EngineDamaged,
    EngineError,
    EngineLost,
    Measure,
    Page,
    Row,
    ScanRange,
    Upkeep,
    Write,
)

T = TypeVar("T")

GETS_AT_ONCE = 64
_ROWS_AT_FIRST, _ROWS_AT_ONCE = 16, 512
"""Rows fetched before the first look at the size of a page, and between later ones."""
_LOOK_SECONDS = 0.5
_COPY_BYTES = 8 << 20
_PROVIDERS = {
    "s3": slate.ObjectStoreType.S3,
    "gs": slate.ObjectStoreType.GCS,
    "az": slate.ObjectStoreType.AZURE,
    "file": slate.ObjectStoreType.LOCAL,
    "memory": slate.ObjectStoreType.IN_MEMORY,
}


class SlateEngine:
    """See `storage.engines.interface.Engine`; made by `open`."""

    turn_bytes = 4 << 20
    """A PUT takes its time, however little is in it."""

    def __init__(self, db: slate.Db, storage: ObjectStorage) -> None:
        self._db = db
        self._storage = storage
        self._writing = asyncio.Lock()
        self._closed = False
        self._lost: EngineLost | None = None

    @classmethod
    async def open(cls, storage: ObjectStorage) -> Self:
        """Take over the data at `storage.url`, from whoever had it. Raises EngineError."""
        store, path = _store(storage)
        builder = slate.DbBuilder(path, store)
        builder.with_settings(_settings(storage))
        cache = slate.FoyerCacheOptions(max_capacity=storage.block_cache_bytes, shards=8)
        builder.with_db_cache(slate.DbCache.new_foyer_cache(cache), 0)
        try:
            async with asyncio.timeout(storage.write_seconds):
                return cls(await builder.build(), storage)
        except (slate.Error, TimeoutError) as error:
            raise EngineError(f"{storage.url}: {_text(error)}") from error

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Engine.get`."""
        self._check()
        if len(keys) == 1:
            return [await self._reading(self._db.get_with_options(keys[0], _DURABLE))]
        snapshot = await self._reading(self._db.snapshot())
        found: list[bytes | None] = []
        for at in range(0, len(keys), GETS_AT_ONCE):
            some = keys[at : at + GETS_AT_ONCE]
            gets = [snapshot.get_with_options(key, _DURABLE) for key in some]
            found += await self._reading(asyncio.gather(*gets))
        return found

    def get_now(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """See `Engine.get_now`: a block may have to come from far away."""
        return None

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        """See `Engine.scan`."""
        self._check()
        return [await self._reading(self._scan(self._db, each)) for each in ranges]

    async def apply(self, batch: Collection[Write]) -> None:
        """See `Engine.apply`. Raises EngineLost where it stays open whether the batch is there."""
        async with self._writing:
            self._check()
            writes = _Batch(self._storage.batch_bytes_max)
            writes.add(batch)
            if writes.count:
                await self._write(writes)

    def join(self, batch: Collection[Write]) -> bool:
        """See `Engine.join`."""
        return False

    async def room(self) -> int | None:
        """See `Engine.room`: a bucket has no end."""
        return None

    async def measure(self, start: bytes, end: bytes) -> Measure:
        """See `Engine.measure`."""
        self._check()
        if start >= end:
            return Measure(0, 0)
        return await self._reading(self._measure(start, end))

    async def backup(self, target: Path) -> None:
        """See `Engine.backup`: the same tree on this machine, at `file://target`."""
        self._check()
        copy = await type(self).open(ObjectStorage(url=await asyncio.to_thread(_made, target)))
        try:
            snapshot = await self._reading(self._db.snapshot())
            start: bytes | None = b"\0"
            while start is not None:
                wanted = ScanRange(start, _LAST, 1 << 30, _COPY_BYTES)
                page = await self._reading(self._scan(snapshot, wanted))
                await copy.apply(page.rows)
                start = None if page.exhausted else page.rows[-1][0] + b"\0"
        finally:
            await copy.close()

    def tell(self, upkeep: Upkeep) -> None:
        """See `Engine.tell`. Compactions are the object store's work, not this machine's disk."""

    async def lost(self) -> EngineLost:
        """See `Engine.lost`. A takeover is noticed also while nobody asks for anything."""
        while self._lost is None:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._closed and (reason := self._db.status().close_reason) is not None:
                self._lost = EngineLost(f"closed by SlateDB: {reason.name.lower()}")
        return self._lost

    async def close(self) -> None:
        """See `Engine.close`. What is durable needs no closing, so a lost engine is left alone."""
        if self._closed:
            return
        async with self._writing:
            self._closed = True
            if self._lost is None:
                try:
                    async with asyncio.timeout(self._storage.write_seconds):
                        await self._db.shutdown()
                except (slate.Error, TimeoutError) as error:
                    raise EngineError(f"closing: {_text(error)}") from error

    def _check(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")
        if self._lost is not None:
            raise self._lost

    async def _write(self, writes: "_Batch") -> None:
        try:
            async with asyncio.timeout(self._storage.write_seconds):
                handle = await self._db.write(writes.batch)
                if not self._storage.flush_seconds:
                    await self._db.flush_with_options(_FLUSH_LOG)
                await handle.await_durable()
        except (slate.Error, TimeoutError) as error:
            self._lost = EngineLost(f"a write was not confirmed: {_text(error)}")
            raise self._lost from error
        except asyncio.CancelledError:
            self._lost = EngineLost("a write was given up before it was confirmed")
            raise

    async def _reading(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except slate.Error.Closed as error:
            if not self._closed:
                self._lost = EngineLost(_text(error))
                raise self._lost from error
            raise EngineError("the engine is closed") from error
        except slate.Error.Data as error:  # every block has a checksum
            raise EngineDamaged(f"reading: {_text(error)}") from error
        except slate.Error as error:
            raise EngineError(f"reading: {_text(error)}") from error

    async def _scan(self, source: slate.Db | slate.DbSnapshot, wanted: ScanRange) -> Page:
        if wanted.start >= wanted.end:
            return Page([], exhausted=True)
        options = _BACKWARD if wanted.reverse else _FORWARD
        iterator = await source.scan_with_options(_range(wanted.start, wanted.end), options)
        rows: list[Row] = []
        size, chunk = 0, _ROWS_AT_FIRST
        while len(rows) < wanted.rows_max:
            some = await iterator.next_batch(min(chunk, wanted.rows_max - len(rows)))
            if not some:
                return Page(rows, exhausted=True)
            found = [(row.key, b"" if wanted.keys_only else row.value) for row in some]
            rows += found
            size += sum([len(key) + len(value) for key, value in found])
            if size >= wanted.bytes_max:
                break
            # As many more as should fit, going by the rows so far.
            chunk = min(_ROWS_AT_ONCE, 1 + (wanted.bytes_max - size) * len(rows) // (size + 1))
        return Page(rows, exhausted=False)

    async def _measure(self, start: bytes, end: bytes) -> Measure:
        iterator = await self._db.scan_with_options(_range(start, end), _FORWARD)
        keys = size = 0
        while some := await iterator.next_batch(_ROWS_AT_ONCE):
            keys += len(some)
            size += sum([len(row.key) + len(row.value) for row in some])
        return Measure(keys, size)


class _Batch:
    """A batch on its way to the engine, of bounded size."""

    def __init__(self, bytes_max: int) -> None:
        self.batch = slate.WriteBatch()
        self.count = 0
        self._room = bytes_max

    def add(self, writes: Iterable[Write]) -> None:
        for key, value in writes:
            self._room -= len(key) + len(value or b"")
            if self._room < 0:
                raise EngineError("a batch is larger than batch_bytes_max")
            if value is None:
                self.batch.delete(key)
            else:
                self.batch.put(key, value)
            self.count += 1


_LAST = b"\xff" * 64
_FLUSH_LOG = slate.FlushOptions(flush_type=slate.FlushType.WAL)
_DURABLE = slate.ReadOptions(
    durability_filter=slate.DurabilityLevel.REMOTE, dirty=False, cache_blocks=True
)


def _scanning(order: slate.IterationOrder) -> slate.ScanOptions:
    return slate.ScanOptions(
        durability_filter=slate.DurabilityLevel.REMOTE,
        dirty=False,
        read_ahead_bytes=1 << 20,
        cache_blocks=True,
        max_fetch_tasks=4,
        order=order,
    )


_FORWARD = _scanning(slate.IterationOrder.ASCENDING)
_BACKWARD = _scanning(slate.IterationOrder.DESCENDING)


def _range(start: bytes, end: bytes) -> slate.KeyRange:
    return slate.KeyRange(
        start=start or None, start_inclusive=bool(start), end=end, end_inclusive=False
    )


def _made(folder: Path) -> str:
    folder.mkdir(parents=True)
    return f"file://{folder.absolute()}"


def _store(storage: ObjectStorage) -> tuple[slate.ObjectStore, str]:
    """The store and the path of the data in it. Raises EngineError."""
    url = urlsplit(storage.url)
    provider = _PROVIDERS.get(url.scheme)
    path = url.path.strip("/")
    if provider is None or not path:
        known = ", ".join(f"{name}://" for name in _PROVIDERS)
        raise EngineError(f"{storage.url!r}: expected one of {known}, a bucket and a folder in it")
    builder = slate.ObjectStoreBuilder.from_env(provider)
    try:
        if url.netloc:
            builder.with_url(f"{url.scheme}://{url.netloc}")
        elif provider is slate.ObjectStoreType.LOCAL:
            builder.with_config("local_path", "/")
        for name, value in storage.options.items():
            builder.with_config(name, value)
        return builder.build(), path
    except slate.Error as error:
        raise EngineError(f"{storage.url}: {_text(error)}") from error


def _settings(storage: ObjectStorage) -> slate.Settings:
    settings = slate.Settings.default()
    # Without a pause the log is written by `apply` itself; this is only a bound for what is not.
    pause_ms = max(int((storage.flush_seconds or 1.0) * 1000), 1)
    settings.set("flush_interval", f'"{pause_ms}ms"')
    settings.set("object_store_max_retries", str(storage.retries))
    settings.set("l0_sst_size_bytes", str(storage.memory_table_bytes))
    settings.set("max_unflushed_bytes", str(4 * storage.memory_table_bytes))
    return settings


def _text(error: BaseException) -> str:
    """What went wrong, without the quotes and names of the binding."""
    return str(error).removeprefix("message=").strip("'\"") or type(error).__name__
