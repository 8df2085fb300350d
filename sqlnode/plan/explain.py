"""EXPLAIN's text: PostgreSQL's node names and properties, without costs.

Hash Join
  Hash Cond: (a.id = b.id)
  ->  Seq Scan on a
        Filter: (x > 5)
  ->  Hash
        ->  Seq Scan on b
"""

from collections.abc import Callable
from typing import Any

from sqlnode import tree
from sqlnode.plan import nodes
from sqlnode.plan.deparse import deparse
from sqlnode.plan.expressions import Expr, SubPlan
from sqlnode.plan.walk import conjunction, walk
from sqlnode.types.formatting import quoted

Property = tuple[str, str]


def explain(plan: nodes.Plan, *, verbose: bool = False) -> list[str]:
    """The lines of a plan."""
    printer = _Printer(verbose=verbose)
    printer.node(plan.root, 0, first=True)
    for cte in plan.ctes:
        printer.lines.append(f"  CTE {cte.name}")
        printer.node(cte.node, 4, first=True)
    return printer.lines


class _Printer:
    def __init__(self, *, verbose: bool) -> None:
        self.lines: list[str] = []
        self._verbose = verbose
        self._names: dict[int, tuple[str, Callable[[int], str]]] = {}
        self._qualify = False
        self._own = -1
        """The entry whose columns are named plainly: that of the scan being printed."""

    def node(self, node: nodes.Node, indent: int, *, first: bool = False) -> None:
        """One node and what is below it."""
        outer = self._names, self._qualify
        if first:
            self._names = {}
            _collect_names(node, self._names)
            self._qualify = len(self._names) > 1 or self._verbose
        lead = "" if not self.lines else f"{' ' * indent}->  "
        inset = indent if not self.lines else indent + 6
        inset = inset or 2
        self.lines.append(f"{lead}{self._title(node)}")
        scan = isinstance(node, nodes.TableScan) and not self._verbose
        self._own = node.entry if scan and isinstance(node, nodes.TableScan) else -1
        for label, text in self._properties(node):
            self.lines.append(f"{' ' * inset}{label}: {text}")
        self._own = -1
        for child, is_query in _children(node):
            if isinstance(node, nodes.HashJoin) and child is node.right:
                self.lines.append(f"{' ' * inset}->  Hash")
                self.node(child, inset + 6)
            else:
                self.node(child, inset, first=is_query)
        for subplan in _subplans(node):
            self.lines.append(f"{' ' * inset}SubPlan {subplan.number}")
            self.node(subplan.plan, inset + 2, first=True)
        self._names, self._qualify = outer

    # --- lines ---

    def _title(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.TableScan):
            return self._scan_title(node)
        if isinstance(node, nodes.SubqueryScan):
            return f"Subquery Scan on {node.alias}"
        if isinstance(node, nodes.ValuesScan):
            return (
                f'Values Scan on "{node.alias}"'
                if "*" in node.alias
                else (f"Values Scan on {node.alias}")
            )
        if isinstance(node, nodes.FunctionScan):
            name = node.call.function.name if isinstance(node.call, tree.Call) else node.alias
            return f"Function Scan on {_aliased(name, node.alias)}"
        if isinstance(node, nodes.CteScan):
            kind = "WorkTable Scan" if node.working else "CTE Scan"
            return f"{kind} on {_aliased(node.name, node.alias)}"
        if isinstance(node, nodes.HashJoin):
            return (
                "Hash Join"
                if node.kind is nodes.JoinType.INNER
                else (f"Hash {node.kind.value} Join")
            )
        if isinstance(node, nodes.NestedLoop | nodes.IndexJoin):
            return (
                "Nested Loop"
                if node.kind is nodes.JoinType.INNER
                else (f"Nested Loop {node.kind.value} Join")
            )
        if isinstance(node, nodes.Aggregate):
            return "Aggregate" if node.plain else "HashAggregate"
        if isinstance(node, nodes.Distinct):
            return "Unique" if isinstance(node.child, nodes.Sort) else "HashAggregate"
        if isinstance(node, nodes.SetOperation):
            return f"HashSetOp {node.op.value.title()}{' All' if node.all else ''}"
        if isinstance(node, nodes.Insert | nodes.Update | nodes.Delete):
            return f"{type(node).__name__} on {node.table.name}"
        return {
            nodes.Project: "Result",
            nodes.Filter: "Result",
            nodes.RecursiveUnion: "Recursive Union",
        }.get(type(node), type(node).__name__)

    def _scan_title(self, node: nodes.TableScan) -> str:
        table = quoted(node.table.name)
        if self._verbose:
            table = f"{quoted(node.table.schema)}.{table}"
        table = _aliased(table, node.alias) if node.alias != node.table.name else table
        if node.range is None and not node.reverse:
            return f"Seq Scan on {table}"
        index = node.range.index if node.range is not None else node.table.primary
        name = index.name if index is not None else node.table.name
        kind = f"Index Scan{' Backward' if node.reverse else ''}"
        return f"{kind} using {quoted(name)} on {table}"

    def _properties(self, node: Any) -> list[Property]:
        found: list[Property] = []
        if self._verbose and node.output:
            found.append(("Output", ", ".join(self._text(expr) for expr in node.output)))
        if isinstance(node, nodes.TableScan) and node.range is not None and node.range.conditions:
            found.append(("Index Cond", self._text(conjunction(node.range.conditions))))
        if isinstance(node, nodes.HashJoin):
            pairs = [f"({self._text(a)} = {self._text(b)})" for a, b in node.keys]
            text = pairs[0] if len(pairs) == 1 else f"({' AND '.join(pairs)})"
            found.append(("Hash Cond", text))
        if isinstance(node, nodes.HashJoin) and node.residual is not None:
            found.append(("Join Filter", self._text(node.residual)))
        if isinstance(node, nodes.NestedLoop | nodes.IndexJoin) and node.on is not None:
            found.append(("Join Filter", self._text(node.on)))
        if isinstance(node, nodes.Sort):
            found.append(("Sort Key", ", ".join(self._sort_key(node, key) for key in node.keys)))
        if isinstance(node, nodes.Aggregate) and node.groups:
            found.append(("Group Key", ", ".join(self._text(g) for g in node.groups)))
        if isinstance(node, nodes.Result) and node.condition is not None:
            found.append(("One-Time Filter", self._text(node.condition)))
        if isinstance(node, nodes.Filter):
            found.append(("Filter", self._text(node.condition)))
        if getattr(node, "filter", None) is not None:
            found.append(("Filter", self._text(node.filter)))
        if isinstance(node, nodes.Insert) and node.conflict is not None:
            resolution = "NOTHING" if node.conflict.row is None else "UPDATE"
            found.append(("Conflict Resolution", resolution))
        return found

    def _sort_key(self, node: nodes.Sort, key: nodes.SortColumn) -> str:
        text = self._text(node.output[key.position])
        if key.descending:
            text += " DESC"
        if key.nulls_first != key.descending:
            text += " NULLS FIRST" if key.nulls_first else " NULLS LAST"
        return text

    def _text(self, expr: Expr) -> str:
        return deparse(expr, self._name)

    def _name(self, entry: int, column: int) -> str:
        known = self._names.get(entry)
        if known is None:
            return f"column{column + 1}"
        alias, columns = known
        plain = entry == self._own or not self._qualify
        return columns(column) if plain else f"{alias}.{columns(column)}"


