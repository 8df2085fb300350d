"""Two streams in pieces of any size, against a twin that sees whole messages one by one."""

import struct
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwire import backend
from pgwire.errors import ProtocolViolation
from pgwire.exchange import Exchange
from pgwire.link import SEALED_BYTES_MAX, Checkpoint, GivenAway, Held, PodFrame, Refused


def message(kind: str, body: bytes = b"") -> bytes:
    return backend.message(kind.encode(), body)


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({min(each, len(stream)) for each in cuts}), len(stream)]
    return [stream[low:high] for low, high in pairwise(edges) if high > low]


def logged_in() -> Exchange:
    exchange = Exchange()
    assert exchange.answered(backend.AUTHENTICATION_OK + backend.READY_IDLE)
    assert exchange.quiescent
    return exchange


def follow(exchange: Exchange, script: str) -> None:
    """`>PBES` what the client sends, `<12CZ` what the server answers (Z idle, t in transaction)."""
    for word in script.split():
        for kind in word[1:]:
            if word[0] == ">":
                exchange.requested(message(kind, b"x" * 7))
            elif kind in "Zt":
                exchange.answered(backend.READY_IDLE if kind == "Z" else backend.READY["T"])
            else:
                exchange.answered(message(kind, b"x" * 7))


# The count of requests


@pytest.mark.parametrize(
    ("script", "quiescent"),
    [
        (">Q", False),
        (">Q <TDCZ", True),
        (">Q <TDCt", False),
        (">QQ <CZ", False),
        (">QQ <CZCZ", True),
        (">P", False),
        (">PH <1", False),
        (">PBES <12DCZ", True),
        (">PBES >B <12DCZ", False),
        (">H", True),
        (">F <VZ", True),
        (">PBEQ <12D", False),
        (">PBEQ <12DCZ", True),
        (">S", False),
        (">X", False),
        ("<N <A <S", True),
        ("<E", False),
        (">Q <EZ", True),
        # COPY in, by a simple query: whole, failed at once, and with the rest after the failure
        (">Q <G >dd", False),
        (">Q <G >ddc <CZ", True),
        (">Q <EZ >ddc", True),
        (">Q <G >d <EZ >dc", True),
        # in the extended protocol: the Sync behind the Execute gets no answer
        (">PBES <12G", False),
        (">PBES <12G >ddc", False),
        (">PBES <12G >ddcS", False),
        (">PBES <12G >ddcS <CZ", True),
        (">PBES <12G >ddfS <EZ", True),
        (">PBESddcS <12GCZ", False),
        (">PBESddcS <12GCZ >Q <CZ", True),
        (">PBESPBES <12CZ12G", False),
        (">PBESPBES <12CZ12G >cS <CZ", True),
        # the count is not known any more
        (">QS <G >c <CZ <Z", False),
        # too high a count is no harm, too low a one would be
        (">PQS <EZ", False),
    ],
)
def test_a_session_is_quiescent(script: str, quiescent: bool) -> None:
    exchange = logged_in()
    follow(exchange, script)
    assert exchange.quiescent is quiescent, exchange


def test_what_is_pipelined_behind_the_password_is_a_request() -> None:
    exchange = Exchange()
    exchange.requested(message("p", b"secret\0") + message("Q", b"select 1\0"))
    exchange.answered(backend.AUTHENTICATION_OK + backend.READY_IDLE)
    assert not exchange.quiescent
    exchange.answered(backend.READY_IDLE)
    assert exchange.quiescent


def test_another_server_starts_with_nothing_under_way() -> None:
    exchange = logged_in()
    follow(exchange, ">QS <G")
    exchange.answered(message("D", b"12345")[:-2])
    exchange.restart()
    assert exchange.quiescent
    follow(exchange, ">Q")
    assert not exchange.quiescent


def test_the_state_is_readable() -> None:
    exchange = logged_in()
    assert repr(exchange) == "<Exchange quiescent status=I>"
    follow(exchange, ">P")
    assert repr(exchange) == "<Exchange owed=0 open=True status=I>"


