import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base import blocks


@given(st.lists(st.none() | st.binary(max_size=40)))
def test_a_block_reads_back(values: list[bytes | None]) -> None:
    assert blocks.unpack(blocks.pack(values)) == values


@given(st.lists(st.binary(max_size=40)))
def test_a_block_without_gaps_reads_back(values: list[bytes]) -> None:
    assert blocks.unpack_present(blocks.pack(values)) == values


@given(st.integers(0, 5), st.integers(0, 40))
def test_many_values_of_one_length_read_back(size: int, count: int) -> None:
    values = [bytes([at]) * size for at in range(count)]
    block = blocks.pack(values)
    assert blocks.unpack_present(block) == blocks.unpack(block) == values
    for bad in (block + b"x", block[:-1]):
        with pytest.raises(blocks.BadBlock):
            blocks.unpack(bad)


@given(st.binary(max_size=64))
def test_strange_bytes_are_a_block_or_refused(data: bytes) -> None:
    try:
        values = blocks.unpack(data)
    except blocks.BadBlock:
        return
    assert blocks.pack(values) == data


def test_lengths_beyond_the_bytes_are_refused() -> None:
    good = blocks.pack([b"abc", None])
    for bad in (b"", b"\x01", good[:-1], good + b"x", b"\xff\xff\xff\xff" + good[4:]):
        with pytest.raises(blocks.BadBlock):
            blocks.unpack(bad)


def test_a_gap_is_no_value() -> None:
    with pytest.raises(blocks.BadBlock):
        blocks.unpack_present(blocks.pack([None]))
