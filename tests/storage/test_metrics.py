"""Every metric of storage is in the manual, and the manual names no other."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from storage import metrics

PREFIX = "dormouse_storage_"


def test_the_manual_has_every_metric() -> None:
    page = (Path(metrics.__file__).parents[1] / "docs" / "storage.md").read_text(encoding="utf-8")
    section = page[page.index("\n## Metrics") :]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {re.sub(r"\{.*", "", name) for row in rows for name in re.findall("`([^`]+)`", row)}
    there = {
        (family.name + ("_total" if family.type == "counter" else "")).removeprefix(PREFIX)
        for each in vars(metrics).values()
        if isinstance(each, MetricWrapperBase)
        for family in each.describe()
    }
    assert named == there
