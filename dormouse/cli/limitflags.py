"""The arguments of `dormouse limit`."""

import argparse
import re
from collections.abc import Callable

from dormouse.cli.words import add_command

_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{2}))?", re.ASCII)
_UNITS = re.compile(r"(\d{1,13})([kKmM]?)", re.ASCII)
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
NONE = "none"


def add_limit_actions(
    parser: argparse.ArgumentParser,
    add_target: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
) -> None:
    """What is done with spend limits."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("show", "show a spend limit and how the month stands"),
        ("set", "set a spend limit; what is not given stays as it is"),
        ("clear", "take a spend limit away"),
    ):
        action = add_command(actions, name, text)
        action.add_argument(
            "tenant", metavar="TENANT", nargs="?", help="its name, its id or name-id"
        )
        action.add_argument(
            "--organisation", metavar="NAME", help="of all tenants of an organisation together"
        )
        if name == "set":
            _add_amounts(action)
        add_target(action)
        action.set_defaults(run=run, action=name)


def _add_amounts(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--money",
        dest="monthly_cents",
        type=parse_money,
        default=argparse.SUPPRESS,
        metavar="AMOUNT",
        help="a month, beyond the free allowance: 20 or 20.50, or `none`",
    )
    action.add_argument(
        "--units",
        dest="monthly_request_units",
        type=parse_units,
        default=argparse.SUPPRESS,
        metavar="N",
        help="request units a month: 50000, 50k, 2M, or `none`",
    )
    action.add_argument(
        "--policy",
        choices=("stop", "throttle", "notify"),
        default=argparse.SUPPRESS,
        help="at the limit: refuse statements (stop), slow them down, or only tell",
    )


def parse_money(text: str) -> int | None:
    """`20` or `20.50` as cents; None for `none`."""
    if text == NONE:
        return None
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount such as 20 or 20.50")
    return int(match[1]) * 100 + int(match[2] or 0)


def parse_units(text: str) -> int | None:
    """`50000`, `50k` or `2M`; None for `none`."""
    if text == NONE:
        return None
    match = _UNITS.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 50000, 50k or 2M")
    return int(match[1]) * _FACTORS[match[2].lower()]
