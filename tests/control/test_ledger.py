"""The ledger against a model: whatever is lost, repeated or reordered, a report counts once."""

import asyncio
import dataclasses
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control.database import Row, open_database
from control.ledger import Ledger, Report
from dormouse.base.clock import ManualClock

_KEYS = st.tuples(st.integers(1, 2), st.sampled_from([1, 2**64 - 1]), st.integers(1, 5))


def _report(key: tuple[int, int, int]) -> Report:
    tenant, pod, sequence = key
    amounts = {field.name: sequence * 100 + 1 for field in dataclasses.fields(Report)}
    return Report(**{**amounts, "tenant_id": tenant, "pod_id": pod, "sequence": sequence})


async def _totals(arrivals: list[tuple[int, int, int]]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_database(Path(folder) / "r.sqlite") as database:
            ledger = Ledger(database, ManualClock())
            seen: set[tuple[int, int, int]] = set()
            for key in arrivals:
                seen.add(key)
                highest = max(number for *pod, number in seen if tuple(pod) == key[:2])
                assert await ledger.add(_report(key)) == highest
            return await database.read(
                "SELECT tenant_id, sum(sql_cpu_micros), sum(egress_bytes), count(*) FROM usage"
                " GROUP BY tenant_id ORDER BY tenant_id"
            )


@settings(max_examples=25, deadline=None)
@given(st.lists(_KEYS, max_size=20))
def test_a_report_counts_once(arrivals: list[tuple[int, int, int]]) -> None:
    expected = []
    for tenant in sorted({key[0] for key in arrivals}):
        once = {key for key in arrivals if key[0] == tenant}
        total = sum(key[2] * 100 + 1 for key in once)
        expected.append((tenant, total, total, len(once)))
    assert asyncio.run(_totals(arrivals)) == expected


def test_the_first_of_two_contradicting_reports_stays(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            ledger = Ledger(database, ManualClock())
            report = _report((1, 1, 1))
            await ledger.add(report)
            assert await ledger.add(dataclasses.replace(report, read_bytes=7)) == 1
            assert await database.read("SELECT read_bytes FROM usage") == [(report.read_bytes,)]

    asyncio.run(body())
