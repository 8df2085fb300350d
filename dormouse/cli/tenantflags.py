"""The arguments of `dormouse tenant` and `dormouse role`."""

import argparse
from collections.abc import Callable

from dormouse.cli.adminflags import AddTarget, Run
from dormouse.cli.settings import add_settings_flags
from dormouse.cli.words import add_command

STATES = ("asleep", "waking", "running", "draining", "unknown", "deleted")
_LIMIT_MAX = 1_000_000

_ACTIONS = {
    "create": "make a tenant and print its connection URL with the password, this once",
    "list": "list tenants by id: all of them, or those that match",
    "show": "show one tenant, its settings, and why it is awake",
    "urls": "print a tenant's connection URLs, one for each way to name it to a client",
    "set": "change a tenant's settings; what is not given stays as it is",
    "label": "show a tenant's labels, or change some of them",
    "explain": "show why a tenant is awake or asleep, and the latest decisions about it",
    "rename": "give a tenant another name; its old addresses stop at once, open sessions go on",
    "restore": "bring a deleted tenant back before its grace period is over",
    "password": "give a tenant's owner a new password and print it, this once",
    "suspend": "put a tenant to sleep at once; its sessions end",
    "delete": "delete a tenant; until its grace period is over it can be restored",
}
_EXAMPLES = {
    "create": "dormouse tenant create shop --org acme --label stage=test",
    "list": "dormouse tenant list --state running --label stage=test --limit 20",
    "set": "dormouse tenant set shop --idle-timeout 10m --pods-max 4 --allow 192.0.2.0/24",
    "label": "dormouse tenant label shop stage=live owner=ann old-",
    "restore": "dormouse tenant restore shop --as shop2",
}


def add_tenant_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with tenants."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = add_command(
            actions,
            name,
            text,
            epilog=f"example:\n  {_EXAMPLES[name]}" if name in _EXAMPLES else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name != "list":
            known = "its name, its id or name-id"
            new = "1 to 40 lower-case letters, digits and inner dashes"
            action.add_argument("name", metavar="NAME", help=new if name == "create" else known)
        if name in _MORE:
            _MORE[name](action)
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_role_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with a tenant's roles."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list the roles that the gateway knows: the owner. Others are made in SQL"),
        ("password", "give the owner a new password and print it, this once"),
    ):
        action = add_command(actions, name, text)
        action.add_argument("name", metavar="TENANT", help="its name, its id or name-id")
        add_target(action)
        action.set_defaults(run=run, action=name)


def _create(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--org", metavar="NAME", help="whose it is, by name or id (default: the key's own)"
    )
    action.add_argument(
        "--label",
        dest="labels",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="may be repeated",
    )


def _list(action: argparse.ArgumentParser) -> None:
    action.add_argument("--name", metavar="NAME", help="only the tenant of this name")
    action.add_argument("--org", metavar="NAME", help="only those of this organisation")
    action.add_argument(
        "--state",
        choices=STATES,
        metavar="STATE",
        help=f"only those that are {', '.join(STATES)} (`deleted`: those that can be restored)",
    )
    action.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="only those with this label; may be repeated, then all of them",
    )
    action.add_argument(
        "--limit", type=_limit, metavar="N", help="the first N of them (default: all)"
    )


def _label(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "labels",
        type=_change,
        nargs="*",
        metavar="NAME=VALUE",
        help="set this label; NAME- takes it away; without any, print them",
    )


def _rename(action: argparse.ArgumentParser) -> None:
    action.add_argument("new_name", metavar="NEW", help="its new name")


def _restore(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--as", dest="new_name", metavar="NEW", help="under another name than it had"
    )


def _delete(action: argparse.ArgumentParser) -> None:
    action.add_argument("--yes", action="store_true", help="do not ask")
    action.add_argument("--purge", action="store_true", help="remove its data at once, for good")


_MORE: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "create": _create,
    "list": _list,
    "set": add_settings_flags,
    "label": _label,
    "rename": _rename,
    "restore": _restore,
    "delete": _delete,
}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _change(text: str) -> tuple[str, str | None]:
    """A label's new value; None takes it away."""
    if "=" not in text and text.endswith("-") and len(text) > 1:
        return text[:-1], None
    return _pair(text)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= _LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_LIMIT_MAX}")
    return int(text)
