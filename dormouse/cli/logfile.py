"""A role's log on disk: what its pipe brings, in two files of bounded size."""

import asyncio
import contextlib
from pathlib import Path

BYTES_MAX = 16 << 20
_CHUNK = 64 << 10
_TAIL_BYTES = 4 << 10
_TAIL_LINES = 12


class LogFile:
    """Appends to `path`; when that is full it becomes `path.1` and its predecessor is gone."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._file = path.open("ab", buffering=0)

    async def copy(self, pipe: asyncio.StreamReader) -> None:
        """Append what `pipe` brings, until its end.

        What a full disk does not take is dropped: a pipe that nobody empties would stop the role.
        """
        while chunk := await pipe.read(_CHUNK):
            with contextlib.suppress(OSError):
                self.append(chunk)

    def append(self, chunk: bytes) -> None:
        """Append whole or part lines."""
        self._file.write(chunk)
        if chunk.endswith(b"\n") and self._file.tell() >= self._bytes_max:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab", buffering=0)

    def tail(self) -> str:
        """The last lines, for a person."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
