"""What every engine must do, run against each of them; and what only durable ones can."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.tasks import spawn
from storage.config import ObjectStorage
from storage.engines import sqlite
from storage.engines.interface import (
    Engine,
    EngineError,
    EngineInUse,
    EngineLost,
    Measure,
    ScanRange,
    Write,
)
from storage.engines.memory import MemoryEngine
from storage.engines.slatedb import SlateEngine
from storage.engines.sqlite import SqliteEngine
from tests.support.killed import lines_until_killed

ALL = 1 << 40
Opener = Callable[[Path], Awaitable[Engine]]


async def open_memory(_folder: Path) -> Engine:
    return MemoryEngine()


async def open_sqlite(folder: Path) -> Engine:
    return await SqliteEngine.open(folder / "engine.sqlite")


async def open_sqlite_of_before(folder: Path) -> Engine:
    """A file in which history has no table of its own."""
    path = folder / "engine.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE kv (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL, c BLOB) WITHOUT ROWID"
        )
    return await SqliteEngine.open(path)


async def open_slatedb(folder: Path) -> Engine:
    return await SlateEngine.open(ObjectStorage(url=f"file://{folder}/engine"))


each_engine = pytest.mark.parametrize(
    "opener", [open_memory, open_sqlite, open_sqlite_of_before, open_slatedb]
)


def everything(rows_max: int = ALL, *, reverse: bool = False) -> ScanRange:
    return ScanRange(b"", b"\xff" * 9, rows_max, ALL, reverse)


def run(opener: Opener, body: Callable[[Engine], Awaitable[None]]) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            engine = await opener(Path(folder))
            try:
                await body(engine)
            finally:
                await engine.close()

    asyncio.run(whole())


short = st.binary(max_size=3)
# Many of them around the keys of history, which lie in a table of their own.
bounds = short | st.builds(bytes.__add__, st.sampled_from([b"g", b"h", b"i"]), short)
names = bounds.filter(bool)
batches = st.lists(st.lists(st.tuples(names, st.none() | short), max_size=8), max_size=6)


@each_engine
@given(batches=batches, low=bounds, high=bounds, rows=st.integers(1, 5), reverse=st.booleans())
@settings(max_examples=40, deadline=None)
def test_behaves_like_a_sorted_dict(
    opener: Opener, batches: list[list[Write]], low: bytes, high: bytes, rows: int, reverse: bool
) -> None:
    model: dict[bytes, bytes] = {}

    async def body(engine: Engine) -> None:
        for batch in batches:
            await engine.apply(batch)
            for key, value in batch:
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
        keys = [key for batch in batches for key, _ in batch]
        assert await engine.get(keys) == [model.get(key) for key in keys]
        for key in keys[:20]:
            assert engine.get_now([key]) in (None, [model.get(key)])
        few = keys[:3]
        assert engine.get_now(few) in (None, [model.get(key) for key in few])
        inside = sorted((k, v) for k, v in model.items() if low <= k < high)
        ordered = inside[::-1] if reverse else inside
        [page] = await engine.scan([ScanRange(low, high, rows, ALL, reverse)])
        assert page.rows == ordered[:rows]
        assert not page.exhausted or len(inside) <= rows
        assert page.exhausted or page.rows
        [bare] = await engine.scan([ScanRange(low, high, rows, ALL, reverse, keys_only=True)])
        assert bare == ([(key, b"") for key, _ in page.rows], page.exhausted)
        [whole] = await engine.scan([everything(reverse=reverse)])
        assert whole == (sorted(model.items(), reverse=reverse), True)
        measure = Measure(len(inside), sum(len(k) + len(v) for k, v in inside))
        assert await engine.measure(low, high) == measure

    run(opener, body)


@each_engine
def test_many_keys_at_once(opener: Opener) -> None:
    keys = [b"%05d" % at for at in range(999)]

    async def body(engine: Engine) -> None:
        await engine.apply([(key, key + b"!") for key in reversed(keys)])
        await engine.apply([(key, None) for key in keys[::2]] + [(b"00001", b"new")])
        asked = [*keys, b"none", keys[1]]
        left = {key: key + b"!" for key in keys[1::2]} | {b"00001": b"new"}
        assert await engine.get(asked) == [left.get(key) for key in asked]
        [page] = await engine.scan([everything()])
        assert page.rows == sorted(left.items())

    run(opener, body)


@each_engine
def test_a_page_ends_soon_after_its_bytes(opener: Opener) -> None:
    async def body(engine: Engine) -> None:
        await engine.apply([(b"%04d" % n, b"x" * 1000) for n in range(500)])
        [page] = await engine.scan([ScanRange(b"", b"9", 500, 10_000)])
        assert 10 <= len(page.rows) < 100
        assert not page.exhausted
        [page] = await engine.scan([ScanRange(b"", b"9", 500, 1)])
        assert page.rows
        more = {b"%c%02d" % (letter, n): b"x" * 1000 for letter in b"ghi" for n in range(40)}
        await engine.apply(more.items())
        [page] = await engine.scan([ScanRange(b"g", b"z", 500, 60_000)])
        assert 60 <= len(page.rows) < 100
        assert page == (sorted(more.items())[: len(page.rows)], False)
        assert [len(page.rows) for page in await engine.scan([everything(3), everything(5)])] == [
            3,
            5,
        ]

    run(opener, body)


@each_engine
def test_a_batch_that_fails_leaves_nothing(opener: Opener) -> None:
    async def body(engine: Engine) -> None:
        await engine.apply([(b"a", b"1")])

        class Broken(list[Write]):
            def __iter__(self) -> Iterator[Write]:
                yield self[0]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await engine.apply(Broken([(b"a", b"2"), (b"b", b"2")]))
        [page] = await engine.scan([everything()])
        assert page.rows == [(b"a", b"1")]
        await engine.apply([(b"a", b"3")])
        assert await engine.get([b"a"]) == [b"3"]

    run(opener, body)


@each_engine
def test_overlapping_applies_keep_their_order(opener: Opener) -> None:
    async def body(engine: Engine) -> None:
        await asyncio.gather(*[engine.apply([(b"k", b"%d" % n)]) for n in range(20)])
        assert await engine.get([b"k"]) == [b"19"]

    run(opener, body)


@each_engine
def test_what_joins_a_batch_is_behind_it_or_not_there(opener: Opener) -> None:
    async def body(engine: Engine) -> None:
        model: dict[bytes, bytes] = {}
        for number in range(60):
            batch = [(b"%04d" % each, b"%d" % number) for each in range(10 + number)]
            applied = spawn(engine.apply(batch), name="a batch")
            for _ in range(number % 7):
                await asyncio.sleep(0.0001)
            joining = (b"0009", b"joined %d" % number)
            model.update(batch)
            if engine.join([joining]):
                model.update([joining])
            await applied
            assert not engine.join([joining])
            [page] = await engine.scan([everything()])
            assert dict(page.rows) == model

    run(opener, body)


@each_engine
def test_a_closed_engine_says_so(opener: Opener) -> None:
    async def body(engine: Engine) -> None:
        await engine.close()
        with pytest.raises(EngineError):
            await engine.get([b"a"])

    run(opener, body)


def test_sqlite_keeps_what_it_has_over_a_close_and_in_a_backup(tmp_path: Path) -> None:
    async def body() -> None:
        engine = await open_sqlite(tmp_path)
        await engine.apply([(b"a", b"1"), (b"b", b"")])
        await engine.backup(tmp_path / "copy.sqlite")
        await engine.apply([(b"a", b"2")])
        await engine.close()
        engine = await open_sqlite(tmp_path)
        assert await engine.get([b"a", b"b"]) == [b"2", b""]
        await engine.close()
        copy = await SqliteEngine.open(tmp_path / "copy.sqlite")
        assert await copy.get([b"a", b"b"]) == [b"1", b""]
        await copy.close()

    asyncio.run(body())


def test_sqlite_has_one_owner(tmp_path: Path) -> None:
    async def body() -> None:
        engine = await open_sqlite(tmp_path)
        with pytest.raises(EngineInUse, match="another running storage process"):
            await open_sqlite(tmp_path)
        await engine.close()
        await (await open_sqlite(tmp_path)).close()

    asyncio.run(body())


_CHILD = """
import asyncio, sys
from pathlib import Path
from storage.engines.sqlite import SqliteEngine

