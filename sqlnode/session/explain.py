"""EXPLAIN: the plan as text; with ANALYZE the statement runs, and its rows and time are real."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.session.guc_values import parse_bool
from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer, CopyStates, rows_of
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
        lines += await _run(session, Portal("", planned, portal.params))
    return Answer("EXPLAIN", columns, rows_of([(line,) for line in lines]))


async def _run(session: "Session", subject: Portal) -> list[str]:
    clock = session.tenant.clock
    started = clock.monotonic()
    await session.start_query(subject)
    count = 0
    while batch := await subject.take(0):
        count += len(batch)
        await session.interrupts.checkpoint()
    if subject.planned.columns is None and subject.execution is not None:
        count = subject.execution.rows_processed
    elapsed = (clock.monotonic() - started) * 1000
    return [f"Actual Rows: {count}", f"Execution Time: {elapsed:.3f} ms"]
