"""The arguments of `dormouse usage` and `dormouse statements`."""

import argparse
from datetime import date


def add_usage_flags(parser: argparse.ArgumentParser) -> None:
    """Whose usage, of when, and in which detail."""
    parser.add_argument(
        "tenant", metavar="TENANT", nargs="?", help="its name, its id or name-id; default: all"
    )
    parser.add_argument(
        "--by",
        choices=("cause", "day", "hour", "role"),
        default="cause",
        help="what to break it down by; `role` of one tenant only",
    )
    add_period_flags(parser)


def add_statement_flags(parser: argparse.ArgumentParser) -> None:
    """Whose statements, of when, how many, which first."""
    parser.add_argument("tenant", metavar="TENANT", help="its name, its id or name-id")
    add_period_flags(parser)
    parser.add_argument(
        "--order",
        choices=("request_units", "calls", "elapsed"),
        default="request_units",
        help="most of this first (default: %(default)s)",
    )
    text = "so many, 1 to 100 (default: %(default)s)"
    parser.add_argument("--limit", type=int, default=20, metavar="N", help=text)


def add_period_flags(parser: argparse.ArgumentParser) -> None:
    """Of when."""
    parser.add_argument(
        "--from",
        dest="first",
        type=_day,
        metavar="DAY",
        help="first day, 2026-03-01, in the organisation's time zone",
    )
    parser.add_argument("--to", type=_day, metavar="DAY", help="the day after the last")


def period_of(options: argparse.Namespace) -> dict[str, str]:
    """The days as the API's parameters."""
    days = {"from": options.first, "to": options.to}
    return {name: day.isoformat() for name, day in days.items() if day is not None}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day like 2026-03-01") from None
