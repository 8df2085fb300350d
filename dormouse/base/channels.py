"""A gRPC channel whose certificate may change.

A channel of gRPC's keeps its credentials for good. This one keeps such a channel, and makes another
when its credentials have a newer version and somebody calls: calls from then on take the new one,
those that are open end on the old one, which is closed after the last of them.

    calls ──▶ LiveChannel ──▶ channel, version 7
                    └ ─ ─ ─▶  channel, version 6, closed when its last stream has ended
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from dormouse.base.renewal import LiveCredentials
from dormouse.base.tasks import spawn

RETIRED_MAX = 4
"""Older channels whose calls may go on; beyond this the oldest is closed, and its calls end."""


class _Era:
    """One channel of gRPC's and the calls that are open on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.retired = False

    def called(self, call: Any) -> Any:
        """A call was begun."""
        self.calls += 1
        call.add_done_callback(self._ended)
        return call

    def retire(self) -> None:
        """No call is begun here any more."""
        self.retired = True
        self._close_if_done()

    def _ended(self, _call: Any) -> None:
        self.calls -= 1
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.retired and not self.calls:
            spawn(self.channel.close(None), name="close a channel")


class LiveChannel(grpc.aio.Channel):
    """See the module. `make` opens a channel with the credentials as they are."""

    def __init__(self, credentials: LiveCredentials, make: Callable[[], grpc.aio.Channel]) -> None:
        self._credentials = credentials
        self._make = make
        self._version = credentials.version
        self._era = _Era(make())
        self._retired: list[_Era] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<LiveChannel version={self._version} retired={len(self._retired)}>"

    @property
    def era(self) -> _Era:
        """The channel for the next call."""
        if self._version != self._credentials.version and not self._closed:
            old, self._version = self._era, self._credentials.version
            self._era = _Era(self._make())
            self._retired = [each for each in self._retired if each.calls]
            self._retired.append(old)
            old.retire()
            if len(self._retired) > RETIRED_MAX:
                spawn(self._retired.pop(0).channel.close(None), name="close a channel")
        return self._era

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_unary(method, *arguments, **options))

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_stream(method, *arguments, **options))

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_unary(method, *arguments, **options))

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_stream(method, *arguments, **options))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`; of the channel for the next call."""
        return self.era.channel.get_state(try_to_connect=try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self.era.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See `grpc.aio.Channel`."""
        await self.era.channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """See `grpc.aio.Channel`: with all that is open on the older ones."""
        self._closed = True
        eras = [self._era, *(each for each in self._retired if each.calls)]
        await asyncio.gather(*(each.channel.close(grace) for each in eras))

    async def __aenter__(self) -> "LiveChannel":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close(None)


class _Method:
    """A method of a service on whatever channel is the newest."""

    def __init__(self, channel: LiveChannel, bind: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._bind = bind
        self._era: _Era | None = None
        self._bound: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        era = self._channel.era
        if era is not self._era:
            self._era, self._bound = era, self._bind(era.channel)
        return era.called(self._bound(*arguments, **options))
