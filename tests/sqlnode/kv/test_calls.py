"""What is sent when: frames, places for locks, and what a broken stream leaves."""

import asyncio

import pytest

from proto import kv_pb2 as kv
from sqlnode.kv.calls import Call, Calls, Limits
from sqlnode.kv.errors import KvRefused, StreamLost


def _call(
    number: int, *, lock: bool = False, bound: bool = False, retry: bool = False, size: int = 10
) -> Call:
    request = kv.Request(id=number)
    (request.lock if lock else request.get).SetInParent()
    future: asyncio.Future[kv.Reply] = asyncio.get_running_loop().create_future()
    return Call(request, future, bound, retry, size, lock)


def _sent(calls: Calls) -> list[int]:
    frame = calls.next_frame()
    return [] if frame is None else [request.id for request in frame.requests]


def test_locks_leave_places_for_those_who_end_the_waiting() -> None:
    async def body() -> None:
        calls = Calls(Limits(requests_max=4))
        for number in range(1, 5):
            calls.add(_call(number, lock=True))
        assert _sent(calls) == [1, 2]
        calls.add(_call(10))
        calls.add(_call(11))
        calls.add(_call(12))
        assert _sent(calls) == [10, 11]
        calls.answer(kv.Reply(id=1))
        assert _sent(calls) == [12]
        calls.answer(kv.Reply(id=10))
        assert _sent(calls) == [3]

    asyncio.run(body())


def test_frames_have_a_size_and_too_large_requests_fail() -> None:
    async def body() -> None:
        calls = Calls(Limits(frame_bytes_max=25))
        for number in (1, 2, 3):
            calls.add(_call(number))
        assert _sent(calls) == [1, 2]
        assert _sent(calls) == [3]
        large = _call(4, size=26)
        calls.add(large)
        with pytest.raises(KvRefused) as refused:
            await _answer(large)
        assert refused.value.code == kv.Error.TOO_LARGE

    asyncio.run(body())


def test_calls_nobody_waits_for_are_not_sent() -> None:
    async def body() -> None:
        calls = Calls()
        call = _call(1)
        calls.add(call)
        if call.future is not None:
            call.future.cancel()
        assert _sent(calls) == []
        assert len(calls) == 0

    asyncio.run(body())


def test_a_broken_stream_sorts_calls() -> None:
    async def body() -> None:
        calls = Calls()
        read, commit, locked = _call(1, retry=True), _call(2), _call(3, bound=True, retry=True)
        for call in (read, commit, locked):
            calls.add(call)
        assert _sent(calls) == [1, 2, 3]
        waiting, doomed = _call(4), _call(5, bound=True)
        calls.add(waiting)
        calls.add(doomed)
        calls.stream_broke()
        for call, sent in ((commit, True), (locked, True), (doomed, False)):
            with pytest.raises(StreamLost) as lost:
                await _answer(call)
            assert lost.value.sent is sent
        assert _sent(calls) == [1, 4]
        calls.answer(kv.Reply(id=1, get=kv.GetReply(snapshot=9)))
        assert (await _answer(read)).get.snapshot == 9

    asyncio.run(body())


async def _answer(call: Call) -> kv.Reply:
    if call.future is None:
        raise RuntimeError("nobody waits for this call")
    return await call.future
