"""Backup files made by hand."""

from dormouse.base import archive, blocks

Pairs = list[tuple[bytes, bytes]]


def piece_of(pairs: Pairs, kind: bytes = archive.ROWS) -> archive.Piece:
    """A piece with these rows or counters."""
    keys, values = blocks.pack([k for k, _ in pairs]), blocks.pack([v for _, v in pairs])
    return archive.Piece(kind, keys, values)


def framed(pieces: list[archive.Piece]) -> list[bytes]:
    """The frames of a file, its manifest last."""
    summing = archive.Summing()
    frames: list[bytes] = []
    for piece in pieces:
        frames.append(archive.write_piece(len(frames), piece))
        summing.add(piece, frames[-1])
    sums = summing.sums
    return [*frames, archive.write_manifest(len(frames), {"tenant": {"name": "shop"}}, sums)]


def some_frames() -> list[bytes]:
    """Those of a file of some kilobytes that cannot be packed."""
    groups = [[(b"%d" % n, _noise(n)) for n in range(at, at + 10)] for at in range(0, 100, 10)]
    return framed([piece_of(group) for group in groups])


def a_file(frames: list[bytes]) -> bytes:
    """The file of these frames."""
    return archive.MAGIC + b"".join(frames)


def _noise(seed: int) -> bytes:
    return bytes((seed * 7919 + n * n * 31 + (n << 3) * seed) % 251 for n in range(100))
