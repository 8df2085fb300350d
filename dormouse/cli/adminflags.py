"""The arguments of `dormouse login|logout|org|key|operation`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from dormouse.cli.words import add_command

Run = Callable[[argparse.Namespace], int]
AddTarget = Callable[[argparse.ArgumentParser], None]


def add_login_flags(parser: argparse.ArgumentParser) -> None:
    """Which gateway, with which key."""
    parser.add_argument("--api", metavar="URL", help="the gateway's HTTP API ($DORMOUSE_API)")
    parser.add_argument(
        "--api-key", metavar="KEY", help="($DORMOUSE_API_KEY; else it is asked for)"
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="what its certificate is verified with, as a copy of the gateway's ca.crt "
        "($DORMOUSE_API_CA; else the public authorities); the file has to stay there",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_org_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with organisations."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list the organisations"),
        ("create", "make an organisation"),
        ("show", "show an organisation"),
        ("set", "rename it, move it to another time zone, say where invoices go"),
        ("delete", "delete one that has no tenants; its keys are revoked"),
    ):
        action = add_command(actions, name, text)
        if name != "list":
            action.add_argument("name", metavar="NAME", help="its name or its id")
        if name in ("create", "set"):
            default = "UTC" if name == "create" else None
            action.add_argument(
                "--time-zone", metavar="ZONE", default=default, help="as Asia/Tokyo"
            )
        if name == "set":
            action.add_argument("--name", dest="new_name", metavar="NEW", help="its new name")
            action.add_argument(
                "--billing-address",
                metavar="TEXT",
                help="lines of text that its invoices are addressed to",
            )
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_key_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with API keys."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = add_command(actions, "list", "list the keys within reach, without their texts")
    create = actions.add_parser(
        "create",
        help="make a key and print its text, this once",
        description="Make a key and print its text, this once. One of --tenant, --org and\n"
        "--admin says how far it reaches: no further than the key that makes it.",
        epilog="example:\n"
        "  dormouse key create deploy --tenant shop --expires-at 2030-01-01T00:00:00Z",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    create.add_argument("label", metavar="LABEL", help="what it is for")
    create.add_argument("--tenant", metavar="NAME", help="for one tenant")
    create.add_argument("--org", metavar="NAME", help="for all of one organisation")
    create.add_argument("--admin", action="store_true", help="for everything")
    create.add_argument("--read-only", action="store_true", help="it may only read")
    create.add_argument(
        "--expires-at", metavar="TIME", help="its end, as 2030-01-01T00:00:00Z (default: none)"
    )
    revoke = add_command(actions, "revoke", "revoke a key: it opens nothing any more")
    revoke.add_argument("id", type=int, metavar="ID", help="as `dormouse key list` shows it")
    replace = add_command(
        actions,
        "replace",
        "make another operator's key in the place of this one, and revoke that",
    )
    for name, action in (
        ("list", listing),
        ("create", create),
        ("revoke", revoke),
        ("replace", replace),
    ):
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_operation_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with operations."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = add_command(actions, "list", "list a tenant's operations, also a deleted one's")
    listing.add_argument("name", metavar="NAME", help="its name, its id or name-id")
    show = add_command(actions, "show", "show an operation; exit code 1 if it has failed")
    show.add_argument("id", type=int, metavar="ID", help="as `dormouse operation list` shows it")
    for name, action in (("list", listing), ("show", show)):
        add_target(action)
        action.set_defaults(run=run, action=name)
