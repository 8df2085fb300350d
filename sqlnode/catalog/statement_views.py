"""Rows of pg_stat_statements, the view of PostgreSQL's extension, with request units at its end.

They are of this pod, since its stamp: the gateway's API adds up all pods of a tenant. What is not
counted here (blocks, WAL, planning) is 0. As in PostgreSQL, what others have asked is hidden from
whoever is not the owner.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlnode.catalog import system
from sqlnode.catalog.makers import Fact, Maker
from sqlnode.statements.sums import Entry

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution
    from sqlnode.statements.costs import StatementCosts

_HIDDEN = "<insufficient privilege>"
_MILLISECOND = 1e6
_MICRO = 1e6
_ABSENT: Fact = {
    "dbid": system.DATABASE_OID,
    "toplevel": True,
    "wal_bytes": Decimal(0),
    **dict.fromkeys(
        (
            *("plans", "shared_blks_hit", "shared_blks_read", "shared_blks_dirtied"),
            *("shared_blks_written", "local_blks_hit", "local_blks_read", "local_blks_dirtied"),
            *("local_blks_written", "temp_blks_read", "temp_blks_written", "wal_records"),
            *("wal_fpi", "jit_functions", "jit_inlining_count", "jit_optimization_count"),
            "jit_emission_count",
        ),
        0,
    ),
    **dict.fromkeys(
        (
            *("total_plan_time", "min_plan_time", "max_plan_time", "mean_plan_time"),
            *("stddev_plan_time", "blk_read_time", "blk_write_time", "temp_blk_read_time"),
            *("temp_blk_write_time", "jit_generation_time", "jit_inlining_time"),
            *("jit_optimization_time", "jit_emission_time"),
        ),
        0.0,
    ),
}


def _statements(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    costs: StatementCosts | None = execution.functions.statement_costs
    if costs is None:
        return
    costs.settle()
    user = execution.functions.current_user
    for entry in costs.entries():
        if entry.calls:
            yield _fact(catalog, entry, shown=user in (entry.role, catalog.owner))


def _fact(catalog: "Catalog", entry: Entry, *, shown: bool) -> Fact:
    return {
        **_ABSENT,
        "userid": catalog.owner_oid(entry.role),
        "queryid": entry.identity.signed if shown else None,
        "query": entry.identity.text if shown else _HIDDEN,
        "calls": entry.calls,
        "total_exec_time": entry.elapsed_ns / _MILLISECOND,
        "min_exec_time": entry.elapsed_ns_min / _MILLISECOND,
        "max_exec_time": entry.elapsed_ns_max / _MILLISECOND,
        "mean_exec_time": entry.elapsed_ns_mean / _MILLISECOND,
        "stddev_exec_time": entry.elapsed_ns_deviation / _MILLISECOND,
        "rows": entry.rows,
        "request_units": entry.roughly / _MICRO,
    }


def _info(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del catalog
    costs: StatementCosts | None = execution.functions.statement_costs
    if costs is not None:
        yield {"dealloc": costs.dropped, "stats_reset": costs.since_micros}


def _extensions(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    del catalog, execution
    yield {
        "oid": system.STATEMENTS_EXTENSION_OID,
        "extname": "pg_stat_statements",
        "extowner": system.OWNER_OID,
        "extnamespace": system.PG_CATALOG_OID,
        "extrelocatable": False,
        "extversion": "1.10",
    }


MAKERS: Mapping[str, Maker] = {
    "pg_extension": _extensions,
    "pg_stat_statements": _statements,
    "pg_stat_statements_info": _info,
}
