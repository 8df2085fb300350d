"""The commit path: from a pod's message to one atomic durable write.

    lock ──▶ look ──▶ judge ──▶ time ──▶ queue ──▶ durable ──▶ publish ──▶ unlock, reply
    └ may wait ┘      └── one synchronous step ──┘ └ group ┘   └── one synchronous step ──┘

*Lock*: a key the transaction holds is its own; for any other the commit takes the lock, waiting
in the same queue as everybody. *Look*: the newest versions of all keys concerned, from memory or
the engine. *Judge*: keys that must be absent, versions younger than the snapshot. Between judging
and queueing nothing can intervene, and what is queued before is either published or holds its
locks, which `Versions.newest` waits for. So the judgement still holds at the write.

A key that is required to be absent is exempt from the snapshot check: that it was there and went
away since is no conflict for an insertion (PostgreSQL sees it the same way).

A refused commit leaves its transaction open, with the locks it took: the pod may look again, decide
anew and commit, or end it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dormouse.base import blocks
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage.cache import Record
from storage.committer import Submission
from storage.engines.interface import EngineError, Write
from storage.layout import TIME, catalog_key, record_key, retired_key
from storage.lockmodes import NO_KEY_UPDATE, SHARE, UPDATE
from storage.locks import Outcome
from storage.metrics import COMMITS
from storage.notifications import checked
from storage.refusals import Refusal, catalog_stale, engine_failed, transaction_ended
from storage.shard import Shard
from storage.supersede import growth_of, version_writes
from storage.tenants import Tenant, Transaction
from storage.waiting import InFlight, await_turn, deadline_of, lock

CACHED_BYTES_MAX = 64 << 10
"""Larger payloads are not kept in memory."""


@dataclass(slots=True)
class Intent:
    """What a Commit asks for, checked against the tenant's span."""

    writes: dict[bytes, bytes | None]
    snapshot: int
    absent: frozenset[bytes]
    retired: list[tuple[bytes, bytes]]
    changes_catalog: bool
    catalog_version: int
    reads: tuple[list[bytes], list[tuple[bytes, bytes]]] | None
    """Keys and ranges a serializable transaction has read; None: it is none."""
    timeout_ms: int
    """For each lock that must be waited for; 0: no limit."""
    size: int
    notifications: list[kv.Notification]
    strange: list[bytes] = field(default_factory=list)
    """Keys written without a lock of the transaction's own."""
    growth: int = 0
    """By how many bytes the tenant's current rows become more, where that is limited."""

    @property
    def keys(self) -> list[bytes]:
        """Every key whose newest version matters."""
        return list({**self.writes, **dict.fromkeys(self.absent)})

    @property
    def changes(self) -> bool:
        """Whether it writes anything, and so needs a time."""
        return bool(self.writes or self.retired or self.changes_catalog)


def parse(tenant: Tenant, request: kv.Request) -> Intent:
    """Check a Commit; raises Refusal (OUTSIDE_TENANT, BAD_REQUEST)."""
    commit, span = request.commit, tenant.span
    return Intent(
        writes=dict(span.writes(commit.writes)),
        snapshot=commit.snapshot,
        absent=frozenset(span.keys_or_none(commit.absent)),
        retired=[span.range(each.start, each.end) for each in commit.retired],
        changes_catalog=commit.changes_catalog,
        catalog_version=request.catalog_version,
        reads=_reads(tenant, commit),
        timeout_ms=commit.timeout_ms,
        size=len(commit.writes.keys) + len(commit.writes.values),
        notifications=checked(commit.notifications),
    )


def _reads(
    tenant: Tenant, commit: kv.Commit
) -> tuple[list[bytes], list[tuple[bytes, bytes]]] | None:
    if not commit.HasField("reads"):
        return None
    reads, span = commit.reads, tenant.span
    ranges = [span.range(each.start, each.end) for each in reads.ranges]
    return span.keys_or_none(reads.keys), ranges


