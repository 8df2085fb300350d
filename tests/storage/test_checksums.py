"""Bytes that turn over inside the rows of a file: found where they are read, and nobody is given
them."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.clock import SystemClock
from dormouse.base.ids import TenantId
from storage.config import ObjectStorage
from storage.damage import Damaged
from storage.engines.interface import EngineDamaged, EngineError, Measure, ScanRange
from storage.engines.slatedb import SlateEngine
from storage.engines.sqlite import SqliteEngine
from storage.failures import Failures
from storage.layout import FORMAT, FORMAT_NOW, TIME, due_lists, ended_key
from storage.shard import Shard

ALL = 1 << 40
EVERYTHING = ScanRange(b"", b"\xff" * 9, ALL, ALL)
BEFORE = "CREATE TABLE kv (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID"
"""The table as it was when nothing had a checksum."""


def sample() -> dict[bytes, bytes]:
    """Rows on several pages, two of them over pages of their own."""
    random = Random(1)
    rows = {b"key%03d" % n * 3: random.randbytes(random.randrange(200)) for n in range(150)}
    return rows | {b"key020large": random.randbytes(9000), b"key077large": random.randbytes(20_000)}


ROWS = sample()


async def fill(path: Path, rows: dict[bytes, bytes]) -> None:
    engine = await SqliteEngine.open(path)
    await engine.apply(rows.items())
    await engine.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checksums") / "engine.sqlite"
    asyncio.run(fill(path, ROWS))
    assert not path.with_name("engine.sqlite-wal").exists()
    return path


@contextmanager
def turned(file: Path, place: int, mask: int = 0xFF) -> Iterator[Path]:
    """A copy of a file with another byte in one place."""
    content = bytearray(file.read_bytes())
    content[place] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_bytes(content)
        yield copy


def opened(path: Path, body: Callable[[SqliteEngine], Awaitable[None]]) -> None:
    async def whole() -> None:
        engine = await SqliteEngine.open(path, readers=1)
        try:
            await body(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


def place_of(path: Path, text: bytes) -> int:
    """Where the only copy of a text begins."""
    content = path.read_bytes()
    assert content.count(text) == 1
    return content.index(text)


async def look(engine: SqliteEngine) -> tuple[dict[bytes, bytes], set[bytes]]:
    """What point reads of all keys answer, and the keys whose reads meet damage."""
    found, damaged = {}, set()
    for key in ROWS:
        now = engine.get_now([key])
        try:
            [value] = await engine.get([key])
        except EngineDamaged:
            assert now is None
            damaged.add(key)
        else:
            assert now == [value]
            if value is not None:
                found[key] = value
    return found, damaged


@given(at=st.integers(0, 10**6), mask=st.integers(1, 255), name=st.sampled_from(sorted(ROWS)))
@settings(max_examples=60, deadline=None)
def test_a_byte_of_a_value_is_one_rows_damage(file: Path, at: int, mask: int, name: bytes) -> None:
    value = ROWS[name]
    if len(value) < 16:
        return
    # A large value lies on several pages, the head of it in one piece.
    place = place_of(file, value[:16]) + at % min(len(value), 1000 if len(value) < 4000 else 16)

    async def body(engine: SqliteEngine) -> None:
        found, damaged = await look(engine)
        assert damaged == {name}
        assert found == {key: value for key, value in ROWS.items() if key != name}
        some = [*sorted(ROWS)[:30], name]
        for rows_max in (ALL, 20):
            for reverse in (False, True):
                around = ScanRange(name, name + b"\0", rows_max, ALL, reverse)
                with pytest.raises(EngineDamaged, match="not what was written"):
                    await engine.scan([around])
        for call in (engine.get(some), engine.scan([EVERYTHING])):
            with pytest.raises(EngineDamaged):
                await call
        before, behind = ScanRange(b"", name, ALL, ALL), ScanRange(name + b"\0", b"l", ALL, ALL)
        pages = await engine.scan([before, behind])
        assert dict(pages[0].rows + pages[1].rows) == found
        [page] = await engine.scan([ScanRange(b"", b"l", ALL, ALL, keys_only=True)])
        assert [key for key, _ in page.rows] == sorted(ROWS)  # who removes rows is not concerned
        await engine.apply([(name, value)])  # whoever writes it anew has repaired it
        assert await look(engine) == (ROWS, set())

    with turned(file, place, mask) as copy:
        opened(copy, body)


@given(at=st.integers(0, 10**6), mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_byte_anywhere_lets_nobody_read_what_was_not_written(
    file: Path, at: int, mask: int
) -> None:
    async def body(engine: SqliteEngine) -> None:
        for key in ROWS:
            with suppress(EngineError):
                assert await engine.get([key]) in ([None], [ROWS[key]])
        for start in (b"", b"key031", b"key078"):
            for reverse in (False, True):
                with suppress(EngineError):
                    [page] = await engine.scan([ScanRange(start, b"l", 40, ALL, reverse)])
                    assert all(ROWS.get(key) == value for key, value in page.rows)

    with turned(file, at % file.stat().st_size, mask) as copy, suppress(EngineError):
        opened(copy, body)


@pytest.mark.parametrize(
    "damage",
    [
        "v = CAST(v AS TEXT)",
        "v = 7",
        "v = CAST(v || x'00' AS BLOB)",
        "v = substr(v, 2)",
        "k = CAST(k || x'00' AS BLOB)",
        "c = 7",
        "c = x''",
        "c = CAST(c AS TEXT)",
    ],
)
def test_lengths_and_types_are_looked_at(file: Path, damage: str) -> None:
    async def body(engine: SqliteEngine) -> None:
        with pytest.raises(EngineDamaged):
            await engine.scan([EVERYTHING])
        if not damage.startswith("k"):
            with pytest.raises(EngineDamaged):
                await engine.get([b"key020large"])
            with pytest.raises(EngineDamaged):
                await engine.get(sorted(ROWS)[:60])

    with turned(file, 0, 0) as copy:
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute(f"UPDATE kv SET {damage} WHERE k = ?", (b"key020large",))
        opened(copy, body)


def test_a_file_of_before_is_opened_and_gets_checksums_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(BEFORE)
        connection.executemany("INSERT INTO kv (k, v) VALUES (?, ?)", ROWS.items())
    new = {b"key003" + b"new": b"fresh" * 20, b"key020large": b"over" * 30}

    async def body(engine: SqliteEngine) -> None:
        assert await look(engine) == (ROWS, set())
        [page] = await engine.scan([EVERYTHING])
        assert page.rows == sorted(ROWS.items())
        await engine.apply(new.items())

    async def again(engine: SqliteEngine) -> None:
        [page] = await engine.scan([EVERYTHING])
        assert page.rows == sorted((ROWS | new).items())

    async def damaged(engine: SqliteEngine) -> None:
        with pytest.raises(EngineDamaged):
            await engine.scan([EVERYTHING])
        for key in new:
            with pytest.raises(EngineDamaged):
                await engine.get([key])
        assert await engine.get([b"key077large"]) == [ROWS[b"key077large"]]

    opened(path, body)
    opened(path, again)
    with (
        turned(path, place_of(path, b"fresh" * 20)) as one,
        turned(one, place_of(one, b"over" * 30)) as both,
    ):
        opened(both, damaged)


def test_a_copy_of_the_file_has_the_checksums(file: Path) -> None:
    async def body(engine: SqliteEngine) -> None:
        await engine.backup(copy.with_name("copy"))

    async def damaged(engine: SqliteEngine) -> None:
        with pytest.raises(EngineDamaged):
            await engine.get([b"key020large"])

    with turned(file, place_of(file, ROWS[b"key020large"][:16])) as copy:
        opened(copy, body)
        opened(copy.with_name("copy"), damaged)


def test_a_version_that_knows_no_checksums_is_told_that_it_is_too_old(tmp_path: Path) -> None:
    """It would write values and leave the checksums of those before."""
    path = tmp_path / "engine.sqlite"

    async def body(engine: SqliteEngine) -> None:
        await (await Shard.open(engine, clock=SystemClock())).close()

    async def newer(engine: SqliteEngine) -> None:
        await engine.apply([(FORMAT, TIME.pack(FORMAT_NOW + 1))])
        with pytest.raises(EngineError, match=f"layout {FORMAT_NOW + 1}, .* knows {FORMAT_NOW}"):
            await Shard.open(engine, clock=SystemClock())

    opened(path, body)
    with closing(sqlite3.connect(path)) as connection:
        # As it looks, which has no other statement.
        [(layout,)] = connection.execute("SELECT v FROM kv WHERE k = ?", (FORMAT,))
    assert TIME.unpack(layout) == (5,)  # and it knows 3
    opened(path, newer)


def test_the_collection_leaves_out_a_list_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    lists = {ended_key(n * 10, TenantId(n % 3), n, 0): b"list%02d" % n * 20 for n in range(60)}
    doomed = sorted(lists)[17]

    async def body(engine: SqliteEngine) -> None:
        damaged = Damaged(Failures(SystemClock()))
        damaged.begin(0)
        found: list[bytes] = []
        start, end = due_lists(1000)
        while True:
            page = await damaged.page_past(engine, ScanRange(start, end, 250, ALL))
            found += [key for key, _ in page.rows]
            if page.exhausted:
                break
            start = page.rows[-1][0] + b"\0"
        assert found == sorted(lists.keys() - {doomed})
        await engine.apply([(key, None) for key in found])  # they need not be read for it
        assert await damaged.page_past(engine, ScanRange(b"e", b"f", 250, ALL)) == ([], True)
        await engine.apply([(doomed, None)])
        assert await engine.measure(b"e", b"f") == Measure(0, 0)

    asyncio.run(fill(path, lists))
    with turned(path, place_of(path, lists[doomed])) as copy:
        opened(copy, body)


def test_slatedb_looks_at_its_own_checksums(tmp_path: Path) -> None:
    storage = ObjectStorage(url=f"file://{tmp_path}/engine")
    rows = {b"one": b"1" * 9000, b"two": b"2" * 9000}

    async def written() -> None:
        engine = await SlateEngine.open(storage)
        for row in rows.items():
            await engine.apply([row])
        await engine.close()

    async def damaged() -> None:
        engine = await SlateEngine.open(storage)
        assert await engine.get([b"one"]) == [rows[b"one"]]
        with pytest.raises(EngineDamaged, match="checksum mismatch"):
            await engine.get([b"two"])
        await engine.close()

    asyncio.run(written())
    for file in tmp_path.rglob("*.sst"):
        file.write_bytes(file.read_bytes().replace(b"2" * 100, b"2" * 99 + b"3"))
    asyncio.run(damaged())
