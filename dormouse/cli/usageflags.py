"""The arguments of `dormouse usage`."""

import argparse
from datetime import date


def add_usage_flags(parser: argparse.ArgumentParser) -> None:
    """Whose usage, of when, and in which detail."""
    parser.add_argument(
        "tenant", metavar="TENANT", nargs="?", help="its name, its id or name-id; default: all"
    )
    parser.add_argument(
        "--by", choices=("cause", "day"), default="cause", help="what to break it down by"
    )
    parser.add_argument(
        "--from", dest="first", type=_day, metavar="DAY", help="first day, 2026-03-01 (UTC)"
    )
    parser.add_argument("--to", type=_day, metavar="DAY", help="the day after the last")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day like 2026-03-01") from None
