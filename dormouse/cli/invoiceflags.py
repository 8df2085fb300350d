"""The arguments of `dormouse invoice`."""

import argparse
from pathlib import Path

from dormouse.cli.adminflags import AddTarget, Run
from dormouse.cli.words import add_command

FORMATS = ("pdf", "csv", "json")


def add_invoice_actions(parser: argparse.ArgumentParser, add_target: AddTarget, run: Run) -> None:
    """What is done with invoices."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list the drafts of months that go on, and the closed invoices"),
        ("show", "show what an invoice comes to; without a number, this month's draft"),
        ("download", "write a closed invoice to a file"),
    ):
        action = add_command(actions, name, text)
        if name != "list":
            action.add_argument(
                "invoice",
                metavar="NUMBER",
                nargs="?" if name == "show" else None,
                help="its number or its id",
            )
        if name != "download":
            action.add_argument("--org", metavar="NAME", help="whose (default: the only one)")
        else:
            action.add_argument(
                "--format", choices=FORMATS, default="pdf", help="(default: %(default)s)"
            )
            action.add_argument(
                "--output",
                type=Path,
                metavar="FILE",
                help="where to (default: invoice-NUMBER.FORMAT here; - is standard output)",
            )
        add_target(action)
        action.set_defaults(run=run, action=name)


def add_billing_flags(parser: argparse.ArgumentParser) -> None:
    """Those of `dormouse up` about money."""
    parser.add_argument(
        "--billing",
        type=Path,
        metavar="FILE",
        help="prices, and who sends the invoices: a JSON file (docs/invoices.md)",
    )
