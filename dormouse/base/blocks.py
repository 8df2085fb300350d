"""Blocks: many byte strings packed into one, the body of bulk messages between pod and storage.

A protobuf message object per row costs microseconds in Python; a block costs one `struct` call for
all lengths and a slice per value.

    block  = count:u32  length:u32 × count  bytes…          (little endian)
    length = ABSENT (2**32 - 1) for "no value": a missing key, a deletion

Lengths come from another process, so every one is checked against the bytes at hand.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise

ABSENT = 0xFFFFFFFF
_COUNT = struct.Struct("<I")
_MANY = 16
"""Values from which on it pays to see if all have the same length."""


class BadBlock(ValueError):
    """Bytes that are no block."""


def pack(values: Sequence[bytes | None]) -> bytes:
    """Pack values into a block; None becomes ABSENT."""
    count = len(values)
    lengths = [ABSENT if value is None else len(value) for value in values]
    header = struct.pack(f"<{count + 1}I", count, *lengths)
    return header + b"".join([value for value in values if value is not None])


def unpack(block: bytes) -> list[bytes | None]:
    """The values of a block. Raises BadBlock where the lengths do not fit the bytes."""
    lengths, start = _header(block)
    if ABSENT not in lengths:
        return list(_slices(block, lengths, start))
    present = _slices(block, [0 if length == ABSENT else length for length in lengths], start)
    return [
        None if length == ABSENT else value for length, value in zip(lengths, present, strict=True)
    ]


def unpack_present(block: bytes) -> list[bytes]:
    """The values of a block in which none is absent. Raises BadBlock otherwise."""
    lengths, start = _header(block)
    if ABSENT in lengths:
        raise BadBlock("absent value in a block of values")
    return _slices(block, lengths, start)


def unpack_some(block: bytes, count: int) -> Iterator[list[bytes | None]]:
    """Like `unpack`, so many values at a time, for who must not be kept by it for long. All lengths
    are checked before the first values come."""
    lengths, start = _header(block)
    present = sum(lengths) - lengths.count(ABSENT) * ABSENT
    if start + present != len(block):
        raise BadBlock("lengths do not add up to the block")
    for first in range(0, len(lengths), count):
        some = lengths[first : first + count]
        ends = list(accumulate([0 if each == ABSENT else each for each in some], initial=start))
        start = ends[-1]
        yield [
            None if length == ABSENT else block[low:high]
            for length, (low, high) in zip(some, pairwise(ends), strict=True)
        ]


def count(block: bytes) -> int:
    """How many values a block has. Raises BadBlock."""
    return len(_header(block)[0])


def _header(block: bytes) -> tuple[tuple[int, ...], int]:
    if len(block) < _COUNT.size:
        raise BadBlock("block shorter than its count")
    (count,) = _COUNT.unpack_from(block)
    start = _COUNT.size * (count + 1)
    if start > len(block):
        raise BadBlock("block shorter than its lengths")
    return struct.unpack_from(f"<{count}I", block, _COUNT.size), start


def _slices(block: bytes, lengths: Sequence[int], start: int) -> list[bytes]:
    if len(lengths) >= _MANY and lengths.count(lengths[0]) == len(lengths) and lengths[0]:
        if start + lengths[0] * len(lengths) != len(block):
            raise BadBlock("lengths do not add up to the block")
        # Keys of one index and rows of fixed width are all as long as each other.
        equal = struct.iter_unpack(f"{lengths[0]}s", memoryview(block)[start:])
        return list(chain.from_iterable(equal))
    ends = list(accumulate(lengths, initial=start))
    if ends[-1] != len(block):
        raise BadBlock("lengths do not add up to the block")
    return [block[low:high] for low, high in pairwise(ends)]
