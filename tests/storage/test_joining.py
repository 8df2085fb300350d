"""Small batches that join a large one on its way into the SQLite file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dormouse.base.tasks import spawn
from storage.engines import sqlite
from storage.engines.interface import EngineError, EngineLost, ScanRange, Write
from storage.engines.sqlite import SqliteEngine
from storage.engines.transactions import JOINABLE_BYTES, JOINABLE_KEYS, BatchOnItsWay
from tests.support.killed import lines_until_killed
from tests.support.waiting import GUARD_SECONDS

ALL = 1 << 40
KEYS = 200
"""So many that the writer's thread takes the batch apart."""
SMALL: list[Write] = [(b"0000", b"small"), (b"small", b"small")]


class Held(list[Write]):
    """A batch that the writer's thread has to wait for."""

    def __init__(self, value: bytes = b"large") -> None:
        super().__init__((b"%04d" % number, value) for number in range(KEYS))
        self.go = Event()

    def __iter__(self) -> Iterator[Write]:
        assert self.go.wait(GUARD_SECONDS)
        return super().__iter__()


async def begin(engine: SqliteEngine, batch: list[Write]) -> asyncio.Task[None]:
    task = spawn(engine.apply(batch), name="a batch")
    await asyncio.sleep(0)
    return task


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(folder / "engine.sqlite")
    try:
        yield engine
    finally:
        await engine.close()


def test_what_joins_comes_last_and_is_as_durable(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as engine:
            large = Held()
            applied = await begin(engine, large)
            assert engine.join(SMALL)
            assert engine.join([(b"small", b"smaller"), (b"0001", None)])
            assert await engine.get([b"0000", b"small"]) == [None, None]
            large.go.set()
            await applied
            assert not engine.join(SMALL)
        async with opened(tmp_path) as engine:
            found = await engine.get([b"0000", b"small", b"0001", b"0002", b"0199"])
            assert found == [b"small", b"smaller", None, b"large", b"large"]

    asyncio.run(body())


@pytest.mark.parametrize(
    ("keys", "size", "large"),
    [
        (1, 6, False),
        (JOINABLE_KEYS - 1, 6, False),
        (JOINABLE_KEYS, 6, True),
        (2, JOINABLE_BYTES // 2 - 1, False),
        (2, JOINABLE_BYTES // 2, True),
    ],
)
def test_only_a_large_batch_can_be_joined(
    tmp_path: Path, keys: int, size: int, large: bool
) -> None:
    async def body() -> None:
        async with opened(tmp_path) as engine:
            before = Held()
            first = await begin(engine, before)
            value = b"x" * size
            second = await begin(engine, [(b"%04d" % number, value) for number in range(keys)])
            assert engine.join(SMALL) == large
            before.go.set()
            await asyncio.gather(first, second)
            # It was the last one that was joined: the first would have been too early.
            assert await engine.get([b"0000"]) == [b"small" if large else value]

    asyncio.run(body())


def test_both_fail_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: Path, *settings: Any) -> sqlite3.Connection:
        connection = connect_as_ever(path, *settings)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
        return connection

    async def fails(engine: SqliteEngine, large: Held, small: list[Write]) -> None:
        applied = await begin(engine, large)
        assert engine.join(SMALL)
        assert engine.join(small)
        large.go.set()
        with pytest.raises(EngineError) as caught:
            await applied
        assert not isinstance(caught.value, EngineLost)
        assert not engine.join(SMALL)
        [page] = await engine.scan([ScanRange(b"\0", b"\xff", ALL, ALL)])
        assert page.rows == []

    async def body() -> None:
        async with opened(tmp_path) as engine:
            await fails(engine, Held(), [(b"k", b"x" * 200_000)])
            await fails(engine, Held(b"x" * 200_000), [(b"k", b"x")])
            large = Held()
            applied = await begin(engine, large)
            assert engine.join(SMALL)
            large.go.set()
            await applied
            assert await engine.get([b"0000", b"0001"]) == [b"small", b"large"]

    connect_as_ever = sqlite._connect
    monkeypatch.setattr(sqlite, "_connect", connect)
    asyncio.run(body())


def test_nobody_joins_any_more_at_the_commit() -> None:
    batch = BatchOnItsWay(joinable=True)
    executed: list[tuple[str, bool | None]] = []

    class Connection:
        in_transaction = False

        def execute(self, statement: str, _parameters: Sequence[bytes] = ()) -> None:
            tries = statement in ("INSERT 1", "COMMIT")
            executed.append((statement, batch.join([("INSERT 2", [])], 5) if tries else None))

    connection: Any = Connection()
    batch.run(connection, [("INSERT 1", [])], 50)
    assert executed == [
        *(("BEGIN IMMEDIATE", None), ("INSERT 1", True), ("INSERT 2", None), ("COMMIT", False))
    ]
    assert batch.pages == 55


def test_a_failed_batch_is_over_for_who_would_join(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as engine:
            await engine.close()
            with pytest.raises(EngineError):
                await engine.apply(Held())
            assert not engine.join(SMALL)

    asyncio.run(body())


_CHILD = """
import asyncio, sys
from pathlib import Path
from tests.storage.test_joining import Held, begin
from storage.engines.sqlite import SqliteEngine

async def main():
    engine = await SqliteEngine.open(Path(sys.argv[1]))
    for number in range(1_000_000):
        name = b"%d" % number
        large = Held(name)
        applied = await begin(engine, large)
        joined = engine.join([(b"joined" + name, name), (b"newest", name)])
        large.go.set()
        await applied
        print(number, joined, flush=True)

asyncio.run(main())
"""


def test_both_are_there_or_none_over_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    for _ in range(3):
        lines = lines_until_killed(_CHILD, str(path), enough=40)
        told = [line.split() for line in lines]
        assert {joined for _, joined in told} == {"True"}
        acknowledged = int(told[-1][0])

        async def check(acknowledged: int) -> None:
            engine = await SqliteEngine.open(path)
            [large] = await engine.scan([ScanRange(b"0", b"1", ALL, ALL)])
            [joined] = await engine.scan([ScanRange(b"joined", b"joinee", ALL, ALL)])
            [newest] = await engine.get([b"newest"])
            assert newest is not None
            assert int(newest) >= acknowledged
            assert {value for _, value in large.rows} == {newest}
            assert len(large.rows) == KEYS
            assert {int(value) for _, value in joined.rows} >= set(range(int(newest) + 1))
            await engine.close()

        asyncio.run(check(acknowledged))
