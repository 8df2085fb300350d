"""What was read, as the replies that carry it."""

from collections.abc import Sequence

from dormouse.base import blocks
from proto import kv_pb2 as kv
from storage.cache import Record
from storage.layout import TIME
from storage.refusals import Refusal
from storage.versions import Scanned

REPLY_BYTES_MAX = 48 << 20
"""Bytes of the values in one reply; a gRPC message ends at 64 MiB."""


def page_reply(scan: kv.Scan, snapshot: int, found: Scanned) -> kv.ScanReply:
    """A page, read at `snapshot`: of keys and values what the scan asked for."""
    reply = kv.ScanReply(snapshot=snapshot, resume=found.resume)
    if not scan.values_only:
        reply.keys = blocks.pack([key[scan.strip :] for key, _ in found.rows])
    if not scan.keys_only:
        reply.values = blocks.pack([payload for _, payload in found.rows])
    return reply


def get_reply(request: kv.Request, snapshot: int, values: list[bytes | None]) -> kv.Reply:
    """One value for each key, read at `snapshot`. Raises Refusal."""
    reply = kv.GetReply(snapshot=snapshot, values=_packed(values))
    return kv.Reply(id=request.id, get=reply)


def lock_reply(
    request: kv.Request, visible: int, records: list[Record], locked: bytearray
) -> kv.Reply:
    """The newest versions of keys, all current at `visible`; those of which `locked` is 0 need have
    no record, and are answered as absent. Raises Refusal."""
    if len(records) < len(locked):
        found = iter(records)
        records = [next(found) if chosen else (0, None) for chosen in locked]
    reply = kv.LockReply(
        snapshot=visible,
        values=_packed([payload for _, payload in records]),
        versions=b"".join(
            [TIME.pack(0 if payload is None else since) for since, payload in records]
        ),
        locked=bytes(locked),
    )
    return kv.Reply(id=request.id, lock=reply)


def _packed(values: Sequence[bytes | None]) -> bytes:
    """A block of values, if it fits into a frame."""
    block = blocks.pack(values)
    if len(block) > REPLY_BYTES_MAX:
        raise Refusal(kv.Error.TOO_LARGE, "the values do not fit into one reply: ask for fewer")
    return block
