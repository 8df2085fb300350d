"""The arguments of `dormouse authority|pod`."""

import argparse

from dormouse.cli.adminflags import AddTarget, Run
from dormouse.cli.words import add_command

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DEFAULT = "7d"


def parse_seconds(text: str) -> int:
    """A time as 90s, 10m, 12h or 7d, in seconds."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 0s, 12h or 7d")
    return int(number) * _UNITS[unit]


def add_authority_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with the installation's authority."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = add_command(actions, "show", "show the certificates; exit code 1 if one ends soon")
    rotate = add_command(actions, "rotate", "replace the authority; nobody is interrupted")
    rotate.add_argument(
        "--clients-after",
        type=parse_seconds,
        default=parse_seconds(_DEFAULT),
        metavar="TIME",
        help="when clients are shown the new one's certificate, as 0s, 12h or 7d; given again while"
        f" a rotation is under way it can only become sooner (default: {_DEFAULT})",
    )
    secrets = add_command(actions, "rotate-secrets", "seal the secrets of the registry anew")
    for name, action in (("show", show), ("rotate", rotate), ("rotate-secrets", secrets)):
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_pod_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with single pods."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list a tenant's pods"),
        ("revoke", "refuse a pod's certificate from now on, and end the pod"),
    ):
        action = add_command(actions, name, text)
        action.add_argument("name", metavar="TENANT", help="its name, its id or name-id")
        if name == "revoke":
            action.add_argument("pod", metavar="POD", help="16 hexadecimal digits, as listed")
        add_target(action)
        action.set_defaults(run=run, action=name)
