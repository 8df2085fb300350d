"""`dormouse tenant …` and `dormouse status`."""

import argparse
import sys
from typing import Any

from dormouse.cli import credentials, explain, settings
from dormouse.cli.client import Client, Target, find_target
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table


def target_of(options: argparse.Namespace) -> Target:
    """The installation that a command's flags name."""
    return find_target(data=options.data, api=options.api, key=options.api_key)


def run(options: argparse.Namespace) -> int:
    """Run `dormouse tenant ACTION`."""
    target = target_of(options)
    client = Client(target)
    match options.action:
        case "create":
            _create(client, target, options)
        case "list":
            _list(client, options)
        case "delete":
            _delete(client, target, options)
        case "set":
            _set(client, options)
        case "explain":
            _explain(client, options)
        case "rename":
            _rename(client, target, options)
        case "restore":
            _restore(client, target, options)
        case "password":
            _password(client, target, options)
        case "suspend":
            _print(client.suspend(client.find(options.name)["id"]), options)
        case _:
            _print(client.find(options.name), options)
    return 0


def status(options: argparse.Namespace) -> int:
    """Run `dormouse status`; exit code 1 while a role does not run."""
    client = Client(target_of(options))
    document = client.status()
    roles: dict[str, dict[str, Any]] = document["roles"]
    if options.json:
        print_json(document)
    else:
        rows = [row for name, role in roles.items() for row in _role_rows(name, role)]
        print(table(("ROLE", "STATE", "PID", "RESTARTS", "SINCE", "VERSION"), rows))
        print(f"\n{document['tenants']['registered']} tenants; version {document['version']}")
    return 0 if all(role["state"] == "running" for role in roles.values()) else 1


def _role_rows(name: str, role: dict[str, Any]) -> list[tuple[object, ...]]:
    """The role, and below it its predecessors that have not ended yet."""
    first = (name, role["state"], role["pid"], role["restarts"], role["since"], role["version"])
    others = (
        (name, "retiring", each["pid"], None, each["since"], each["version"])
        for each in role["retiring"]
    )
    return [first, *others]


def _create(client: Client, target: Target, options: argparse.Namespace) -> None:
    tenant = client.create(options.name)
    if target.folder is not None:
        credentials.keep(target.folder, tenant)
    if options.json:
        print_json(tenant)
        return
    print(f"Tenant {tenant['name']} has the id {tenant['id']}. Its connection URL:\n")
    print(f"  {tenant['connection_url']}\n")
    print("The gateway does not keep the password: note the URL.")
    if target.folder is not None:
        print(f"This machine keeps it for `dormouse sql {tenant['name']}`.")


def _list(client: Client, options: argparse.Namespace) -> None:
    tenants = client.tenants()
    if options.json:
        print_json(tenants)
        return
    columns = ("id", "name", "state", "pods", "connections", "parked", "created_at")
    rows = [tuple(tenant[column] for column in columns) for tenant in tenants]
    print(table(("ID", "NAME", "STATE", "PODS", "CONNECTIONS", "PARKED", "CREATED"), rows))


def _delete(client: Client, target: Target, options: argparse.Namespace) -> None:
    tenant = client.find(options.name)
    address = f"{tenant['name']}-{tenant['id']}"
    if not options.yes:
        if not sys.stdin.isatty():
            raise CommandError("deleting wants to be confirmed", hint="give --yes")
        if input(f"Delete {address} and all its data? Type its name: ") != tenant["name"]:
            raise CommandError("nothing was deleted")
    left = client.delete(tenant["id"], purge=options.purge)
    until = left.get("restorable_until")
    if target.folder is not None and until is None:
        credentials.forget(target.folder, tenant)
    if options.json:
        print_json(left or {"id": tenant["id"], "state": "deleted"})
    elif until is not None:
        print(f"{address} is deleted. Until {until} it comes back with:\n")
        print(f"  dormouse tenant restore {tenant['id']}")
    else:
        print(f"{address} is deleted" + ("; its data is still being removed." if left else "."))


def _rename(client: Client, target: Target, options: argparse.Namespace) -> None:
    before = client.find(options.name)
    after = client.rename(before["id"], options.new_name)
    if target.folder is not None:
        credentials.move(target.folder, before, after)
    _print(after, options)


def _restore(client: Client, target: Target, options: argparse.Namespace) -> None:
    before = client.find_any(options.name)
    after = client.restore(before["id"], options.new_name)
    if target.folder is not None:
        credentials.move(target.folder, before, after)
    _print(after, options)


def _password(client: Client, target: Target, options: argparse.Namespace) -> None:
    tenant = client.find(options.name)
    reset = client.reset_password(tenant["id"])
    if target.folder is not None:
        credentials.keep(target.folder, {**tenant, "password": reset["password"]})
    if options.json:
        print_json(reset)
        return
    print(f"{tenant['name']}-{tenant['id']} has a new password. Its connection URL:\n")
    print(f"  {reset['connection_url']}\n")
    if reset["in_effect"]:
        print("Logins from now on want it; sessions that are open go on.")
    else:
        print("Some running pods could not be told yet; they are as soon as they answer.")


def _set(client: Client, options: argparse.Namespace) -> None:
    change = settings.change_of(options)
    tenant = client.find(options.name)
    now = client.change_settings(tenant["id"], change)
    if options.json:
        print_json(now)
    else:
        print(fields(settings.in_words(now)))


def _explain(client: Client, options: argparse.Namespace) -> None:
    document = client.explain(client.find(options.name)["id"])
    if options.json:
        print_json(document)
    else:
        print(explain.explanation(document))


def _print(tenant: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(tenant)
        return
    shown: list[tuple[str, object]] = [("id", tenant["id"]), ("name", tenant["name"])]
    shown += _live(tenant)
    shown += settings.in_words(tenant["settings"])
    shown += [(name, tenant[name]) for name in ("user", "database", "created_at", "connection_url")]
    print(fields(shown))


def _live(tenant: dict[str, Any]) -> list[tuple[str, object]]:
    """How the tenant is just now, as far as it is known and worth a line."""
    shown: list[tuple[str, object]] = [("state", tenant["state"])]
    if tenant["awake_because"]:
        shown.append(("awake_because", plain(tenant["awake_because"])))
    shown += [("held_by", each) for each in explain.holds(tenant)]
    if tenant["pods"] is None:
        return shown
    shown += [("pods", explain.pods(tenant)), ("connections", tenant["connections"])]
    if tenant["parked"]:
        shown.append(("parked", tenant["parked"]))
    if tenant["pods"]:
        shown.append(("cpu", f"{tenant['cpu_percent']} % of one core"))
        shown.append(("request_units", f"{tenant['request_units_per_second']} per second"))
    return shown
