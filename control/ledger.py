"""The usage ledger: an append-only table of what pods reported.

(tenant, pod, sequence) names a report for good. A report that arrives again changes nothing and is
acknowledged again, which is what lets a pod re-send until it hears an answer.
"""

import logging
from dataclasses import dataclass, fields

from control.database import Database
from control.metrics import USAGE_REPORTS
from dormouse.base.clock import Clock

_log = logging.getLogger(__name__)

_SIGN = 1 << 63
AMOUNT_MAX = _SIGN - 1
"""The ledger's integers are signed: a larger amount is refused before it comes here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one pod used since its previous report; see proto/control.proto."""

    tenant_id: int
    pod_id: int
    sequence: int
    sql_cpu_micros: int
    read_batches: int
    read_requests: int
    read_bytes: int
    write_batches: int
    write_requests: int
    write_bytes: int
    egress_bytes: int
    pod_millis: int


_AMOUNTS = tuple(field.name for field in fields(Report))[3:]


class Ledger:
    """The table `usage`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, report: Report) -> int:
        """Add `report` once; durable on return. Returns the pod's highest sequence so far."""
        amounts = tuple(getattr(report, name) for name in _AMOUNTS)
        key = (report.tenant_id, _signed(report.pod_id), report.sequence)
        columns = ", ".join(("tenant_id", "pod_id", "sequence", "received_ns", *_AMOUNTS))
        marks = ", ".join("?" * (4 + len(_AMOUNTS)))
        inserted = await self._database.write(
            f"INSERT INTO usage ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING RETURNING 1",
            (*key, self._clock.wall_ns(), *amounts),
        )
        if inserted is not None:
            USAGE_REPORTS.labels("added").inc()
        else:
            await self._check_same(key, amounts)
        row = await self._database.read_one(
            "SELECT max(sequence) FROM usage WHERE tenant_id = ? AND pod_id = ?", key[:2]
        )
        return int(row[0]) if row is not None else report.sequence

    async def _check_same(self, key: tuple[int, int, int], amounts: tuple[int, ...]) -> None:
        found = await self._database.read_one(
            f"SELECT {', '.join(_AMOUNTS)} FROM usage"
            " WHERE tenant_id = ? AND pod_id = ? AND sequence = ?",
            key,
        )
        if found == amounts:
            USAGE_REPORTS.labels("repeated").inc()
            return
        # The first one counts. Refusing would only make a broken pod send it for ever.
        USAGE_REPORTS.labels("contradicted").inc()
        _log.error("a usage report came twice with different amounts", extra={"report": key})


def _signed(number: int) -> int:
    """SQLite's integers are signed; pod ids are not."""
    return number - (1 << 64) if number >= _SIGN else number
