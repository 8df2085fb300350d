"""What each operation of a session does.

Every handler answers at once where memory has all it needs: the reply is returned. Otherwise it
returns None after arranging for the reply to come later, in a task of its own (waiting, reading) or
from the group commit (writing). Refusals are raised, here or in the task.
"""

import asyncio
from collections.abc import Callable

from dormouse.base import blocks
from dormouse.base.ids import PodId
from proto import kv_pb2 as kv
from storage import commit as commits
from storage.engines.interface import EngineError
from storage.locking import Locking, check_locks
from storage.refusals import Refusal, bad_request, transaction_ended
from storage.resolve import Resolver
from storage.shard import Shard
from storage.staging import Staging
from storage.streams import Stream, check_catalog, packed
from storage.tenants import Tenant, Transaction
from storage.versions import Wanted
from storage.waiting import InFlight

_ENDED_MAX = 4096
"""Transactions of a session whose end is remembered, so that a late request is told."""


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
        self._locking = Locking(shard, tenant, stream)
        self._ended: dict[int, None] = {}
        self._handlers: dict[str, Callable[[kv.Request], kv.Reply | None]] = {
            "get": self._get,
            "scan": self._scan,
            "lock": self._lock,
            "stage": self._stage,
            "commit": self._commit,
            "end": self._end,
            "resolve": self._resolve,
            "increment": self._increment,
        }

    def handle(self, request: kv.Request) -> kv.Reply | None:
        """Answer a request now, or see to it that it is answered. Raises Refusal."""
        handler = self._handlers.get(request.WhichOneof("op") or "")
        if handler is None:
            raise bad_request("a request without an operation")
        check_catalog(self._tenant, request)
        return handler(request)

    def _transaction(self, number: int) -> Transaction:
        if not number:
            raise bad_request("this operation needs a transaction")
        tenant = self._tenant
        name = (self._pod, number)
        transaction = tenant.transactions.get(name)
        if transaction is None:
            if number in self._ended or name in tenant.fenced:
                raise transaction_ended()
            if len(tenant.transactions) >= self._shard.limits.txns_max:
                raise Refusal(kv.Error.BUSY, "too many open transactions")
            transaction = Transaction(tenant, self._stream, self._pod, number)
            tenant.transactions[name] = transaction
        elif transaction.committing or transaction.session is not self._stream:
            raise transaction_ended()
        return transaction

    def _remember_ended(self, number: int) -> None:
        self._ended[number] = None
        if len(self._ended) > _ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _snapshot(self, request: kv.Request, asked: int, pin: bool) -> int:
        snapshot = self._shard.versions.snapshot(self._tenant, asked)
        if pin:
            self._tenant.pins[self._transaction(request.txn)] = snapshot
        return snapshot

    def _get(self, request: kv.Request) -> kv.Reply | None:
        get = request.get
        keys = self._tenant.span.keys(get.keys)
        snapshot = self._snapshot(request, get.snapshot, get.pin)
        values = self._shard.versions.get_now(self._tenant, keys, snapshot)
        if values is not None:
            reply = kv.GetReply(snapshot=snapshot, values=packed(values))
            return kv.Reply(id=request.id, get=reply)

        async def read(_: InFlight) -> kv.Reply:
            values = await self._shard.versions.get(self._tenant, keys, snapshot)
            reply = kv.GetReply(snapshot=snapshot, values=packed(values))
            return kv.Reply(id=request.id, get=reply)

        self._stream.later(request, read)
        return None

    def _scan(self, request: kv.Request) -> None:
        scan, limits = request.scan, self._shard.limits
        start, end = self._tenant.span.range(scan.start, scan.end)
        wanted = Wanted(
            start=start,
            end=end,
            reverse=scan.reverse,
            snapshot=self._snapshot(request, scan.snapshot, scan.pin),
            rows_max=min(scan.rows_max or limits.scan_rows_max, limits.scan_rows_max),
            bytes_max=min(scan.bytes_max or limits.scan_bytes_max, limits.scan_bytes_max),
        )

        async def read(_: InFlight) -> kv.Reply:
            found = await self._shard.versions.scan(self._tenant, wanted)
            strip = scan.strip
            reply = kv.ScanReply(snapshot=wanted.snapshot, resume=found.resume)
            if not scan.values_only:
                reply.keys = blocks.pack([key[strip:] for key, _ in found.rows])
            if not scan.keys_only:
                reply.values = blocks.pack([payload for _, payload in found.rows])
            return kv.Reply(id=request.id, scan=reply)

        self._stream.later(request, read)

    def _lock(self, request: kv.Request) -> kv.Reply | None:
        return self._locking.lock(request, self._transaction(request.txn))

    def _stage(self, request: kv.Request) -> None:
        writes = self._tenant.span.writes(request.stage.writes)
        transaction = self._transaction(request.txn)
        prepared, staged = self._staging.add(transaction, request.stage.writes, writes)

        async def look(_: InFlight) -> kv.Reply:
            await self._staging.look(prepared, [key for key, _ in writes])
            return await self._staged(request, staged)

        self._stream.later(request, look)

    async def _staged(self, request: kv.Request, staged: "asyncio.Future[int]") -> kv.Reply:
        return kv.Reply(id=request.id, stage=kv.StageReply(bytes_staged=await staged))

    def _commit(self, request: kv.Request) -> kv.Reply | None:
        intent = commits.parse(self._tenant, request)
        transaction = self._transaction(request.txn)
        if transaction.staged_bytes + intent.size > self._shard.limits.txn_bytes_max:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction writes too much")
        check_locks(self._shard, transaction, len(intent.writes) + len(intent.guards))
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

    def _resolve(self, request: kv.Request) -> None:
        number = request.resolve.txn
        if not number:
            raise bad_request("no transaction to resolve")

        async def resolve(_: InFlight) -> kv.Reply:
            time = await self._resolver.resolve(self._tenant, self._pod, number)
            # It may have changed the catalog, and its answer have been waiting for other pods.
            await self._tenant.listeners.told_catalog(
                self._tenant.catalog_version, but=self._stream
            )
            return kv.Reply(id=request.id, resolve=kv.ResolveReply(commit_time=time))

        self._stream.later(request, resolve)

    def _increment(self, request: kv.Request) -> None:
        key, delta = self._tenant.span.key(request.increment.key), request.increment.delta
        stream, counters = self._stream, self._shard.counters

        def answer(previous: int, error: EngineError | None) -> None:
            if error is not None:
                refusal = Refusal(kv.Error.IO, "the engine could not write the counter")
                stream.reply(refusal.reply(request.id))
            else:
                result = kv.IncrementReply(previous=previous)
                stream.reply(kv.Reply(id=request.id, increment=result))

        async def load(_: InFlight) -> None:
            while not counters.add_now(key, delta, answer):
                await counters.load(key)

        if not counters.add_now(key, delta, answer):
            stream.later(request, load)
