"""`dormouse usage`: what was used and what it costs, for people."""

import argparse
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.tenants import target_of
from dormouse.cli.usageflags import period_of

MICRO = 1_000_000
_CAUSES = {
    "sql_cpu": "SQL CPU",
    "reads": "reads",
    "writes": "writes",
    "egress": "egress",
}
_LINES = {
    "request_units": "request units",
    "pod_time": "pod time",
    "storage": "storage",
    "egress": "egress",
    "fee": "monthly fee",
}


def run(options: argparse.Namespace) -> int:
    """Run `dormouse usage`."""
    client = Client(target_of(options))
    tenant = client.find(options.tenant) if options.tenant is not None else None
    if options.by == "role" and tenant is None:
        raise CommandError("roles are a tenant's", hint="say `dormouse usage TENANT --by role`")
    parameters = {"by": options.by, **period_of(options)}
    document = client.usage(tenant["id"] if tenant is not None else None, parameters)
    if options.json:
        print_json(document)
        return 0
    name = "All tenants" if tenant is None else f"{tenant['name']}-{tenant['id']}"
    print(report(document, name))
    return 0


def report(document: dict[str, Any], name: str) -> str:
    """An answer of `GET …/usage`, for people."""
    parts = [f"{plain(name)}, {period(document)}", _summary(document)]
    if document["days"] is not None:
        parts.append(_days(document))
    elif document["hours"] is not None:
        parts.append(_hours(document))
    elif document.get("roles") is not None:
        parts.append(_roles(document))
    else:
        parts.append(_causes(document))
    parts += [_tenants(document)] if document.get("tenants") else []
    return "\n\n".join(parts)


def period(document: dict[str, Any]) -> str:
    """The days that an answer is about."""
    zone = document["time_zone"]
    first, last = (_day(document[name], zone) for name in ("period_start", "period_end"))
    return f"from {first} to before {last} ({plain(zone)})"


def _day(moment: str, zone: str) -> str:
    """The day that begins at a moment, in a time zone; in UTC where this machine knows no zones."""
    second = datetime.fromisoformat(moment)
    try:
        second = second.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return moment
    return second.date().isoformat()


def money(micros: int, currency: str) -> str:
    """An amount to its last millionth, without needless zeros behind the second digit."""
    sign, whole = "-" if micros < 0 else "", abs(micros)
    digits = f"{whole % MICRO:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole // MICRO}.{digits} {currency}"


class Units(float):
    """Request units, shown with one digit and in groups of three."""

    def __str__(self) -> str:
        return f"{float(self):,.1f}"


def size(number: int) -> str:
    """Bytes in the largest binary unit that leaves a whole part."""
    amount, names = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(names) > 1:
        amount /= 1024
        names.pop(0)
    return f"{amount:.0f} {names[0]}" if names[0] == "B" else f"{amount:.1f} {names[0]}"


def _summary(document: dict[str, Any]) -> str:
    currency = document["currency"]
    pairs = [
        ("Request units", Units(document["request_units"])),
        ("Stored now", size(document["storage_bytes"])),
        ("Cost", money(document["cost_micros"], currency)),
    ]
    pairs += [
        (f"  {title}", money(document["cost"][line], currency))
        for line, title in _LINES.items()
        if document["cost"][line]
    ]
    forecast = document["forecast"]
    if forecast is not None:
        cost, expected = money(forecast["cost_micros"], currency), forecast["request_units"]
        pairs.append(("At month's end", f"about {cost} for {Units(expected)} request units"))
    return fields(pairs)


def _causes(document: dict[str, Any]) -> str:
    measures, system = document["measures"], document["system"]
    what = {
        "sql_cpu": f"{measures['sql_cpu_seconds']:.3f} s",
        "reads": f"{measures['read_batches']} batches, {measures['read_requests']} requests, "
        f"{size(measures['read_bytes'])}",
        "writes": f"{measures['write_batches']} batches, {measures['write_requests']} requests, "
        f"{size(measures['write_bytes'])}",
        "egress": size(measures["egress_bytes"]),
    }
    rows: list[tuple[object, ...]] = [
        (title, Units(document["by_cause"][cause]), what[cause]) for cause, title in _CAUSES.items()
    ]
    rows.append(("storage", None, f"{measures['storage_gib_hours']:.3f} GiB-hours"))
    rows.append(("pods", None, f"{measures['pod_seconds']:.0f} s"))
    rows.append(("system work", Units(system["request_units"]), "not billed"))
    return table(("CAUSE", "REQUEST UNITS", "WHAT"), rows)


def _days(document: dict[str, Any]) -> str:
    if not document["days"]:
        return "Nothing was used."
    rows = [
        (
            day["day"],
            Units(day["request_units"]),
            *(Units(day["by_cause"][cause]) for cause in _CAUSES),
            round(day["storage_gib_hours"], 3),
            money(day["cost_micros"], document["currency"]),
        )
        for day in document["days"]
    ]
    causes = [title.upper() for title in _CAUSES.values()]
    return table(("DAY", "REQUEST UNITS", *causes, "GIB-HOURS", "COST"), rows)


def _hours(document: dict[str, Any]) -> str:
    if not document["hours"]:
        return "Nothing was used."
    rows = [
        (
            f"{hour['hour'][:10]} {hour['hour'][11:16]}",
            Units(hour["request_units"]),
            *(Units(hour["by_cause"][cause]) for cause in _CAUSES),
        )
        for hour in document["hours"]
    ]
    causes = [title.upper() for title in _CAUSES.values()]
    return table(("HOUR (UTC)", "REQUEST UNITS", *causes), rows)


def _roles(document: dict[str, Any]) -> str:
    if not document["roles"]:
        return "Nothing was used."
    rows = [
        (
            "(no role)" if each["role"] is None else plain(each["role"]),
            Units(each["request_units"]),
            each["calls"],
        )
        for each in document["roles"]
    ]
    return table(("ROLE", "REQUEST UNITS", "CALLS"), rows)


def _tenants(document: dict[str, Any]) -> str:
    rows = [
        (
            f"{plain(each['name'])}-{each['id']}",
            Units(each["request_units"]),
            size(each["storage_bytes"]),
            money(each["cost_micros"], document["currency"]),
        )
        for each in document["tenants"]
    ]
    return table(("TENANT", "REQUEST UNITS", "STORED", "COST"), rows)
