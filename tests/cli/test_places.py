"""Backups in folders and, against a real S3 server, in buckets: what is whole, and what is not."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
import uvloop
from obstore.store import S3Store

from dormouse.base import archive
from dormouse.base.tasks import spawn
from dormouse.cli.bucketplace import Bucket
from dormouse.cli.folder import CommandError
from dormouse.cli.folderplace import Folder
from dormouse.cli.main import main
from dormouse.cli.places import STALE, Kept, Place, has_broken_off, split
from tests.support.backups import a_file, some_frames
from tests.support.objectstore import Door, Weather, object_storage, s3_running

NAME = "shop-17-20261121T203459Z.backup"


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with s3_running() as port:
        yield port


def bucket(port: int, folder: str, *, patience_seconds: float = 20.0) -> Bucket:
    storage = object_storage(port, folder)
    return Bucket(storage.url, storage.options, patience_seconds=patience_seconds, part_bytes=1000)


def raw(port: int, folder: str) -> S3Store:
    options = object_storage(port, folder).options
    return S3Store(
        "bucket",
        prefix=folder,
        endpoint=options["aws_endpoint"],
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        client_options={"allow_http": True},
    )


def objects(store: S3Store) -> dict[str, bytes]:
    listed = [each["path"] for page in obstore.list(store) for each in page]
    return {path: bytes(obstore.get(store, path).bytes()) for path in listed}


def write(
    place: Place,
    frames: list[bytes],
    name: str = NAME,
    *,
    before_the_end: Callable[[], object] = lambda: None,
) -> int:
    with place.writing(name) as sink:
        sink.write(archive.MAGIC)
        for frame in frames[:-1]:
            sink.write(frame)
        before_the_end()
        return sink.finish(frames[-1])


def read(place: Place, name: str = NAME) -> archive.Opened:
    with place.reading(name) as source:
        return archive.verify(source.read)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, s3: int, tmp_path: Path) -> Place:
    return Folder(tmp_path / "b") if request.param == "folder" else bucket(s3, str(tmp_path))


def test_what_was_written_is_read_and_listed_and_never_overwritten(place: Place) -> None:
    frames = some_frames()
    assert write(place, frames) == len(a_file(frames))
    assert read(place).sums.rows == archive.verify(iter_read(a_file(frames))).sums.rows
    [kept] = place.kept()
    assert (kept.name, kept.size, kept.is_whole) == (NAME, len(a_file(frames)), True)
    assert datetime.now(UTC) - kept.written < STALE
    with pytest.raises(CommandError, match="exists"):
        place.refuse_taken(NAME)
    place.refuse_taken("another.backup")


def iter_read(data: bytes) -> Callable[[int], bytes]:
    rest = bytearray(data)

    def read_some(size: int) -> bytes:
        found = bytes(rest[:size])
        del rest[:size]
        return found

    return read_some


def test_what_breaks_off_leaves_nothing(place: Place) -> None:
    frames = some_frames()

    def break_off() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(place, frames, before_the_end=break_off)
    assert place.kept() == []
    with pytest.raises(CommandError):
        read(place)
    write(place, frames)
    read(place)


def test_a_bucket_has_the_file_in_parts(s3: int) -> None:
    frames = some_frames()
    write(bucket(s3, "parts"), frames)
    found = objects(raw(s3, "parts"))
    assert b"".join(found[path] for path in sorted(found)) == a_file(frames)
    assert len(found) > 3
    assert [path for path in found if "manifest" in path] == [
        f"{NAME}/{len(found) - 1:08}.manifest"
    ]
    # The file in one object, as other tools leave it there, is as good.
    obstore.put(raw(s3, "parts"), "copied.backup", a_file(frames))
    assert read(bucket(s3, "parts"), "copied.backup").sums == read(bucket(s3, "parts")).sums
    assert [each.is_whole for each in bucket(s3, "parts").kept()] == [True, True]


def test_damage_is_refused_and_missing_parts_are_named(s3: int) -> None:
    write(bucket(s3, "damaged"), some_frames())
    store = raw(s3, "damaged")
    whole = objects(store)
    manifest = max(whole)
    for path, content in whole.items():
        for changed in (content[:-1], content + b"x", bytes([content[0] ^ 1]) + content[1:]):
            obstore.put(store, path, changed)
            with pytest.raises(archive.Damaged):
                read(bucket(s3, "damaged"))
        obstore.delete(store, path)
        with pytest.raises(archive.Damaged) as refused:
            read(bucket(s3, "damaged"))
        expected = (
            "no manifest" if path == manifest else f"part {path.split('/')[1][:8]} is missing"
        )
        assert expected in str(refused.value)
        obstore.put(store, path, content)
    first, second = sorted(whole)[:2]
    obstore.put(store, first, whole[second])
    obstore.put(store, second, whole[first])
    with pytest.raises(archive.Damaged):
        read(bucket(s3, "damaged"))
    obstore.put(store, first, whole[first])
    obstore.put(store, second, whole[second])
    read(bucket(s3, "damaged"))


def test_what_a_kill_left_is_shown_and_removed_when_nobody_writes_it(s3: int) -> None:
    place, store = bucket(s3, "killed"), raw(s3, "killed")
    obstore.put(store, f"{NAME}/00000000.part", b"x" * 10)
    obstore.put(store, "something else", b"of somebody else")
    [kept] = place.kept()
    assert (kept.name, kept.size, kept.is_whole) == (NAME, 10, False)
    with pytest.raises(archive.Damaged, match="no manifest"):
        read(place)
    with pytest.raises(CommandError, match="exists, or broke off"):
        write(place, some_frames())
    now = kept.written
    assert not has_broken_off(kept, now + STALE)
    assert has_broken_off(kept, now + STALE + timedelta(seconds=1))
    assert not has_broken_off(Kept(NAME, 1, now, is_whole=True), now + 2 * STALE)
    place.remove(kept)
    assert list(objects(store)) == ["something else"]


def test_of_two_writers_of_a_name_at_most_one_gets_it(s3: int) -> None:
    place, store = bucket(s3, "rivals"), raw(s3, "rivals")
    frames = some_frames()
    with pytest.raises(CommandError, match="is not what was sent"):
        write(
            place,
            frames,
            before_the_end=lambda: obstore.put(store, f"{NAME}/00000000.part", b"of the rival"),
        )

    def write_when_a_part_is_there() -> None:
        with place.writing("second.backup") as sink:
            obstore.put(store, "second.backup/00000000.part", b"of the rival")
            sink.write(archive.MAGIC + b"".join(frames[:-1]))
            sink.finish(frames[-1])

    with pytest.raises(CommandError, match="written by somebody else"):
        write_when_a_part_is_there()
    manifest = f"third.backup/{len(some_frames()) - 1:08}.manifest"
    with pytest.raises(CommandError, match="is not what was sent"):
        write(
            place,
            frames,
            "third.backup",
            before_the_end=lambda: obstore.put(store, manifest, b"of the rival"),
        )
    # What another has finished is left alone, all of it.
    assert {f"third.backup/{0:08}.part", manifest} <= objects(store).keys()


def behind_a_door(s3: int, body: Callable[[Door], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Door(s3).open() as door:
            await body(door)

    uvloop.run(whole())


def test_a_short_outage_is_waited_for(s3: int) -> None:
    async def body(door: Door) -> None:
        place = bucket(door.port, f"short-{door.port}")
        door.weather = Weather.BUSY
        writing = spawn(asyncio.to_thread(write, place, some_frames()), name="backup")
        await asyncio.sleep(0.3)
        assert not writing.done()
        door.weather = Weather.FINE
        await writing
        assert (await asyncio.to_thread(read, place)).sums.rows

    behind_a_door(s3, body)


@pytest.mark.parametrize("weather", [Weather.BUSY, Weather.SILENT, Weather.DEAF])
def test_a_long_outage_ends_the_backup_and_nothing_is_whole(s3: int, weather: Weather) -> None:
    async def body(door: Door) -> None:
        place = bucket(door.port, f"long-{door.port}", patience_seconds=1.0)
        frames = some_frames()

        def write_until_it_breaks() -> None:
            with place.writing(NAME) as sink:
                sink.write(archive.MAGIC + frames[0])
                door.weather = weather
                for frame in frames[1:-1]:
                    sink.write(frame)
                sink.finish(frames[-1])

        with pytest.raises(CommandError, match="s3://bucket/long-") as refused:
            await asyncio.to_thread(write_until_it_breaks)
        assert str(door.port) not in refused.value.message.partition(": ")[2]
        door.weather = Weather.FINE
        assert not any(each.is_whole for each in await asyncio.to_thread(place.kept))
        # Parts may be left that could not be taken back. They are never taken for a backup.
        with pytest.raises((archive.Damaged, CommandError)):
            await asyncio.to_thread(read, place)
        await asyncio.to_thread(write, place, frames, "again.backup")
        door.weather = weather
        with pytest.raises(CommandError):
            await asyncio.to_thread(read, place, "again.backup")
        door.weather = Weather.FINE
        assert (await asyncio.to_thread(read, place, "again.backup")).sums.rows

    behind_a_door(s3, body)


_CHILD = """
import resource, sys
from dormouse.cli.bucketplace import Bucket
from tests.support.objectstore import object_storage
storage = object_storage(int(sys.argv[1]), "large")
place = Bucket(storage.url, storage.options)
piece = bytes(range(256)) * 4096
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
place.kept()
before = peak()
with place.writing("large.backup") as sink:
    for _ in range(160):
        sink.write(piece)
    sink.finish(b"end")