def judge(intent: Intent, transaction: Transaction, records: dict[bytes, Record]) -> None:
    """Decide on the newest versions whether the commit may go ahead; raises Refusal."""
    tenant = transaction.tenant
    if intent.reads is not None:
        _judge_reads(intent.reads, transaction)
    if intent.catalog_version and intent.catalog_version != tenant.catalog_next:
        raise catalog_stale(tenant.catalog_next)
    for key in intent.absent:
        if records[key][1] is not None:
            raise Refusal(kv.Error.KEY_EXISTS, "the key exists", key=key, version=records[key][0])
    if not intent.snapshot:
        return
    for key in intent.strange:
        since, payload = records[key]
        if since > intent.snapshot and payload is not None:
            raise Refusal(kv.Error.CONFLICT, "a younger version", key=key, version=since)


def _judge_reads(
    reads: tuple[list[bytes], list[tuple[bytes, bytes]]], transaction: Transaction
) -> None:
    try:
        key = transaction.tenant.validator.conflict(transaction, *reads)
    except LookupError:
        text = "nothing is known of the commits since the transaction's snapshot"
        raise Refusal(kv.Error.READ_CONFLICT, text) from None
    if key is not None:
        raise Refusal(kv.Error.READ_CONFLICT, "what was read was written since", key=key)


