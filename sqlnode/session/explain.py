"""EXPLAIN: the plan as text; with ANALYZE the statement runs, and its rows, time and cost are real.

The request units are those of what storage did for the statement, of what a commit will send for
it, and of the CPU of the pod while it ran (also for others, if they ran meanwhile). What a client
would be sent is not among them: with EXPLAIN it is not sent.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dormouse.base.units import MICRO, units_of
from proto.control_pb2 import UsageReport
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import ResultColumn
from sqlnode.kv.usage import KvUsage, counted_apart
from sqlnode.parse import RawStatement
from sqlnode.session.guc_values import parse_bool
from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer, CopyStates, rows_of
from sqlnode.spending.leave import Kind
from sqlnode.types import oids

if TYPE_CHECKING:
    from sqlnode.session.session import Session

_FLAGS = frozenset(
    {"analyze", "verbose", "costs", "buffers", "settings", "timing", "summary", "wal"}
)


@dataclass(frozen=True, slots=True)
class _Options:
    analyze: bool = False
    verbose: bool = False


def _options(elements: Any) -> _Options:
    flags: dict[str, bool] = {}
    for element in elements:
        option = element.def_elem
        if option.defname == "format":
            if option.arg.string.sval.lower() != "text":
                raise unsupported(f"EXPLAIN (FORMAT {option.arg.string.sval.upper()})")
        elif option.defname in _FLAGS:
            flags[option.defname] = _flag(option)
        else:
            raise SqlError("42601", f'unrecognized EXPLAIN option "{option.defname}"')
    return _Options(flags.get("analyze", False), flags.get("verbose", False))


def _flag(option: Any) -> bool:
    match option.arg.WhichOneof("node"):
        case None:
            return True
        case "boolean":
            return bool(option.arg.boolean.boolval)
        case "integer":
            return bool(option.arg.integer.ival)
        case _:
            return parse_bool(option.defname, option.arg.string.sval)


async def explain_columns(_session: "Session", _raw: RawStatement) -> tuple[ResultColumn, ...]:
    """The one column of EXPLAIN."""
    return (ResultColumn("QUERY PLAN", oids.TEXT),)


async def explain(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """EXPLAIN of queries; utility statements have no plan."""
    raw = portal.planned.raw
    options = _options(raw.node.options)
    columns = await explain_columns(session, raw)
    planned = portal.planned.inner
    if planned is None or planned.executable is None:
        return Answer("EXPLAIN", columns, rows_of([("Utility statements have no plan structure",)]))
    lines = list(planned.executable.explain(verbose=options.verbose))
    if options.analyze:
        await session.budget.enter(Kind.WRITE)
        lines += await _run(session, Portal("", planned, portal.params, undescribed=True))
    return Answer("EXPLAIN", columns, rows_of([(line,) for line in lines]))


async def _run(session: "Session", subject: Portal) -> list[str]:
    clock = session.tenant.clock
    started, cpu_ns = clock.monotonic(), time.process_time_ns()
    count = 0
    with counted_apart() as used:
        await session.start_query(subject)
        while batch := await subject.take(0):
            count += len(batch)
            await session.interrupts.checkpoint()
    if subject.planned.columns is None and subject.execution is not None:
        count = subject.execution.rows_processed
    elapsed = (clock.monotonic() - started) * 1000
    units = _units(subject, used, (time.process_time_ns() - cpu_ns) // 1000)
    return [
        f"Actual Rows: {count}",
        f"Execution Time: {elapsed:.3f} ms",
        f"Request Units: {units:.2f}",
    ]


def _units(subject: Portal, used: KvUsage, cpu_micros: int) -> float:
    keys, size = (0, 0)
    if subject.execution is not None:
        keys, size = subject.execution.transaction.statement_writes
    statement = UsageReport(
        sql_cpu_micros=cpu_micros,
        read_batches=used.read_batches,
        read_requests=used.read_requests,
        read_bytes=used.read_bytes,
        write_batches=used.write_batches + (keys > 0),
        write_requests=used.write_requests + keys,
        write_bytes=used.write_bytes + size,
    )
    return units_of(statement).total / MICRO
