"""`dormouse event …`."""

import argparse
import json
import time
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.output import plain, table
from dormouse.cli.tenants import target_of

_PAGE = 500
_FOLLOW_SECONDS = 2.0


def run(options: argparse.Namespace) -> int:
    """Run `dormouse event ACTION`."""
    client = Client(target_of(options))
    query: dict[str, Any] = {"kind": options.kind}
    if options.tenant is not None:
        query["tenant"] = client.find_any(options.tenant)["id"]
    if options.org is not None:
        query["organisation"] = client.find_organisation(options.org)["id"]
    if options.action == "list":
        _list(_found(client, query, options), options)
        return 0
    after = options.after
    if after is None:
        newest = client.events({"order": "newest", "limit": 1})["events"]
        after = newest[0]["id"] if newest else 0
    while True:
        after = _follow(client, query, after, options)
        time.sleep(_FOLLOW_SECONDS)


def _found(
    client: Client, query: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Those after the given one, or the newest; as many as were asked for, oldest first."""
    is_newest = options.after is None
    order = "newest" if is_newest else "oldest"
    found: list[dict[str, Any]] = []
    cursor: int | None = options.after or 0
    while cursor is not None and len(found) < options.limit:
        limit = min(options.limit - len(found), _PAGE)
        page = client.events({**query, "order": order, "after": cursor, "limit": limit})
        found += page["events"]
        cursor = page["next"]
    return found[::-1] if is_newest else found


def _follow(client: Client, query: dict[str, Any], after: int, options: argparse.Namespace) -> int:
    """Print what there is after that one; the last one printed."""
    cursor: int | None = after
    while cursor is not None:
        page = client.events({**query, "after": cursor, "limit": _PAGE})
        for event in page["events"]:
            print(json.dumps(event) if options.json else _line(event), flush=True)
            after = event["id"]
        cursor = page["next"]
    return after


def _list(events: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        for event in events:
            print(json.dumps(event))
        return
    rows = [(each["id"], *_cells(each)) for each in events]
    print(table(("ID", "AT", "KIND", "ORG", "TENANT", "DATA"), rows))


def _line(event: dict[str, Any]) -> str:
    at, kind, organisation, tenant, data = _cells(event)
    whose = f"tenant {tenant}" if tenant is not None else f"organisation {organisation}"
    if organisation is None:
        whose = "installation"
    return f"{event['id']}  {at}  {kind}  {whose}  {data}"


def _cells(event: dict[str, Any]) -> tuple[Any, ...]:
    shown = ", ".join(f"{name} {_short(value)}" for name, value in event["data"].items())
    at = event["at"].partition(".")[0].removesuffix("Z") + "Z"
    return at, event["kind"], event["organisation"], event["tenant"], plain(shown)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
