"""`dormouse key …`."""

import argparse
import json
from typing import Any

from dormouse.cli.client import Client, Target
from dormouse.cli.folder import CommandError, DataFolder, write_private
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
    target = target_of(options)
    client = Client(target)
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
        case "replace":
            _replace(client, target, options)
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


def _replace(client: Client, target: Target, options: argparse.Namespace) -> None:
    """The new key is kept where the old one was before that one is revoked: a try that is cut short
    leaves two keys, and never none."""
    old = client.me()
    if old["scope"] != "admin":
        raise CommandError(
            "this is not an operator's key", hint="`dormouse key create` makes other ones"
        )
    made = client.create_key({"label": old["label"], "scope": "admin", "access": "write"})
    if target.folder is not None:
        _keep(target.folder, made["key"])
    client.revoke_key(old["id"])
    if options.json:
        print_json(made)
        return
    print(f"Key {old['id']} is revoked. The operator's key {made['id']}, this once:\n")
    print(f"  {made['key']}\n")
    if target.folder is not None:
        print(f"This machine keeps it in {target.folder.admin_key}.")


def _keep(folder: DataFolder, key: str) -> None:
    write_private(folder.admin_key, key + "\n")
    document = json.loads(folder.ready.read_bytes())
    write_private(folder.ready, json.dumps({**document, "admin_key": key}) + "\n")
