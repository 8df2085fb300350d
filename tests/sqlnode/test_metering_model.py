"""Real pods' metering and a real ledger, with everything between them going wrong."""

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from hypothesis import given, settings
from hypothesis import strategies as st

from control import rollups
from control.amounts import AMOUNT_NAMES, Amounts
from control.database import open_database
from control.ledger import Ledger, Report
from control.periods import Span
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from proto.control_pb2 import UsageAck, UsageReport
from sqlnode.accounts import Accounts
from sqlnode.kv.usage import KvUsage
from sqlnode.metering import Metering

_BUSY_SECOND_NS = 700_000_000
_LOST = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "lost", None
)


@dataclass(eq=False)
class _Pod:
    """A pod's counters and its real metering. The truth is in the counters."""

    number: int
    kv: KvUsage = field(default_factory=KvUsage)
    system_kv: KvUsage = field(default_factory=KvUsage)
    egress_bytes: int = 0
    is_active: bool = False
    cpu_ns: int = 0
    heard: UsageReport = field(default_factory=UsageReport)
    """The newest report that control has."""

    def work(self) -> None:
        """One second of use."""
        self.cpu_ns += _BUSY_SECOND_NS
        self.kv.read_batches += 3
        self.kv.read_bytes += 1000
        self.system_kv.read_batches += 1
        self.egress_bytes += 77


class _World:
    def __init__(self, file: Path, seed: int) -> None:
        self.file = file
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.pods: dict[_Pod, Metering] = {}
        self.dead: list[_Pod] = []
        self.ledger: Ledger | None = None
        self.late: list[UsageReport] = []
        self.lossy = True

    def stamp(self) -> None:
        pod = _Pod(len(self.pods) + len(self.dead) + 1)
        accounts = Accounts(pod, self.clock, cpu_ns=lambda: pod.cpu_ns)
        tenant = TenantId(1 + pod.number % 2)

        async def send(report: UsageReport) -> UsageAck:
            return await self._send(pod, report)

        self.pods[pod] = Metering(accounts, send, self.clock, tenant=tenant, pod=PodId(pod.number))

    async def _send(self, pod: _Pod, report: UsageReport) -> UsageAck:
        fate = self.random.random() if self.lossy else 1.0
        if self.ledger is None or fate < 0.2:
            raise _LOST
        if fate < 0.35:  # it arrives when nobody expects it any more
            self.late.append(report)
            raise _LOST
        await self.arrive(report)
        if fate < 0.5:
            await self.arrive(report)
        if fate < 0.65:  # the answer is lost
            raise _LOST
        return UsageAck(sequence=report.sequence)

    async def arrive(self, report: UsageReport) -> None:
        assert self.ledger is not None
        total = Amounts(*(getattr(report, name) for name in AMOUNT_NAMES))
        await self.ledger.add(
            Report(
                tenant_id=report.tenant_id,
                pod_id=report.pod_id,
                sequence=report.sequence,
                at_ms=report.at_unix_ms,
                total=total,
            )
        )
        for pod in [*self.pods, *self.dead]:
            if pod.number == report.pod_id and report.sequence > pod.heard.sequence:
                pod.heard = report

    async def second(self) -> None:
        self.clock.advance(1)
        for pod, metering in list(self.pods.items()):
            if self.random.random() < 0.7:
                pod.work()
            metering.look()
            if metering.due():
                await metering.tell()

    async def step(self, step: str) -> None:
        match step:
            case "stamp":
                self.stamp()
            case "second":
                await self.second()
            case "hour":
                self.clock.advance(3600)
                await self.second()
            case "kill" if self.pods:
                pod = self.random.choice(list(self.pods))
                del self.pods[pod]
                self.dead.append(pod)
            case "late" if self.ledger is not None:
                self.random.shuffle(self.late)
                while self.late:
                    await self.arrive(self.late.pop())

    async def run(self, steps: list[str]) -> None:
        """Control is away between `away` and `back`, and begins anew on its file each time."""
        pending = ["stamp", *steps]
        while pending:
            async with open_database(self.file) as database:
                self.ledger = Ledger(database, self.clock)
                while pending and (step := pending.pop(0)) != "away":
                    await self.step(step)
            self.ledger = None
            while pending and (step := pending.pop(0)) != "back":
                await self.step(step)

    async def settle(self) -> tuple[dict[str, int], dict[str, int]]:
        """All that live end well: what the ledger has, and what is true."""
        self.lossy = False
        async with open_database(self.file) as database:
            self.ledger = Ledger(database, self.clock)
            for metering in self.pods.values():
                assert await metering.close(5)
            await self.step("late")
            sums = await rollups.read(database, Span.MONTH, 0, 2**40)
            total = sum((used.amounts for used in sums.values()), Amounts())
            self.ledger = None
        names = ("read_batches", "read_bytes", "egress_bytes", "system_read_batches", "cpu")
        pods = [*self.pods, *self.dead]
        found = (
            total.read_batches,
            total.read_bytes,
            total.egress_bytes,
            total.system_read_batches,
            total.sql_cpu_micros + total.system_cpu_micros,
        )
        truth = (
            sum(pod.kv.read_batches for pod in pods),
            sum(pod.kv.read_bytes for pod in pods),
            sum(pod.egress_bytes for pod in pods),
            sum(pod.system_kv.read_batches for pod in pods),
            sum(pod.cpu_ns // 1000 for pod in pods),
        )
        return dict(zip(names, found, strict=True)), dict(zip(names, truth, strict=True))


_STEP = st.sampled_from(
    [
        *("stamp", "second", "second", "second", "second", "hour", "late"),
        *("kill", "away", "back"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_STEP, max_size=40), st.integers(0, 2**32))
def test_the_ledger_has_all_of_the_living_and_all_the_dead_have_told(
    steps: list[str], seed: int
) -> None:
    async def body(folder: str) -> None:
        world = _World(Path(folder) / "r.sqlite", seed)
        await world.run(steps)
        found, truth = await world.settle()
        pods = [*world.pods, *world.dead]
        assert found["read_batches"] == sum(pod.heard.read_batches for pod in pods)
        assert found["egress_bytes"] == sum(pod.heard.egress_bytes for pod in pods)
        for pod in world.pods:
            assert pod.heard.egress_bytes == pod.egress_bytes
        if not world.dead:
            assert found == truth

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(body(folder))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**32))
def test_a_kill_costs_the_use_since_the_last_look(pods: int, seconds: int, seed: int) -> None:
    async def body(folder: str) -> None:
        world = _World(Path(folder) / "r.sqlite", seed)
        world.lossy = False
        async with open_database(world.file) as database:
            world.ledger = Ledger(database, world.clock)
            for _ in range(pods):
                world.stamp()
            for _ in range(seconds):
                await world.second()
            for pod in list(world.pods):
                pod.work()  # most of another second, and nobody has looked yet
                await world.step("kill")
        found, truth = await world.settle()
        assert truth["cpu"] - found["cpu"] == pods * _BUSY_SECOND_NS // 1000
        assert truth["read_batches"] - found["read_batches"] == pods * 3

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(body(folder))
