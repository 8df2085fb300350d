"""`dormouse tenant explain`: why a tenant is awake or asleep, and what was decided about it."""

from datetime import datetime
from typing import Any

from dormouse.cli.output import counted, plain, table


def explanation(document: dict[str, Any]) -> str:
    """The answer of `GET /v1/tenants/{id}/explain`, for people."""
    tenant = document["tenant"]
    lines = [f"{tenant['name']}-{tenant['id']} is {state(tenant)}."]
    if tenant["awake_because"]:
        lines.append(f"Awake because: {plain(tenant['awake_because'])}")
    lines += [f"Held by {each}" for each in holds(tenant)]
    decisions = document["decisions"]
    if not decisions:
        return "\n".join([*lines, "Nothing has been decided about it of late."])
    rows = [
        (local_time(each["at"]), plain(each["action"]), plain(each["reason"]), _inputs(each))
        for each in decisions
    ]
    return "\n".join([*lines, "", table(("WHEN", "ACTION", "REASON", "INPUTS"), rows)])


def state(tenant: dict[str, Any]) -> str:
    """The state with its numbers, as the end of a sentence."""
    if tenant["pods"] is None:
        return "in a state that nobody knows now: the autoscaler does not answer"
    if tenant["state"] == "asleep":
        parked = tenant["parked"]
        return f"asleep, with {counted(parked, 'session')} parked" if parked else "asleep"
    there, wanted = tenant["pods"], tenant["pods_wanted"]
    text = f"{tenant['state']} with {counted(there, 'pod')}"
    text += "" if there == wanted else f" ({wanted} wanted)"
    text += f" and {counted(tenant['connections'], 'session')}"
    return text + (f", {tenant['parked']} more parked" if tenant["parked"] else "")


def pods(tenant: dict[str, Any]) -> str:
    """How many pods, and how many its load asks for where that differs."""
    there, wanted = tenant["pods"], tenant["pods_wanted"]
    return f"{there}" if there == wanted else f"{there} ({wanted} wanted)"


def holds(tenant: dict[str, Any]) -> list[str]:
    """The sessions that cannot be parked."""
    return [f"backend {each['backend_pid']}: {plain(each['reason'])}" for each in tenant["holds"]]


def local_time(text: str) -> str:
    """A time of the API, by the clock on the wall."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


def _inputs(decision: dict[str, Any]) -> str:
    return " ".join(f"{plain(name)}={plain(each)}" for name, each in decision["inputs"].items())
