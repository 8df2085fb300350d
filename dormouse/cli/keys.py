"""`dormouse key …`."""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import print_json, table
from dormouse.cli.tenants import target_of

_COLUMNS = (
    "id",
    "label",
    "scope",
    "access",
    "organisation",
    "tenant",
    "last_used_at",
    "expires_at",
)


def run(options: argparse.Namespace) -> int:
    """Run `dormouse key ACTION`."""
    client = Client(target_of(options))
    match options.action:
        case "list":
            keys = client.keys()
            if options.json:
                print_json(keys)
            else:
                rows = [tuple(each[column] for column in _COLUMNS) for each in keys]
                titles = tuple(column.replace("_at", "").upper() for column in _COLUMNS)
                print(table(titles, rows))
        case "create":
            _create(client, options)
        case _:
            client.revoke_key(options.id)
            if options.json:
                print_json({"id": options.id, "state": "revoked"})
            else:
                print(f"Key {options.id} is revoked.")
    return 0


def _create(client: Client, options: argparse.Namespace) -> None:
    if options.org is not None and options.tenant is not None:
        raise CommandError("a key is for an organisation or for a tenant", hint="give one of them")
    body: dict[str, Any] = {"label": options.label, "scope": "admin"}
    if options.org is not None:
        number = client.find_organisation(options.org)["id"]
        body |= {"scope": "organisation", "organisation": number}
    elif options.tenant is not None:
        body |= {"scope": "tenant", "tenant": client.find(options.tenant)["id"]}
    elif not options.admin:
        raise CommandError("how far is the key to reach?", hint="give --tenant, --org or --admin")
    body["access"] = "read" if options.read_only else "write"
    if options.expires_at is not None:
        body["expires_at"] = options.expires_at
    made = client.create_key(body)
    if options.json:
        print_json(made)
        return
    print(f"Key {made['id']} ({made['scope']}, {made['access']}). Its text, this once:\n")
    print(f"  {made['key']}")
