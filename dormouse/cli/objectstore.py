"""`dormouse up --object-store`: rows on object storage instead of in the data folder.

Where the rows are is written down at the first start. A start that names another place is refused:
it would show all tenants empty.
"""

import argparse
from pathlib import Path

from dormouse.cli.folder import CommandError, write_private
from storage.config import ObjectStorage

_IN_FOLDER = "the data folder"


def add_object_store_flags(parser: argparse.ArgumentParser) -> None:
    """Those of `dormouse up`."""
    parser.add_argument(
        "--object-store",
        metavar="URL",
        help="keep rows there, as s3://bucket/folder, and not in the data folder; credentials come"
        " from the environment (docs/storage.md)",
    )
    add_store_options(parser)
    parser.add_argument(
        "--object-store-flush",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="let commits wait so long for others, for fewer and larger objects (default: 0)",
    )


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """What a store that is not the provider's own needs."""
    parser.add_argument(
        "--object-store-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the provider, as aws_endpoint=https://…; may be repeated",
    )


def store_options(options: argparse.Namespace) -> dict[str, str]:
    """What was given of them, by name. Raises CommandError."""
    pairs = [each.partition("=") for each in options.object_store_option]
    if wrong := [name for name, equals, _ in pairs if not name or not equals]:
        raise CommandError(f"--object-store-option: expected NAME=VALUE, got {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 10 seconds")
    return value


def object_storage(options: argparse.Namespace) -> ObjectStorage | None:
    """What the flags say; None: rows stay in the data folder. Raises CommandError."""
    if options.object_store is None:
        if options.object_store_option or options.object_store_flush:
            raise CommandError("--object-store-… goes with --object-store URL")
        return None
    return ObjectStorage(
        url=options.object_store,
        options=store_options(options),
        flush_seconds=options.object_store_flush,
    )


def remember_place(root: Path, objects: ObjectStorage | None) -> None:
    """Write down where the rows of this installation are. Raises CommandError where they are
    somewhere else already."""
    file = root / "storage" / "place"
    place = objects.url if objects is not None else _IN_FOLDER
    if file.exists():
        known = file.read_text(encoding="utf-8").strip()
    elif (root / "storage" / "storage.sqlite").exists():
        known = _IN_FOLDER
    else:
        known = place
    if known != place:
        way = "without --object-store" if known == _IN_FOLDER else f"with --object-store {known}"
        raise CommandError(f"the rows of {root} are in {known}: start {way}, or take other --data")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, place + "\n")
