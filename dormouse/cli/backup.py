"""`dormouse backup|verify|restore`: tenants into files, and files into tenants.

A file is written under another name and checked while it is written: what has the name is a whole
backup. A file is checked from its first byte to its last before a restore begins.
"""

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from dormouse.base import archive
from dormouse.cli import credentials
from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json
from dormouse.cli.progress import Progress, size_text
from dormouse.cli.tenants import target_of

_RESTORE_SECONDS = 150.0
"""For one answer: at the end all rows are counted, which control gives storage two minutes for."""


def run(options: argparse.Namespace) -> int:
    """Run `dormouse backup`; exit code 1 if a tenant could not be backed up."""
    client = Client(target_of(options))
    if options.all is not None:
        return _all(client, options)
    tenant = client.find(options.name)
    done = _back_up(client, tenant, options.output or Path(_file_name(tenant)))
    if options.json:
        print_json(done)
    else:
        print(_sentence(done))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Run `dormouse verify`: exit code 1 for a file that is not a whole backup."""
    opened = _verified(options.file)
    if options.json:
        print_json(opened.manifest)
        return 0
    manifest, sums = opened.manifest, opened.sums
    tenant = manifest["tenant"]
    print(f"{options.file} is whole.\n")
    shown = [
        ("tenant", f"{plain(str(tenant['name']))}-{tenant['id']}"),
        ("taken", plain(str(manifest["created_at"]))),
        ("rows", f"{sums.rows:,}"),
        ("counters", f"{sums.counters:,}"),
        ("bytes", f"{size_text(sums.bytes)} in {sums.pieces} pieces"),
        ("sha256", sums.sha256),
    ]
    print(fields(shown))
    return 0


def restore(options: argparse.Namespace) -> int:
    """Run `dormouse restore`: nothing is written before the file has proved to be whole."""
    opened = _verified(options.file)
    target = target_of(options)
    client = Client(target, timeout_seconds=_RESTORE_SECONDS)
    body = _beginning(opened, options)
    if options.org is not None:
        body["organisation"] = client.find_organisation(options.org)["id"]
    number = client.begin_restore(body)
    try:
        _send(client, number, options.file, opened.sums)
        tenant = client.finish_restore(number)
    except BaseException:
        _give_up(client, number)
        raise
    if target.folder is not None:
        credentials.keep(target.folder, tenant)
    if options.json:
        print_json(tenant)
        return 0
    print(f"Tenant {tenant['name']} is restored under the id {tenant['id']}. Its connection URL:\n")
    print(f"  {tenant['connection_url']}\n")
    print("Its password is a new one, which the gateway does not keep: note the URL.")
    return 0


def _all(client: Client, options: argparse.Namespace) -> int:
    folder: Path = options.all
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made: {error.strerror}") from None
    done, failed = [], []
    for tenant in client.tenants({}):
        try:
            done.append(_back_up(client, tenant, folder / _file_name(tenant)))
        except CommandError as error:
            failed.append({"id": tenant["id"], "name": tenant["name"], "error": error.message})
    if options.json:
        print_json({"backups": done, "failed": failed})
    else:
        for each in done:
            print(_sentence(each))
        for each in failed:
            print(f"{each['name']}-{each['id']} failed: {plain(each['error'])}")
    return 1 if failed else 0


def _file_name(tenant: dict[str, Any]) -> str:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{tenant['name']}-{tenant['id']}-{now}.backup"


def _back_up(client: Client, tenant: dict[str, Any], file: Path) -> dict[str, Any]:
    """What was written. Raises CommandError, and leaves no file then."""
    part = file.with_name(f"{file.name}.part")
    name = f"{tenant['name']}-{tenant['id']}"
    try:
        # Its own user's alone: it holds all that the tenant stores.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            with client.backup(tenant["id"]) as read:
                opened = _copied(read, out, Progress(name))
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except archive.Damaged as error:
        raise CommandError(f"the backup of {name} broke off: {error}") from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    sums = opened.sums
    return {
        "tenant": tenant["id"],
        "name": tenant["name"],
        "file": str(file),
        "rows": sums.rows,
        "bytes": sums.bytes,
        "sha256": sums.sha256,
        "file_bytes": file.stat().st_size,
    }


def _copied(read: Callable[[int], bytes], out: IO[bytes], progress: Progress) -> archive.Opened:
    out.write(archive.MAGIC)

    def seen(frame: bytes) -> None:
        out.write(frame)
        progress.add(len(frame))

    with progress:
        return archive.verify(read, seen)


def _sentence(done: dict[str, Any]) -> str:
    rows, size = f"{done['rows']:,} rows", size_text(done["file_bytes"])
    return f"{done['name']}-{done['tenant']}: {rows}, {size} in {done['file']}"


def _verified(file: Path) -> archive.Opened:
    """Raises CommandError for anything but a whole backup."""
    try:
        with file.open("rb") as opened:
            progress = Progress(f"verify {file.name}", total=file.stat().st_size)
            with progress:
                return archive.verify(opened.read, lambda frame: progress.add(len(frame)))
    except archive.Damaged as error:
        raise CommandError(
            f"{file} is damaged, or no backup: {error}", hint="nothing was restored from it"
        ) from None
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None


def _beginning(opened: archive.Opened, options: argparse.Namespace) -> dict[str, Any]:
    """What a restore begins with."""
    try:
        tenant = opened.manifest["tenant"]
        return {
            "name": options.new_name or tenant["name"],
            "labels": tenant["labels"],
            "settings": opened.manifest["settings"],
            "rows": opened.sums.rows,
            "counters": opened.sums.counters,
            "has_catalog": opened.manifest["has_catalog"],
        }
    except (KeyError, TypeError):
        raise CommandError(f"the manifest of {options.file} lacks what a restore needs") from None


def _send(client: Client, number: int, file: Path, sums: archive.Sums) -> None:
    """Every piece, checked once more: the file may have changed since. Raises CommandError."""
    reader = archive.Reader()
    try:
        with file.open("rb") as opened, Progress("restore", total=file.stat().st_size) as progress:
            for frame in archive.frames(opened.read):
                piece = reader.sums.pieces
                reader.take(frame)
                if reader.manifest is None:
                    client.put_piece(number, piece, frame)
                progress.add(len(frame))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except archive.Damaged as error:
        raise CommandError(f"{file} has changed while it was read: {error}") from None
    if reader.sums != sums:
        raise CommandError(f"{file} has changed while it was read")


def _give_up(client: Client, number: int) -> None:
    try:
        client.give_up_restore(number)
    except CommandError:
        return  # it is removed by itself within a day