@pytest.mark.parametrize(
    ("passed", "piece", "at"),
    [
        (b"", message("Q", b"one") + message("Q", b"two"), 16),
        (b"", message("Q", b"one") + message("Q", b"two")[:7], 8),
        (b"", message("P") + message("E") + message("S") + message("P"), 15),
        (b"", message("P") + message("E"), -1),
        (b"", message("Q", b"one")[:7], -1),
        (b"", b"", -1),
        (message("Q", b"one")[:3], message("Q", b"one")[3:] + message("S")[:2], 5),
        (message("Q", b"one")[:6], message("Q", b"one")[6:] + message("S"), 7),
        (message("Q", b"one")[:6], message("Q", b"one")[6:], 2),
        (message("Q", b"one")[:6], message("Q", b"one")[6:7], -1),
        (message("E", b"one")[:6], message("E", b"one")[6:], -1),
    ],
)
def test_a_piece_is_cut_behind_its_last_request(passed: bytes, piece: bytes, at: int) -> None:
    exchange = logged_in()
    exchange.requested(passed)
    assert exchange.cut(piece) == at
    if at >= 0:
        exchange.requested(piece[:at])
        assert exchange.client_between


# Pieces


class Twin:
    """The same, slowly: whole messages, without any COPY."""

    def __init__(self) -> None:
        self.owed = 1
        self.open = False
        self.status = 0

    def client(self, kind: str) -> None:
        if kind in "QSF":
            self.owed += 1
            self.open = False
        elif kind not in "dcfHp":
            self.open = True

    def server(self, kind: str, body: bytes) -> None:
        if kind == "Z":
            self.owed = max(0, self.owed - 1)
            self.status = body[0]


bodies = st.binary(max_size=12)
client_messages = st.lists(st.tuples(st.sampled_from("QPBDECSFHdcf"), bodies), max_size=8)
frames = st.one_of(
    st.builds(Checkpoint, st.binary(max_size=30)),
    st.builds(GivenAway, st.binary(max_size=30)),
    st.builds(Held, st.text(max_size=9)),
    st.builds(Refused, st.text(max_size=9)),
)
server_messages = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("TDCNAS12"), bodies),
        st.tuples(st.just("Z"), st.sampled_from([b"I", b"T"])),
        frames,
    ),
    max_size=8,
)
cuts = st.lists(st.integers(0, 200), max_size=12)


@given(client_messages, cuts)
def test_the_clients_borders_and_requests(messages: list[tuple[str, bytes]], at: list[int]) -> None:
    exchange, twin = Exchange(), Twin()
    stream = b"".join(message(*each) for each in messages)
    borders = {sum(5 + len(body) for _, body in messages[:n]) for n in range(len(messages) + 1)}
    passed = 0
    for piece in cut(stream, at):
        exchange.requested(piece)
        passed += len(piece)
        assert exchange.client_between == (passed in borders)
    for kind, _ in messages:
        twin.client(kind)
    assert (exchange.owed, exchange.open) == (twin.owed, twin.open)


@given(server_messages, cuts)
def test_frames_are_taken_out_and_nothing_else(
    messages: list[tuple[str, bytes] | PodFrame], at: list[int]
) -> None:
    exchange, twin = Exchange(), Twin()
    stream, wanted, ends = b"", b"", {0}
    for each in messages:
        if isinstance(each, tuple):
            wanted += message(*each)
            twin.server(*each)
        stream += message(*each) if isinstance(each, tuple) else each.build()
        ends.add(len(stream))
    got, passed = b"", 0
    for piece in cut(stream, at):
        got += exchange.answered(piece)
        passed += len(piece)
        assert exchange.server_between == (passed in ends)
    assert got == wanted
    assert exchange.taken == [each for each in messages if not isinstance(each, tuple)]
    assert (exchange.owed, exchange.status) == (twin.owed, twin.status)


def test_what_has_no_frame_in_it_is_not_copied() -> None:
    exchange = logged_in()
    piece = message("D", b"x" * 1000) * 20
    assert exchange.answered(piece) is piece
    assert exchange.answered(piece[:500]) == piece[:500]


@pytest.mark.parametrize("bytes_", [b"D\0\0\0\3", b"M\0\0\0\5?", b"M\xff\xff\xff\xff"])
def test_a_broken_server_is_noticed(bytes_: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        logged_in().answered(bytes_)


def test_a_frame_is_bounded_by_its_header() -> None:
    exchange = logged_in()
    with pytest.raises(ProtocolViolation):
        exchange.answered(struct.pack(">cI", b"M", SEALED_BYTES_MAX + 2000))


@pytest.mark.parametrize("split", [1, 3, 5])
def test_a_client_that_breaks_the_protocol_is_left_to_the_server(split: int) -> None:
    exchange = logged_in()
    bad = b"Q\0\0\0\2"
    exchange.requested(bad[:split])
    exchange.requested(bad[split:] + message("S"))
    exchange.answered(backend.READY_IDLE * 3)
    assert not exchange.quiescent
    assert not exchange.client_between
