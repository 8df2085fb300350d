"""What each operation of a session does.

Every handler answers at once where memory has all it needs: the reply is returned. Otherwise it
returns None after arranging for the reply to come later, in a task of its own (waiting, reading) or
from the group commit (writing). Refusals are raised, here or in the task.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dormouse.base.ids import PodId
from proto import kv_pb2 as kv
from storage import commit as commits
from storage.advisory import Advisory
from storage.engines.interface import EngineError
from storage.layout import split_table_lock
from storage.metrics import TRANSACTIONS
from storage.refusals import (
    Refusal,
    bad_request,
    catalog_stale,
    engine_failed,
    not_exported,
    snapshot_in_future,
    snapshot_too_old,
    transaction_ended,
)
from storage.replies import get_reply, page_reply
from storage.resolve import Resolver
from storage.rowlocks import RowLocking
from storage.sequence_operations import SequenceOperations
from storage.shard import Shard
from storage.staging import Staging
from storage.tablelocks import TableLocking
from storage.tenants import Tenant, Transaction
from storage.versions import Wanted
from storage.waiting import InFlight, WorkingStream

_ENDED_MAX = 4096
"""Transactions of a session whose end is remembered, so that a late request is told."""

_SHARED_KEYS = 32
"""Of a get that are read in one go while other tenants are about: it takes some 40 µs."""
_SHARED_PAGE_BYTES = 64 << 10
"""Of a page of a scan while other tenants are about: a page is packed in one go."""


class Stream(WorkingStream, Protocol):
    """The session as its operations see it."""

    def reply(self, reply: kv.Reply) -> None:
        """Send a reply that was not ready at once."""
        ...

    def go_on(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        """Likewise call `work` in the tenant's next turn, before its other requests."""
        ...


@dataclass(slots=True)
class _Get:
    """A get of many keys, on its way."""

    keys: list[bytes]
    snapshot: int
    values: list[bytes | None] = field(default_factory=list)
    """Of the first keys."""