async def main():
    engine = await SqliteEngine.open(Path(sys.argv[1]))
    for number in range(1_000_000):
        name = b"%d" % number
        await engine.apply([(b"left" + name, name), (b"right" + name, b"x" * 3000)])
        print(number, flush=True)

asyncio.run(main())
"""


def test_sqlite_keeps_acknowledged_batches_over_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    for _ in range(3):
        acknowledged = max(map(int, lines_until_killed(_CHILD, str(path), enough=40)))

        async def check(acknowledged: int) -> None:
            engine = await SqliteEngine.open(path)
            [left] = await engine.scan([ScanRange(b"left", b"leftz", ALL, ALL)])
            [right] = await engine.scan([ScanRange(b"right", b"rightz", ALL, ALL)])
            numbers = {int(value) for _, value in left.rows}
            assert numbers >= set(range(acknowledged + 1))
            assert {int(key.removeprefix(b"right")) for key, _ in right.rows} == numbers
            await engine.close()

        asyncio.run(check(acknowledged))


def test_a_batch_that_sqlite_refuses_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one statement and its own transaction, and has not happened: the engine goes on."""

    def connect(path: Path, *settings: Any) -> sqlite3.Connection:
        connection = connect_as_ever(path, *settings)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        return connection

    async def body(engine: Engine) -> None:
        with pytest.raises(EngineError) as caught:
            await engine.apply([(b"k", b"x" * 2000)])
        assert not isinstance(caught.value, EngineLost)
        await engine.apply([(b"k", b"short")])
        assert await engine.get([b"k"]) == [b"short"]

    connect_as_ever = sqlite._connect
    monkeypatch.setattr(sqlite, "_connect", connect)
    run(open_sqlite, body)
