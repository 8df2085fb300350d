"""`dormouse operation …`."""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.tenants import target_of

_COLUMNS = ("id", "kind", "tenant", "status", "started_at", "ended_at", "error")


def run(options: argparse.Namespace) -> int:
    """Run `dormouse operation ACTION`; exit code 1 for `show` of one that has failed."""
    client = Client(target_of(options))
    if options.action == "list":
        tenant = client.find_any(options.name)["id"]
        _list(client.operations(tenant), options)
        return 0
    operation = client.operation(options.id)
    if options.json:
        print_json(operation)
    else:
        print(fields([(name, _text(operation[name])) for name in _COLUMNS]))
    return 1 if operation["status"] == "failed" else 0


def _list(operations: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        print_json(operations)
        return
    rows = [tuple(_text(each[column]) for column in _COLUMNS) for each in operations]
    titles = ("ID", "KIND", "TENANT", "STATUS", "STARTED", "ENDED", "ERROR")
    print(table(titles, rows))


def _text(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value
