"""`dormouse webhook …`."""

import argparse
import time
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.tenants import target_of

_TEST_SECONDS = 30.0
_LOOK_SECONDS = 0.3
_SHOWN = 5
_COLUMNS = ("id", "organisation", "url", "events", "state", "failures")
_DELIVERY = ("id", "event", "kind", "status", "attempts", "response_status", "next_attempt_at")


def run(options: argparse.Namespace) -> int:
    """Run `dormouse webhook ACTION`."""
    client = Client(target_of(options))
    match options.action:
        case "list":
            _list(client.webhooks(), options)
        case "create":
            _create(client, options)
        case "set":
            _print(_set(client, options), options)
        case "delete":
            client.delete_webhook(options.id)
            if not options.json:
                print(f"Webhook {options.id} is deleted.")
        case "rotate":
            _rotate(client, options)
        case "test":
            return _test(client, options)
        case "deliveries":
            _deliveries(client, options)
        case "redeliver":
            _print_delivery(client.redeliver(options.id, options.delivery), options)
        case _:
            _show(client, options)
    return 0


def _list(webhooks: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        print_json(webhooks)
        return
    rows = [tuple(_flat(each)[column] for column in _COLUMNS) for each in webhooks]
    print(table([column.upper() for column in _COLUMNS], rows))


def _show(client: Client, options: argparse.Namespace) -> None:
    webhook = client.webhook(options.id)
    _print(webhook, options)
    if not options.json:
        print()
        print(_table(client.deliveries(options.id, {"limit": _SHOWN})))


def _create(client: Client, options: argparse.Namespace) -> None:
    body: dict[str, Any] = {"url": options.url, "events": options.event or ["*"]}
    if options.description is not None:
        body["description"] = options.description
    if options.org is not None:
        body["organisation"] = client.find_organisation(options.org)["id"]
    made = client.create_webhook(body)
    if options.json:
        print_json(made)
        return
    print(f"Webhook {made['id']}. Its secret, this once:\n")
    print(f"  {made['secret']}")


def _set(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    change = {
        "url": options.url,
        "events": options.event,
        "description": options.description,
        "enabled": options.enabled,
    }
    wanted = {name: value for name, value in change.items() if value is not None}
    if not wanted:
        raise CommandError("nothing to set", hint="see `dormouse webhook set --help`")
    return client.change_webhook(options.id, wanted)


def _rotate(client: Client, options: argparse.Namespace) -> None:
    rotated = client.rotate_webhook_secret(options.id)
    if options.json:
        print_json(rotated)
        return
    print(
        f"Its new secret, this once; the old one signs as well until "
        f"{rotated['previous_secret_until']}:\n"
    )
    print(f"  {rotated['secret']}")


def _test(client: Client, options: argparse.Namespace) -> int:
    """Wait for the outcome: the delivery is made behind the API's answer."""
    delivery = client.test_webhook(options.id)
    deadline = time.monotonic() + _TEST_SECONDS
    while delivery["status"] == "waiting" and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        latest = client.deliveries(options.id, {"limit": _SHOWN})
        delivery = next((each for each in latest if each["id"] == delivery["id"]), delivery)
    if options.json:
        print_json(delivery)
    elif delivery["status"] == "delivered":
        print(f"It arrived ({delivery['response_status']}).")
    elif delivery["status"] == "waiting":
        print("It is not sent yet: see `dormouse webhook deliveries`.")
    else:
        print(f"It did not arrive: {plain(delivery['error'] or '')}")
    return 0 if delivery["status"] == "delivered" else 1


def _deliveries(client: Client, options: argparse.Namespace) -> None:
    query: dict[str, Any] = {"limit": options.limit}
    if options.status is not None:
        query["status"] = options.status
    found = client.deliveries(options.id, query)
    if options.json:
        print_json(found)
    else:
        print(_table(found))


def _table(deliveries: list[dict[str, Any]]) -> str:
    titles = [column.removesuffix("_at").replace("_", " ").upper() for column in _DELIVERY]
    rows = [
        (*(each[column] for column in _DELIVERY), plain(each["error"] or "-"))
        for each in deliveries
    ]
    return table([*titles, "ERROR"], rows)


def _print_delivery(delivery: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(delivery)
    else:
        print(_table([delivery]))


def _print(webhook: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(webhook)
        return
    names = (*_COLUMNS, "failing_since", "previous_secret_until", "created_at", "description")
    flat = _flat(webhook)
    print(fields([(name, "-" if flat[name] is None else flat[name]) for name in names]))


def _flat(webhook: dict[str, Any]) -> dict[str, Any]:
    state = "enabled" if webhook["enabled"] else f"disabled ({webhook['disabled_reason']})"
    events = ", ".join(webhook["events"])
    return {**webhook, "events": events, "state": state, "url": plain(webhook["url"])}