class CommitPath:
    """Takes commits through; `done(time, refusal)` is called once for each."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def try_now(
        self, transaction: Transaction, intent: Intent, done: Callable[[int, Refusal | None], None]
    ) -> bool:
        """Commit without waiting for anything but the disk; False where `run` is needed."""
        locks = self._shard.locks
        intent.strange = [key for key in intent.writes if locks.mode_held(transaction, key) < SHARE]
        if transaction.pieces or transaction.staging or transaction.tenant.rolling is not None:
            return False
        for key in intent.writes:
            if (
                locks.mode_held(transaction, key) < NO_KEY_UPDATE
                and locks.acquire(transaction, key, UPDATE) is not Outcome.GRANTED
            ):
                return False
        keys = intent.keys
        newest = self._shard.versions.newest_now(keys, transaction)
        if newest is None:
            return False
        records = dict(zip(keys, newest, strict=True))
        if self._maybe_removed(intent, transaction.tenant, records):
            return False
        self._submit(transaction, intent, records, done)
        return True

    async def run(
        self,
        transaction: Transaction,
        intent: Intent,
        request: InFlight,
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        """Commit, waiting for locks and reads as needed. Raises Refusal."""
        shard, tenant = self._shard, transaction.tenant
        for key in intent.writes:
            if shard.locks.mode_held(transaction, key) < NO_KEY_UPDATE:
                deadline = deadline_of(intent.timeout_ms)
                await lock(
                    shard.locks, transaction, key, UPDATE, request=request, deadline=deadline
                )
        newest = await shard.versions.newest(intent.strange, transaction)
        records = dict(zip(intent.strange, newest, strict=True))
        for key in self._maybe_removed(intent, tenant, records):
            if time := await shard.versions.removed_at(tenant, key, intent.snapshot):
                raise Refusal(kv.Error.CONFLICT, "a younger removal", key=key, version=time)
        keys = intent.keys
        newest = await shard.versions.newest(keys, transaction)
        while intent.changes and tenant.rolling is not None:
            await await_turn(tenant, transaction, request)
            newest = await shard.versions.newest(keys, transaction)
        self._submit(transaction, intent, dict(zip(keys, newest, strict=True)), done)

    def _maybe_removed(
        self, intent: Intent, tenant: Tenant, records: dict[bytes, Record]
    ) -> list[bytes]:
        """Absent keys that may have been removed after the snapshot: history knows."""
        if not intent.snapshot or intent.snapshot >= tenant.last_overwrite:
            return []
        return [
            key
            for key in intent.strange
            if key not in intent.absent
            and records[key][1] is None
            and records[key][0] > intent.snapshot
        ]

    def _submit(
        self,
        transaction: Transaction,
        intent: Intent,
        records: dict[bytes, Record],
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        if transaction.ended:
            raise transaction_ended()
        tenant = transaction.tenant
        judge(intent, transaction, records)
        if not intent.changes:
            tenant.channels.deliver(intent.notifications)
            self._shard.end(transaction)
            done(self._shard.versions.newest_of(tenant), None)
            return
        if self._shard.quotas.of(tenant.id):
            intent.growth = growth_of(intent.writes.items(), records)
            self.check_room(tenant, intent)
        time = self._shard.clock.next()
        new = version_writes(intent.writes.items(), records, time)
        if new.ended:
            tenant.last_overwrite = time
            tenant.removals.note(time, new.removed)
        side, retired = _side_writes(tenant, intent, time)

        def finished(error: EngineError | None) -> None:
            if error is None:
                self._publish(intent.writes.items(), time)
                self._shard.versions.visible = time
                self.finish(transaction, intent, time, done)
            else:
                self._shard.sizes.grew(tenant.id, -intent.growth)
                self.failed(transaction, error, done)

        record = record_key(tenant.id, transaction.pod, transaction.number)
        self._shard.committer.submit(
            Submission(
                [*new.batch, *side],
                finished,
                intent.size,
                time,
                record,
                tenant.share,
                [*new.ended, *retired],
                self._shard.windows.of(tenant.id),
            )
        )
        self._shard.sizes.grew(tenant.id, intent.growth)
        tenant.validator.wrote(time, intent.writes, intent.retired)
        transaction.commits(time)

    def check_room(self, tenant: Tenant, intent: Intent) -> None:
        """Raises Refusal (QUOTA) where the tenant may not become so much larger."""
        gives_back = bool(intent.retired)
        self._shard.quotas.check(tenant.id, intent.growth, gives_back=gives_back)

    def _publish(self, writes: Iterable[tuple[bytes, bytes | None]], time: int) -> None:
        cache = self._shard.cache
        for key, payload in writes:
            if payload is not None and len(payload) > CACHED_BYTES_MAX:
                cache.forget([key])
            else:
                cache.publish(key, (time, payload))

    def failed(
        self,
        transaction: Transaction,
        error: EngineError,
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        """The commit's write has failed as a whole: there is no trace of it."""
        tenant = transaction.tenant
        tenant.catalog_next = tenant.catalog_version
        transaction.decided(0)
        if transaction.session not in tenant.sessions:
            self._shard.end(transaction)
        done(0, engine_failed(error))

    def finish(
        self,
        transaction: Transaction,
        intent: Intent,
        time: int,
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        """The commit is durable, in its place and visible."""
        tenant = transaction.tenant
        COMMITS.inc()
        if intent.retired and self._shard.quotas.of(tenant.id):
            self._shard.sizes.needed(tenant.id, anew=True)
        if intent.changes_catalog:
            tenant.catalog_version = time
        transaction.decided(time)
        tenant.channels.deliver(intent.notifications)
        changed_catalog = time if intent.changes_catalog else 0
        self._shard.end(transaction, changed_catalog=changed_catalog)
        if intent.changes_catalog and tenant.readers.behind(time, but=transaction.session):
            spawn(_answer_when_told(transaction, time, done), name="telling of a catalog")
        else:
            done(time, None)


async def _answer_when_told(
    transaction: Transaction, time: int, done: Callable[[int, Refusal | None], None]
) -> None:
    await transaction.tenant.readers.told(time, but=transaction.session)
    done(time, None)


def _side_writes(tenant: Tenant, intent: Intent, time: int) -> tuple[list[Write], list[bytes]]:
    """What a commit writes beside rows, and the keys of the ranges it retires; notes a catalog
    change that is on its way."""
    retired = [retired_key(tenant.id, time, number) for number in range(len(intent.retired))]
    batch: list[Write] = [
        (key, blocks.pack(span)) for key, span in zip(retired, intent.retired, strict=True)
    ]
    if intent.changes_catalog:
        tenant.catalog_next = time
        batch.append((catalog_key(tenant.id), TIME.pack(time)))
    return batch, retired
