"""One transaction over the storage stream: lazy, buffered, and silent until it must speak.

Beginning costs nothing: storage hears of a transaction with its first lock, pin or staged piece,
or with its commit. Until then nothing has to be ended either.

Snapshots. A statement's first read asks for the newest state (snapshot 0) without a pin and learns
from the reply what it read at; only a second read of the same statement names that snapshot and
pins it. So a point select is one request that belongs to no transaction, and can be sent again when
the stream breaks. (Storage keeps superseded versions for some seconds even without a pin.) Under
REPEATABLE READ the first read pins, for the whole transaction, and under SERIALIZABLE what was read
goes with the commit. In a block the snapshot is the first statement's even if that reads nothing,
or waits before it reads: so it begins with a read of no keys (`look`).

    READ COMMITTED   get(0) ─▶ @71   get(71, pin)   ┃ next statement ┃   get(0) ─▶ @85
    REPEATABLE READ  get(0, pin) ─▶ @71   get(71)   ┃                ┃   get(71)

The catalog. Under READ COMMITTED the locks of its tables are all a statement needs: nobody changes
them under it, and what becomes of others is nothing to it (`sqlnode.kv.tables`). Locks end with the
stream, so a read that is sent again on another one proves there the catalog version the statement
was planned with, and is refused (CatalogStale) if the catalog has another one. So does the first
request of a statement that has not said which tables it uses, and that of a transaction which keeps
its snapshot, for the catalog goes with it. Later reads at that snapshot need no proof: what happens
to the schema meanwhile is not in it.

Writes wait in a `WriteBuffer` and go with the commit message; a bulk write that calls `flush`
stages them in pieces before. A commit that must wait for a lock can be told to give up; one whose
stream breaks is asked after by its number, and only when storage does not say in time is the
outcome reported as unknown (08007).
"""

from __future__ import annotations  # the client makes transactions

import asyncio
from typing import TYPE_CHECKING

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.kv import overlay
from sqlnode.kv.api import Isolation, Locked, Page
from sqlnode.kv.buffer import MISSING, Missing, WriteBuffer, packed
from sqlnode.kv.errors import KvRefused, StreamLost, answered, connection_lost, sql_error
from sqlnode.kv.insertion import Insertions
from sqlnode.kv.reads import ReadSet
from sqlnode.kv.rowlocks import RowLocks
from sqlnode.kv.savepoints import Savepoints
from sqlnode.kv.stager import STAGE_BYTES, Stager
from sqlnode.kv.tablelocks import TableLocks
from sqlnode.kv.tables import TableLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sqlnode.kv.client import KvClient

REST_BYTES = 64 << 10
"""Bytes that may go with the commit of a transaction that has staged others: storage gets pieces
ready while more of them come, but not the commit's own writes."""
KEYS_PER_REQUEST = 4_096
_PIN_ASKED = -1


