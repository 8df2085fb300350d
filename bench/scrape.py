"""What the roles themselves measured: their histograms, as the difference of two readings."""

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

Reading = dict[tuple[str, str, str], float]
"""(role, histogram with its labels, "sum" or "count") to its value."""


def read_histograms(roles: Mapping[str, Mapping[str, Any]]) -> Reading:
    """The histograms of every role that has a metrics page."""
    found: Reading = {}
    for role, status in roles.items():
        if not status.get("metrics"):
            continue
        page = httpx.get(status["metrics"], timeout=10, trust_env=False)
        for family in text_string_to_metric_families(page.text):
            if family.type != "histogram":
                continue
            for sample in family.samples:
                for part in ("sum", "count"):
                    if sample.name == f"{family.name}_{part}":
                        labels = ",".join(sample.labels.values())
                        name = f"{family.name}{{{labels}}}" if labels else family.name
                        found[role, name, part] = sample.value
    return found


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
