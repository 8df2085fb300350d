"""`dormouse tenant set`: what the flags ask for; and settings in words.

Whether a value is allowed is the gateway's to say: its rules may be newer than this command.
"""

import argparse
import re
from collections.abc import Callable
from typing import Any

from dormouse.cli.folder import CommandError

DEFAULT = "default"
NEVER = "never"
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)
_NAMES = (
    "idle_timeout_seconds",
    "pods_min",
    "pods_max",
    "connections_max",
    "allowed_networks",
    "storage_max_bytes",
    "recovery_window_seconds",
)
_SIZE = re.compile(r"(\d+)(KiB|MiB|GiB|TiB|)", re.ASCII)
_SHIFTS = {"": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_DIGITS_MAX = 9


def add_settings_flags(action: argparse.ArgumentParser) -> None:
    """The flags of `tenant set`; what is not given stays as it is."""
    _add_flag(
        action,
        "--idle-timeout",
        "idle_timeout_seconds",
        parse_idle_timeout,
        "without a statement until it sleeps: 90s, 5m, 1h30m, 7d, `never` or `default`",
    )
    _add_flag(action, "--pods-min", "pods_min", parse_count, "so many pods even without a session")
    _add_flag(action, "--pods-max", "pods_max", parse_count, "so many pods at most, or `default`")
    _add_flag(
        action,
        "--connections-max",
        "connections_max",
        parse_count,
        "so many client connections at a time, or `default`",
    )
    action.add_argument(
        "--storage-max",
        dest="storage_max_bytes",
        type=parse_size,
        metavar="SIZE",
        default=argparse.SUPPRESS,
        help="so much in its rows: 500MiB, 20GiB, bytes as a plain number, or `default`",
    )
    action.add_argument(
        "--recovery-window",
        dest="recovery_window_seconds",
        type=parse_window,
        metavar="TIME",
        default=argparse.SUPPRESS,
        help="how far back its rows can be read as they were: 24h, 7d, 0 for not at all, `default`",
    )
    networks = action.add_mutually_exclusive_group()
    networks.add_argument(
        "--allow",
        dest="allowed_networks",
        action="append",
        metavar="CIDR",
        default=argparse.SUPPRESS,
        help="clients may come from here only; give it again for more; replaces what was set",
    )
    networks.add_argument(
        "--allow-any",
        dest="allowed_networks",
        action="store_const",
        const=[],
        default=argparse.SUPPRESS,
        help="clients may come from anywhere",
    )


def _add_flag(
    action: argparse.ArgumentParser,
    flag: str,
    name: str,
    kind: Callable[[str], Any],
    text: str,
) -> None:
    metavar = "TIME" if kind is parse_idle_timeout else "N"
    # Not there unless it is given: None means the default.
    action.add_argument(
        flag, dest=name, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text
    )


def parse_idle_timeout(text: str) -> int | str | None:
    """`90s`, `5m`, `1h30m`, `7d`, seconds as a plain number, `never`; None for `default`."""
    if text in (DEFAULT, NEVER):
        return None if text == DEFAULT else NEVER
    match = _DURATION.fullmatch(text)
    if not text or match is None or any(len(each or "") > _DIGITS_MAX for each in match.groups()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 90s, 5m or 1h30m, nor `never` or `default`"
        )
    units = (seconds for seconds, _ in _UNITS)
    return sum(int(each or 0) * unit for each, unit in zip(match.groups(), units, strict=True))


def parse_window(text: str) -> int | None:
    """`24h`, `7d`, seconds as a plain number, 0; None for `default`."""
    seconds = parse_idle_timeout(text)
    if seconds == NEVER or isinstance(seconds, str):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 24h, nor `default`")
    return seconds


def parse_count(text: str) -> int | None:
    """A number; None for `default`."""
    if text == DEFAULT:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor `default`")
    return int(text)


def parse_size(text: str) -> int | None:
    """`500MiB`, `20GiB`, bytes as a plain number; None for `default`."""
    if text == DEFAULT:
        return None
    match = _SIZE.fullmatch(text)
    if match is None or len(match[1]) > _DIGITS_MAX + _DIGITS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size such as 500MiB or 20GiB, nor `default`"
        )
    return int(match[1]) << _SHIFTS[match[2] or ""]


def change_of(options: argparse.Namespace) -> dict[str, Any]:
    """The change that the flags ask for. Raises CommandError where they ask for none."""
    change = {name: getattr(options, name) for name in _NAMES if hasattr(options, name)}
    if not change:
        raise CommandError("there is nothing to set", hint="see `dormouse tenant set --help`")
    return change


def in_words(settings: dict[str, Any]) -> list[tuple[str, object]]:
    """A tenant's settings, for people."""
    networks = settings["allowed_networks"]
    return [
        ("idle_timeout", _idle_timeout(settings["idle_timeout_seconds"])),
        ("pods_min", settings["pods_min"]),
        ("pods_max", DEFAULT if settings["pods_max"] is None else settings["pods_max"]),
        ("clients_from", ", ".join(networks) if networks else "anywhere"),
        ("connections_max", settings["connections_max"]),
        ("storage_max", _storage_max(settings["storage_max_bytes"])),
        ("recovery_window", _window(settings["recovery_window_seconds"])),
    ]


def _window(value: int | None) -> str:
    """As `parse_window` reads it."""
    return DEFAULT if value is None else duration(value)


def _storage_max(value: int | None) -> str:
    """As `parse_size` reads it."""
    if value is None:
        return DEFAULT
    unit = next(unit for unit in reversed(_SHIFTS) if value % (1 << _SHIFTS[unit]) == 0)
    return f"{value >> _SHIFTS[unit]}{unit}"


def _idle_timeout(value: int | str | None) -> str:
    if isinstance(value, int):
        return duration(value)
    return NEVER if value == NEVER else DEFAULT


def duration(seconds: int) -> str:
    """As `parse_idle_timeout` reads it."""
    parts = []
    for unit, letter in _UNITS:
        count, seconds = divmod(seconds, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"