class Operations:
    """The operations of one session."""

    def __init__(self, shard: Shard, tenant: Tenant, pod: PodId, stream: Stream) -> None:
        self._shard = shard
        self._tenant = tenant
        self._pod = pod
        self._stream = stream
        self._commits = commits.CommitPath(shard)
        self._staging = Staging(shard, self._commits)
        self._resolver = Resolver(shard)
        self._advisory = Advisory(shard, tenant, pod, stream)
        self._rows = RowLocking(shard, tenant, stream, self._transaction, self._check_catalog)
        self._tables = TableLocking(shard, tenant, stream, self._known)
        self._ended: OrderedDict[int, Callable[[], Refusal]] = OrderedDict()
        self._handlers: dict[str, Callable[[kv.Request], kv.Reply | None]] = {
            "get": self._get,
            "scan": self._scan,
            "lock": self._rows.lock,
            "stage": self._stage,
            "commit": self._commit,
            "end": self._end,
            "resolve": self._resolve,
            "increment": self._increment,
            "listen": self._listen,
            "undo": self._undo,
            "forgo": self._forgo,
            "advisory": self._advisory.lock,
            "unlock": self._advisory.unlock,
            "locks": self._advisory.list_locks,
            "lock_tables": self._lock_tables,
            "recalled": self._tables.recalled,
            "sequence": SequenceOperations(shard, tenant, stream).handle,
        }

    def handle(self, request: kv.Request) -> kv.Reply | None:
        """Answer a request now, or see to it that it is answered. Raises Refusal."""
        handler = self._handlers.get(request.WhichOneof("op") or "")
        if handler is None:
            raise bad_request("a request without an operation")
        self._check_catalog(request)
        return handler(request)

    def _check_catalog(self, request: kv.Request) -> None:
        version = request.catalog_version
        if version and version != self._tenant.catalog_version:
            raise catalog_stale(self._tenant.catalog_version)

    def _transaction(self, request: kv.Request) -> Transaction:
        number = request.txn
        if not number:
            raise bad_request("this operation needs a transaction")
        tenant = self._tenant
        transaction = tenant.transactions.get((self._pod, number))
        if transaction is None:
            self._shard.caps.check_open(tenant)
            transaction = self._known(number, request.session)
            if transaction is None:
                refusal = self._ended.get(number, transaction_ended)()
                raise refusal
        elif transaction.committing or transaction.session is not self._stream:
            raise transaction_ended()
        if request.session:
            self._advisory.join(transaction, request.session)
        return transaction

    def _known(self, number: int, session: int) -> Transaction | None:
        """A transaction of this stream, made if need be; None where it has ended."""
        tenant, name = self._tenant, (self._pod, number)
        transaction = tenant.transactions.get(name)
        if transaction is None:
            if number in self._ended or name in tenant.fenced:
                return None
            transaction = Transaction(tenant, self._stream, self._pod, number)
            TRANSACTIONS.inc()
            tenant.transactions[name] = transaction
        elif transaction.session is not self._stream:
            return None
        if session:
            self._advisory.join(transaction, session)
        return transaction

    def _remember_ended(self, number: int, why: Callable[[], Refusal] = transaction_ended) -> None:
        """`why`: what whoever goes on with it is told."""
        self._ended[number] = why
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def _snapshot(self, request: kv.Request, read: kv.Get | kv.Scan) -> int:
        snapshot = self._shard.versions.snapshot(self._tenant, read.snapshot)
        if read.pin:
            transaction = self._transaction(request)
            self._tenant.pins[transaction] = snapshot
            if read.validated and not read.snapshot:
                self._shard.validate(transaction, snapshot)
        return snapshot

    def _import(self, request: kv.Request) -> None:
        """Let a transaction begin at a snapshot that another one exports. Raises Refusal."""
        get = request.get
        if not get.pin or (get.snapshot, get.imports) not in self._tenant.exported.values():
            raise not_exported()
        transaction = self._transaction(request)
        if get.validated and not self._tenant.validator.join(transaction, get.snapshot):
            raise not_exported()

    async def _as_of(
        self,
        read: kv.Get | kv.Scan,
        answer: Callable[[], kv.Reply | None],
        _flight: InFlight,
    ) -> kv.Reply | None:
        """Let `answer` read what was committed by the time `read` names, and nothing else ever:
        what is on its way with no later time is waited for."""
        if not self._shard.clock.passed(read.snapshot):
            raise snapshot_in_future()
        oldest = self._shard.oldest_readable(self._tenant.id)
        if read.snapshot < oldest:
            raise snapshot_too_old(oldest)
        for transaction in list(self._tenant.transactions.values()):
            if transaction.committing and transaction.time <= read.snapshot:
                await transaction.outcome()
        read.snapshot = min(read.snapshot, self._shard.versions.newest_of(self._tenant))
        read.as_of = False
        return answer()

    def _get(self, request: kv.Request) -> kv.Reply | None:
        get = request.get
        if get.as_of:
            self._stream.later(request, partial(self._as_of, get, partial(self._get, request)))
            return None
        keys = self._tenant.span.keys(get.keys)
        if get.imports:
            self._import(request)
        snapshot = self._snapshot(request, get)
        if get.exports and get.pin:
            self._tenant.exported[self._transaction(request)] = (snapshot, get.exports)
        if len(keys) > _SHARED_KEYS and self._shard.admission.contended:
            return self._get_some(_Get(keys, snapshot), request)
        values = self._shard.versions.get_now(self._tenant, keys, snapshot)
        if values is not None:
            return get_reply(request, snapshot, values)
        self._get_later(request, keys, snapshot)
        return None

    def _get_some(self, wanted: _Get, request: kv.Request) -> kv.Reply | None:
        """Read some of the keys from memory, others in other turns; all from the engine if need
        be."""
        values, keys, snapshot = wanted.values, wanted.keys, wanted.snapshot
        some = keys[len(values) : len(values) + _SHARED_KEYS]
        found = self._shard.versions.get_now(self._tenant, some, snapshot)
        if found is None:
            self._get_later(request, keys, snapshot)
            return None
        values += found
        if len(values) == len(keys):
            return get_reply(request, snapshot, values)
        self._stream.go_on(request, partial(self._get_some, wanted))
        return None

    def _get_later(self, request: kv.Request, keys: list[bytes], snapshot: int) -> None:
        """Read all of the keys from the engine."""

        async def read(_: InFlight) -> kv.Reply:
            reading = partial(self._shard.versions.get, self._tenant, keys, snapshot)
            values = await self._shard.admission.read(self._tenant.share, reading)
            return get_reply(request, snapshot, values)

        self._stream.later(request, read)

    def _scan(self, request: kv.Request) -> None:
        scan = request.scan
        if scan.as_of:
            self._stream.later(request, partial(self._as_of, scan, partial(self._scan, request)))
            return
        start, end = self._tenant.span.range(scan.start, scan.end)
        snapshot = self._snapshot(request, scan)

        async def page() -> kv.ScanReply:
            wanted = self._wanted(scan, start, end, snapshot)
            found = await self._shard.versions.scan(self._tenant, wanted)
            return page_reply(scan, snapshot, found)

        async def read(_: InFlight) -> kv.Reply:
            scanned = await self._shard.admission.read(self._tenant.share, page)
            return kv.Reply(id=request.id, scan=scanned)

        self._stream.later(request, read)

    def _wanted(self, scan: kv.Scan, start: bytes, end: bytes, snapshot: int) -> Wanted:
        limits = self._shard.limits
        bytes_max = limits.scan_bytes_max
        if self._shard.admission.contended:
            bytes_max = min(bytes_max, _SHARED_PAGE_BYTES)
        return Wanted(
            start=start,
            end=end,
            reverse=scan.reverse,
            snapshot=snapshot,
            rows_max=min(scan.rows_max or limits.scan_rows_max, limits.scan_rows_max),
            bytes_max=min(scan.bytes_max or bytes_max, bytes_max),
        )

    def _lock_tables(self, request: kv.Request) -> kv.Reply | None:
        return self._tables.lock(request, self._transaction(request))

    def _stage(self, request: kv.Request) -> None:
        transaction = self._transaction(request)

        def ends(error: EngineError) -> None:
            # Whoever goes on with it may be heard before the answer to what could not be written.
            # Of the error its kind is kept: its traceback holds on to all that was to be written.
            kind = type(error)("")
            self._remember_ended(request.txn, partial(engine_failed, kind))

        staged = self._shard.intake.add(transaction, request.stage.writes, ends)

        async def answer(_: InFlight) -> kv.Reply:
            return kv.Reply(id=request.id, stage=kv.StageReply(bytes_staged=await staged))

        self._stream.later(request, answer)

    def _commit(self, request: kv.Request) -> kv.Reply | None:
        intent = commits.parse(self._tenant, request)
        transaction = self._transaction(request)
        if transaction.staged_bytes + intent.size > self._shard.limits.txn_bytes_max:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction writes too much")
        self._shard.caps.check_new_locks(transaction, intent.writes)
        reply, stream = kv.Reply(id=request.id), self._stream

        def done(time: int, refusal: Refusal | None) -> None:
            if refusal is None:
                self._remember_ended(request.txn)
                reply.commit.commit_time = time
            stream.reply(refusal.reply(request.id) if refusal is not None else reply)

        async def run(flight: InFlight) -> None:
            if transaction.pieces or transaction.staging:
                await self._staging.commit(transaction, intent, flight, done)
            else:
                await self._commits.run(transaction, intent, flight, done)

        if not self._commits.try_now(transaction, intent, done):
            stream.later(request, run)
        return None

    def _end(self, request: kv.Request) -> kv.Reply:
        transaction = self._tenant.transactions.get((self._pod, request.txn))
        if transaction is not None and transaction.session is self._stream:
            if transaction.committing:
                raise bad_request("the transaction is being committed")
            self._shard.end(transaction)
            self._remember_ended(request.txn)
        return kv.Reply(id=request.id, end=kv.EndReply())

    def _undo(self, request: kv.Request) -> kv.Reply:
        transaction = self._tenant.transactions.get((self._pod, request.txn))
        if (
            transaction is not None
            and transaction.session is self._stream
            and not transaction.committing
            and not (transaction.pieces or transaction.staging)
        ):
            self._undo_since(transaction, request.undo.savepoint)
        return kv.Reply(id=request.id, undo=kv.UndoReply())

    def _undo_since(self, transaction: Transaction, savepoint: int) -> None:
        # Not the end of the list alone: locks that were recalled come late, with older savepoints.
        undone = [each for each in transaction.undo if each[0] >= savepoint]
        transaction.undo = [each for each in transaction.undo if each[0] < savepoint]
        for _, key, before in reversed(undone):
            self._shard.locks.lower(transaction, key, before)
            table = split_table_lock(key)
            if table is not None:
                self._shard.settle(transaction, table)

    def _forgo(self, request: kv.Request) -> kv.Reply:
        transaction = self._tenant.transactions.get((self._pod, request.txn))
        if (
            transaction is not None
            and transaction.session is self._stream
            and not transaction.committing
        ):
            self._rows.forgo(transaction)
        return kv.Reply(id=request.id, forgo=kv.ForgoReply())

    def _resolve(self, request: kv.Request) -> None:
        number = request.resolve.txn
        if not number:
            raise bad_request("no transaction to resolve")

        async def resolve(_: InFlight) -> kv.Reply:
            time = await self._resolver.resolve(self._tenant, self._pod, number)
            # It may have changed the catalog, and its answer have been waiting for other pods.
            await self._tenant.readers.told(self._tenant.catalog_version, but=self._stream)
            return kv.Reply(id=request.id, resolve=kv.ResolveReply(commit_time=time))

        self._stream.later(request, resolve)

    def _listen(self, request: kv.Request) -> kv.Reply:
        channels = self._tenant.channels
        channels.unlisten(self._stream, request.listen.gone)
        channels.listen(self._stream, request.listen.channels)
        return kv.Reply(id=request.id, listen=kv.ListenReply())

    def _increment(self, request: kv.Request) -> None:
        key, delta = self._tenant.span.key(request.increment.key), request.increment.delta
        stream, counters = self._stream, self._shard.counters

        def answer(previous: int, error: EngineError | None) -> None:
            if error is not None:
                stream.reply(engine_failed(error).reply(request.id))
            else:
                result = kv.IncrementReply(previous=previous)
                stream.reply(kv.Reply(id=request.id, increment=result))

        async def load(_: InFlight) -> None:
            while not counters.add_now(key, delta, answer):
                await counters.load(key)

        if not counters.add_now(key, delta, answer):
            stream.later(request, load)
