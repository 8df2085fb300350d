"""`dormouse authority …`: the installation's certificates and what secrets are sealed with."""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.output import fields, print_json, table
from dormouse.cli.tenants import target_of

_COLUMNS = ("name", "state", "days_left", "ends_at", "issuer")


def run(options: argparse.Namespace) -> int:
    """Run `dormouse authority ACTION`; exit code 1 for `show` while something ends soon."""
    client = Client(target_of(options))
    match options.action:
        case "rotate":
            _rotate(client, options)
        case "rotate-secrets":
            _print_secrets(client.rotate_secrets(), options)
        case _:
            return _show(client.authority(), options)
    return 0


def warnings(authority: dict[str, Any]) -> list[str]:
    """A sentence for each certificate that ends soon, or has ended."""
    found = [*authority["authorities"], *authority["certificates"]]
    return [
        f"the certificate {each['name']} "
        + (f"ends in {each['days_left']} days" if each["days_left"] > 0 else "has ended")
        for each in found
        if each["state"] != "valid"
    ]


def _show(authority: dict[str, Any], options: argparse.Namespace) -> int:
    told = warnings(authority)
    if options.json:
        print_json(authority)
        return 1 if told else 0
    listed = [*authority["authorities"], *authority["certificates"]]
    rows = [tuple(each[column] for column in _COLUMNS) for each in listed]
    print(table(("NAME", "STATE", "DAYS", "ENDS", "ISSUER"), rows))
    rotation, secrets = authority["rotation"], authority["secrets"]
    print()
    if rotation is None:
        print("No rotation is under way.")
    else:
        print(fields([(name, rotation[name]) for name in ("phase", "since", "clients_at")]))
    print(f"Secrets are sealed with the key {secrets['key']}.")
    return 1 if told else 0


def _rotate(client: Client, options: argparse.Namespace) -> None:
    operation = client.rotate_authority(options.clients_after)
    if options.json:
        print_json(operation)
        return
    print(f"The authority is being rotated (operation {operation['id']}); nobody is interrupted.")
    print(
        "Until clients are shown its certificate, fetch the new ca.crt for those that have a copy:"
        " it holds both."
    )


def _print_secrets(secrets: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(secrets)
    else:
        print(f"Secrets are sealed with the key {secrets['key']}.")
