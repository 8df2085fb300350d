"""Startup packets: parsed as built, bounded, and never trusted."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire.errors import BadText, ProtocolViolation
from pgwire.startup import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupDecoder,
    StartupMessage,
    parse_options,
)

words = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda word: not word.startswith("_pq_."))


def decode(data: bytes) -> object:
    decoder = StartupDecoder()
    for at in range(len(data)):
        assert decoder.next() is None
        decoder.feed(data[at : at + 1])
    return decoder.next()


@given(st.dictionaries(words, words, max_size=5), words, st.integers(0, 5))
def test_startup_messages_come_back(parameters: dict[str, str], user: str, minor: int) -> None:
    message = StartupMessage({"user": user, **parameters}, minor, {"_pq_.x": "on"} if minor else {})
    if not message.parameters["user"]:
        return
    assert decode(message.build()) == message


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        (SSL_REQUEST, SslRequest()),
        (GSSENC_REQUEST, GssEncRequest()),
        (CancelRequest(7, b"abcd").build(), CancelRequest(7, b"abcd")),
        (CancelRequest(2**31, b"x" * 256).build(), CancelRequest(2**31, b"x" * 256)),
    ],
)
def test_requests_come_back(data: bytes, packet: object) -> None:
    assert decode(data) == packet


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    decoder = StartupDecoder()
    decoder.feed(data)
    with suppress(ProtocolViolation, BadText):
        while decoder.next() is not None:
            pass


@given(st.binary(max_size=100))
def test_any_parameters_are_a_message_or_refused(body: bytes) -> None:
    packet = struct.pack(">II", 8 + len(body), 3 << 16) + body
    decoder = StartupDecoder()
    decoder.feed(packet)
    try:
        message = decoder.next()
    except (ProtocolViolation, BadText):
        return
    assert isinstance(message, StartupMessage)
    assert message.parameters["user"]


@pytest.mark.parametrize("length", [0, 7, 10_001, 2**32 - 1])
def test_lengths_are_judged_before_the_body_comes(length: int) -> None:
    decoder = StartupDecoder()
    decoder.feed(struct.pack(">I", length))
    with pytest.raises(ProtocolViolation):
        decoder.next()


def test_old_protocols_are_refused() -> None:
    decoder = StartupDecoder()
    decoder.feed(struct.pack(">II", 8, 2 << 16))
    with pytest.raises(ProtocolViolation, match=r"unsupported frontend protocol 2\.0") as caught:
        decoder.next()
    assert caught.value.sqlstate == "0A000"


def test_bytes_after_an_ssl_request_are_seen() -> None:
    decoder = StartupDecoder()
    decoder.feed(SSL_REQUEST + b"injected")
    assert decoder.next() == SslRequest()
    assert decoder.buffered == 8
    assert decoder.rest() == b"injected"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("-c a=b", {"a": "b"}),
        ("-ca=b --work-mem=4MB", {"a": "b", "work_mem": "4MB"}),
        (r"-c search_path=a\ b\\c", {"search_path": r"a b\c"}),
        ("", {}),
    ],
)
def test_options(text: str, settings: dict[str, str]) -> None:
    assert parse_options(text) == settings


@pytest.mark.parametrize("text", ["-x", "-c", "-c a", "stray"])
def test_options_that_are_none(text: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_options(text)