def _aliased(name: str, alias: str) -> str:
    return name if alias == name else f"{name} {alias}"


def _children(node: Any) -> list[tuple[nodes.Node, bool]]:
    """(child, whether it is a query with columns of its own)."""
    if isinstance(node, nodes.SubqueryScan):
        return [(node.child, True)]
    if isinstance(node, nodes.Append | nodes.SetOperation | nodes.RecursiveUnion):
        return [(node.left, True), (node.right, True)]
    found = [getattr(node, name, None) for name in ("left", "right", "child")]
    return [(child, False) for child in found if child is not None]


_QUERY_SCANS = (nodes.SubqueryScan, nodes.FunctionScan, nodes.ValuesScan, nodes.CteScan)


def _collect_names(node: Any, names: dict[int, tuple[str, Callable[[int], str]]]) -> None:
    if isinstance(node, nodes.TableScan):
        live = node.table.live
        names[node.entry] = (node.alias, lambda column: live[column].name)
    elif isinstance(node, _QUERY_SCANS):
        names[node.entry] = (node.alias, lambda column: f"column{column + 1}")
    for child, is_query in _children(node):
        if not is_query:
            _collect_names(child, names)


def _subplans(node: Any) -> list[SubPlan]:
    exprs = [*node.output]
    exprs += [
        expr
        for name in ("filter", "condition", "on", "residual", "limit", "offset")
        if (expr := getattr(node, name, None)) is not None
    ]
    found: dict[SubPlan, None] = {}
    for expr in exprs:
        for part in walk(expr):
            if isinstance(part, SubPlan):
                found.setdefault(part)
    return list(found)