with place.reading("large.backup") as source:
    assert source.size == 160 * len(piece) + 3
    while source.read(1 << 20):
        pass
print(peak() - before)
"""


def test_memory_holds_a_few_parts_however_large_the_tenant(s3: int) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(s3)], capture_output=True, text=True, check=True
    )
    assert int(child.stdout) < 96  # MiB, of 160


def test_what_is_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert split("s3://bucket/a/x.backup") == ("s3://bucket/a", "x.backup")
    assert split("s3://bucket/x.backup") == ("s3://bucket", "x.backup")
    assert split("x.backup") == (".", "x.backup")
    assert split("/x.backup") == ("/", "x.backup")
    for wrong in ("s3://bucket", "folder/", ""):
        with pytest.raises(CommandError, match="names no backup"):
            split(wrong)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    for words, expected in [
        (["verify", "ftp://host/x.backup"], "no place for backups"),
        (["verify", "x", "--object-store-option", "aws_region=x"], "for buckets"),
        (["backup", "--list", "s3://b/f", "--object-store-option=wrong=1"], "wrong"),
        (["backup", "--list", "s3://b/f", "--object-store-option=wrong"], "NAME=VALUE"),
        (["backup", "--list", "s3://b/f", "--object-store-option=aws_endpoint=x"], "https://"),
        (
            ["backup", "--list", "s3://b/f", "--object-store-option=aws_secret_access_key=x"],
            "environment",
        ),
        (["backup", "--all", "-o", "x"], "--to a folder"),
    ]:
        assert main(words) == 1
        shown = "".join(capsys.readouterr())
        assert expected in shown
        assert "hush" not in shown
