"""`dormouse limit show|set|clear`: spend limits of tenants and organisations.

Whether an amount is allowed is the gateway's to say.
"""

import argparse
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.limitflags import NONE
from dormouse.cli.output import fields, plain, print_json
from dormouse.cli.tenants import target_of


def run(options: argparse.Namespace) -> int:
    """Run `dormouse limit ACTION`."""
    client = Client(target_of(options))
    path = _path(client, options)
    found, etag = client.spend_limit(path)
    if options.action == "set":
        found = client.set_spend_limit(path, _changed(found, options), if_match=etag)
    elif options.action == "clear":
        found = client.set_spend_limit(path, {})
    if options.json:
        print_json(found)
    else:
        print(fields(in_words(found)))
    return 0


def _path(client: Client, options: argparse.Namespace) -> str:
    if (options.tenant is None) == (options.organisation is None):
        raise CommandError("name a tenant, or an organisation with --organisation")
    if options.tenant is not None:
        return f"/v1/tenants/{client.find(options.tenant)['id']}/spend-limit"
    return f"/v1/organisations/{client.find_organisation(options.organisation)['id']}/spend-limit"


def _changed(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    names = ("monthly_cents", "monthly_request_units", "policy")
    change = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if not change:
        raise CommandError("there is nothing to set", hint="see `dormouse limit set --help`")
    return {name: change.get(name, found[name]) for name in names}


def in_words(found: dict[str, Any]) -> list[tuple[str, object]]:
    """A limit and its month, for people."""
    cents, units, used = found["monthly_cents"], found["monthly_request_units"], found["used"]
    amounts = [
        *([] if cents is None else [f"{_money(cents * 10_000)} a month"]),
        *([] if units is None else [f"{units:,} request units a month"]),
    ]
    state = found["state"]
    if found["limited_by"]:
        state = f"{state}, by the {plain(found['limited_by'])}'s limit"
    given = [f"{each['percent']} % at {each['at']}" for each in found["notices"]]
    return [
        ("limit", " or ".join(amounts) or NONE),
        ("policy", found["policy"] if amounts else "-"),
        ("state", state),
        ("used", f"{used['request_units']:,.1f} request units, {_money(used['cost_micros'])}"),
        ("percent", used["percent"] if amounts else "-"),
        ("month", f"{found['period_start']} to {found['period_end']}"),
        ("notices", ", ".join(given) or NONE),
    ]


def _money(micros: int) -> str:
    """In the currency of the price book, as `20.50`; what is less than a cent is shown, too."""
    cents, rest = divmod(micros, 10_000)
    more = f"{rest:04d}".rstrip("0") if rest else ""
    return f"{cents // 100}.{cents % 100:02d}{more}"
