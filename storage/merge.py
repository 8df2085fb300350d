"""Which version a snapshot sees: the pure half of MVCC (the essay is in `storage.versions`)."""

from collections.abc import Iterable

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


def merged_rows(
    current: Iterable[Row], history: Iterable[Row], snapshot: int, *, reverse: bool
) -> list[Row]:
    """The rows a snapshot sees, from the current and the superseded versions of one range.

    The current rows may have been read before the superseded ones; a version that was superseded
    in between is in both and counted once.
    """
    rows = dict(latest_rows(list(current), snapshot))
    for key, value in history:
        user_key, written = split_history(key)
        if written <= snapshot < TIME.unpack_from(value)[0]:
            rows[user_key] = value[_PAYLOAD:]
    return sorted(rows.items(), reverse=reverse)
