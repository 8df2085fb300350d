"""The ledger against a model: lost, late, repeated, reordered, killed, it is exact."""

import asyncio
import dataclasses
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control import ledger as ledger_module
from control import rollups
from control.amounts import AMOUNT_NAMES, Amounts
from control.database import Database, open_database
from control.ledger import Ledger, LedgerBusy, Report
from control.periods import Span, cut, start_of
from dormouse.base.clock import ManualClock

_SECOND_USE = Amounts(*range(1, len(AMOUNT_NAMES) + 1))
"""What a pod uses in one second of the model: every component another number."""


@dataclass
class _Pod:
    """The truth about a pod."""

    tenant: int
    number: int
    used: Amounts = field(default_factory=Amounts)
    heard: Amounts = field(default_factory=Amounts)
    """What was in the newest report that reached control."""
    heard_sequence: int = 0
    sequence: int = 0
    unreported_seconds: int = 0
    alive: bool = True

    def report(self, now_ms: int) -> Report:
        self.sequence += 1
        return Report(
            tenant_id=self.tenant,
            pod_id=self.number,
            sequence=self.sequence,
            at_ms=now_ms,
            total=self.used,
        )


class _World:
    """Pods, a wire that loses, keeps back, doubles and reorders, and control on one file."""

    def __init__(self, file: Path, seed: int) -> None:
        self.file = file
        self.clock = ManualClock()
        self.random = random.Random(seed)
        self.pods: list[_Pod] = []
        self.wire: list[tuple[_Pod, Report]] = []

    async def run(self, steps: list[str]) -> None:
        while steps:
            async with open_database(self.file) as database:
                ledger = Ledger(database, self.clock)
                while steps and (step := steps.pop()) != "restart":
                    await self._step(step, ledger)
                    if step == "deliver":
                        await self._check(database)

    async def _step(self, step: str, ledger: Ledger) -> None:
        alive = [pod for pod in self.pods if pod.alive]
        match step:
            case "stamp":
                number = 2**64 - 1 - len(self.pods)
                self.pods.append(_Pod(self.random.randint(1, 3), number))
            case "second":
                self.clock.advance(self.random.choice([1, 1, 1, 1800]))
                for pod in alive:
                    pod.used = pod.used + _SECOND_USE
                    pod.unreported_seconds += 1
                    self._send(pod)
            case "kill" if alive:
                self.random.choice(alive).alive = False
            case "relay" if alive:  # somebody else tells what the pod told him
                self._send(self.random.choice(alive))
            case "deliver":
                await self._deliver(ledger)
            case "compact":
                await ledger.compact(entries_days=0.01, hours_days=0.1)

    def _send(self, pod: _Pod) -> None:
        fate = self.random.random()
        report = pod.report(self.clock.wall_ns() // 1_000_000)
        if fate < 0.3:
            return
        self.wire += [(pod, report)] * (2 if fate > 0.8 else 1)

    async def _deliver(self, ledger: Ledger) -> None:
        self.random.shuffle(self.wire)
        late = [each for each in self.wire if self.random.random() < 0.2]
        arriving = [each for each in self.wire if each not in late]
        self.wire = late
        answers = await asyncio.gather(*(ledger.add(report) for _, report in arriving))
        for (pod, report), answer in zip(arriving, answers, strict=True):
            assert answer >= report.sequence
            if report.sequence > pod.heard_sequence:
                pod.heard_sequence, pod.heard = report.sequence, report.total

    async def _check(self, database: Database) -> None:
        for tenant in (1, 2, 3):
            truth = Amounts()
            for pod in self.pods:
                truth = truth + (pod.heard if pod.tenant == tenant else Amounts())
            for span in (Span.DAY, Span.MONTH):
                sums = await rollups.read(database, span, 0, 2**40, tenant_id=tenant)
                total = Amounts()
                for used in sums.values():
                    total = total + used.amounts
                assert total == truth


_STEPS = st.lists(
    st.sampled_from(
        [
            "stamp",
            "second",
            "second",
            "second",
            "deliver",
            "deliver",
            "kill",
            "relay",
            "restart",
            "compact",
        ]
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(_STEPS, st.integers(0, 2**32))
def test_the_ledger_is_what_was_reported_whatever_happens(steps: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = _World(Path(folder) / "r.sqlite", seed)
        asyncio.run(world.run([*steps, "deliver", "second", "stamp"]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 2**32))
def test_a_kill_costs_one_second_of_use(seconds: list[int], seed: int) -> None:
    """Each pod reports every second while it is used and is killed at some moment in between."""

    async def body(folder: str) -> None:
        async with open_database(Path(folder) / "r.sqlite") as database:
            clock, chance = ManualClock(), random.Random(seed)
            ledger, truth = Ledger(database, clock), 0
            for number, lived in enumerate(seconds, start=1):
                for second in range(1, lived + 1):
                    clock.advance(1)
                    total = Amounts(sql_cpu_micros=second * 1_000_000)
                    report = Report(
                        tenant_id=1, pod_id=number, sequence=second, at_ms=0, total=total
                    )
                    await ledger.add(report)
                truth += lived * 1_000_000 + chance.randrange(1_000_000)
            [used] = (await rollups.read(database, Span.MONTH, 0, 2**40)).values()
            assert 0 <= truth - used.amounts.sql_cpu_micros < len(seconds) * 1_000_000

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(body(folder))


def _report(sequence: int, amount: int, *, at_ms: int = 0, pod: int = 1) -> Report:
    total = Amounts(read_bytes=amount)
    return Report(tenant_id=1, pod_id=pod, sequence=sequence, at_ms=at_ms, total=total)


async def _sums(database: Database, span: Span) -> dict[int, int]:
    found = await rollups.read(database, span, 0, 2**40, tenant_id=1)
    return {start: used.amounts.read_bytes for start, used in found.items()}


def test_what_contradicts_takes_nothing_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            ledger = Ledger(database, ManualClock())
            for sequence, amount in ((1, 10), (1, 99), (2, 7), (3, 12)):
                await ledger.add(_report(sequence, amount))
            assert list((await _sums(database, Span.MONTH)).values()) == [12]

    asyncio.run(body())


def test_use_is_booked_to_the_hour_it_was_counted_in(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            clock = ManualClock()
            ledger = Ledger(database, clock)
            clock.advance(3 * 3600)
            now_ms = clock.wall_ns() // 1_000_000
            hour = start_of(Span.HOUR, now_ms // 1000)
            await ledger.add(_report(1, 5, at_ms=now_ms - 2 * 3_600_000))
            await ledger.add(_report(2, 7, at_ms=now_ms - 3 * 3_600_000))  # not before the first
            await ledger.add(_report(3, 17, at_ms=now_ms + 3_600_000))  # nor in the future
            assert await _sums(database, Span.HOUR) == {hour - 7200: 7, hour: 10}
            await ledger.add(_report(1, 1, at_ms=1, pod=2))
            oldest = min(await _sums(database, Span.DAY))
            assert now_ms // 1000 - oldest < 9 * 86_400

    asyncio.run(body())


def test_compaction_leaves_every_sum_over_days_and_months(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            clock = ManualClock()
            ledger = Ledger(database, clock)
            for sequence in range(1, 60):
                clock.advance(86_400)
                await ledger.add(_report(sequence, sequence * 3))
            days, months = await _sums(database, Span.DAY), await _sums(database, Span.MONTH)
            assert await ledger.compact(entries_days=10, hours_days=20) > 80
            assert await _sums(database, Span.DAY) == days
            assert await _sums(database, Span.MONTH) == months
            assert sum(months.values()) == 59 * 3
            [(entries,)] = await database.read("SELECT count(*) FROM usage_entries")
            assert 10 <= entries <= 11
            assert 20 <= len(await _sums(database, Span.HOUR)) <= 21
            clock.advance(31 * 86_400)
            await ledger.compact(entries_days=10, hours_days=20)
            assert await database.read("SELECT count(*) FROM usage_pods") == [(0,)]

    asyncio.run(body())


def test_reports_that_wait_share_a_write_and_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            ledger = Ledger(database, ManualClock())
            reports = [_report(1, pod, pod=pod) for pod in range(1, 601)]
            assert await asyncio.gather(*map(ledger.add, reports)) == [1] * 600
            assert list((await _sums(database, Span.MONTH)).values()) == [600 * 601 // 2]
            monkeypatch.setattr(ledger_module, "WAITING_MAX", 0)
            with pytest.raises(LedgerBusy):
                await ledger.add(_report(2, 2))

    asyncio.run(body())


@given(st.integers(0, 2**33), st.integers(0, 40 * 86_400), st.sampled_from(Span))
def test_periods_cut_time_without_a_gap(start: int, seconds: int, span: Span) -> None:
    pieces = cut(span, start, start + seconds)
    assert sum(length for _, length in pieces) == seconds
    assert [period for period, _ in pieces] == sorted({period for period, _ in pieces})
    if pieces:
        assert pieces[0][0] == start_of(span, start)


def test_amounts_are_vectors() -> None:
    assert dataclasses.astuple(_SECOND_USE + _SECOND_USE) == tuple(
        2 * number for number in _SECOND_USE.row
    )
    assert Amounts(read_bytes=3).since(Amounts(read_bytes=5, write_bytes=1)) == Amounts()
    assert not Amounts()
