"""`dormouse pod …`: a tenant's pods, and revoking one."""

import argparse

from dormouse.cli.client import Client
from dormouse.cli.output import print_json, table
from dormouse.cli.tenants import target_of


def run(options: argparse.Namespace) -> int:
    """Run `dormouse pod ACTION`."""
    client = Client(target_of(options))
    tenant = client.find(options.name)
    if options.action == "revoke":
        done = client.revoke_pod(tenant["id"], options.pod)
        if options.json:
            print_json(done)
        elif done["is_ended"]:
            print(f"Pod {options.pod} is revoked and ended.")
        else:
            print(f"Pod {options.pod} is revoked and reaches nobody; it could not be ended yet.")
        return 0
    pods = client.pods(tenant["id"])
    if options.json:
        print_json(pods)
        return 0
    columns = ("id", "state", "sessions", "cpu_percent")
    rows = [tuple(each[column] for column in columns) for each in pods["pods"]]
    rows += [(each["id"], "revoked", None, None) for each in pods["revoked"]]
    print(table(("POD", "STATE", "SESSIONS", "CPU %"), rows))
    return 0
