"""A plan to what a session runs: the Executable, with a short cut for the commonest statement.

Importing this module registers how every kind of expression and node is compiled.
"""

from collections.abc import AsyncIterator, Sequence

from sqlnode import tree
from sqlnode.bridge import bridged
from sqlnode.compile import (  # noqa: F401 - they register themselves
    arrays,
    casts,
    conditional,
    logic,
    nodes_modify,
    nodes_scan,
    nodes_set,
    nodes_upper,
    sqlvalues,
    subplan,
)
from sqlnode.compile.nodes_modify import is_point
from sqlnode.compile.nodes_scan import table_columns, table_layout
from sqlnode.compile.plans import PlanCompiler
from sqlnode.execute.api import Batch, Executable, Execution, ResultColumn
from sqlnode.execute.codecs import codecs
from sqlnode.execute.point import PointSelect
from sqlnode.execute.runtime import Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.sets import materialised
from sqlnode.plan import nodes
from sqlnode.plan.explain import explain
from sqlnode.plan.planner import too_deep

_TAGS = {
    tree.Command.SELECT: "SELECT",
    tree.Command.INSERT: "INSERT 0",
    tree.Command.UPDATE: "UPDATE",
    tree.Command.DELETE: "DELETE",
}


def compile_plan(plan: nodes.Plan, param_types: Sequence[int]) -> Executable:
    """Compile a plan. Raises SqlError 0A000 for what is not supported, 54001 for too deep."""
    try:
        return _point_select(plan, tuple(param_types)) or _compiled(plan, tuple(param_types))
    except RecursionError:
        raise too_deep() from None


def _compiled(plan: nodes.Plan, param_types: tuple[int, ...]) -> "CompiledPlan":
    compiler = PlanCompiler(plan)
    operator, _ = compiler.node(plan.root)
    # Data-modifying WITH queries run whether or not somebody reads them.
    eager = [
        (number, compiler.cte(number)[0])
        for number, cte in enumerate(plan.ctes)
        if isinstance(cte.node, nodes.Insert | nodes.Update | nodes.Delete)
    ]
    return CompiledPlan(plan, param_types, operator, eager, waits=compiler.module.waits)


class CompiledPlan:
    """Any plan."""

    def __init__(
        self,
        plan: nodes.Plan,
        param_types: tuple[int, ...],
        operator: Operator,
        eager: Sequence[tuple[int, Operator]],
        *,
        waits: bool,
    ) -> None:
        self._plan = plan
        self._operator = operator
        self._eager = tuple(eager)
        self._waits = waits
        self.tables = plan.tables
        self._slots = plan.slots
        self._counts = plan.command is tree.Command.SELECT
        self.columns = result_columns(plan)
        self.param_types = param_types
        self.tag = _TAGS[plan.command]
        self.writes = plan.writes

    def run(self, execution: Execution) -> AsyncIterator[Batch]:
        """See Executable.run."""
        batches = self._run(execution)
        return bridged(batches) if self._waits else batches

    async def _run(self, execution: Execution) -> AsyncIterator[Batch]:
        runtime = Runtime(execution, self._slots)
        if not execution.transaction.hold_tables(self.tables):
            await execution.transaction.lock_tables(self.tables)
        batches = self._operator.run(runtime)
        try:
            for number, operator in self._eager:
                await materialised(runtime, number, operator, ())
            async for batch in batches:
                if self._counts:
                    execution.rows_processed += len(batch)
                yield batch
        finally:
            await close(batches)
            runtime.close()
            sequences = execution.functions.sequences
            if self._waits and sequences is not None:
                sequences.settle()

    def explain(self, *, verbose: bool = False) -> Sequence[str]:
        """See Executable.explain."""
        return explain(self._plan, verbose=verbose)


def result_columns(plan: nodes.Plan) -> tuple[ResultColumn, ...] | None:
    """RowDescription's fields."""
    if plan.columns is None:
        return None
    return tuple(
        ResultColumn(target.name, target.expr.type, target.expr.typmod, *target.origin)
        for target in plan.columns
    )


def _point_select(plan: nodes.Plan, param_types: tuple[int, ...]) -> Executable | None:
    scan = plan.root
    if not isinstance(scan, nodes.TableScan) or scan.range is None or not is_point(scan):
        return None
    compiler = PlanCompiler(plan)
    read = (*scan.output, *(() if scan.filter is None else (scan.filter,)))
    positions, with_key = table_columns(scan, read)
    layout = table_layout(scan.table, scan.entry, positions, key=False)
    if with_key:
        return None
    pipeline, _ = compiler.rowset.pipeline(layout, scan.filter, scan.output)
    if pipeline.sync is None and not pipeline.is_identity:
        return None
    values, preparation = compiler.scalar(*scan.range.equals)
    if preparation is not None or compiler.module.waits:
        return None
    known = codecs(scan.table)
    return PointSelect(
        plan,
        result_columns(plan) or (),
        param_types,
        values=values,
        encode=known.rows.encode,
        decode=known.decoder(positions).decode,
        process=pipeline.sync,
    )
