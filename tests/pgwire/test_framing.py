"""Framing: whole messages from pieces of any size, and no trust in lengths."""

import struct
from contextlib import suppress
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame, FrameDecoder

KINDS = b"QPBDESCdcfpHX"


def build(kind: int, body: bytes) -> bytes:
    return struct.pack(">BI", kind, len(body) + 4) + body


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(c % (len(stream) + 1) for c in cuts)})
    return [stream[a:b] for a, b in pairwise(marks)]


frames = st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=60)), max_size=12)
cuts = st.lists(st.integers(0, 2000), max_size=30)


@given(frames, cuts)
def test_pieces_of_any_size_give_the_same_messages(
    messages: list[tuple[int, bytes]], at: list[int]
) -> None:
    stream = b"".join(build(*message) for message in messages)
    decoder = FrameDecoder()
    got: list[Frame] = []
    for piece in cut(stream, at):
        decoder.feed(piece)
        while (frame := decoder.next()) is not None:
            got.append(frame)
    assert got == [Frame(*message) for message in messages]
    assert decoder.buffered == 0


@given(frames, cuts)
def test_runs_are_the_bodies_of_messages_of_one_kind(
    messages: list[tuple[int, bytes]], at: list[int]
) -> None:
    stream = b"".join(build(*message) for message in messages)
    decoder = FrameDecoder()
    got: list[tuple[int, bytes]] = []
    for piece in cut(stream, at):
        decoder.feed(piece)
        while (frame := decoder.next()) is not None:
            got.append((frame.kind, frame.body + decoder.run(frame.kind)))
    joined = [
        (kind, b"".join(body for _, body in same))
        for kind, same in groupby(messages, key=lambda message: message[0])
    ]
    assert [
        (kind, b"".join(body for _, body in same))
        for kind, same in groupby(got, key=lambda message: message[0])
    ] == joined
    assert decoder.buffered == 0


def test_a_run_ends_before_a_message_that_is_too_long() -> None:
    decoder = FrameDecoder(body_bytes_max=300)
    decoder.feed(build(ord("d"), b"a") + build(ord("d"), b"b") + build(ord("d"), b"c" * 301))
    assert decoder.run(ord("d")) == b"ab"
    assert decoder.run(ord("d")) == b""


@given(frames, cuts, st.integers(0, 12))
def test_what_is_not_asked_for_is_the_rest(
    messages: list[tuple[int, bytes]], at: list[int], asked: int
) -> None:
    stream = b"".join(build(*message) for message in messages)
    decoder = FrameDecoder()
    for piece in cut(stream, at):
        decoder.feed(piece)
    taken = [frame for _ in range(asked) if (frame := decoder.next()) is not None]
    assert b"".join(build(*frame) for frame in taken) + decoder.rest() == stream
    assert decoder.next() is None


@given(st.binary(max_size=400), cuts)
def test_any_bytes_give_messages_or_a_violation(stream: bytes, at: list[int]) -> None:
    decoder = FrameDecoder(body_bytes_max=300)
    with suppress(ProtocolViolation):
        for piece in cut(stream, at):
            decoder.feed(piece)
            while (frame := decoder.next()) is not None:
                assert len(frame.body) <= 10_000


@pytest.mark.parametrize("length", [0, 1, 3, 2**32 - 1, 2**31])
def test_impossible_lengths_are_refused_by_the_header_alone(length: int) -> None:
    decoder = FrameDecoder()
    decoder.feed(struct.pack(">BI", ord("Q"), length))
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        decoder.next()


def test_short_messages_are_short_and_the_limit_moves() -> None:
    decoder = FrameDecoder(body_bytes_max=100)
    decoder.feed(struct.pack(">BI", ord("Q"), 105))
    with pytest.raises(ProtocolViolation):
        decoder.next()
    decoder.body_bytes_max = 1000
    assert decoder.next() is None
    sync = FrameDecoder()
    sync.feed(struct.pack(">BI", ord("S"), 10_005))
    with pytest.raises(ProtocolViolation):
        sync.next()


def test_a_long_message_is_joined_once() -> None:
    body = bytes(range(256)) * 4096
    stream = build(ord("Q"), body) + build(ord("S"), b"")
    decoder = FrameDecoder()
    for at in range(0, len(stream), 1000):
        decoder.feed(stream[at : at + 1000])
        if at + 1000 < len(body):
            assert decoder.next() is None
    assert decoder.next() == Frame(ord("Q"), body)
    assert decoder.next() == Frame(ord("S"), b"")
