"""Backups as files in a folder: each is written under another name until it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from dormouse.cli.folder import CommandError
from dormouse.cli.places import Kept

_ENDING, _PART = ".backup", ".part"


class Folder:
    """See `places.Place`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def path_of(self, name: str) -> str:
        """See `Place.path_of`."""
        return str(self._path / name)

    def refuse_taken(self, name: str) -> None:
        """See `Place.refuse_taken`."""
        if (self._path / name).exists():
            raise CommandError(
                f"{self._path / name} exists", hint="remove it, or take another name"
            )

    @contextmanager
    def writing(self, name: str) -> Iterator["FileSink"]:
        """See `Place.writing`."""
        file = self._path / name
        part = file.with_name(f"{name}{_PART}")
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Its own user's alone: it holds all that the tenant stores.
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise _unwritable(file, error) from None
        try:
            with os.fdopen(descriptor, "wb") as out:
                sink = FileSink(file, out)
                yield sink
            if sink.is_finished:
                self.refuse_taken(name)
                part.replace(file)
        except OSError as error:
            raise _unwritable(file, error) from None
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def reading(self, name: str) -> Iterator["FileSource"]:
        """See `Place.reading`."""
        file = self._path / name
        try:
            with file.open("rb") as found:
                yield FileSource(file, found)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from None

    def kept(self) -> list[Kept]:
        """See `Place.kept`."""
        endings = (_ENDING, _ENDING + _PART)
        try:
            files = sorted(each for each in self._path.iterdir() if each.name.endswith(endings))
            return [_kept(each) for each in files]
        except OSError as error:
            raise CommandError(f"{self._path} cannot be read: {error.strerror}") from None

    def remove(self, kept: Kept) -> None:
        """See `Place.remove`."""
        file = self._path / f"{kept.name}{_PART}"
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise CommandError(f"{file} cannot be removed: {error.strerror}") from None


class FileSink:
    """See `places.Sink`; what it raises are OSErrors, which the folder makes CommandErrors."""

    def __init__(self, file: Path, out: IO[bytes]) -> None:
        self._file = file
        self._out = out
        self.is_finished = False

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        self._out.write(data)

    def finish(self, manifest: bytes) -> int:
        """See `Sink.finish`."""
        self._out.write(manifest)
        self._out.flush()
        os.fsync(self._out.fileno())
        self.is_finished = True
        return self._out.tell()


class FileSource:
    """See `places.Source`."""

    where = ""

    def __init__(self, file: Path, found: IO[bytes]) -> None:
        self._found = found
        self.size = file.stat().st_size

    def read(self, size: int) -> bytes:
        """See `Source.read`."""
        return self._found.read(size)


def _kept(file: Path) -> Kept:
    found = file.stat()
    written = datetime.fromtimestamp(found.st_mtime, UTC)
    is_whole = not file.name.endswith(_PART)
    return Kept(file.name.removesuffix(_PART), found.st_size, written, is_whole)


def _unwritable(file: Path, error: OSError) -> CommandError:
    return CommandError(f"{file} cannot be written: {error.strerror}")