class KvTransaction:
    """See `sqlnode.kv.api.Transaction`. Used by one task at a time."""

    def __init__(
        self,
        client: KvClient,
        take_row_ids: Callable[[int], Awaitable[range]],
        *,
        isolation: Isolation = Isolation.READ_COMMITTED,
        read_only: bool = False,
        as_of: int = 0,
        catalog_version: int = 0,
    ) -> None:
        self.isolation = isolation
        self.catalog_version = catalog_version
        """The catalog the statement was planned with (0: none)."""
        self.lock_timeout_ms = 0
        self.commit_time = 0
        """Set by a commit that wrote."""
        self.read_only = read_only
        """Whether writes are refused (25006)."""
        self.as_of = as_of
        """The past time that is read, ns since 1970 (REPEATABLE READ, read-only); 0: now."""
        self.notifications: Sequence[kv.Notification] = ()
        """What the commit lets others know."""
        self.session = 0
        """Whose it is: the backend pid."""
        self._client = client
        self._take_row_ids = take_row_ids
        self._buffer = WriteBuffer()
        self.number = 0
        """Its name in storage, once it has one."""
        self._epoch = 0
        self._enlisted = False
        self._locks = False
        """Whether storage may hold locks for it."""
        self._keeps_snapshot = isolation is not Isolation.READ_COMMITTED
        validated = isolation is Isolation.SERIALIZABLE and not read_only
        self._reads = ReadSet() if validated else None
        self._snapshot = self._pinned = self._newest_seen = 0
        self._proven = False
        self._committing = 0
        """The id of the commit request that is on its way."""
        self._retired: list[tuple[bytes, bytes]] = []
        self._changes_catalog = False
        self._savepoints = Savepoints()
        self._rows = RowLocks(self, self._buffer, self._savepoints, self._reads)
        self._insertions = Insertions(self._buffer, self._rows, self._reads)
        self.tables = TableLocks(self, client, self._savepoints)
        """The tables it has locked."""
        self._stager = Stager(client, self._buffer, self._enlist, self._reply)
        self._ended = False

    def __repr__(self) -> str:
        return (
            f"<KvTransaction {self.number} {self.isolation.value} @{self._snapshot} "
            f"{self._buffer.size} bytes buffered>"
        )

    # --- facts ---

    @property
    def snapshot(self) -> int:
        """The statement's snapshot, 0 before its first read."""
        return self._snapshot

    @property
    def has_writes(self) -> bool:
        """Whether a commit would write."""
        return bool(self._buffer) or bool(self._retired) or self._changes_catalog

    def take_back_statement(self) -> bool:
        """Let the statement that runs begin anew; False where it cannot, for it has written, or has
        a snapshot that it must keep."""
        if self._buffer.statement_has_writes:
            return False
        return not self.at_old_snapshot

    # --- statements and savepoints ---

    async def begin_statement(self) -> None:
        """See `Transaction.begin_statement`."""
        if self.tables.held:
            self.tie()
        self.tables.next_statement()
        self._buffer.next_statement()
        if self.isolation is Isolation.READ_COMMITTED:
            self._snapshot = 0
            self._proven = False

    def savepoint(self) -> int:
        """Begin a level that can be undone; answers its number, counted from 0."""
        level = self._buffer.savepoint()
        self._savepoints.add(level, len(self._retired), changes_catalog=self._changes_catalog)
        return level

    def release(self, level: int) -> None:
        """Keep what was written since savepoint `level` and forget the savepoint."""
        self._buffer.release(level)
        self._savepoints.release(level)

    async def rollback_to(self, level: int) -> None:
        """Undo what was written and locked since savepoint `level`, which stays. Once writes were
        staged, all locks are kept: the staged ones still are to be written over."""
        retired, self._changes_catalog, savepoint = self._savepoints.back_to(level)
        del self._retired[retired:]
        self._free(savepoint)
        back = self._buffer.rollback_to(level)
        for at in range(0, len(back), KEYS_PER_REQUEST):
            # The keys are locked, or were new: the newest values are what they were before.
            part = back[at : at + KEYS_PER_REQUEST]
            newest = kv.Request(get=kv.Get(keys=blocks.pack(part)))
            reply = await self._reply(self._send(newest, retry=True))
            for key, value in zip(part, blocks.unpack(reply.get.values), strict=True):
                self._buffer.put_back(key, value)
        await self.flush()

    def fail(self) -> None:
        """Nothing but rolling back to a savepoint leads on: what was locked since is free now."""
        self._free(self._savepoints.newest)

    def _free(self, savepoint: int) -> None:
        if self._buffer.staged:
            return
        self.tables.forget(savepoint)
        if self._savepoints.free(savepoint):
            self._rows.forget(savepoint)
            undo = kv.Undo(savepoint=savepoint)
            request = kv.Request(txn=self.number, session=self.session, undo=undo)
            self._client.free(request, epoch=self._epoch)

    # --- reads ---

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Transaction.get`."""
        if not self._buffer.has_visible():
            return await self._get(keys)
        known = [self._buffer.visible(key) for key in keys]
        asked = [key for key, own in zip(keys, known, strict=True) if own is MISSING]
        found = iter(await self._get(asked) if asked else ())
        return [next(found) if isinstance(own, Missing) else own for own in known]

    async def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        values: list[bytes | None] = []
        if self._reads is not None:
            self._reads.add_keys(keys)
        for at in range(0, len(keys), KEYS_PER_REQUEST):
            block = blocks.pack(keys[at : at + KEYS_PER_REQUEST])
            reply = await self._reply(self._send_read(kv.Request(get=kv.Get(keys=block))))
            self._saw(reply.get.snapshot)
            values += blocks.unpack(reply.get.values)
        return values

    def scan(
        self,
        start: bytes,
        end: bytes,
        *,
        reverse: bool = False,
        strip: int = 0,
        keys: bool = True,
        values: bool = True,
        rows_hint: int = 0,
    ) -> AsyncIterator[Page]:
        """See `Transaction.scan`."""
        own = self._buffer.visible_range if self._buffer.has_visible() else None
        request = overlay.ScanRequest(
            start, end, reverse, strip, keys, values, rows_hint, want_keys=keys or own is not None
        )
        read = self._reads.add_range if self._reads is not None else None
        return overlay.pages(request, self._send_scan, self._finish_scan, own, read)

    def _send_scan(self, scan: kv.Scan) -> asyncio.Future[kv.Reply]:
        # A scan of unknown length will be several pages; one with a limit is mostly one.
        return self._send_read(kv.Request(scan=scan), pin=scan.rows_max == 0)

    async def _finish_scan(self, sent: asyncio.Future[kv.Reply]) -> kv.ScanReply:
        scan = (await self._reply(sent)).scan
        self._saw(scan.snapshot)
        return scan

    def _send_read(self, request: kv.Request, *, pin: bool = False) -> asyncio.Future[kv.Reply]:
        """Send a read with the statement's snapshot, pinned where more than one read uses it."""
        snapshot = self._snapshot
        pin = pin or self._keeps_snapshot
        elsewhere = self.prove(request)
        target = request.get if request.HasField("get") else request.scan
        target.snapshot = snapshot or self.as_of
        target.as_of = not snapshot and self.as_of != 0
        if self._pinned != snapshot if snapshot else pin:
            target.pin = True
            target.validated = self._reads is not None
            self._pinned = snapshot or _PIN_ASKED
            self._enlist(request)
            return self._send(request, bound=True)
        bound = snapshot != 0
        return self._send(request, bound=bound, retry=not bound, elsewhere=elsewhere)

    def saw_lock(self, snapshot: int, *, taken: bool) -> None:
        """What a lock request answered is the newest at this time. `taken`: this is the statement's
        snapshot, if it has none yet."""
        self._proven = True
        self._newest_seen = max(self._newest_seen, snapshot)
        if taken:
            self._snapshot = self._snapshot or snapshot

    def _saw(self, snapshot: int) -> None:
        self._proven = True
        if not self._snapshot:
            self._snapshot = snapshot
            self._pinned = snapshot if self._pinned == _PIN_ASKED else self._pinned
        self._newest_seen = max(self._newest_seen, snapshot)

    # --- locks ---

    async def lock(
        self,
        keys: Sequence[bytes],
        *,
        strength: str = "update",
        wait: str = "wait",
        new: bool = False,
        proves: bool = True,
    ) -> list[Locked]:
        """See `Transaction.lock`."""
        return await self._rows.lock(keys, strength=strength, wait=wait, new=new, proves=proves)

    def forgo(self) -> None:
        """See `Transaction.forgo`."""
        if self._rows.forgo():
            request = kv.Request(txn=self.number, session=self.session, forgo=kv.Forgo())
            self._client.free(request, epoch=self._epoch)

    async def look(self, snapshot: int = 0, *, exports: int = 0, imports: int = 0) -> int:
        """Pin the statement's snapshot, and read nothing; `snapshot`: begin with that one. Answers
        which it is. `exports`, `imports`: see Get in proto/kv.proto (22023)."""
        self._snapshot = snapshot or self._snapshot
        if self._snapshot and self._snapshot == self._pinned:
            return self._snapshot
        nothing = kv.Get(keys=blocks.pack([]), exports=exports, imports=imports)
        reply = await self._reply(self._send_read(kv.Request(get=nothing), pin=True))
        self._saw(reply.get.snapshot)
        return self._snapshot

    async def locked(self, request: kv.Request) -> kv.Reply:
        """What storage answers to a request of the transaction that may wait for others."""
        self._enlist(request)
        self._locks = True
        try:
            return await self._reply(self._send(request, bound=True))
        except asyncio.CancelledError:
            self._client.cancel(request.id)
            raise

    def hold_tables(self, tables: Sequence[TableLock]) -> bool:
        """See `Transaction.hold_tables`."""
        return self.tables.hold(tables)

    async def lock_tables(self, tables: Sequence[TableLock], *, nowait: bool = False) -> None:
        """See `Transaction.lock_tables`."""
        await self.tables.lock(tables, nowait=nowait)

    def look_anew(self) -> None:
        """See `Transaction.look_anew`."""
        self._snapshot = self._pinned = 0

    @property
    def at_old_snapshot(self) -> bool:
        """Whether it reads at a snapshot that it took before, by the catalog of that time."""
        return self._keeps_snapshot and self._newest_seen != 0

    # --- writes ---

    async def insert(
        self, keys: Sequence[bytes], values: Sequence[bytes], *, unique: Sequence[bool]
    ) -> int | None:
        """See `Transaction.insert`."""
        self._check_writable()
        if True in unique:
            taken = await self._insertions.taken(keys, unique)
            if taken is not None:
                return taken
        self._buffer.put_all(keys, values)
        return None

    def load(self, keys: Sequence[bytes], values: Sequence[bytes]) -> int | None:
        """See `Transaction.load`."""
        self._check_writable()
        return self._insertions.load(keys, values)

    def put(self, key: bytes, value: bytes) -> None:
        """See `Transaction.put`."""
        self._check_writable()
        self._buffer.put(key, value)

    def delete(self, key: bytes) -> None:
        """See `Transaction.delete`."""
        self._check_writable()
        self._buffer.put(key, None)

    def retire(self, start: bytes, end: bytes) -> None:
        """See `Transaction.retire`."""
        self._check_writable()
        self._retired.append((start, end))

    def change_catalog(self) -> None:
        """See `Transaction.change_catalog`."""
        self._check_writable()
        self._changes_catalog = True

    async def row_ids(self, count: int) -> range:
        """See `Transaction.row_ids`."""
        return await self._take_row_ids(count)

    @property
    def statement_writes(self) -> tuple[int, int]:
        """See `Transaction.statement_writes`."""
        return self._buffer.statement_writes

    @property
    def unsent_writes(self) -> tuple[int, int]:
        """Keys that the commit would send, and about their bytes and those of their values."""
        return self._buffer.unsent

    async def flush(self) -> None:
        """See `Transaction.flush`."""
        if self._buffer.size >= STAGE_BYTES:
            await self._stager.stage()

    def _check_writable(self) -> None:
        if self.read_only:
            raise SqlError(
                sqlstate.READ_ONLY_SQL_TRANSACTION,
                "cannot write in a read-only transaction",
            )

    # --- the end ---

    async def commit(self) -> int:
        """Make the writes durable and end; the commit time, 0 where there was nothing to write.

        Raises SqlError 40001 (a lost stream), 40P01, 55P03, 57014 (see `give_up`), 53100, 54000,
        58030, 08007. Cancelling the awaiting task does not stop a commit that was sent; its outcome
        is then not reported.
        """
        if not self.has_writes and not self.notifications:
            self.rollback()
            return 0
        try:
            self.commit_time = await self._commit()
        finally:
            self._finish()
        return self.commit_time

    def give_up(self) -> None:
        """Let a commit that waits for a lock end with 57014; one that has got them goes on."""
        if self._committing:
            self._client.cancel(self._committing)

    async def _commit(self) -> int:
        try:
            room = self._client.limits.frame_bytes_max // 2
            if self._buffer.size > (REST_BYTES if self._buffer.staged else room):
                await self._stager.stage()
            await self._stager.finished()
        except SqlError:
            self._tell_end()
            raise
        request = self._commit_request()
        try:
            answer = self._client.call(request, epoch=self._epoch)
            self._committing = request.id
            return (await answer).commit.commit_time
        except KvRefused as refused:
            self._tell_end()
            raise sql_error(refused) from refused
        except StreamLost as lost:
            if lost.sent and (time := await self._client.resolve(self.number)):
                return time
            raise connection_lost() from lost

    def _commit_request(self) -> kv.Request:
        if not self.number:
            self.number = self._client.next_txn()
        commit = kv.Commit(
            writes=packed(self._buffer.take_rest()),
            snapshot=self._newest_seen,
            timeout_ms=self.lock_timeout_ms,
            retired=[kv.Range(start=start, end=end) for start, end in self._retired],
            changes_catalog=self._changes_catalog,
            reads=self._reads.message() if self._reads else None,
            notifications=self.notifications,
        )
        return kv.Request(txn=self.number, session=self.session, commit=commit)

    def rollback(self) -> None:
        """Forget everything. Storage is told, without waiting, if it knows the transaction."""
        if not self._ended:
            self._tell_end()
            self._finish()

    def _tell_end(self) -> None:
        if self._enlisted:
            end = kv.Request(txn=self.number, session=self.session, end=kv.End())
            if self._locks and self.session:
                self._client.free(end, epoch=self._epoch)
            else:
                self._client.send(end, epoch=self._epoch)

    def _finish(self) -> None:
        self._ended = True
        self._buffer.close()
        self._rows.clear()
        if self.tables.held:
            self.tables.close()
        self._stager.forget()

    # --- requests ---

    def _enlist(self, request: kv.Request) -> int:
        """Make a request part of the transaction: from here on storage holds something for it."""
        if not self.number:
            self.number = self._client.next_txn()
        if not self._epoch:
            self._epoch = self._client.epoch
        self._enlisted = True
        request.txn = self.number
        request.session = self.session
        return self._epoch

    def enlist(self) -> None:
        """Storage holds a lock for the transaction, which is to be told of its end."""
        self._locks = True
        self._enlist(kv.Request())

    def tie(self) -> None:
        """End with the present stream, whether storage holds something for it there or not. Raises
        SqlError 40001 where it had another one before."""
        if not self._epoch:
            self._epoch = self._client.epoch
        elif self._epoch != self._client.epoch:
            raise connection_lost()

    def bind(self, request: kv.Request) -> None:
        """Let a request of the session belong to the transaction, which ends with the stream then.
        Raises SqlError 40001 where that has happened."""
        if self._enlist(request) != self._client.epoch:
            raise connection_lost()

    def prove(self, request: kv.Request) -> int:
        """Let a request prove the catalog where that is needed on this stream; answers what it has
        to prove on another one."""
        if self._proven:
            return 0
        guarded = self.tables.guard and self._epoch == self._client.epoch
        if self._keeps_snapshot or not guarded:
            request.catalog_version = self.catalog_version
        return self.catalog_version

    def _send(
        self, request: kv.Request, *, bound: bool = False, retry: bool = False, elsewhere: int = 0
    ) -> asyncio.Future[kv.Reply]:
        epoch = self._epoch if bound else 0
        return self._client.call(request, epoch=epoch, retry=retry, elsewhere=elsewhere)

    async def _reply(self, sent: asyncio.Future[kv.Reply]) -> kv.Reply:
        return await answered(sent, past=self.as_of != 0)
