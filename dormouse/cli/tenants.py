"""`dormouse tenant …` and `dormouse status`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from dormouse.cli import credentials, explain, settings
from dormouse.cli.client import Client, Target, find_target
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table


def target_of(options: argparse.Namespace) -> Target:
    """The installation that a command's flags name."""
    return find_target(data=options.data, api=options.api, key=options.api_key, ca_file=options.ca)


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
        case "label":
            _label(client, options)
        case "urls":
            _urls(client, options)
        case "suspend":
            _print(client.suspend(client.find(options.name)["id"]), options)
        case _:
            _print(client.find(options.name), options)
    return 0


def run_role(options: argparse.Namespace) -> int:
    """Run `dormouse role ACTION`."""
    target = target_of(options)
    client = Client(target)
    if options.action == "password":
        _password(client, target, options)
        return 0
    roles = client.roles(client.find(options.name)["id"])
    if options.json:
        print_json(roles)
        return 0
    print(table(("NAME", "OWNER"), [(each["name"], _yes(each["is_owner"])) for each in roles]))
    print("\nRoles made with CREATE ROLE are in the tenant's own catalog: `\\du` in psql.")
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
        for warning in document.get("warnings", []):
            print(f"WARNING: {warning}")
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
    more: dict[str, Any] = {"labels": dict(options.labels)} if options.labels else {}
    if options.org is not None:
        more["organisation"] = client.find_organisation(options.org)["id"]
    tenant = client.create(options.name, **more)
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
    query: dict[str, str | Sequence[str]] = {"label": options.labels} if options.labels else {}
    query |= {each: found for each in ("name", "state") if (found := getattr(options, each))}
    if options.org is not None:
        query["organisation"] = str(client.find_organisation(options.org)["id"])
    tenants = client.tenants(query, limit=options.limit)
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


def _label(client: Client, options: argparse.Namespace) -> None:
    tenant = client.find(options.name)
    if options.labels:
        tenant = client.label(tenant["id"], dict(options.labels))
    labels: dict[str, str] = tenant["labels"]
    if options.json:
        print_json(labels)
    else:
        print(fields(list(labels.items())) if labels else f"{tenant['name']} has no labels.")


def _urls(client: Client, options: argparse.Namespace) -> None:
    tenant = client.find(options.name)
    urls = client.connection_urls(tenant["id"])
    if options.json:
        print_json(urls)
        return
    print(fields([(f"by {form}", url) for form, url in urls.items()]))
    print(f"\nThe password is not in them; a new one: `dormouse role password {tenant['name']}`.")


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


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _print(tenant: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(tenant)
        return
    shown: list[tuple[str, object]] = [("id", tenant["id"]), ("name", tenant["name"])]
    shown += _live(tenant)
    shown += settings.in_words(tenant["settings"])
    if tenant["labels"]:
        labels = ", ".join(f"{name}={value}" for name, value in tenant["labels"].items())
        shown.append(("labels", labels))
    names = ("organisation", "user", "database", "created_at", "connection_url")
    shown += [(name, tenant[name]) for name in names]
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
