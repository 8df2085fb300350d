"""The embedded engine: one SQLite file in WAL mode, one writer thread, a few reader threads, and
one that copies the log into the file (storage/engines/checkpoints.py).

    event loop ──apply──▶ writer connection (thread) ──▶ write-ahead log, fsync at commit
         └──────get, scan──▶ reader connections (threads, query_only) ──▶ page cache, mmap

Where they meet on one core the event loop goes before these threads, the writer before the others,
and all of them before the copier (dormouse/base/scheduling.py).

A hop to a thread costs as much as twenty point reads, so every call crosses once with everything it
has. What a small batch is in SQL is put together before: the writer's thread would wait for the
interpreter meanwhile, and all others for the writer. And a read of a few keys (`get_now`) does not
cross at all: the event loop has a reader of its own, for a point read takes less time than asking
another thread for it. Readers have connections of their own: in WAL mode they go on while a large
batch is being written, and see the state before it.

Ownership: an `flock` on `<file>.lock`, which dies with the process however it dies.
`synchronous=FULL` makes every commit wait for the disk. After a kill the log is replayed by SQLite
itself at the next open.

What a disk error means is known for some calls only (storage/engines/transactions.py). Where the
fdatasync of a COMMIT fails, or what comes after it, SQLite says that the commit failed and rolls
back; this process goes on without the batch, but its frames lie complete in the log, and if nothing
overwrites them before the process dies, the next one finds a good commit there: what a client was
told had failed is back. So the engine is lost then, nobody is told anything, and the next process
says what became of it.

That process must not take the page cache's word for it: after a failed `fdatasync` the kernel may
hold pages as clean that have never reached the disk, and the next call succeeds with nothing to
write (PostgreSQL's "fsyncgate" of 2018). So before SQLite looks at a log that a crash has left,
`_settle` writes its bytes over themselves and syncs: what is then read is what is durable, and
where that cannot be had the engine does not open. Checkpoints need no such care. One whose sync
has failed counts as not done, so the next one writes the same pages again.

The file is not mapped into memory unless `mmap_bytes` says so: a page that the disk cannot read is
an error of the one request then, where a mapped one would end the process of all tenants (SIGBUS).
It costs a point read 0.5 to 2 µs, and a walk nothing.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from dormouse.base import scheduling
from dormouse.base.tasks import cancel, spawn
from storage.engines import tables
from storage.engines.checkpoints import Checkpoints
from storage.engines.interface import (
    EngineDamaged,
    EngineError,
    EngineFull,
    EngineInUse,
    EngineLost,
    Measure,
    Page,
    ScanRange,
    Upkeep,
    Write,
)
from storage.engines.rows import Rows, no_text
from storage.engines.tables import Tables
from storage.engines.transactions import JOINABLE_BYTES, JOINABLE_KEYS, BatchOnItsWay, OpenOutcome

T = TypeVar("T")

_KEYS_NOW_MAX = 8
"""Keys that are read on the event loop's own thread: about 10 µs each, from the page cache."""
_ROWS_NOW_MAX = 32
"""Rows that are scanned there: less than 1 µs each."""
_PREPARED_KEYS, _PREPARED_BYTES = 128, 128 << 10
"""A batch of so much is put into SQL on the event loop's own thread: 1.5 µs a key, 0.1 µs a kB."""
_write_work = partial(scheduling.work, urgent=True)
_copy_work = partial(scheduling.work, nicer=5)
_SETTLED_BYTES = 1 << 20
_REST_SECONDS = 0.01
"""How long a piece of the log waits for batches that are being written."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_READ_ERRORS = (sqlite3.Error, UnicodeDecodeError, EngineDamaged)
"""Of these the second is SQLite's too: it has quoted what is damaged."""


