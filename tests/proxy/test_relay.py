"""Sessions without sockets: any order of pieces, moves and deaths, against one that never moves."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from pgwire import backend
from pgwire.framing import FrameDecoder
from pgwire.link import Checkpoint, GivenAway, Link, Purpose, Refused
from proto.autoscaler_pb2 import PodAddress
from proxy import errors
from proxy import session as session_module
from proxy.cancelkeys import CancelKeys
from proxy.census import Census
from proxy.config import ProxyLimits
from proxy.door import Door
from proxy.login import Login
from proxy.parking import SealedStore
from proxy.phase import TRANSITIONS, Event, Phase, after
from proxy.relay import PodLogin
from proxy.session import Session
from tests.proxy.linkedpod import message, pipeline, query


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self._reading = True
        self.closed = False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        assert not self.closed, "written to a closed connection"
        self.written += data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def reads(self) -> bool:
        return self._reading

    def close(self) -> None:
        self.closed = True


class Pod:
    """Answers each statement with its number in the session and its text; the number is the state.

    What it has read and not handled, and what it has said and nobody has heard, wait in buffers.
    """

    def __init__(self, link: Link, number: int = 0) -> None:
        self.link = link
        self.number = number
        self.wire = Wire()
        self.said = bytearray()
        self.gone = False
        self._frames = FrameDecoder()
        self._text = b""
        self._status = "I"
        self._open = False
        self._copying = False

    def greet(self) -> bytes:
        key = backend.backend_key_data(self.link.pid, self.link.cancel_secret)
        return backend.AUTHENTICATION_OK + key + self._checkpoint() + backend.READY_IDLE

    def work(self, frames: int) -> None:
        """Handle so many of the messages that have come."""
        self._frames.feed(bytes(self.wire.written))
        self.wire.written.clear()
        for _ in range(frames):
            if self.gone or (frame := self._frames.next()) is None:
                return
            self._handle(chr(frame.kind), frame.body)

    def speak(self, count: int) -> None:
        """Let so many of the bytes it has said be heard."""
        piece = bytes(self.said[:count])
        del self.said[:count]
        if piece and not self.wire.closed:
            self.wire.protocol.data_received(piece)

    def _handle(self, kind: str, body: bytes) -> None:
        match kind:
            case "Q":
                self._statement(body[:-1])
                if not self._copying:
                    self._ready()
            case "P":
                self._open = True
                self._text = body.split(b"\0")[1]
                self.said += backend.PARSE_COMPLETE
            case "B":
                self.said += backend.BIND_COMPLETE
            case "E":
                self._statement(self._text)
            case "S" if not self._copying:
                self._open = False
                self._ready()
            case "c":
                self._copying = False
                self.said += backend.command_complete("COPY")
                if not self._open:
                    self._ready()
            case "M":
                self._give_away(body)

    def _statement(self, text: bytes) -> None:
        self.number += 1
        if text == b"copy":
            self._copying = True
            self.said += backend.copy_in_response(1)
            return
        if text in (b"begin", b"commit"):
            self._status = "T" if text == b"begin" else "I"
        self.said += message(b"D", str(self.number).encode() + b":" + text)

    def _ready(self) -> None:
        if self._status == "I":
            self.said += self._checkpoint()
        self.said += backend.ready_for_query(self._status)

    def _checkpoint(self) -> bytes:
        return Checkpoint(str(self.number).encode()).build()

    def _give_away(self, body: bytes) -> None:
        assert self.link.purpose_of(body) is Purpose.MOVE
        if self._open or self._copying or self._status != "I":
            self.said += Refused("busy").build()
        else:
            self.said += GivenAway(str(self.number).encode()).build()
            self.gone = True


class Somewhere:
    """The pods a session is counted at."""

    number = 3

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def session_opened(self, pod: PodAddress) -> None:
        self.counts[pod.pod_id] += 1

    def session_closed(self, pod: PodAddress) -> None:
        self.counts[pod.pod_id] -= 1


@dataclass
class Desk:
    """As much of a door as a session needs."""

    limits: ProxyLimits = field(default_factory=ProxyLimits)
    pods: Somewhere = field(default_factory=Somewhere)
    keys: CancelKeys = field(default_factory=CancelKeys)
    sessions: set[Session] = field(default_factory=set)
    census: Census = field(default_factory=Census)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.sealed = SealedStore(self.limits)


class Stage:
    """A session with a pod, and whoever moves it."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.client = Wire()
        self.gone = 0
        self.moves = 0
        self.recoveries = 0
        self.session = Session(
            cast("Door", self.desk),
            name="s",
            tenant=TenantId(17),
            user="mouse",
            transport=self.client,
            on_gone=self._gone,
        )
        self.pod = Pod(self.session.link)
        login = self._dial(self.pod, resumes=False)
        self.session.join(self._address(), login, b"")
        self.session.settle(login)
        self.client.written.clear()

    def _gone(self) -> None:
        self.gone += 1

    def _address(self) -> PodAddress:
        return PodAddress(pod_id=id(self.pod) % 1000 + 1, sql_address="pod:1")

    def _dial(self, pod: Pod, *, resumes: bool) -> PodLogin:
        login = PodLogin(Login(self.session.link, resumes=resumes))
        login.connection_made(pod.wire)
        login.data_received(pod.greet())
        return login

    def phase(self) -> Phase:
        return self.session.phase

    def say(self, data: bytes) -> None:
        """The client, as far as it is listened to."""
        self.client.protocol.data_received(data)

    def want(self, *, hurry: bool) -> None:
        self.session.want(Purpose.MOVE, "move")
        if hurry:
            self.session.hurry()

    def go_on(self) -> None:
        """Take the session up in another pod, if nobody has it."""
        if self.session.phase is not Phase.RESUMING:
            return
        transfer = self.session.transfer
        assert transfer is not None
        if transfer.answer.done():
            answer = transfer.answer.result()
            assert isinstance(answer, GivenAway)
            sealed = answer.sealed
        else:
            sealed = self.session.checkpoint or b""
        self.moves += 1
        self.pod = Pod(self.session.link, int(sealed))
        assert self.session.attach(self._address(), self._dial(self.pod, resumes=True))

    def kill(self) -> None:
        """The pod's connection breaks; what it has said and nobody has heard is lost."""
        self.pod.gone = True
        self.pod.said.clear()
        if not self.pod.wire.closed:
            self.pod.wire.protocol.connection_lost(None)
        if self.session.phase is Phase.RESUMING:
            self.recoveries += 1
        self.go_on()

    def finish(self) -> None:
        """Let everything be said and heard."""
        for _ in range(200):
            self.pod.work(1000)
            self.pod.speak(1 << 20)
            self.go_on()


