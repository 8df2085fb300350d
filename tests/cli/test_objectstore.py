"""Where rows are: what the flags say, and that nobody starts over by mistake."""

import argparse
from pathlib import Path

import pytest

from dormouse.cli.folder import CommandError
from dormouse.cli.objectstore import add_object_store_flags, object_storage, remember_place
from storage.config import ObjectStorage


def parse(*words: str) -> ObjectStorage | None:
    parser = argparse.ArgumentParser()
    add_object_store_flags(parser)
    return object_storage(parser.parse_args(words))


def test_flags() -> None:
    assert parse() is None
    chosen = parse(
        *("--object-store", "s3://b/f", "--object-store-option", "aws_endpoint=http://h:1/?a=b"),
        *("--object-store-option", "aws_region=x", "--object-store-flush", "0.1"),
    )
    assert chosen == ObjectStorage(
        url="s3://b/f",
        options={"aws_endpoint": "http://h:1/?a=b", "aws_region": "x"},
        flush_seconds=0.1,
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--object-store-option", "a=b"], "goes with --object-store URL"),
        (["--object-store-flush", "1"], "goes with --object-store URL"),
        (["--object-store", "s3://b/f", "--object-store-option", "a"], "expected NAME=VALUE"),
    ],
)
def test_flags_that_make_no_sense(words: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        parse(*words)


def test_a_pause_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--object-store", "s3://b/f", "--object-store-flush", "60")
    assert "from 0 to 10 seconds" in capsys.readouterr().err


def test_the_place_is_remembered(tmp_path: Path) -> None:
    here, there = ObjectStorage(url="s3://b/here"), ObjectStorage(url="s3://b/there")
    for _ in range(2):
        remember_place(tmp_path / "one", here)
    with pytest.raises(CommandError, match="start with --object-store s3://b/here"):
        remember_place(tmp_path / "one", None)
    with pytest.raises(CommandError, match="start with --object-store s3://b/here"):
        remember_place(tmp_path / "one", there)
    remember_place(tmp_path / "two", None)
    with pytest.raises(CommandError, match="start without --object-store"):
        remember_place(tmp_path / "two", here)


def test_an_installation_from_before_keeps_its_rows_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "storage.sqlite").touch()
    with pytest.raises(CommandError, match="start without --object-store"):
        remember_place(tmp_path, ObjectStorage(url="s3://b/f"))
    remember_place(tmp_path, None)
