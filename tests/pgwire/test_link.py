"""The frames between proxy and pod: what one builds the other reads, and nobody guesses a link."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire.errors import ProtocolViolation
from pgwire.framing import FrameDecoder
from pgwire.link import (
    KIND,
    REASON_BYTES_MAX,
    Checkpoint,
    GivenAway,
    Held,
    Link,
    PodFrame,
    Purpose,
    Refused,
    parse_pod_frame,
    resume,
)

FRAMES = st.one_of(
    st.binary(max_size=300).map(Checkpoint),
    st.binary(max_size=300).map(GivenAway),
    st.text(st.characters(codec="ascii"), max_size=REASON_BYTES_MAX).map(Held),
    st.text(st.characters(codec="ascii"), max_size=REASON_BYTES_MAX).map(Refused),
)


def body_of(data: bytes) -> bytes:
    decoder = FrameDecoder()
    decoder.feed(data)
    frame = decoder.next()
    assert frame is not None
    assert frame.kind == KIND
    assert decoder.next() is None
    return frame.body


@given(FRAMES)
def test_frames_of_a_pod_come_back(frame: PodFrame) -> None:
    assert parse_pod_frame(body_of(frame.build())) == frame


@given(st.integers(1, 2**31 - 1), st.binary(min_size=4, max_size=4), st.binary(min_size=16))
def test_a_link_comes_back_from_its_option(pid: int, cancel: bytes, secret: bytes) -> None:
    link = Link(pid, cancel, secret[:16])
    assert Link.parse(link.option()) == link
    assert secret[:16].hex() not in repr(link)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_only_the_secret_asks_for_a_session(purpose: Purpose) -> None:
    link, other = Link.new(5), Link.new(5)
    body = body_of(link.give_away(purpose))
    assert link.purpose_of(body) is purpose
    for wrong in (body_of(other.give_away(purpose)), body[:-1], body + b"p", b""):
        with pytest.raises(ProtocolViolation, match="invalid frontend message type 77"):
            link.purpose_of(wrong)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        "0.00000000." + "00" * 16,
        "5.00." + "00" * 16,
        f"{2**31}.00000000." + "00" * 16,
        "x.00000000." + "00" * 16,
        "5.00000000." + "00" * 15,
        "5.0000000g." + "00" * 16,
    ],
)
def test_what_is_no_link(value: str) -> None:
    with pytest.raises(ProtocolViolation):
        Link.parse(value)


@pytest.mark.parametrize("body", [b"", b"x", b"\0abc"])
def test_what_is_no_frame_of_a_pod(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_pod_frame(body)


def test_a_sealed_state_is_resumed_as_it_is() -> None:
    assert body_of(resume(b"sealed")) == b"sealed"