def stream_of(words: list[str]) -> bytes:
    """What the client says. `copy`s come with their data."""
    out = b""
    for number, word in enumerate(words):
        if word == "copy":
            out += query("copy") + message(b"d", b"data") + message(b"c")
        elif word == "copy!":  # in the extended protocol its Sync is sent twice
            out += pipeline("copy") + message(b"d", b"data") + message(b"c") + message(b"S")
        elif word == "extended":
            out += pipeline(f"e{number}")
        else:
            out += query(word if word in ("begin", "commit") else f"q{number}")
    return out


def twin_of(stream: bytes) -> bytes:
    """What a session that never moves is told."""
    stage = Stage()
    stage.say(stream)
    stage.finish()
    return bytes(stage.client.written)


WORDS = ["simple", "simple", "simple", "extended", "extended", "begin", "commit", "copy", "copy!"]
STEPS = {
    "say": 6,
    "work": 4,
    "speak": 6,
    "work and speak": 4,
    "want": 1,
    "hurry": 1,
    "unwant": 1,
    "go on": 2,
}


def scene(dice: random.Random) -> tuple[bytes, list[tuple[str, int]]]:
    """What a client says, and in which order things happen."""
    count = dice.randint(0, 60)
    steps = dice.choices(list(STEPS), list(STEPS.values()), k=count)
    stream = stream_of(dice.choices(WORDS, k=dice.randint(0, 40)))
    return stream, [(step, dice.choice([1, 3, 20, 40, 200])) for step in steps]


def play(stage: Stage, stream: bytes, steps: list[tuple[str, int]]) -> bytes:
    """What of the stream is left."""
    for step, count in steps:
        if step == "say" and stage.client.reads():
            stage.say(stream[:count])
            stream = stream[count:]
        elif step == "work":
            stage.pod.work(count)
        elif step == "speak":
            stage.pod.speak(count)
        elif step == "work and speak":
            stage.pod.work(1000)
            stage.pod.speak(1 << 20)
        elif step in ("want", "hurry"):
            stage.want(hurry=step == "hurry")
        elif step == "unwant":
            stage.session.unwant()
        elif step == "go on":
            stage.go_on()
        elif step == "kill":
            stage.kill()
        if stage.session.phase is Phase.CLOSED:
            break
    return stream


