"""`dormouse org …`."""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.tenants import target_of

_COLUMNS = ("id", "name", "time_zone", "created_at")


def run(options: argparse.Namespace) -> int:
    """Run `dormouse org ACTION`."""
    client = Client(target_of(options))
    match options.action:
        case "list":
            _list(client.organisations(), options)
        case "create":
            _print(client.create_organisation(options.name, options.time_zone), options)
        case "set":
            change = {
                "name": options.new_name,
                "time_zone": options.time_zone,
                "billing_address": options.billing_address,
            }
            wanted = {name: value for name, value in change.items() if value is not None}
            if not wanted:
                raise CommandError("nothing to set", hint="see `dormouse org set --help`")
            number = client.find_organisation(options.name)["id"]
            _print(client.change_organisation(number, wanted), options)
        case "delete":
            found = client.find_organisation(options.name)
            client.delete_organisation(found["id"])
            _print(found, options)
        case _:
            _print(client.find_organisation(options.name), options)
    return 0


def _list(organisations: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        print_json(organisations)
        return
    rows = [tuple(each[column] for column in _COLUMNS) for each in organisations]
    print(table(("ID", "NAME", "TIME ZONE", "CREATED"), rows))


def _print(organisation: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(organisation)
    else:
        pairs = [(column, organisation[column]) for column in _COLUMNS]
        address = organisation.get("billing_address", "")
        pairs += [("billing", plain(line)) for line in address.splitlines()]
        print(fields(pairs))
