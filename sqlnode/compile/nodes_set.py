"""ProjectSet to its operator: set-returning calls become columns that the other targets read."""

from collections.abc import Iterable
from typing import Any

from sqlnode import tree
from sqlnode.compile.nodes_scan import call_set
from sqlnode.compile.plans import Compiled, PlanCompiler, compiles
from sqlnode.compile.rowset import Layout
from sqlnode.errors import unsupported
from sqlnode.execute.api import Batch
from sqlnode.execute.projectset import ProjectSet, Sets
from sqlnode.execute.runtime import Runtime
from sqlnode.plan import nodes
from sqlnode.plan.walk import returns_set, walk


@compiles(nodes.ProjectSet)
def _project_set(compiler: PlanCompiler, node: nodes.ProjectSet) -> Compiled:
    child, layout = compiler.node(node.child)
    calls: dict[tree.Call, None] = {}
    for target in node.output:
        for part in walk(target):
            if isinstance(part, tree.Call) and part.function.returns_set:
                calls.setdefault(part)
    for call in calls:
        if any(returns_set(arg) for arg in call.args):
            raise unsupported("a set-returning function as an argument of another")
    given = layout + Layout(tuple(calls), (True,) * len(calls))
    pipeline, result = compiler.rowset.pipeline(given, None, node.output)
    functions = [_sets(compiler, layout, call) for call in calls]
    return ProjectSet(child, functions, pipeline), result


def _sets(compiler: PlanCompiler, layout: Layout, call: tree.Call) -> Sets:
    values = compiler.rowset.values(layout, call.args)
    types = tuple(arg.type for arg in call.args)
    function = call.function

    def sets(batch: Batch, runtime: Runtime) -> list[Iterable[Any]]:
        return [call_set(function, types, row, runtime) for row in values(batch, runtime)]

    return sets
