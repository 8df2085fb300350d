"""Backup files: what was written comes back, and whatever else is refused."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import archive
from tests.support.backups import Pairs, framed, piece_of


def read(file: bytes) -> archive.Opened:
    return archive.verify(io.BytesIO(file).read)


SMALL = framed(
    [
        piece_of([(b"a", b"1"), (b"b", b"2" * 300)]),
        piece_of([(b"c", b"")]),
        piece_of([(b"s", b"\x07" * 8)], archive.COUNTERS),
    ]
)
FILE = archive.MAGIC + b"".join(SMALL)


@given(st.lists(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=200)), max_size=20)))
@settings(max_examples=50, deadline=None)
def test_what_was_written_comes_back(groups: list[Pairs]) -> None:
    frames = framed([piece_of(pairs) for pairs in groups])
    opened = read(archive.MAGIC + b"".join(frames))
    assert opened.manifest["tenant"] == {"name": "shop"}
    assert (opened.sums.pieces, opened.sums.rows) == (len(groups), sum(map(len, groups)))
    for number, pairs in enumerate(groups):
        assert archive.read_piece(number, frames[number]) == piece_of(pairs)


def test_every_byte_counts() -> None:
    assert read(FILE).sums.counters == 1
    for at in range(len(FILE)):
        for flip in (1, 0x80):
            changed = bytearray(FILE)
            changed[at] ^= flip
            with pytest.raises(archive.Damaged):
                read(bytes(changed))


def test_every_shorter_file_is_refused() -> None:
    for size in range(len(FILE)):
        with pytest.raises(archive.Damaged):
            read(FILE[:size])
    with pytest.raises(archive.Damaged, match="follows"):
        read(FILE + b"\0")


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3), (0, 1, 3), (0, 0, 1, 2, 3), (0, 2, 1, 3), (3,), (0, 1, 2)]
)
def test_pieces_that_are_moved_missing_or_doubled_are_found(order: tuple[int, ...]) -> None:
    with pytest.raises(archive.Damaged):
        read(archive.MAGIC + b"".join(SMALL[each] for each in order))


def test_a_piece_of_another_backup_is_found() -> None:
    other = framed([piece_of([(b"a", b"9"), (b"b", b"2" * 300)])])
    with pytest.raises(archive.Damaged, match="not those of its manifest"):
        read(archive.MAGIC + other[0] + b"".join(SMALL[1:]))


def test_another_format_is_named() -> None:
    with pytest.raises(archive.Damaged, match="another format"):
        read(FILE.replace(b"BACKUP 1", b"BACKUP 2", 1))


def test_a_bomb_is_not_unpacked() -> None:
    zeros = archive.Piece(archive.ROWS, bytes(4 * archive.PIECE_BYTES_MAX), b"")
    with pytest.raises(archive.Damaged, match="does not end"):
        archive.read_piece(0, archive.write_piece(0, zeros))


def test_the_manifest_is_readable_without_us() -> None:
    at = FILE.rindex(b'{"tenant"')
    assert json.loads(FILE[at:])["sums"]["rows"] == 3
