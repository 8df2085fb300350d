"""What the roles themselves measured, from their metrics pages."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Reading = dict[tuple[str, str, str], float]
"""(role, histogram with its labels, "sum" or "count") to its value."""


class Sample(NamedTuple):
    """One number on a metrics page."""

    role: str
    name: str
    labels: dict[str, str]
    value: float


def read_histograms(roles: Mapping[str, Mapping[str, Any]]) -> Reading:
    """The histograms of every role that has a metrics page."""
    found: Reading = {}
    for role, family in _families(roles):
        if family.type != "histogram":
            continue
        for sample in family.samples:
            for part in ("sum", "count"):
                if sample.name == f"{family.name}_{part}":
                    key = (role, _named(family.name, sample.labels), part)
                    found[key] = found.get(key, 0.0) + sample.value
    return found


def read_samples(roles: Mapping[str, Mapping[str, Any]]) -> list[Sample]:
    """Everything on the roles' pages, those of predecessors that live on among them."""
    return [
        Sample(role, sample.name, dict(sample.labels), sample.value)
        for role, family in _families(roles)
        for sample in family.samples
    ]


def total(samples: Iterable[Sample], role: str, name: str, **labels: str) -> float:
    """The sum of a role's samples of that name that have these labels, and maybe others."""
    return sum(
        sample.value
        for sample in samples
        if (sample.role, sample.name) == (role, name) and labels.items() <= sample.labels.items()
    )


def _families(roles: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Metric]]:
    for role, status in roles.items():
        for life in (status, *status.get("retiring", [])):
            if not life.get("metrics"):
                continue
            try:
                page = httpx.get(life["metrics"], timeout=10, trust_env=False)
            except httpx.TransportError:
                continue  # it has just ended
            for family in text_string_to_metric_families(page.text):
                yield role, family


def _named(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(labels.values())}}}" if labels else name


def means(before: Reading, after: Reading) -> list[tuple[str, str, int, float]]:
    """(role, histogram, observations, mean in ms) of what was observed between two readings."""
    rows = []
    for role, name, part in after:
        if part != "count":
            continue
        count = after[role, name, "count"] - before.get((role, name, "count"), 0.0)
        total = after[role, name, "sum"] - before.get((role, name, "sum"), 0.0)
        if count > 0 and "_seconds" in name:
            rows.append((role, name, int(count), total / count * 1000))
    return rows
