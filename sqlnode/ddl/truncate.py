"""TRUNCATE: new, empty key ranges; the old ones go when nobody reads them any more."""

from dataclasses import replace
from typing import Any

from sqlnode.catalog.descriptors import Table
from sqlnode.ddl.build import retire_all, with_fresh_ranges
from sqlnode.ddl.change import Change
from sqlnode.ddl.sequences import restarted
from sqlnode.execute.api import Execution


async def truncate(execution: Execution, node: Any) -> str:
    """TRUNCATE: the command tag. Raises SqlError 42P01, 42809, 42501."""
    change = Change(execution)
    tables: list[Table] = []
    for wrapped in node.relations:
        table = change.table(wrapped.range_var)
        if table not in tables:
            tables.append(table)
    await change.claim(*tables)
    for table in tables:
        retire_all(change, table)
        change.put(with_fresh_ranges(change, table))
        if node.restart_seqs:
            for sequence in change.catalog.sequences_of(table.oid):
                change.put(await restarted(change, replace(sequence, first=sequence.start)))
    change.finish()
    return "TRUNCATE TABLE"
