"""`dormouse backup|verify|restore`: tenants into files, and files into tenants.

What comes is checked while it is written, and has its name when it is whole (`places`). A file is
checked from its first byte to its last before a restore begins.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dormouse.base import archive
from dormouse.cli import credentials, places
from dormouse.cli.backupkey import SealedSink, key_of, unsealed
from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.objectstore import store_options
from dormouse.cli.output import fields, plain, print_json
from dormouse.cli.places import Place, Sink
from dormouse.cli.progress import Progress, size_text
from dormouse.cli.tenants import target_of

_RESTORE_SECONDS = 150.0
"""For one answer: at the end all rows are counted, which control gives storage two minutes for."""


def run(options: argparse.Namespace) -> int:
    """Run `dormouse backup`; exit code 1 if a tenant could not be backed up."""
    if options.list is not None:
        return places.show(options)
    if options.clean is not None:
        return places.clean(options)
    if options.output is not None and (options.all or options.to is not None):
        raise CommandError("--output names the one file of one tenant, --to a folder")
    client, key = Client(target_of(options)), key_of(options)
    if options.all:
        return _all(client, options, key)
    tenant = client.find(options.name)
    place, name = _wanted(tenant, options)
    done = _back_up(client, tenant, place, name, key=key)
    if options.json:
        print_json(done)
    else:
        print(_sentence(done))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Run `dormouse verify`: exit code 1 for a file that is not a whole backup."""
    opened = _verified(options)
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
    opened = _verified(options)
    target = target_of(options)
    client = Client(target, timeout_seconds=_RESTORE_SECONDS)
    body = _beginning(opened, options)
    if options.org is not None:
        body["organisation"] = client.find_organisation(options.org)["id"]
    if client.named(body["name"]) is not None:
        raise CommandError(f"a tenant named {body['name']!r} exists", hint="take another with --as")
    number = client.begin_restore(body)
    try:
        _send(client, number, options, opened.sums)
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


def _wanted(tenant: dict[str, Any], options: argparse.Namespace) -> tuple[Place, str]:
    """Where the backup of one tenant goes, and its name there."""
    if options.output is not None:
        return places.opened(options.output, options)
    return places.place_of(options.to or ".", store_options(options)), _file_name(tenant)


def _all(client: Client, options: argparse.Namespace, key: bytes | None) -> int:
    place = places.place_of(options.to or ".", store_options(options))
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    tenants = client.tenants({})
    for tenant in tenants[:1]:  # a place that cannot be reached fails now, not once for each
        place.refuse_taken(_file_name(tenant))
    for number, tenant in enumerate(tenants, 1):
        try:
            at, name = f"{number} of {len(tenants)}, ", _file_name(tenant)
            done.append(_back_up(client, tenant, place, name, key=key, progress=at))
        except CommandError as error:
            failed.append({"id": tenant["id"], "name": tenant["name"], "error": error.message})
            if not options.json:
                print(f"{tenant['name']}-{tenant['id']} failed: {plain(error.message)}", flush=True)
        else:
            if not options.json:
                print(_sentence(done[-1]), flush=True)
    if options.json:
        print_json({"backups": done, "failed": failed})
    elif failed:
        print(f"{len(done)} of {len(tenants)} tenants are backed up, {len(failed)} are not.")
    return 1 if failed else 0


def _file_name(tenant: dict[str, Any]) -> str:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{tenant['name']}-{tenant['id']}-{now}.backup"


def _back_up(
    client: Client,
    tenant: dict[str, Any],
    place: Place,
    name: str,
    *,
    key: bytes | None,
    progress: str = "",
) -> dict[str, Any]:
    """What was written. Raises CommandError, and leaves nothing under that name then."""
    who = f"{tenant['name']}-{tenant['id']}"
    place.refuse_taken(name)
    try:
        with place.writing(name) as sink, client.backup(tenant["id"]) as read:
            into = SealedSink(sink, key) if key is not None else sink
            opened, size = _copied(read, into, Progress(f"{progress}{who}"))
    except archive.Damaged as error:
        raise CommandError(f"the backup of {who} broke off: {error}") from None
    sums = opened.sums
    return {
        "tenant": tenant["id"],
        "name": tenant["name"],
        "file": place.path_of(name),
        "rows": sums.rows,
        "bytes": sums.bytes,
        "sha256": sums.sha256,
        "file_bytes": size,
        "encrypted": key is not None,
    }


def _copied(
    read: Callable[[int], bytes], sink: Sink, progress: Progress
) -> tuple[archive.Opened, int]:
    """What has come, whole, and how large it is there."""
    sink.write(archive.MAGIC)
    manifest = b""

    def seen(frame: bytes) -> None:
        nonlocal manifest
        if frame[:1] == archive.MANIFEST:
            manifest = frame  # the last one: it waits until nothing has followed it
        else:
            sink.write(frame)
        progress.add(len(frame))

    with progress:
        opened = archive.verify(read, seen)
        return opened, sink.finish(manifest)


def _sentence(done: dict[str, Any]) -> str:
    rows, size = f"{done['rows']:,} rows", size_text(done["file_bytes"])
    return f"{done['name']}-{done['tenant']}: {rows}, {size} in {done['file']}"


def _verified(options: argparse.Namespace) -> archive.Opened:
    """Raises CommandError for anything but a whole backup."""
    with _reading(options, "verify") as (read, progress):
        return archive.verify(read, lambda frame: progress.add(len(frame)))


@contextmanager
def _reading(
    options: argparse.Namespace, what: str
) -> Iterator[tuple[Callable[[int], bytes], Progress]]:
    """Reads the backup that was named. Raises CommandError where it cannot, or it is damaged."""
    place, name = places.opened(options.file, options)
    key, where = key_of(options), ""
    try:
        with (
            place.reading(name) as source,
            Progress(f"{what} {name}", total=source.size) as progress,
        ):
            try:
                yield unsealed(source.read, key, options.file), progress
            finally:
                where = f" (in {source.where})" if source.where else ""
    except archive.Damaged as error:
        raise CommandError(
            f"{options.file} is damaged, or no backup: {error}{where}",
            hint="nothing was restored from it",
        ) from None


def _beginning(opened: archive.Opened, options: argparse.Namespace) -> dict[str, Any]:
    """What a restore begins with."""
    try:
        tenant = opened.manifest["tenant"]
        return {
            "name": options.new_name or tenant["name"],
            "labels": tenant["labels"],
            "settings": opened.manifest["settings"],
            "spend_limit": opened.manifest.get("spend_limit"),
            "rows": opened.sums.rows,
            "counters": opened.sums.counters,
            "has_catalog": opened.manifest["has_catalog"],
        }
    except (KeyError, TypeError):
        raise CommandError(f"the manifest of {options.file} lacks what a restore needs") from None


def _send(client: Client, number: int, options: argparse.Namespace, sums: archive.Sums) -> None:
    """Every piece, checked once more: the file may have changed since. Raises CommandError."""
    reader = archive.Reader()
    with _reading(options, "restore") as (read, progress):
        for frame in archive.frames(read):
            piece = reader.sums.pieces
            reader.take(frame)
            if reader.manifest is None:
                client.put_piece(number, piece, frame)
            progress.add(len(frame))
    if reader.sums != sums:
        raise CommandError(f"{options.file} has changed while it was read")


def _give_up(client: Client, number: int) -> None:
    try:
        client.give_up_restore(number)
    except CommandError:
        return  # it is removed by itself within a day
