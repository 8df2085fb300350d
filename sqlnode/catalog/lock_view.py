"""Rows of pg_locks: advisory locks, locks of tables, and the row locks that are waited for.

As in PostgreSQL, who waits for a row is shown as waiting for the transaction that has it. What
nobody waits for is a matter between a transaction and storage, and is not listed. A weak lock of a
table that only a pod has noted (`fastpath`) is listed by that pod; another one shows it once
somebody wants a strong lock of the table.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from proto import kv_pb2 as kv
from sqlnode.bridge import wait
from sqlnode.catalog import system
from sqlnode.catalog.makers import Fact, Maker
from sqlnode.kv.advisory import key_parts

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution

_MODES: Mapping[int, str] = {kv.SHARE: "ShareLock", kv.UPDATE: "ExclusiveLock"}
_TABLE_MODES = {
    kv.ACCESS_SHARE: "AccessShareLock",
    kv.ROW_SHARE: "RowShareLock",
    kv.ROW_EXCLUSIVE: "RowExclusiveLock",
    kv.SHARE_UPDATE_EXCLUSIVE: "ShareUpdateExclusiveLock",
    kv.TABLE_SHARE: "ShareLock",
    kv.SHARE_ROW_EXCLUSIVE: "ShareRowExclusiveLock",
    kv.EXCLUSIVE: "ExclusiveLock",
    kv.ACCESS_EXCLUSIVE: "AccessExclusiveLock",
}
_XID_FIRST = 3  # those before stand for no transaction in PostgreSQL
_POD_SPREAD = 2_654_435_761
"""Keeps the numbers of different pods apart, mostly."""
_CONFLICT = 5
"""Two modes of row locks conflict where their numbers add up to this."""


def _locks(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del catalog
    advisory = execution.functions.advisory
    if advisory is None:
        return
    found: kv.ListLocksReply = wait(advisory.everyones())
    if found.more:
        text = f"pg_locks shows the first {len(found.locks)} locks"
        execution.notices.append(("WARNING", "01000", text))
    rows: dict[bytes, list[kv.LockState]] = {}
    for state in found.locks:
        if state.advisory:
            yield _advisory(state)
        elif state.table:
            yield _table(state)
        else:
            rows.setdefault(state.key, []).append(state)
    yield from _transactions(rows)


def _advisory(state: kv.LockState) -> Fact:
    class_id, object_id, sub_id = key_parts(state.key)
    return {
        **_common(state, _MODES[state.mode]),
        "locktype": "advisory",
        "database": system.DATABASE_OID,
        "classid": class_id,
        "objid": object_id,
        "objsubid": sub_id,
    }


def _table(state: kv.LockState) -> Fact:
    return {
        **_common(state, _TABLE_MODES[state.table_mode]),
        "locktype": "relation",
        "database": system.DATABASE_OID,
        "relation": state.table,
        "fastpath": state.fast_path,
    }


def _transactions(rows: Mapping[bytes, list[kv.LockState]]) -> Iterator[Fact]:
    shown: set[int] = set()
    for states in rows.values():
        holders = [state for state in states if state.granted]
        for holder in holders:
            if _xid(holder) not in shown:
                shown.add(_xid(holder))
                yield _transaction(holder, holder, "ExclusiveLock")
        for waiter in states:
            in_its_way = [each for each in holders if each.mode + waiter.mode >= _CONFLICT]
            if not waiter.granted and in_its_way:
                yield _transaction(waiter, in_its_way[0], "ShareLock")


def _transaction(state: kv.LockState, target: kv.LockState, mode: str) -> Fact:
    return {
        **_common(state, mode),
        "locktype": "transactionid",
        "transactionid": _xid(target),
    }


def _common(state: kv.LockState, mode: str) -> Fact:
    return {
        "virtualtransaction": f"{state.session}/{state.txn}",
        "pid": state.session,
        "mode": mode,
        "granted": state.granted,
        "fastpath": False,
    }


def _xid(state: kv.LockState) -> int:
    number = (state.txn + state.pod_id * _POD_SPREAD) % (2**32 - _XID_FIRST)
    return int(number) + _XID_FIRST


MAKERS: Mapping[str, Maker] = {"pg_locks": _locks}
