"""The arguments of `dormouse event|webhook`, and those of `dormouse up` about webhooks."""

import argparse
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dormouse.cli.adminflags import AddTarget, Run
from dormouse.cli.words import add_command


def add_event_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with events."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text, default in (
        ("list", "list what happened, oldest first", "the newest ones"),
        ("follow", "print what happens, until Ctrl-C", "from now on"),
    ):
        action = add_command(actions, name, text)
        action.add_argument(
            "--kind",
            action="append",
            default=[],
            metavar="KIND",
            help="as spend.notice or spend.*; may be repeated",
        )
        action.add_argument("--tenant", metavar="NAME", help="of one tenant")
        action.add_argument("--org", metavar="NAME", help="of one organisation")
        action.add_argument(
            "--after", type=int, metavar="ID", help=f"those after this one (default: {default})"
        )
        if name == "list":
            action.add_argument(
                "--limit", type=int, default=100, metavar="N", help="how many (default: 100)"
            )
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_webhook_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with webhooks."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list the webhooks"),
        ("show", "show one, and its latest deliveries"),
        ("create", "have events sent to a URL; prints the secret that signs them, this once"),
        ("set", "change where one sends to and what; enable or disable it"),
        ("delete", "delete one; what waits is not sent any more"),
        ("rotate", "give one a new secret and print it, this once; for a day the old signs too"),
        ("test", "send one a test event and say what came of it; exit code 1 if it failed"),
        ("deliveries", "list the latest deliveries of one"),
        ("redeliver", "make a delivery once more"),
    ):
        action = add_command(actions, name, text)
        if name == "create":
            action.add_argument("url", metavar="URL", help="as https://example.com/hook")
            action.add_argument("--org", metavar="NAME", help="of which organisation")
        elif name != "list":
            action.add_argument("id", type=int, metavar="ID", help="as `webhook list` shows it")
        if name in ("create", "set"):
            _add_terms(action)
        if name == "set":
            _add_changes(action)
        if name == "deliveries":
            states = ("waiting", "delivered", "dead")
            action.add_argument("--status", choices=states, help="only those that are so")
            action.add_argument("--limit", type=int, default=20, metavar="N", help="(default: 20)")
        if name == "redeliver":
            action.add_argument("delivery", type=int, metavar="DELIVERY", help="its id")
        add_target(action)
        action.set_defaults(run=run, action=name)


def _add_terms(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--event",
        action="append",
        metavar="KIND",
        help="as spend.notice, spend.* or '*'; may be repeated (a new one: default '*')",
    )
    action.add_argument("--description", metavar="TEXT", help="for people")


def _add_changes(action: argparse.ArgumentParser) -> None:
    action.add_argument("--url", metavar="URL", help="where it sends to")
    switch = action.add_mutually_exclusive_group()
    switch.add_argument(
        "--enable", dest="enabled", action="store_const", const=True, help="send again"
    )
    switch.add_argument(
        "--disable", dest="enabled", action="store_const", const=False, help="send no more"
    )


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """What webhooks may be besides https to public addresses."""

    networks: tuple[str, ...] = ()
    http: bool = False
    ca_file: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """From the flags."""
        ca_file = options.webhook_ca
        networks = tuple(options.webhook_networks or ())
        return cls(networks, options.webhook_http, ca_file.absolute() if ca_file else None)


def add_webhook_flags(up: argparse.ArgumentParser) -> None:
    """What `dormouse up` is told about webhooks."""
    group = up.add_argument_group("webhooks")
    group.add_argument(
        "--webhook-network",
        dest="webhook_networks",
        type=_network,
        action="append",
        metavar="CIDR",
        help="webhooks may go to this network besides public addresses, as 10.1.0.0/16 or "
        "127.0.0.0/8; may be repeated",
    )
    group.add_argument("--webhook-http", action="store_true", help="their URLs may be http")
    group.add_argument(
        "--webhook-ca",
        type=Path,
        metavar="FILE",
        help="verify their servers with these certificates (PEM), too",
    )


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no network: {error}") from None
