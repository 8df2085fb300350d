"""The login relay, fed in pieces: same bytes out, the key exchanged, refusals noticed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire import backend, notices
from pgwire.errors import ProtocolViolation
from proxy.login import Login, PodRefused

HEAD = backend.AUTHENTICATION_OK + backend.parameter_status("TimeZone", "UTC")
KEY = backend.backend_key_data(77, b"real")
NEW_KEY = backend.backend_key_data(77, b"fake")
STREAM = HEAD + KEY + backend.READY_IDLE + b"what follows is nobody's business"


def login() -> Login:
    return Login(lambda pid, secret: b"fake" if (pid, secret) == (77, b"real") else b"!!!!")


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_pieces_of_any_size(cuts: list[int]) -> None:
    under_test = login()
    edges = [0, *sorted(cuts), len(STREAM)]
    out = b""
    for low, high in pairwise(edges):
        if not under_test.ready:
            out += under_test.feed(STREAM[low:high])
        else:
            out += STREAM[low:high]
    assert under_test.ready
    assert out == STREAM.replace(KEY, NEW_KEY)


def error(sqlstate: str) -> bytes:
    return notices.error_response(notices.Notice("FATAL", sqlstate, "no"))


@pytest.mark.parametrize("sqlstate", ["57P01", "57P03"])
def test_a_pod_that_takes_nobody_is_noticed_at_once(sqlstate: str) -> None:
    with pytest.raises(PodRefused, match=sqlstate):
        login().feed(error(sqlstate))


def test_other_errors_are_the_clients() -> None:
    under_test = login()
    assert under_test.feed(error("28P01")) == error("28P01")
    assert (under_test.failed, under_test.answered) == (True, True)


def test_a_refusal_after_the_first_answer_is_the_clients() -> None:
    under_test = login()
    assert under_test.feed(HEAD + error("57P01")) == HEAD + error("57P01")
    assert under_test.failed


@pytest.mark.parametrize("bytes_", [b"R\xff\xff\xff\xff", b"K\0\0\0\x05x", b"S\0\0\0\0"])
def test_a_broken_pod_is_an_error(bytes_: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        login().feed(bytes_)
