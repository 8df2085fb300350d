"""What a commit's writes are to the engine: new versions in the place of old ones, which move to
history (the essay is in storage/versions.py)."""

from collections.abc import Iterable
from dataclasses import dataclass

from storage.cache import Record
from storage.engines.interface import Write
from storage.layout import TIME, history_key, removed_key


@dataclass(slots=True)
class Superseding:
    """The engine's writes for new versions: each old one moves to history."""

    batch: list[Write]
    ended: list[bytes]
    """Keys of history, and of removals: to go together one day."""
    removed: list[bytes]
    """The user's keys that are gone."""


def version_writes(
    writes: Iterable[tuple[bytes, bytes | None]], records: dict[bytes, Record], time: int
) -> Superseding:
    """What puts `writes` in the place of the versions in `records`.

    Such a version may have the time itself: then it is of an earlier piece of the same transaction,
    and nobody has seen it.
    """
    batch: list[Write] = []
    ended: list[bytes] = []
    removed: list[bytes] = []
    stamp = TIME.pack(time)
    for key, payload in writes:
        since, old = records[key]
        if old is not None and since != time:
            superseded = history_key(key, since)
            batch.append((superseded, stamp + old))
            ended.append(superseded)
        if old is not None and payload is None:
            removed.append(key)
        batch.append((key, None if payload is None else stamp + payload))
    for key in removed:
        removal = removed_key(key, time)
        batch.append((removal, b""))
        ended.append(removal)
    return Superseding(batch, ended, removed)


def first_versions(writes: Iterable[tuple[bytes, bytes | None]], time: int) -> list[Write]:
    """The engine's writes for keys that have no old version."""
    stamp = TIME.pack(time)
    return [(key, None if payload is None else stamp + payload) for key, payload in writes]


def growth_of(writes: Iterable[tuple[bytes, bytes | None]], records: dict[bytes, Record]) -> int:
    """By how many bytes current rows become more, as the engine has them."""
    growth = 0
    for key, payload in writes:
        _, old = records[key]
        if payload is not None:
            growth += len(key) + TIME.size + len(payload)
        if old is not None:
            growth -= len(key) + TIME.size + len(old)
    return growth
