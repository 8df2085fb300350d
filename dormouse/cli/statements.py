"""`dormouse statements`: what a tenant's statements cost, for people."""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.output import counted, plain, print_json, table
from dormouse.cli.tenants import target_of
from dormouse.cli.usage import Units, period
from dormouse.cli.usageflags import period_of

TEXT_CHARACTERS_MAX = 100
"""Of a statement, where people read it; `--json` has 2048 bytes of it."""


def run(options: argparse.Namespace) -> int:
    """Run `dormouse statements`."""
    client = Client(target_of(options))
    tenant = client.find(options.tenant)
    parameters = {"order": options.order, "limit": str(options.limit), **period_of(options)}
    document = client.statements(tenant["id"], parameters)
    if options.json:
        print_json(document)
        return 0
    print(report(document, f"{tenant['name']}-{tenant['id']}"))
    return 0


def report(document: dict[str, Any], name: str) -> str:
    """An answer of `GET …/statements`, for people."""
    title = f"{plain(name)}, {period(document)}"
    if not document["statements"]:
        return f"{title}\n\nNo statement ran."
    rows = [
        (
            Units(each["request_units"]),
            each["calls"],
            each["rows"],
            None if each["mean_ms"] is None else f"{each['mean_ms']:,.2f}",
            plain(each["role"]),
            _shortened(each["query"]),
        )
        for each in document["statements"]
    ]
    others = document["others"]
    parts = [
        title,
        table(("REQUEST UNITS", "CALLS", "ROWS", "MEAN MS", "ROLE", "STATEMENT"), rows),
    ]
    if others["calls"] or others["request_units"]:
        calls = counted(others["calls"], "call")
        parts.append(f"All others: {calls}, {Units(others['request_units'])} request units.")
    return "\n\n".join(parts)


def _shortened(text: str) -> str:
    line = plain(" ".join(text.split()))
    if len(line) <= TEXT_CHARACTERS_MAX:
        return line
    return line[: TEXT_CHARACTERS_MAX - 1] + "…"
