"""The login relay in pieces: same bytes out, key and frames looked at, refusals noticed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire import backend, notices
from pgwire.errors import ProtocolViolation
from pgwire.link import Checkpoint, Link
from pgwire.startup import CancelRequest
from proxy.login import Login, PodRefused, ResumeRefused

LINK = Link.new(77)
HEAD = backend.AUTHENTICATION_OK + backend.parameter_status("TimeZone", "UTC")
KEY = backend.backend_key_data(77, LINK.cancel_secret)
OTHER_KEY = backend.backend_key_data(78, b"real")
CHECKPOINT = Checkpoint(b"sealed")
REST = b"what follows is nobody's business"


@given(st.sampled_from([KEY, OTHER_KEY]), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_pieces_of_any_size(key: bytes, cuts: list[int], resumes: bool) -> None:
    stream = HEAD + key + CHECKPOINT.build() + backend.READY_IDLE + REST
    under_test = Login(LINK, resumes=resumes)
    out = b""
    for low, high in pairwise([0, *sorted(cuts), max(200, len(stream))]):
        out += under_test.feed(stream[low:high])
    assert under_test.ready
    rest = under_test.rest()
    assert out == (b"" if resumes else HEAD + KEY)
    assert rest == (b"" if resumes else backend.READY_IDLE) + REST
    assert under_test.taken == [CHECKPOINT]
    own = CancelRequest(77, LINK.cancel_secret)
    assert under_test.key == (own if key == KEY else CancelRequest(78, b"real"))


def error(sqlstate: str, severity: str = "FATAL") -> bytes:
    return notices.error_response(notices.Notice(severity, sqlstate, "no"))


@pytest.mark.parametrize("sqlstate", ["57P01", "57P03"])
def test_a_pod_that_takes_nobody_is_noticed_at_once(sqlstate: str) -> None:
    with pytest.raises(PodRefused, match=sqlstate):
        Login(LINK).feed(error(sqlstate))


def test_other_errors_are_the_clients() -> None:
    under_test = Login(LINK)
    assert under_test.feed(error("28P01")) == error("28P01")
    assert (under_test.failed, under_test.answered) == (True, True)


def test_a_refusal_after_the_first_answer_is_the_clients() -> None:
    under_test = Login(LINK)
    assert under_test.feed(HEAD + error("57P01")) == HEAD + error("57P01")
    assert under_test.failed


def test_whoever_resumes_tries_another_pod_or_hears_the_reason() -> None:
    with pytest.raises(PodRefused, match="57P03"):
        Login(LINK, resumes=True).feed(HEAD + error("57P03"))
    with pytest.raises(ResumeRefused, match="28000") as caught:
        Login(LINK, resumes=True).feed(HEAD + error("28000"))
    assert caught.value.answer == error("28000")


def test_a_notice_is_not_lost_when_a_session_is_resumed() -> None:
    notice = notices.notice_response(notices.Notice("NOTICE", "00000", "hear"))
    under_test = Login(LINK, resumes=True)
    assert under_test.feed(HEAD + notice + KEY + backend.READY_IDLE) == b""
    assert under_test.rest() == notice


@pytest.mark.parametrize(
    "bytes_", [b"R\xff\xff\xff\xff", b"K\0\0\0\x05x", b"S\0\0\0\0", b"M\0\0\0\5?"]
)
def test_a_broken_pod_is_an_error(bytes_: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Login(LINK).feed(bytes_)
