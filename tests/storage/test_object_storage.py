"""The engine on object storage, against a real S3 server: faults, takeovers, kills."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path

import pytest
import uvloop

from dormouse.base.tasks import spawn
from storage.config import ObjectStorage
from storage.engines.interface import Engine, EngineError, EngineLost, ScanRange
from storage.engines.slatedb import SlateEngine
from tests.support.killed import lines_until_killed
from tests.support.objectstore import Door, Weather, object_storage, s3_running

ALL = 1 << 40


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with s3_running() as port:
        yield port


async def rows(engine: Engine) -> dict[bytes, bytes]:
    [page] = await engine.scan([ScanRange(b"\0", b"\xff", ALL, ALL)])
    assert page.exhausted
    return dict(page.rows)


async def lost(call: Awaitable[object]) -> None:
    with pytest.raises(EngineLost):
        await call


def behind_a_door(s3: int, body: Callable[[Door, ObjectStorage], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Door(s3).open() as door:
            name = f"door-{door.port}"
            await body(door, object_storage(door.port, name, write_seconds=2.5))

    uvloop.run(whole())


def test_keeps_what_it_has_over_a_close_and_in_a_backup(s3: int, tmp_path: Path) -> None:
    async def body() -> None:
        storage = object_storage(s3, "closed")
        engine = await SlateEngine.open(storage)
        many = {b"k%04d" % n: b"x" * 5000 for n in range(2000)}  # more than one page of a copy
        await engine.apply([*many.items(), (b"empty", b"")])
        await engine.backup(tmp_path / "copy")
        await engine.apply([(b"k0001", b"2")])
        await engine.close()
        engine = await SlateEngine.open(storage)
        assert await rows(engine) == {**many, b"empty": b"", b"k0001": b"2"}
        await engine.close()
        copy = await SlateEngine.open(ObjectStorage(url=f"file://{tmp_path}/copy"))
        assert await rows(copy) == {**many, b"empty": b""}
        await copy.close()

    uvloop.run(body())


def test_who_is_taken_over_writes_nothing_more(s3: int) -> None:
    async def body() -> None:
        storage = object_storage(s3, "taken-over")
        first = await SlateEngine.open(storage)
        await first.apply([(b"a", b"1")])
        noticed = spawn(first.lost(), name="lost")
        second = await SlateEngine.open(storage)
        await lost(first.apply([(b"a", b"2"), (b"b", b"2")]))
        await lost(first.get([b"a"]))
        assert (await noticed) is not None
        await first.close()
        assert await rows(second) == {b"a": b"1"}
        await second.apply([(b"b", b"3")])
        assert await rows(second) == {b"a": b"1", b"b": b"3"}
        await second.close()

    uvloop.run(body())


def test_a_takeover_is_noticed_without_a_request(s3: int) -> None:
    async def body() -> None:
        storage = object_storage(s3, "idle")
        first = await SlateEngine.open(storage)
        await first.apply([(b"a", b"1")])
        second = await SlateEngine.open(storage)
        async with asyncio.timeout(30):
            assert "fenced" in str(await first.lost())
        await lost(first.get([b"a"]))
        await second.close()

    uvloop.run(body())


def test_a_short_outage_is_waited_for(s3: int) -> None:
    async def body(door: Door, storage: ObjectStorage) -> None:
        engine = await SlateEngine.open(storage)
        await engine.apply([(b"a", b"1")])
        door.weather = Weather.BUSY
        writing = asyncio.gather(engine.apply([(b"b", b"2")]), engine.apply([(b"c", b"3")]))
        await asyncio.sleep(0.3)
        assert not writing.done()
        assert await engine.get([b"a", b"b"]) == [b"1", None]  # not durable, not seen
        door.weather = Weather.FINE
        await writing
        assert await rows(engine) == {b"a": b"1", b"b": b"2", b"c": b"3"}
        await engine.close()

    behind_a_door(s3, body)


@pytest.mark.parametrize("weather", [Weather.BUSY, Weather.SILENT, Weather.DEAF])
def test_a_long_outage_loses_the_engine_and_nothing_else(s3: int, weather: Weather) -> None:
    async def body(door: Door, storage: ObjectStorage) -> None:
        engine = await SlateEngine.open(storage)
        await engine.apply([(b"a", b"1")])
        door.weather = weather
        await lost(engine.apply([(b"a", b"2"), (b"b", b"2")]))
        await lost(engine.apply([(b"c", b"3")]))
        await engine.close()
        with pytest.raises(EngineError, match="s3://bucket/door"):
            await SlateEngine.open(replace(storage, write_seconds=1.5))
        door.weather = Weather.FINE
        engine = await SlateEngine.open(storage)
        # Whole or not at all, and never what was refused afterwards.
        assert await rows(engine) in ({b"a": b"1"}, {b"a": b"2", b"b": b"2"})
        await engine.apply([(b"d", b"4")])
        assert await engine.get([b"d"]) == [b"4"]
        await engine.close()

    behind_a_door(s3, body)


def test_an_address_that_makes_no_sense_is_refused(s3: int) -> None:
    async def body() -> None:
        for url in ("s3://bucket", "ftp://host/folder", "bucket/folder"):
            with pytest.raises(EngineError, match="expected one of s3://"):
                await SlateEngine.open(ObjectStorage(url=url))
        nowhere = object_storage(s3, "x")
        with pytest.raises(EngineError, match="s3://no-bucket/x"):
            await SlateEngine.open(replace(nowhere, url="s3://no-bucket/x"))

    uvloop.run(body())


def test_a_batch_has_a_bound(s3: int) -> None:
    async def body() -> None:
        engine = await SlateEngine.open(object_storage(s3, "bound", batch_bytes_max=1000))
        with pytest.raises(EngineError, match="batch_bytes_max"):
            await engine.apply([(b"%d" % n, b"x" * 100) for n in range(10)])
        assert await rows(engine) == {}
        await engine.apply([(b"a", b"x" * 900)])
        await engine.close()

    uvloop.run(body())


_CHILD = """
import asyncio, json, sys
import uvloop
from dormouse.base.config import from_json
from storage.config import ObjectStorage
from storage.engines.slatedb import SlateEngine

async def main():
    engine = await SlateEngine.open(from_json(ObjectStorage, json.loads(sys.argv[1])))
    for number in range(1_000_000):
        name = b"%d" % number
        await engine.apply([(b"left" + name, name), (b"right" + name, b"x" * 3000)])
        print(number, flush=True)

uvloop.run(main())
"""


@pytest.mark.parametrize("flush_seconds", [0.0, 0.02])
def test_keeps_acknowledged_batches_over_kill_9(s3: int, flush_seconds: float) -> None:
    storage = object_storage(s3, f"killed-{flush_seconds}", flush_seconds=flush_seconds)
    highest = -1
    for _ in range(3):
        heard = lines_until_killed(_CHILD, dumps(asdict(storage)), enough=25)
        highest = max(highest, *map(int, heard))

        async def check(highest: int) -> None:
            engine = await SlateEngine.open(storage)
            [left] = await engine.scan([ScanRange(b"left", b"leftz", ALL, ALL)])
            [right] = await engine.scan([ScanRange(b"right", b"rightz", ALL, ALL)])
            numbers = {int(value) for _, value in left.rows}
            assert numbers >= set(range(highest + 1))
            assert {int(key.removeprefix(b"right")) for key, _ in right.rows} == numbers
            await engine.close()

        uvloop.run(check(highest))
