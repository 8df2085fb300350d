"""Scans: pages from storage with the transaction's own writes laid over them.

A page answers for a stretch of the range, up to where the next page resumes. Own writes inside that
stretch replace, add to or remove from its rows; the stretches of all pages together are the range,
so every own write is met once, also where storage has nothing.
"""

from __future__ import annotations  # gRPC futures are generic for the type checker only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode.kv.api import Page

Own = Callable[[bytes, bytes], dict[bytes, bytes | None]]
"""Own writes in [start, end)."""


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What `Transaction.scan` was asked for. `want_keys`: storage must send keys in any case."""

    start: bytes
    end: bytes
    reverse: bool
    strip: int
    keys: bool
    values: bool
    rows_hint: int
    want_keys: bool

    def page(self, start: bytes, end: bytes, rows_max: int) -> kv.Scan:
        """The request for the page of [start, end)."""
        return kv.Scan(
            start=start,
            end=end,
            reverse=self.reverse,
            rows_max=rows_max,
            strip=self.strip,
            values_only=not self.want_keys,
            keys_only=not self.values,
        )


async def pages(
    wanted: ScanRequest,
    send: Callable[[kv.Scan], asyncio.Future[kv.Reply]],
    finish: Callable[[asyncio.Future[kv.Reply]], Awaitable[kv.ScanReply]],
    own: Own | None,
    read: Callable[[bytes, bytes], None] | None,
) -> AsyncIterator[Page]:
    """The pages of a range. Without `rows_hint` the next page is asked for while the last one is
    being worked on. `read` is told of each stretch before its page is given."""
    start, end, rows_max = wanted.start, wanted.end, wanted.rows_hint
    if start >= end:
        return
    sent = send(wanted.page(start, end, rows_max))
    try:
        while True:
            reply = await finish(sent)
            low, high = start, end
            if reply.resume and wanted.reverse:
                end = low = reply.resume
            elif reply.resume:
                start = high = reply.resume
            if read is not None:
                read(low, high)
            rows_max *= 2
            if reply.resume and not wanted.rows_hint:
                sent = send(wanted.page(start, end, 0))
            page = _merged(wanted, reply, {} if own is None else own(low, high))
            if page.keys or page.values:
                yield page
            if not reply.resume:
                return
            if wanted.rows_hint:
                sent = send(wanted.page(start, end, rows_max))
    finally:
        # A reader that stops early leaves a page on its way that nobody waits for.
        if not sent.cancel() and not sent.cancelled():
            sent.exception()


def _merged(wanted: ScanRequest, reply: kv.ScanReply, own: dict[bytes, bytes | None]) -> Page:
    keys = blocks.unpack_present(reply.keys) if wanted.want_keys else []
    values = blocks.unpack_present(reply.values) if wanted.values else []
    if not own:
        return Page(keys if wanted.keys else [], values)
    rows = dict(zip(keys, values or [b""] * len(keys), strict=True))
    for key, value in own.items():
        stripped = key[wanted.strip :]
        if value is None:
            rows.pop(stripped, None)
        else:
            rows[stripped] = value
    order = sorted(rows, reverse=wanted.reverse)
    return Page(
        order if wanted.keys else [],
        [rows[key] for key in order] if wanted.values else [],
    )
