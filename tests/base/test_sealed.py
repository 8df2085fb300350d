"""Sealed files: what was sealed is opened, and whatever else is refused."""

import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import sealed
from dormouse.base.archive import Damaged

KEY, OTHER = bytes(range(32)), bytes(32)
SALT = b"s" * 32
MIB = 1 << 20
HEAD = len(sealed.MAGIC) + 32 + 16


def seal(*parts: bytes, salt: bytes = SALT) -> bytes:
    sealer = sealed.Sealer(KEY, salt=salt)
    return b"".join([*map(sealer.add, parts), sealer.finish()])


def reader(file: bytes, key: bytes = KEY) -> Callable[[int], bytes]:
    stream = io.BytesIO(file)
    assert stream.read(len(sealed.MAGIC)) == sealed.MAGIC
    return sealed.Opener(stream.read, key).read


def plain(file: bytes) -> bytes:
    read = reader(file)
    found = b""
    while some := read(300_000):
        found += some
    return found


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2 * MIB)), max_size=4))
@settings(max_examples=15, deadline=None)
def test_what_was_sealed_is_opened(parts: list[tuple[int, int]]) -> None:
    pieces = [bytes([byte]) * size for byte, size in parts]
    file = seal(*pieces)
    assert plain(file) == b"".join(pieces)
    assert len(file) <= HEAD + sum(map(len, pieces)) + 16 * (2 + sum(map(len, pieces)) // MIB)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB])
def test_whole_pieces(size: int) -> None:
    assert plain(seal(b"x" * size)) == b"x" * size


def test_every_byte_counts() -> None:
    file = seal(b"all of it")
    for at in range(len(sealed.MAGIC), len(file)):
        changed = bytearray(file)
        changed[at] ^= 1
        with pytest.raises((Damaged, sealed.WrongKey)):
            plain(bytes(changed))
    for length in range(len(sealed.MAGIC), len(file)):
        with pytest.raises(Damaged):
            plain(file[:length])
    with pytest.raises(Damaged):
        plain(file + b"x")


def test_pieces_stay_where_and_in_what_they_are() -> None:
    content = b"".join(bytes([n]) * MIB for n in range(3)) + b"end"
    file, step = seal(content), MIB + 16
    head = file[:HEAD]
    pieces = [file[at : at + step] for at in range(HEAD, len(file), step)]
    assert len(pieces) == 4
    assert b"".join([head, *pieces]) == file
    elsewhere = seal(content, salt=b"t" * 32)
    for wrong in (
        [pieces[1], pieces[0], *pieces[2:]],
        [*pieces[:2], pieces[1], *pieces[3:]],
        pieces[:3],
        pieces[1:],
        [*pieces, pieces[3]],
        [elsewhere[HEAD : HEAD + step], *pieces[1:]],
    ):
        with pytest.raises(Damaged, match="sealed piece"):
            plain(b"".join([head, *wrong]))


def test_another_key_is_told_from_damage() -> None:
    with pytest.raises(sealed.WrongKey):
        reader(seal(b"x"), OTHER)


def test_nothing_of_the_plain_file_shows() -> None:
    file = seal(b"a secret that is long enough" * 100)
    assert b"secret" not in file
    assert seal(b"the same", salt=b"t" * 32)[HEAD:] != seal(b"the same")[HEAD:]