class SqliteEngine:
    """See `storage.engines.interface.Engine`; made by `open`."""

    turn_bytes = 128 << 10

    def __init__(
        self,
        path: Path,
        lock_fd: int,
        rows: Rows,
        here: sqlite3.Connection,
        writer: aiosqlite.Connection,
        readers: Sequence[aiosqlite.Connection],
        copier: aiosqlite.Connection,
    ) -> None:
        self._path = path
        self._log = _log_of(path)
        self._lock_fd = lock_fd
        self._rows = rows
        self._here = here
        self._writer = writer
        self._readers = readers
        self._reading = [0] * len(readers)
        """Calls that each of them has."""
        self._copier = copier
        self._writing = asyncio.Lock()
        self._batches = 0
        """That are being written or wait for it."""
        self._rested = asyncio.Event()
        """Set when there is none."""
        self._last = BatchOnItsWay(joinable=False)
        self._closed = False
        self._lost: asyncio.Future[EngineLost] = asyncio.get_running_loop().create_future()
        self._checkpoints = Checkpoints(self._copy_beside, self._copy_between, self._rest)
        self._copying = spawn(self._checkpoints.run(), name="checkpoints")

    @classmethod
    async def open(
        cls, path: Path, *, readers: int = 2, cache_bytes: int = 64 << 20, mmap_bytes: int = 0
    ) -> Self:
        """Open or create the file at `path` and own it; raises EngineInUse, EngineError.

        `cache_bytes` is the page cache of each connection; `mmap_bytes` bounds what is mapped.
        """
        lock_fd = _own(path)
        connections: list[aiosqlite.Connection] = []
        try:
            await asyncio.to_thread(_settle, _log_of(path))
            works: list[Callable[[], bool]] = [
                _write_work,
                *[scheduling.work] * readers,
                _copy_work,
            ]
            for work in works:
                reads_only = work is not _write_work
                made = await asyncio.to_thread(_connect, path, reads_only, cache_bytes, mmap_bytes)
                connections.append(await _with_thread(made, work))
            here = _connect(path, True, cache_bytes, mmap_bytes)
            rows = Rows(Tables.of(here))
        except (sqlite3.Error, ValueError, OSError) as error:
            for connection in connections:
                await connection.close()
            os.close(lock_fd)
            if isinstance(error, OSError):
                raise EngineError(f"{_log_of(path)}: {error.strerror}") from error
            raise _engine_error(error, str(path)) from error
        writer, *reading, copier = connections
        return cls(path, lock_fd, rows, here, writer, reading, copier)

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Engine.get`."""
        return await self._read(self._rows.get, keys)

    def get_now(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """See `Engine.get_now`."""
        if len(keys) > _KEYS_NOW_MAX or self._closed or self._lost.done():
            return None
        try:
            return self._rows.get(self._here, keys)
        except _READ_ERRORS:
            return None  # `get` will meet the error, if it stands

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        """See `Engine.scan`; a few rows are read without crossing, as in `get_now`."""
        found = self._scan_now(ranges)
        return await self._read(self._rows.scan, ranges) if found is None else found

    def _scan_now(self, ranges: Sequence[ScanRange]) -> list[Page] | None:
        if (
            self._closed
            or self._lost.done()
            or sum(each.rows_max for each in ranges) > _ROWS_NOW_MAX
        ):
            return None
        try:
            return self._rows.scan(self._here, ranges)
        except _READ_ERRORS:
            return None

    async def apply(self, batch: Collection[Write]) -> None:
        """See `Engine.apply`."""
        self._batches += 1
        self._rested.clear()
        large = len(batch) >= JOINABLE_KEYS or _bytes_of(batch) >= JOINABLE_BYTES
        self._last = written = BatchOnItsWay(joinable=large)
        try:
            await self._write_in_turn(batch, written)
        finally:
            written.close()
            self._batches -= 1
            if not self._batches:
                self._rested.set()
        self._checkpoints.wrote(written.pages)

    def join(self, batch: Collection[Write]) -> bool:
        """See `Engine.join`: until the last statement of the one before."""
        if not self._last.open:
            return False
        return self._last.join(*self._rows.statements(batch))

    async def _write_in_turn(self, batch: Collection[Write], written: BatchOnItsWay) -> None:
        async with self._writing:
            log_bytes = _size_of(self._log)
            try:
                await self._write(batch, written)
            except EngineFull:
                await self._hop(self._writer, _shorten, self._log, log_bytes)
                raise

    async def _write(self, batch: Collection[Write], written: BatchOnItsWay) -> None:
        if len(batch) > _PREPARED_KEYS or _bytes_of(batch) > _PREPARED_BYTES:
            await self._hop(self._writer, _apply, self._rows, batch, written)
        else:
            await self._hop(self._writer, written.run, *self._rows.statements(batch))

    async def room(self) -> int | None:
        """See `Engine.room`: of the file system, without what is free inside of the file."""
        try:
            system = await asyncio.to_thread(os.statvfs, self._path)
        except OSError as error:
            raise EngineError(f"{self._path}: {error.strerror}") from error
        return system.f_bavail * system.f_frsize

    async def measure(self, start: bytes, end: bytes) -> Measure:
        """See `Engine.measure`."""
        return await self._read(self._rows.measure, start, end)

    async def backup(self, target: Path) -> None:
        """See `Engine.backup`."""
        await self._read(_backup, target)

    def tell(self, upkeep: Upkeep) -> None:
        """See `Engine.tell`: the log is copied."""
        self._checkpoints.upkeep = upkeep

    async def lost(self) -> EngineLost:
        """See `Engine.lost`: a commit whose outcome stays open."""
        return await asyncio.shield(self._lost)

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._closed:
            return
        await cancel(self._copying)
        async with self._writing:
            self._closed = True
            self._here.close()
            for connection in (*self._readers, self._copier, self._writer):
                await connection.close()
            os.close(self._lock_fd)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_SECONDS):
                while self._batches:
                    await self._rested.wait()

    async def _copy_beside(self) -> tuple[int, int]:
        return await self._hop(self._copier, _checkpoint)

    async def _copy_between(self) -> tuple[int, int]:
        async with self._writing:
            return await self._hop(self._writer, _checkpoint)

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call on the reader that has the least to do."""
        reader = min(range(len(self._readers)), key=self._reading.__getitem__)
        self._reading[reader] += 1
        try:
            return await self._hop(self._readers[reader], function, *arguments)
        finally:
            self._reading[reader] -= 1

    async def _hop(
        self, connection: aiosqlite.Connection, function: Callable[..., T], *arguments: Any
    ) -> T:
        # aiosqlite's public calls cross to the thread once per statement. This is the call they
        # are made of: it runs one function, with as many statements as that likes, on the thread.
        if self._closed:
            raise EngineError("the engine is closed")
        if self._lost.done():
            raise self._lost.result()
        execute: Any = connection._execute
        try:
            result: T = await execute(function, connection._conn, *arguments)
        except OpenOutcome as outcome:
            self._lost.set_result(EngineLost(f"SQLite: a commit's outcome is open: {outcome}"))
            raise self._lost.result() from outcome
        except (sqlite3.Error, ValueError, OSError) as error:
            raise _engine_error(error, "SQLite") from error
        return result


def _engine_error(error: sqlite3.Error | ValueError | OSError, where: str) -> EngineError:
    """What a failure is to the layers above, with SQLite's own name for it."""
    if isinstance(error, UnicodeDecodeError):
        return EngineDamaged(f"{where}: an error that quotes what is no text")
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return EngineError(f"{where}: {error}")
    text = f"{where}: {error} ({error.sqlite_errorname})"
    if code == sqlite3.SQLITE_FULL:
        return EngineFull(text)
    return EngineDamaged(text) if code & 0xFF in _DAMAGED else EngineError(text)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size_of(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError as error:
        raise EngineError(f"{log}: {error.strerror}") from error


def _settle(log: Path) -> None:
    """Make durable what a log holds just now, whatever the kernel believes to be clean."""
    try:
        file = log.open("r+b", buffering=0)
    except FileNotFoundError:
        return
    with file:
        at = 0
        while some := os.pread(file.fileno(), _SETTLED_BYTES, at):
            at += os.pwrite(file.fileno(), some, at)
        os.fsync(file.fileno())


def _own(path: Path) -> int:
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(f"{lock_path}: {error.strerror}") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_fd)
        raise EngineInUse(f"{path} belongs to another running storage process") from error
    return lock_fd


async def _with_thread(
    connection: sqlite3.Connection, work: Callable[[], bool]
) -> aiosqlite.Connection:
    # It is made before its thread is: one that fails to connect ends when it likes.
    made = await aiosqlite.Connection(lambda: connection, iter_chunk_size=64)
    execute: Any = made._execute
    await execute(work)
    return made


def _connect(path: Path, reads_only: bool, cache_bytes: int, mmap_bytes: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=tables.STATEMENTS_MAX,
    )
    try:
        _prepare(connection, reads_only, cache_bytes, mmap_bytes)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection, reads_only: bool, cache_bytes: int, mmap_bytes: int
) -> None:
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size={-(cache_bytes >> 10)}")
    connection.execute(f"PRAGMA mmap_size={mmap_bytes}").fetchall()
    connection.execute("PRAGMA busy_timeout=10000").fetchall()
    # Checkpoints are made beside the writer (storage/engines/checkpoints.py).
    connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    # The log of a huge transaction is cut back to this by the next checkpoint.
    connection.execute("PRAGMA journal_size_limit=67108864").fetchall()
    # A look at the cells of each page that comes from the disk, too short to be measured.
    connection.execute("PRAGMA cell_size_check=ON")
    # Small journals of statements: no file beside the data, on another disk.
    connection.execute("PRAGMA temp_store=MEMORY")
    if reads_only:
        connection.execute("PRAGMA query_only=ON")
    else:
        tables.prepare(connection)
        # A file that can't be written is opened all the same. No key is empty, so this changes
        # nothing, but it is a write: let it be known at once.
        connection.execute("DELETE FROM kv WHERE k = x''")
    connection.text_factory = no_text


def _backup(connection: sqlite3.Connection, target: Path) -> None:
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()


def _checkpoint(connection: sqlite3.Connection) -> tuple[int, int]:
    """Copy what can be copied without anybody's waiting."""
    _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return pages, copied


def _bytes_of(batch: Collection[Write]) -> int:
    return sum([len(value) for _, value in batch if value])


def _apply(
    connection: sqlite3.Connection, rows: Rows, batch: Collection[Write], written: BatchOnItsWay
) -> None:
    written.run(connection, *rows.statements(batch))


def _shorten(_writer: sqlite3.Connection, log: Path, size: int) -> None:
    """Give back what a batch has taken of the disk that found no room in the end: its frames lie
    behind what the log held before, and nobody will read them."""
    if log.stat().st_size > size:
        os.truncate(log, size)
