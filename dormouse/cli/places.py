"""Where backups lie: folders, on a disk or in a bucket, and what lies there.

    /var/backups/shop-17-20261121T203459Z.backup        a file
    s3://bucket/folder/shop-17-20261121T203459Z.backup  the same file, in parts (bucketplace.py)

Who writes there is who types the command: the API names no place, so no key of it leads anybody
into a bucket, and no credentials but those of the command's own environment are ever used.
"""

import argparse
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from dormouse.cli.folder import CommandError
from dormouse.cli.objectstore import store_options
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.progress import size_text

STALE = timedelta(days=1)
"""What is not whole and was not written to for so long has broken off: a backup that is under way
writes every few minutes, or fails."""
_SECRET = re.compile("secret|password|token|sas|(account|access|master|customer|service).*key")


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies at a place under one name."""

    name: str
    size: int
    written: datetime
    """When something of it was written last."""
    is_whole: bool
    """Whether it was finished; not whether it still is as it was, which `verify` says."""


class Sink(Protocol):
    """A backup that is written. What is not finished inside the context is removed at its end."""

    def write(self, data: bytes) -> None:
        """More of it. Raises CommandError."""
        ...

    def finish(self, manifest: bytes) -> int:
        """The last of it, durable with all before it on return: how large it is in all. Raises
        CommandError."""
        ...


class Source(Protocol):
    """A backup that is read."""

    size: int

    @property
    def where(self) -> str:
        """Which part of it was read last; empty where it is all one."""
        ...

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at its end. Raises CommandError, or Damaged for a part that has
        gone."""
        ...


class Place(Protocol):
    """A folder with backups. Everything raises CommandError where it cannot be reached."""

    def path_of(self, name: str) -> str:
        """What `verify` and `restore` take."""
        ...

    def refuse_taken(self, name: str) -> None:
        """Raises CommandError where something has the name."""
        ...

    def writing(self, name: str) -> AbstractContextManager[Sink]:
        """Write a backup; nothing has its name before it is whole."""
        ...

    def reading(self, name: str) -> AbstractContextManager[Source]:
        """Read a backup. Raises archive.Damaged where it is not whole."""
        ...

    def kept(self) -> list[Kept]:
        """What lies there, by name."""
        ...

    def remove(self, kept: Kept) -> None:
        """Remove what is not whole."""
        ...


def place_of(text: str, options: Mapping[str, str]) -> Place:
    """The place of this path or URL; `options` are of its provider. Raises CommandError."""
    scheme, separator, _ = text.partition("://")
    if separator and scheme != "file":
        # Late: a plain file needs none of its 15 MB.
        from dormouse.cli.bucketplace import Bucket

        if secret := next(filter(_SECRET.search, options), None):
            raise CommandError(
                f"--object-store-option {secret}: everybody on the machine can read a command line",
                hint="give credentials in the environment (docs/backup.md)",
            )
        return Bucket(text, options)
    from dormouse.cli.folderplace import Folder

    if options:
        raise CommandError(f"--object-store-option is for buckets, and {text} is none")
    return Folder(Path(text.removeprefix("file://")))


def split(text: str) -> tuple[str, str]:
    """The place and the name of a backup's path or URL. Raises CommandError."""
    folder, slash, name = text.rpartition("/")
    if not name or folder.endswith(":/"):
        raise CommandError(f"{text!r} names no backup in a folder")
    return (folder or slash) if slash else ".", name


def opened(text: str, options: argparse.Namespace) -> tuple[Place, str]:
    """The place, and the name at it, of what was typed. Raises CommandError."""
    folder, name = split(text)
    return place_of(folder, store_options(options)), name


def show(options: argparse.Namespace) -> int:
    """Run `dormouse backup --list`."""
    place = place_of(options.list, store_options(options))
    kept = place.kept()
    if options.json:
        print_json({"backups": [_view(place, each) for each in kept]})
        return 0
    rows = [
        (plain(each.name), f"{each.written:%Y-%m-%d %H:%M}", size_text(each.size), _state(each))
        for each in kept
    ]
    print(table(("name", "written", "size", "state"), rows) if rows else "No backups are there.")
    return 0


def clean(options: argparse.Namespace) -> int:
    """Run `dormouse backup --clean`."""
    place = place_of(options.clean, store_options(options))
    gone = [each for each in place.kept() if has_broken_off(each, datetime.now(UTC))]
    for each in gone:
        place.remove(each)
    if options.json:
        print_json({"removed": [_view(place, each) for each in gone]})
    elif gone:
        print(fields([(plain(each.name), f"{size_text(each.size)} removed") for each in gone]))
    else:
        print("Nothing is there that broke off more than a day ago.")
    return 0


def has_broken_off(kept: Kept, now: datetime) -> bool:
    """Whether nobody writes to it any more, and it never was whole."""
    return not kept.is_whole and now - kept.written > STALE


def _state(kept: Kept) -> str:
    if kept.is_whole:
        return "whole"
    return "broke off" if has_broken_off(kept, datetime.now(UTC)) else "under way, or broke off"


def _view(place: Place, kept: Kept) -> dict[str, Any]:
    return {
        "name": kept.name,
        "file": place.path_of(kept.name),
        "bytes": kept.size,
        "written_at": kept.written.isoformat(),
        "whole": kept.is_whole,
    }
