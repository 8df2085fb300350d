"""What is asked of a sequence (proto/kv.proto, Sequence)."""

from typing import TYPE_CHECKING

from proto import kv_pb2 as kv
from storage.engines.interface import EngineError
from storage.refusals import bad_request, engine_failed
from storage.sequences import Block, Sequences, Shape, State, log_count
from storage.waiting import InFlight

if TYPE_CHECKING:
    from storage.operations import Stream
    from storage.shard import Shard
    from storage.tenants import Tenant


class SequenceOperations:
    """The sequences of one session's tenant."""

    def __init__(self, shard: "Shard", tenant: "Tenant", stream: "Stream") -> None:
        self._sequences: Sequences = shard.sequences
        self._tenant = tenant
        self._stream = stream

    def handle(self, request: kv.Request) -> None:
        """Answer now if the sequence is in memory, or once it is. Raises Refusal."""
        asked = request.sequence
        key = self._tenant.span.key(asked.key)
        _check(asked)
        if self._sequences.state(key) is not None or asked.HasField("return"):
            self._answer(request, key)
            return

        async def load(_: InFlight) -> None:
            while self._sequences.state(key) is None:
                await self._sequences.load(key, _start(asked))
            self._answer(request, key)

        self._stream.later(request, load)

    def _answer(self, request: kv.Request, key: bytes) -> None:
        asked, sequences = request.sequence, self._sequences
        match asked.WhichOneof("action"):
            case "take":

                def taken(block: Block, error: EngineError | None) -> None:
                    result = kv.SequenceReply(first=block.first, count=block.count)
                    self._reply(request, result, error)

                shape, count = _shape(asked.take), asked.take.count
                sequences.take(key, shape, count, taken, share=self._tenant.share)
            case "put":

                def put(error: EngineError | None) -> None:
                    self._reply(request, kv.SequenceReply(), error)

                wanted = asked.put
                value, called = wanted.value, wanted.is_called
                sequences.put(key, value, called=called, done=put, share=self._tenant.share)
            case "look":
                self._reply(request, _shown(sequences.state(key), asked.look), None)
            case _:
                back = getattr(asked, "return")  # a word of Python's
                sequences.give_back(key, back.next, back.last, back.increment)
                self._reply(request, kv.SequenceReply(), None)

    def _reply(
        self, request: kv.Request, result: kv.SequenceReply, error: EngineError | None
    ) -> None:
        if error is None:
            self._stream.reply(kv.Reply(id=request.id, sequence=result))
        else:
            refusal = engine_failed(error)
            self._stream.reply(refusal.reply(request.id))


def _check(asked: kv.Sequence) -> None:
    action = asked.WhichOneof("action")
    if action is None:
        raise bad_request("nothing is asked of the sequence")
    if action != "put" and not getattr(asked, action).increment:
        raise bad_request("a sequence that stands still")


def _start(asked: kv.Sequence) -> int:
    """What a sequence that was never used begins with, as far as the request knows."""
    return asked.take.start if asked.WhichOneof("action") == "take" else asked.look.start


def _shape(asked: kv.Sequence.Take) -> Shape:
    return Shape(asked.start, asked.increment, asked.min, asked.max, asked.cycle)


def _shown(state: State | None, look: kv.Sequence.Look) -> kv.SequenceReply:
    if state is None:
        raise LookupError("the sequence was loaded and is gone")
    return kv.SequenceReply(
        last_value=state.last,
        is_called=state.called,
        log_count=log_count(state, look.increment),
    )
