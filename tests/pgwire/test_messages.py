"""Messages: what is built is parsed back, and anything else is refused, never trusted."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire import backend, frontend, notices
from pgwire.client import parse_data_row
from pgwire.errors import BadText, ProtocolViolation
from pgwire.framing import Frame, FrameDecoder

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
formats = st.lists(st.sampled_from([0, 1]), max_size=1).map(tuple)
values = st.lists(st.none() | st.binary(max_size=30), max_size=8).map(tuple)
messages: st.SearchStrategy[frontend.FrontendMessage] = st.one_of(
    st.builds(frontend.Query, names),
    st.builds(
        frontend.Parse, names, names, st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)
    ),
    st.builds(frontend.Bind, names, names, formats, values, formats),
    st.builds(frontend.Describe, st.sampled_from("SP"), names),
    st.builds(frontend.Close, st.sampled_from("SP"), names),
    st.builds(frontend.Execute, names, st.integers(0, 2**31 - 1)),
    st.builds(frontend.CopyData, st.binary(max_size=50)),
    st.builds(frontend.CopyFail, names),
    st.sampled_from([frontend.Flush(), frontend.Sync(), frontend.Terminate(), frontend.CopyDone()]),
)


def frame_of(data: bytes) -> Frame:
    decoder = FrameDecoder(small=frozenset())
    decoder.feed(data)
    frame = decoder.next()
    assert frame is not None
    assert decoder.buffered == 0
    return frame


@given(messages)
def test_round_trip(message: frontend.FrontendMessage) -> None:
    assert frontend.parse(frame_of(frontend.build(message))) == message


@given(st.integers(0, 255), st.binary(max_size=80))
def test_any_body_is_a_message_or_refused(kind: int, body: bytes) -> None:
    with suppress(ProtocolViolation, BadText):
        frontend.parse(Frame(kind, body))


@given(messages, st.data())
def test_a_damaged_message_is_refused_or_another(
    message: frontend.FrontendMessage, data: st.DataObject
) -> None:
    frame = frame_of(frontend.build(message))
    body = bytearray(frame.body)
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolViolation, BadText):
        frontend.parse(Frame(frame.kind, bytes(body)))


def test_bind_refuses_what_does_not_add_up() -> None:
    many = frame_of(frontend.build(frontend.Bind("", "", (0, 1), (b"1",), ())))
    with pytest.raises(ProtocolViolation, match="2 parameter formats but 1 parameters"):
        frontend.parse(many)
    odd = frame_of(frontend.build(frontend.Bind("", "", (2,), (b"1",), ())))
    with pytest.raises(ProtocolViolation, match="unsupported format code: 2"):
        frontend.parse(odd)


def test_text_in_another_encoding() -> None:
    frame = Frame(ord("Q"), "é".encode("latin-1") + b"\0")
    with pytest.raises(BadText, match='invalid byte sequence for encoding "UTF8": 0xe9'):
        frontend.parse(frame)
    assert frontend.parse(frame, "latin-1") == frontend.Query("é")


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.tuples(*[st.none() | st.binary(max_size=2000)] * width), min_size=1, max_size=20
        )
    )
)
def test_rows_built_by_the_batch(rows: list[tuple[bytes | None, ...]]) -> None:
    columns = [backend.cells(column) for column in zip(*rows, strict=True)]
    decoder = FrameDecoder(small=frozenset())
    decoder.feed(backend.data_rows(columns, len(rows)))
    got = []
    while (frame := decoder.next()) is not None:
        assert frame.kind == ord("D")
        got.append(parse_data_row(frame.body))
    assert got == rows


def test_rows_without_columns() -> None:
    assert backend.data_rows([], 3) == b"D\0\0\0\x06\0\0" * 3


def test_row_description_is_as_postgresql_sends_it() -> None:
    field = backend.Field("a", 16384, 1, 23, 4, -1, 0)
    assert backend.row_description([field]) == (
        b"T\0\0\0\x1a\0\x01a\0" + struct.pack(">IhIhih", 16384, 1, 23, 4, -1, 0)
    )


@given(
    st.builds(
        notices.Notice,
        st.sampled_from(["ERROR", "FATAL", "WARNING"]),
        st.from_regex(r"[0-9A-Z]{5}", fullmatch=True),
        names.filter(bool),
        st.none() | names.filter(bool),
        st.none() | names.filter(bool),
        st.integers(0, 10**6),
    )
)
def test_errors_come_back_field_by_field(notice: notices.Notice) -> None:
    frame = frame_of(notices.error_response(notice))
    assert frame.kind == ord("E")
    assert notices.parse(frame.body) == notice
    assert notices.parse_fields(frame.body)["S"] == notice.severity