def in_loop(body: Any) -> None:
    async def main() -> None:
        body()

    asyncio.run(main())


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_no_order_of_moves_changes_what_the_client_is_told(seed: int) -> None:
    def body() -> None:
        stream, steps = scene(random.Random(seed))
        stage = Stage()
        left = play(stage, stream, steps)
        stage.finish()
        assert stage.client.reads()
        stage.say(left)
        stage.finish()
        assert bytes(stage.client.written) == twin_of(stream)
        assert stage.desk.pods.counts.total() == 1
        stage.session.unwant()
        stage.session.close()
        assert stage.desk.pods.counts.total() == 0
        assert repr(stage.desk.sealed) == "<SealedStore bytes=0 tenants=0>"
        assert repr(stage.desk.keys) == "<CancelKeys n=0>"

    in_loop(body)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_a_death_is_either_not_noticed_or_told(seed: int) -> None:
    def body() -> None:
        dice = random.Random(seed)
        stream, steps = scene(dice)
        for _ in range(3):
            steps += [("kill", 0), *scene(dice)[1]]
        last = query("and") + query("then")
        wanted = twin_of(stream + last)
        stage = Stage()
        left = play(stage, stream, steps)
        if stage.session.phase is not Phase.CLOSED:
            stage.finish()
            stage.say(left + last)
            stage.finish()
            assert bytes(stage.client.written) == wanted
            return
        told = bytes(stage.client.written)
        if told.endswith(errors.POD_GONE):
            told = told[: -len(errors.POD_GONE)]
            frames = FrameDecoder(small=frozenset())
            frames.feed(told)
            while frames.next() is not None:
                pass
            assert frames.buffered == 0, "an error in the middle of a message"
        assert wanted.startswith(told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "resume", _nothing)
        in_loop(body)


async def _nothing(*_: object, **__: object) -> bool:
    return True


def test_a_session_of_which_everything_is_told_outlives_its_pod() -> None:
    def body() -> None:
        stage = Stage()
        for word in ("simple", "extended", "copy", "copy!"):
            said = stream_of([word])
            data = said.index(b"d\0") if b"d\0" in said else len(said)
            for part in (said[:data], said[data:]):  # COPY's data follow when they are asked for
                stage.say(part)
                stage.finish()
            stage.kill()
        assert stage.recoveries == 4
        assert stage.session.phase is Phase.RELAYING

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "resume", _nothing)
        in_loop(body)


def test_a_pod_that_answers_what_nobody_asked_is_broken() -> None:
    def body() -> None:
        stage = Stage()
        stage.pod.said += GivenAway(b"7").build()
        stage.pod.speak(100)
        assert stage.session.phase is Phase.CLOSED
        assert stage.client.closed

    in_loop(body)


# Who is not read from


def test_each_side_waits_for_the_other() -> None:
    def body() -> None:
        stage = Stage()
        stage.session.client_full(full=True)
        assert not stage.pod.wire.reads()
        stage.session.client_full(full=False)
        assert stage.pod.wire.reads()
        stage.session.pod_full(full=True)
        assert not stage.client.reads()
        stage.session.pod_full(full=False)
        assert stage.client.reads()

    in_loop(body)


def test_a_client_that_does_not_read_is_not_asked_for_until_it_does() -> None:
    def body() -> None:
        stage = Stage()
        stage.session.client_full(full=True)
        stage.want(hurry=True)
        assert stage.phase() is Phase.RELAYING
        stage.session.client_full(full=False)
        assert stage.phase() is Phase.MOVING

    in_loop(body)


def test_a_client_is_not_read_from_between_two_pods_even_if_the_first_was_full() -> None:
    def body() -> None:
        stage = Stage()
        stage.session.pod_full(full=True)
        stage.want(hurry=False)
        assert not stage.client.reads()
        stage.session.pod_full(full=False)
        assert not stage.client.reads()
        stage.say(query("held"))
        stage.pod.work(1)
        stage.pod.speak(100)
        assert not stage.client.reads()
        stage.session.client_full(full=True)
        stage.go_on()
        assert stage.client.reads()
        assert not stage.pod.wire.reads()  # the client is still slow
        assert bytes(stage.pod.wire.written) == query("held")

    in_loop(body)


# The table


def test_every_phase_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(Phase) - {Phase.LOGGING_IN}
    assert {phase for phase, _ in TRANSITIONS} == set(Phase)


def test_what_cannot_happen_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="a session that is parked: the pod keeps it"):
        after(Phase.PARKED, Event.REFUSED)
