"""Advisory locks: the same lock table, other keys, and sessions as owners.

    session 4711 of pod 1 ──Advisory──▶ a │ tenant │ key        waits like any row lock
         │ its transactions join it: one node in the search for deadlocks
         └──Unlock, or the end of the session or of its stream──▶ free

How often a session has taken a lock, and which of it ends with the transaction, is the pod's
business; here a session holds a key in one mode, the strongest it needs.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from dormouse.base.ids import PodId
from proto import kv_pb2 as kv
from storage.layout import advisory_key, split_table_lock, table_lock_key
from storage.lockmodes import row_mode, row_number, table_numbers
from storage.locks import Outcome
from storage.refusals import Refusal, bad_request
from storage.shard import Shard
from storage.tenants import Party, Tenant, Transaction
from storage.waiting import InFlight, WorkingStream, deadline_of, lock

KEY_BYTES = 17
LISTED_MAX = 10_000
"""Locks in one answer to `ListLocks`."""
_MODES = frozenset({kv.SHARE, kv.UPDATE})


class Advisory:
    """The advisory locks of the sessions of one stream."""

    def __init__(self, shard: Shard, tenant: Tenant, pod: PodId, stream: WorkingStream) -> None:
        self._shard = shard
        self._tenant = tenant
        self._pod = pod
        self._stream = stream

    def join(self, transaction: Transaction, number: int) -> None:
        """A transaction belongs to a session, which may hold advisory locks."""
        transaction.session_number = number
        party = self._tenant.parties.get((self._stream, number))
        if party is not None:
            self._shard.locks.join(transaction, party)

    def lock(self, request: kv.Request) -> kv.Reply | None:
        """Take one. Raises Refusal."""
        wanted = request.advisory
        if len(wanted.key) != KEY_BYTES or wanted.mode not in _MODES:
            raise bad_request("no such advisory lock")
        party, locks = self._party(request), self._shard.locks
        key, mode = advisory_key(self._tenant.id, wanted.key), row_mode(wanted.mode)
        if locks.count(party) >= self._shard.limits.txn_locks_max:
            raise Refusal(kv.Error.TOO_LARGE, "the session holds too many advisory locks")
        self._shard.caps.check_tenant_locks(self._tenant, 1)
        if locks.acquire(party, key, mode) is Outcome.GRANTED:
            return kv.Reply(id=request.id, advisory=kv.AdvisoryReply())
        if wanted.wait != kv.WAIT:
            raise Refusal(kv.Error.LOCK_NOT_AVAILABLE, "the lock is not available", key=wanted.key)
        self._stream.later(request, partial(self._wait, request, party, key, mode))
        return None

    async def _wait(
        self, request: kv.Request, party: Party, key: bytes, mode: int, flight: InFlight
    ) -> kv.Reply:
        deadline = deadline_of(request.advisory.timeout_ms)
        await lock(self._shard.locks, party, key, mode, request=flight, deadline=deadline)
        return kv.Reply(id=request.id, advisory=kv.AdvisoryReply())

    def _party(self, request: kv.Request) -> Party:
        parties, name = self._tenant.parties, (self._stream, request.session)
        if not request.session:
            raise bad_request("an advisory lock needs a session")
        party = parties.get(name)
        if party is None:
            if len(parties) >= self._shard.limits.txns_max:
                raise Refusal(kv.Error.BUSY, "too many sessions with advisory locks")
            party = parties[name] = Party(self._stream, self._pod, request.session)
        transaction = self._tenant.transactions.get((self._pod, request.txn))
        if transaction is not None and transaction.session is self._stream:
            self.join(transaction, request.session)
        return party

    def unlock(self, request: kv.Request) -> kv.Reply:
        """Lower or free some, or all at the session's end."""
        party = self._tenant.parties.get((self._stream, request.session))
        if party is not None:
            for kept in request.unlock.kept:
                key = advisory_key(self._tenant.id, kept.key)
                self._shard.locks.lower(party, key, row_mode(kept.mode))
            if request.unlock.session_ends:
                self._shard.part(self._tenant, party)
        return kv.Reply(id=request.id, unlock=kv.UnlockReply())

    def list_locks(self, request: kv.Request) -> kv.Reply:
        """What `ListLocks` answers."""
        reply = kv.ListLocksReply()
        for state in self._states():
            if len(reply.locks) >= LISTED_MAX:
                reply.more = True
                break
            reply.locks.append(state)
        return kv.Reply(id=request.id, locks=reply)

    def _states(self) -> Iterator[kv.LockState]:
        locks, prefix = self._shard.locks, advisory_key(self._tenant.id, b"")
        for party in self._tenant.parties.values():
            for key in locks.held(party):
                yield _state(party, key[len(prefix) :], locks.mode_held(party, key), granted=True)
        for transaction in self._tenant.transactions.values():
            for table in transaction.tables:
                modes = locks.mode_held(transaction, table_lock_key(self._tenant.id, table))
                yield from _table_states(transaction, table, modes, granted=True)
        for key, owner, mode, granted in locks.contended():
            if isinstance(owner, Party) and key.startswith(prefix) and not granted:
                yield _state(owner, key[len(prefix) :], mode, granted=False)
            elif isinstance(owner, Transaction) and owner.tenant is self._tenant:
                contended = split_table_lock(key)
                if contended is None:
                    yield _state(owner, key, mode, granted=granted)
                elif not granted:
                    yield from _table_states(owner, contended, mode, granted=False)


def _state(owner: Party | Transaction, key: bytes, mode: int, *, granted: bool) -> kv.LockState:
    number = kv.LockMode.ValueType(row_number(mode))
    is_party = isinstance(owner, Party)
    return kv.LockState(key=key, advisory=is_party, mode=number, granted=granted, **_names(owner))


def _table_states(
    owner: Transaction, table: int, modes: int, *, granted: bool
) -> Iterator[kv.LockState]:
    for number in table_numbers(modes):
        mode = kv.TableMode.ValueType(number)
        yield kv.LockState(table=table, table_mode=mode, granted=granted, **_names(owner))


def _names(owner: Party | Transaction) -> dict[str, Any]:
    if isinstance(owner, Party):
        return {"pod_id": owner.pod, "session": owner.number}
    return {"pod_id": owner.pod, "session": owner.session_number, "txn": owner.number}
