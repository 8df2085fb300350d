"""Tells control what the pod's statements and roles cost (proto/control.proto, StatementReport).

All amounts are sums since the stamp, so a report that was lost or comes twice changes nothing, as
with usage (sqlnode/metering.py). A report names the statements whose cost grew most since control
heard of them, STATEMENTS_MAX at the most; the others' turn comes with the next reports. A statement
that is dropped before (sqlnode/statements/costs.py) is missing from the statements, and its cost is
in its role's all the same.

Roles add up to the pod's use to the millionth of a unit: what no session of a role did (a login
that failed, what storage answered after a session's end) is told under an empty name. What a tenant
does at its spend limit is not billed; it is a statement's and a role's like any other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import grpc.aio
from prometheus_client import Counter

from dormouse.base.metrics import REGISTRY
from dormouse.base.tasks import cancel, spawn
from dormouse.base.units import units_of
from proto.control_pb2 import RoleCost, StatementCost, StatementReport, UsageAck
from proto.pod_pb2 import Usage
from sqlnode.statements.costs import StatementCosts
from sqlnode.statements.sums import Entry

if TYPE_CHECKING:
    from dormouse.base.ids import PodId, TenantId

REPORT_SECONDS = 10.0
"""What a kill may cost."""
SEND_SECONDS = 5.0
RETRY_SECONDS = 0.25
STATEMENTS_MAX = 100
ROLES_MAX = 100
NOBODY = ""
"""The role of what belongs to none."""

_log = logging.getLogger(__name__)

REPORTS = Counter(
    "dormouse_pod_statement_reports_total",
    "Reports of what statements cost by what became of them: heard, unheard.",
    ["outcome"],
    registry=REGISTRY,
)

Send = Callable[[StatementReport], Awaitable[UsageAck]]
"""Brings a report to control; raises grpc.aio.AioRpcError or TimeoutError."""


class StatementReports:
    """Reports until `close`. `used` gives the pod's sums, with what is not billed."""

    def __init__(
        self,
        costs: StatementCosts,
        used: Callable[[], Usage],
        send: Send,
        *,
        tenant: "TenantId",
        pod: "PodId",
    ) -> None:
        self._costs = costs
        self._used = used
        self._send = send
        self._tenant = tenant
        self._pod = pod
        self._sequence = 0
        self._heard_units = 0
        self._away = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<StatementReports of tenant {self._tenant}, {self._sequence} so far>"

    def start(self) -> None:
        """Report from now on."""
        self._task = spawn(self._run(), name=f"statement reports of tenant {self._tenant}")

    async def close(self, seconds: float) -> bool:
        """Report for the last time, for `seconds` at the most; whether control has heard it."""
        await cancel(self._task)
        try:
            async with asyncio.timeout(seconds):
                heard = await self.tell(last=True)
                while not heard:
                    await asyncio.sleep(RETRY_SECONDS)
                    heard = await self.tell(last=True)
        except TimeoutError:
            _log.warning("what statements cost was not heard", extra={"tenant": self._tenant})
            return False
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.tell()

    async def tell(self, *, last: bool = False) -> bool:
        """Report what is new, if anything is or this is the `last` time; whether control knows of
        all that is reported."""
        usage = self._used()
        units = units_of(usage).total
        entries = self._grown()
        if units == self._heard_units and not entries and not (last and self._sequence):
            return True
        self._sequence += 1
        known = [(entry, entry.calls, entry.roughly) for entry in entries]
        report = StatementReport(
            tenant_id=self._tenant,
            pod_id=self._pod,
            sequence=self._sequence,
            at_unix_ms=usage.at_unix_ms,
            statements=[_statement(entry) for entry in entries],
            roles=self._roles(units),
            last=last,
        )
        if not await self._sent(report):
            return False
        self._heard_units = units
        for entry, calls, roughly in known:
            entry.told_calls, entry.told = calls, roughly
        return True

    def _grown(self) -> list[Entry]:
        grown = [
            (entry.roughly - entry.told, entry)
            for entry in self._costs.entries()
            if entry.calls != entry.told_calls or entry.roughly != entry.told
        ]
        grown.sort(key=lambda each: each[0], reverse=True)
        return [entry for _, entry in grown[:STATEMENTS_MAX]]

    def _roles(self, units: int) -> Sequence[RoleCost]:
        """The roles, and what is left of the pod's `units`."""
        costs = [
            RoleCost(role=role.name, calls=role.calls_total, micro_units=role.total().micro_units)
            for role in self._costs.roles()
        ]
        costs.sort(key=lambda cost: cost.micro_units, reverse=True)
        named, others = costs[:ROLES_MAX], costs[ROLES_MAX:]
        rest = units - sum(cost.micro_units for cost in named)
        calls = sum(cost.calls for cost in others)
        if rest > 0 or calls:
            named.append(RoleCost(role=NOBODY, calls=calls, micro_units=max(rest, 0)))
        return named

    async def _sent(self, report: StatementReport) -> bool:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(report)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            REPORTS.labels("unheard").inc()
            if not self._away:
                reason = repr(error)[:200]
                _log.warning("control does not hear what statements cost", extra={"reason": reason})
            self._away = True
            return False
        REPORTS.labels("heard").inc()
        self._away = False
        return True


def _statement(entry: Entry) -> StatementCost:
    return StatementCost(
        query_id=entry.identity.query_id,
        query=entry.identity.text,
        role=entry.role,
        calls=entry.calls,
        rows=entry.rows,
        elapsed_micros=entry.elapsed_ns // 1000,
        micro_units=entry.micro_units,
        number=entry.number,
    )
