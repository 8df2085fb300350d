"""Which version a snapshot sees: the pure half of MVCC (the essay is in `storage.versions`)."""

from collections.abc import Container, Iterable

from storage.engines.interface import Row
from storage.layout import TIME, split_history

_PAYLOAD = TIME.size


def latest_rows(rows: list[Row], snapshot: int) -> list[Row]:
    """The rows of a current page that existed at `snapshot`, if nothing was overwritten since."""
    unpack = TIME.unpack_from
    return [(key, value[_PAYLOAD:]) for key, value in rows if unpack(value)[0] <= snapshot]


def version_at(history: Row | None, snapshot: int) -> bytes | None:
    """What a snapshot sees of a key whose current version is too young for it.

    `history` is the youngest superseded version that was written at or before the snapshot.
    """
    if history is None or TIME.unpack_from(history[1])[0] <= snapshot:
        return None
    return history[1][_PAYLOAD:]


def unsettled(
    current: Iterable[Row],
    removals: Iterable[tuple[bytes, int]],
    settled: Container[bytes],
    snapshot: int,
    *,
    reverse: bool,
) -> list[bytes]:
    """The keys of one range for which a snapshot must look at history, in the order asked for.

    `settled` are those of the current rows that are old enough. These may have been read before the
    removals: a version that was removed in between is in both, and settled.
    """
    unpack = TIME.unpack_from
    young = {key for key, value in current if unpack(value)[0] > snapshot}
    young.update(key for key, gone in removals if gone > snapshot and key not in settled)
    return sorted(young, reverse=reverse)


def seen_of(history: Iterable[Row], keys: Container[bytes], snapshot: int) -> dict[bytes, bytes]:
    """What a snapshot sees of `keys`, from all their superseded versions."""
    seen = {}
    for place, value in history:
        key, written = split_history(place)
        if written <= snapshot < TIME.unpack_from(value)[0] and key in keys:
            seen[key] = value[_PAYLOAD:]
    return seen
