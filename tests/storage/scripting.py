"""Golden scripts: several sessions against one shard in memory, without a network or a clock.

A block is some commands, `---`, and what they answered. A command is `session: verb words…`; every
session has one open transaction at a time. A request that has to wait says `waits`, and what became
of it appears under the command that set it free. Times are shown as T1, T2, … in order of
appearance. `DORMOUSE_REWRITE=1` writes the answers into the scripts instead of comparing them.

    pin                          take a snapshot; gets and scans of the session read at it
    get KEY…    scan FROM TO [reverse]
    lock KEY… [key_share|share|no_key_update|update] [nowait|skip|look|for_row] [at_snapshot]
              [at_version=Tn] [savepoint=N] [tentative] [new]
    table NUMBER MODE [nowait] [savepoint=N] [planned=Tn|1]
    recalled RECALL NUMBER [TXN:MODE[:SAVEPOINT]…]     what the pod's transactions have noted
    undo N                       back to a savepoint
    forgo                        what the last lock got, if it was tentative
    stage KEY=VALUE…             (KEY=- removes)
    commit KEY=VALUE… [absent=KEY] [retire=FROM..TO] [at_snapshot] [new_catalog]
    end    resolve    leave    locks      increment KEY BY      next KEY COUNT
    seen Tn|none                 the pod keeps the catalog and has this version of it
    collect                      (no session) one pass of the garbage collection
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage.engines.memory import MemoryEngine
from storage.layout import TIME
from storage.operations import Operations
from storage.refusals import Refusal
from storage.shard import Retention, Shard
from storage.waiting import InFlight

TENANT = TenantId(1)
PREFIX = tenant_prefix(TENANT)
_TURNS = 60
_TABLE_MODES = {name.lower(): value for name, value in kv.TableMode.items()}
_MODES = {name.lower(): value for name, value in kv.LockMode.items()}


class ScriptSession:
    """A session without a stream: what it is told it keeps for the script."""

    def __init__(self, shard: Shard, name: str, pod: int, script: "Script") -> None:
        self.name = name
        self.txn = 1
        self.snapshot = 0
        self.commands: dict[int, str] = {}
        self._script = script
        self._shard = shard
        self._pod = pod
        self._ids = 0
        self._operations: Operations | None = None

    async def open(self) -> None:
        self.tenant = await self._shard.enter(TENANT, self)
        self._operations = Operations(self._shard, self.tenant, PodId(self._pod), self)
        if wanted := self.tenant.tables.join(self):
            self._script.say(f"{self.name}: is told with the hello of {wanted}")

    def end(self, reason: str) -> None:
        self._script.say(f"{self.name}: ended: {reason}")

    def tell_catalog(self, version: int) -> None:
        self._script.say(f"{self.name}: is told of catalog {self._script.time(version)}")

    def tell_notification(self, notification: kv.Notification) -> None:
        channel, payload = notification.channel, notification.payload
        self._script.say(f"{self.name}: is notified on {channel}: {payload}")

    def tell_table(self, word: kv.TableWord) -> None:
        text = f"recall {word.recall}" if word.recall else "no recall"
        if word.changed:
            text += f", changed at {self._script.time(word.changed)}"
        self._script.say(f"{self.name}: is told of table {word.table}: {text}")

    def cut(self, reason: str) -> None:
        self._script.say(f"{self.name}: cut: {reason}")

    def saw_catalog(self, version: int) -> None:
        self.tenant.readers.saw(self, version, self.tenant.catalog_version)

    def leave(self) -> None:
        self._shard.leave(self.tenant, self)

    def reply(self, reply: kv.Reply) -> None:
        self._script.answered(self, reply)

    def go_on(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        reply = work(request)
        if reply is not None:
            self.reply(reply)

    def later(
        self, request: kv.Request, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        async def run() -> None:
            try:
                reply = await work(InFlight(request.id, 0))
            except Refusal as refusal:
                reply = refusal.reply(request.id)
            if reply is not None:
                self.reply(reply)

        spawn(run(), name="script request")

    def request(self, command: str, **op: Any) -> None:
        self._ids += 1
        self.commands[self._ids] = command
        request = kv.Request(id=self._ids, txn=self.txn, **op)
        if self._operations is None:
            raise TypeError("not open")
        try:
            reply = self._operations.handle(request)
        except Refusal as refusal:
            reply = refusal.reply(self._ids)
        if reply is not None:
            self.reply(reply)


class Script:
    """Runs commands and collects what is said."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._times: dict[int, str] = {0: "none"}
        self._sessions: dict[str, ScriptSession] = {}

    def say(self, line: str) -> None:
        self._lines.append(line)

    async def open(self) -> None:
        retention = Retention(collect_seconds=3600)
        self.shard = await Shard.open(MemoryEngine(), clock=ManualClock(), retention=retention)

    async def close(self) -> None:
        await self.shard.close()

    async def run(self, commands: list[str]) -> list[str]:
        self._lines = []
        for command in commands:
            await self._command(command)
        return self._lines

    async def _command(self, command: str) -> None:
        if command == "collect":
            walked, removed = await self.shard.collector.collect()
            self.say(f"collect: walked {walked}, removed {removed}")
            return
        name, _, rest = command.partition(": ")
        session = self._sessions.get(name)
        if session is None:
            session = ScriptSession(self.shard, name, len(self._sessions) + 1, self)
            await session.open()
            self._sessions[name] = session
        verb, *words = rest.split()
        before = set(session.commands)
        if verb == "leave":
            session.leave()
            del self._sessions[name]
        elif verb == "seen":
            session.saw_catalog(self._labelled(words[0]) or 1)
        else:
            session.request(rest, **getattr(self, f"_{verb}")(session, words))
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if session.commands.keys() - before:
            self.say(f"{name}: {rest} → waits")

    def answered(self, session: ScriptSession, reply: kv.Reply) -> None:
        command = session.commands.pop(reply.id)
        self.say(f"{session.name}: {command} → {self._shown(session, command, reply)}")

    def _shown(self, session: ScriptSession, command: str, reply: kv.Reply) -> str:
        kind = reply.WhichOneof("result") or ""
        result = getattr(reply, kind)
        if kind == "error":
            key = f" {result.key.removeprefix(PREFIX).decode()}" if result.key else ""
            return kv.Error.Code.Name(result.code) + key
        if command == "pin":
            session.snapshot = result.snapshot
            return "pinned"
        if kind == "get":
            return _values(result.values)
        if kind == "scan":
            keys = [key.decode() for key in blocks.unpack_present(result.keys)]
            values = [value.decode() for value in blocks.unpack_present(result.values)]
            return " ".join(f"{k}={v}" for k, v in zip(keys, values, strict=True)) or "nothing"
        if kind == "lock":
            times = [self.time(time) for (time,) in TIME.iter_unpack(result.versions)]
            values = _values(result.values).split()
            shown = zip(values, times, result.locked, strict=True)
            told = [
                f"{v}@{t}" if locked else "skipped" if v == "-" else f"skipped, {v}"
                for v, t, locked in shown
            ]
            return " ".join(told)
        if kind in ("commit", "resolve"):
            if kind == "commit" or command == "resolve":
                session.txn, session.snapshot = session.txn + 1, 0
            return self.time(result.commit_time)
        if kind == "end":
            session.txn, session.snapshot = session.txn + 1, 0
            return "ended"
        if kind == "locks":
            found = [each for each in result.locks if each.table]
            states = sorted(
                f"{each.pod_id}/{each.txn} {kv.TableMode.Name(each.table_mode).lower()} "
                f"{each.table}{'' if each.granted else ' waits'}"
                for each in found
            )
            return ", ".join(states) or "nothing"
        if kind == "sequence":
            return f"{result.count} from {result.first}" if result.count else "at its end"
        return str(getattr(result, "previous", "ok"))

    def time(self, time: int) -> str:
        return self._times.setdefault(time, f"T{len(self._times)}")

    def _labelled(self, label: str) -> int:
        return next(time for time, known in self._times.items() if known == label)

    def _pin(self, _session: ScriptSession, _words: list[str]) -> dict[str, Any]:
        return {"get": kv.Get(keys=blocks.pack([]), pin=True)}

    def _get(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        return {"get": kv.Get(keys=_keys(words), snapshot=session.snapshot)}

    def _scan(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        start, end, *options = words
        scan = kv.Scan(
            start=PREFIX + start.encode(),
            end=PREFIX + end.encode(),
            reverse="reverse" in options,
            snapshot=session.snapshot,
            strip=len(PREFIX),
        )
        return {"scan": scan}

    def _lock(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        named = [word.split("=", 1) for word in words if "=" in word]
        words = [word for word in words if "=" not in word]
        modes = [word for word in words if word in _MODES]
        waits = {
            "nowait": kv.NOWAIT,
            "skip": kv.SKIP_LOCKED,
            "look": kv.LOOK,
            "for_row": kv.WAIT_FOR_ROW,
        }
        options = {*_MODES, *waits, "at_snapshot", "tentative", "new"}
        lock = kv.Lock(
            keys=_keys([word for word in words if word not in options]),
            mode=_MODES[modes[0]] if modes else kv.UPDATE,
            wait=next((waits[word] for word in words if word in waits), kv.WAIT),
            snapshot=session.snapshot if "at_snapshot" in words else 0,
            savepoint=next((int(number) for name, number in named if name == "savepoint"), 0),
            tentative="tentative" in words,
            new="new" in words,
        )
        versions = [self._labelled(label) for name, label in named if name == "at_version"]
        return {"lock": lock, "catalog_version": versions[0] if versions else 0}

    def _table(self, _session: ScriptSession, words: list[str]) -> dict[str, Any]:
        named = dict(word.split("=", 1) for word in words if "=" in word)
        mode = kv.TableMode.ValueType(_TABLE_MODES[words[1]])
        planned = named.get("planned", "none")
        lock = kv.LockTables(
            tables=[kv.TableLock(table=int(words[0]), mode=mode)],
            wait=kv.NOWAIT if "nowait" in words else kv.WAIT,
            savepoint=int(named.get("savepoint", 0)),
            catalog_version=1 if planned == "1" else self._labelled(planned),
        )
        return {"lock_tables": lock}

    def _recalled(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        recalled = kv.Recalled(recall=int(words[0]), table=int(words[1]))
        for word in words[2:]:
            txn, mode, savepoint = f"{word}:0".split(":")[:3]
            number = session.txn if txn == "own" else int(txn)
            value = kv.TableMode.ValueType(_TABLE_MODES[mode])
            recalled.locks.add(txn=number, mode=value, savepoint=int(savepoint))
        return {"recalled": recalled}

    def _undo(self, _session: ScriptSession, words: list[str]) -> dict[str, Any]:
        return {"undo": kv.Undo(savepoint=int(words[0]))}

    def _forgo(self, _session: ScriptSession, _words: list[str]) -> dict[str, Any]:
        return {"forgo": kv.Forgo()}

    def _locks(self, _session: ScriptSession, _words: list[str]) -> dict[str, Any]:
        return {"locks": kv.ListLocks()}

    def _stage(self, _session: ScriptSession, words: list[str]) -> dict[str, Any]:
        return {"stage": kv.Stage(writes=_writes(words))}

    def _commit(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        named = [word.split("=", 1) for word in words if "=" in word]
        commit = kv.Commit(
            writes=_writes([f"{k}={v}" for k, v in named if k not in ("absent", "retire")]),
            snapshot=session.snapshot if "at_snapshot" in words else 0,
            absent=_keys([value for name, value in named if name == "absent"]),
            changes_catalog="new_catalog" in words,
        )
        for name, value in named:
            if name == "retire":
                start, end = value.split("..")
                commit.retired.add(start=PREFIX + start.encode(), end=PREFIX + end.encode())
        return {"commit": commit}

    def _end(self, _session: ScriptSession, _words: list[str]) -> dict[str, Any]:
        return {"end": kv.End()}

    def _resolve(self, session: ScriptSession, words: list[str]) -> dict[str, Any]:
        return {"resolve": kv.Resolve(txn=int(words[0]) if words else session.txn)}

    def _increment(self, _session: ScriptSession, words: list[str]) -> dict[str, Any]:
        return {"increment": kv.Increment(key=PREFIX + words[0].encode(), delta=int(words[1]))}

    def _next(self, _session: ScriptSession, words: list[str]) -> dict[str, Any]:
        take = kv.Sequence.Take(count=int(words[1]), start=1, increment=1, min=1, max=99)
        return {"sequence": kv.Sequence(key=PREFIX + words[0].encode(), take=take)}


def _keys(words: list[str]) -> bytes:
    return blocks.pack([PREFIX + word.encode() for word in words])


def _writes(words: list[str]) -> kv.Writes:
    pairs = [word.split("=", 1) for word in words]
    values = [None if value == "-" else value.encode() for _, value in pairs]
    return kv.Writes(keys=_keys([key for key, _ in pairs]), values=blocks.pack(values))


def _values(block: bytes) -> str:
    values = blocks.unpack(block)
    return " ".join("-" if value is None else value.decode() for value in values)
