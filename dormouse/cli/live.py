"""What `dormouse top` shows: the live picture laid out on a screen of some size. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dormouse.cli.explain import local_time
from dormouse.cli.output import plain, table

SORTS = {"c": "cpu", "r": "ru", "s": "sessions", "w": "parked", "p": "pods", "n": "name"}
"""Keys, and what they sort by in the words of the API."""

_HEADER = (
    "TENANT",
    "STATE",
    "PODS (WANTED)",
    "CPU %",
    "SESSIONS",
    "PARKED",
    "RU/S",
    "AWAKE BECAUSE",
)
_MARKED = {"cpu": 3, "ru": 6, "sessions": 4, "parked": 5, "pods": 2, "name": 0}
_HELP = "q quit   sort: c CPU  r RU/s  s sessions  w parked  p pods  n name   ↑ ↓ scroll"
_BOLD, _REVERSE, _DIM = "\x1b[1m", "\x1b[7m", "\x1b[2m"
_FRAME_LINES = 6
"""Title, two of totals, a notice or nothing, header, help."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was heard last, and what went wrong since; `age_seconds` is of the document."""

    document: dict[str, Any] | None = None
    problem: str = ""
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """How a person looks at it."""

    sort: str = "cpu"
    offset: int = 0


def pressed(view: View, key: str, *, rows: int, lines: int) -> View | None:
    """The view after a key; None: quit. `rows` tenants on a screen of `lines`."""
    page = max(lines - _FRAME_LINES, 1)
    last = max(rows - page, 0)
    steps = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -rows, "end": rows}
    if key in ("q", "Q"):
        return None
    if key in SORTS:
        return View(sort=SORTS[key])
    if key in steps:
        return replace(view, offset=min(max(view.offset + steps[key], 0), last))
    return view


def screen(snapshot: Snapshot, view: View, *, title: str, columns: int, lines: int) -> list[str]:
    """The lines of one screen: never more than `lines`, none wider than `columns`."""
    document = snapshot.document
    page = max(lines - _FRAME_LINES, 1)
    shown = [_BOLD + title[:columns]]
    if document is None:
        waiting = f"! {snapshot.problem}" if snapshot.problem else "asking …"
        return [*shown, "", waiting[:columns], "", _DIM + "q quit"[:columns]][:lines]
    head, *rows = _rows(document, view.sort)
    offset = min(view.offset, max(len(rows) - page, 0))
    shown += [line[:columns] for line in totals(document)]
    shown.append(_BOLD + _notice(snapshot, document)[:columns])
    shown.append(_REVERSE + head[:columns].ljust(columns))
    shown += [row[:columns] for row in rows[offset : offset + page]]
    below = len(rows) - offset - page
    more = f"{below} more below   " if below > 0 else ""
    return [*shown[: lines - 1], _DIM + (more + _HELP)[:columns]]


def report(document: dict[str, Any]) -> str:
    """The same for a file or a pipe."""
    head, *rows = _rows(document, "")
    return "\n".join([local_time(document["at"]), *totals(document), head, *rows])


def totals(document: dict[str, Any]) -> tuple[str, str]:
    """Two lines about the whole installation."""
    sums, pool = document["totals"], document["warm_pool"]
    warm = f"{pool['ready']} of {pool['wanted']}" if pool is not None else "?"
    tenants = f"tenants {sums['awake']} awake of {sums['registered']}"
    cpu, rate = f"{sums['cpu_percent']:.1f}", f"{sums['request_units_per_second']:.1f}"
    return (
        f"{tenants}   pods {sums['pods']}   warm {warm}",
        f"sessions {sums['connections']}   parked {sums['parked']}   CPU {cpu} %   RU/s {rate}",
    )


def _rows(document: dict[str, Any], sort: str) -> list[str]:
    """The header and a line for each tenant, in columns."""
    header = [
        f"{name}*" if index == _MARKED.get(sort) else name for index, name in enumerate(_HEADER)
    ]
    return table(header, [_cells(each) for each in document["tenants"]]).split("\n")


def _cells(tenant: dict[str, Any]) -> Sequence[object]:
    there, wanted = tenant["pods"], tenant["pods_wanted"]
    return (
        plain(f"{tenant['name']}-{tenant['id']}"),
        tenant["state"],
        f"{there}" if there == wanted else f"{there} ({wanted})",
        _Tenths(tenant["cpu_percent"]),
        tenant["connections"],
        tenant["parked"],
        _Tenths(tenant["request_units_per_second"]),
        plain(_why(tenant)),
    )


class _Tenths(float):
    """A number that is shown with one digit, so that the points stand below each other."""

    def __str__(self) -> str:
        return f"{float(self):.1f}"


def _why(tenant: dict[str, Any]) -> str:
    """What keeps it awake, with the first session that cannot be parked."""
    held = [f"(backend {each['backend_pid']}: {each['reason']})" for each in tenant["holds"][:1]]
    return " ".join([tenant["awake_because"], *held]).strip()


def _notice(snapshot: Snapshot, document: dict[str, Any]) -> str:
    if snapshot.problem:
        # The age first: what is cut off on a narrow screen is the end.
        return f"! {snapshot.age_seconds:.0f} s old: {snapshot.problem}"
    more = document["more"]
    return f"and {more} more that are not shown" if more else ""
