"""Writes of a large transaction on their way to storage ahead of its commit."""

from __future__ import annotations  # the client makes transactions

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from proto import kv_pb2 as kv

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlnode.kv.buffer import WriteBuffer
    from sqlnode.kv.client import KvClient

STAGE_BYTES = 1 << 20
"""Buffered bytes past which a transaction stages; also the size of a staged piece."""
PIECES_IN_FLIGHT = 4
"""Staged pieces sent and not yet answered, so that both sides work at the same time."""


class Stager:
    """Stages the writes of one transaction. `enlist` makes a request part of the transaction and
    gives its epoch, `reply` waits for a reply and raises what the client is told."""

    __slots__ = ("_buffer", "_client", "_enlist", "_reply", "_sent")

    def __init__(
        self,
        client: KvClient,
        buffer: WriteBuffer,
        enlist: Callable[[kv.Request], int],
        reply: Callable[[asyncio.Future[kv.Reply]], Awaitable[kv.Reply]],
    ) -> None:
        self._client = client
        self._buffer = buffer
        self._enlist = enlist
        self._reply = reply
        self._sent: deque[asyncio.Future[kv.Reply]] = deque()

    def __repr__(self) -> str:
        return f"<Stager {len(self._sent)} pieces on their way>"

    async def stage(self) -> None:
        """Send all buffered writes ahead, a bounded number of pieces on their way at a time."""
        piece_bytes = min(STAGE_BYTES, self._client.limits.frame_bytes_max // 2)
        for piece in self._buffer.take_pieces(piece_bytes):
            await self.finished(PIECES_IN_FLIGHT - 1)
            writes = kv.Writes(keys=piece.packed_keys, values=piece.packed_values)
            request = kv.Request(stage=kv.Stage(writes=writes))
            epoch = self._enlist(request)
            self._sent.append(self._client.call(request, epoch=epoch))

    async def finished(self, left: int = 0) -> None:
        """Wait until at most `left` pieces are on their way."""
        while len(self._sent) > left:
            await self._reply(self._sent.popleft())

    def forget(self) -> None:
        """Nobody wants to know any more."""
        while self._sent:
            self._sent.popleft().add_done_callback(_ignore)


def _ignore(future: asyncio.Future[kv.Reply]) -> None:
    if not future.cancelled():
        future.exception()
