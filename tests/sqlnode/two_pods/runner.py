"""Runs a script of several sessions, and writes down everything each is answered.

python -m tests.sqlnode.two_pods.runner DSN     records every *.out

DSN is the URL, with a `?`, of a PostgreSQL 15 and a superuser there.

A command is one line, `session` + how + SQL, where how is one of

    a: SELECT …     run it; the answer follows
    a& ALTER …      run it, and go on after a moment if it has not been answered: it `waits`
    a.              the answer of what waited
    a!              cancel what waits, then its answer
    a@              what was notified to it since it was last asked, and by whom
    a= x SELECT …   run it, and call what it answers x: {x} stands for it then, and in answers
    ~               nothing happens for a moment
    -- …            a comment

Sessions are connections of their own. On Dormouse a and c are on one pod, b and d on another.
"""

import asyncio
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import psycopg
from psycopg.generators import execute

from tests.sqlnode.session.golden_runner import described

FOLDER = Path(__file__).parent / "golden"
_INSIDE = re.compile(r"  CONTEXT: while [a-z ]+ tuple|  DETAIL: Reason code: ")
_LINE = re.compile(r"([a-d])([:&.!@=]) ?(.*)")
_MOMENT_SECONDS = 0.3
"""How long something may take before it counts as waiting. What is expected to be answered is
waited for much longer; so a slow machine can hide a fault here, and never make one up."""
_PATIENCE_SECONDS = 20.0

Connection = psycopg.AsyncConnection[tuple[object, ...]]


def scripts() -> list[Path]:
    """All golden scripts."""
    return sorted(FOLDER.glob("*.sql"))


class Player:
    """The sessions of one script. `dsns`: where a, b, c and d connect to, in turn."""

    def __init__(self, dsns: Sequence[str], *, extended: bool) -> None:
        self._dsns = dsns
        self._extended = extended
        self._connections: dict[str, Connection] = {}
        self._waiting: dict[str, asyncio.Task[list[str]]] = {}
        self._heard: dict[str, list[psycopg.Notify]] = {}
        self._written: list[str] = []
        self._names: dict[str, str] = {}

    async def play(self, text: str) -> str:
        """Everything the sessions were answered."""
        try:
            for line in text.splitlines():
                if line.strip() and not line.startswith("--"):
                    await self._line(line)
        finally:
            for task in self._waiting.values():
                task.cancel()
            for connection in self._connections.values():
                await connection.close()
        text = "\n".join(self._written).lstrip("\n") + "\n"
        for name, value in self._names.items():
            text = text.replace(value, f"{{{name}}}")
        return text

    async def _line(self, line: str) -> None:
        if line == "~":
            await asyncio.sleep(_MOMENT_SECONDS)
            return
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"no command: {line}")
        name, how, statement = match.groups()
        self._written.append(f"\n> {line}")
        for known, value in self._names.items():
            statement = statement.replace(f"{{{known}}}", value)
        called, _, query = statement.partition(" ") if how == "=" else ("", "", "")
        statement = query or statement
        if how == "@":
            self._written += await self._notified(name)
            return
        if how == "!":
            await (await self._connection(name)).cancel_safe()
        if how in ".!":
            task = self._waiting.pop(name, None)
            if task is None:
                self._written.append("has not waited")
                return
        else:
            connection = await self._connection(name)
            task = asyncio.get_running_loop().create_task(self._run(connection, statement))
        done, _ = await asyncio.wait(
            {task}, timeout=_MOMENT_SECONDS if how == "&" else _PATIENCE_SECONDS
        )
        if done:
            self._written += task.result()
            if called:
                self._names[called] = _value_in(task.result())
        elif how == "&":
            self._waiting[name] = task
            self._written.append("… waits")
        else:
            raise TimeoutError(f"not answered: {line}")

    async def _connection(self, name: str) -> Connection:
        if name not in self._connections:
            dsn = self._dsns[(ord(name) - ord("a")) % len(self._dsns)]
            connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
            connection.add_notify_handler(self._heard.setdefault(name, []).append)
            self._connections[name] = connection
        return self._connections[name]

    async def _notified(self, name: str) -> list[str]:
        pgconn = (await self._connection(name)).pgconn
        await asyncio.sleep(_MOMENT_SECONDS)
        pgconn.consume_input()
        heard = self._heard[name]
        while (late := pgconn.notifies()) is not None:
            heard.append(psycopg.Notify(late.relname.decode(), late.extra.decode(), late.be_pid))
        speakers = {
            connection.pgconn.backend_pid: speaker
            for speaker, connection in self._connections.items()
        }
        lines = [f"{each.channel}: {each.payload!r} of {speakers[each.pid]}" for each in heard]
        heard.clear()
        return lines or ["nothing"]

    async def _run(self, connection: Connection, statement: str) -> list[str]:
        pgconn = connection.pgconn
        if self._extended:
            pgconn.send_query_params(statement.rstrip(";").encode(), None)
        else:
            pgconn.send_query(statement.encode())
        results = await connection.wait(execute(pgconn))
        return [line for result in results for line in _comparable(described(result))]


def _value_in(lines: list[str]) -> str:
    """The one value of an answer."""
    return lines[-2].strip()


def _comparable(lines: Iterable[str]) -> list[str]:
    """An answer without what PostgreSQL says of its processes, files, locks and parser."""
    first, *rest = lines
    if first.startswith(("ERROR 40P01", "ERROR 55P03")):
        return [first]
    return [first, *[line for line in rest if not _INSIDE.match(line)]]


async def record_with(dsn: str, text: str) -> str:
    """What the sessions of a script are answered by PostgreSQL, in an empty schema."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA public CASCADE")
        await connection.execute("CREATE SCHEMA public")
    # Who closes the circle is to be the victim, here as there.
    options = "&options=-c%20deadlock_timeout%3D"
    player = Player([f"{dsn}{options}1h", f"{dsn}{options}10ms"], extended=False)
    return await player.play(text)


async def record(dsn: str) -> None:
    """Write the answers of a PostgreSQL 15 next to every script."""
    for script in scripts():
        answers = await record_with(dsn, script.read_text(encoding="utf-8"))
        script.with_suffix(".out").write_text(answers, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
