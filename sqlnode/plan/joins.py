"""From the logical join tree to physical joins: where conditions go, in which order, how.

Conditions sink as far as they may:

    WHERE over INNER   anywhere below            ON of LEFT, about the right side   into the right
    WHERE over LEFT    into the left side only   ON of LEFT, about the left side    stays here
    over SEMI, ANTI    into the left side        ON of SEMI                         like INNER

A region of inner joins is a list of relations and a list of conditions. It starts with the relation
that gives the fewest rows and grows by the one that keeps the result smallest (a simple greedy
choice over constant estimates); ties keep the order of the text. Outer, semi and anti joins stand
where they were written. What each node gives is what somebody above still asks for.
"""

from dataclasses import dataclass
from typing import Any

from sqlnode import tree
from sqlnode.errors import unsupported
from sqlnode.functions import registry as functions
from sqlnode.plan import access, estimate
from sqlnode.plan.expressions import Expr, RowKey, Slot
from sqlnode.plan.logical import From, Join, Kind, Leaf, entries_under, output_entries
from sqlnode.plan.nodes import HashJoin, IndexJoin, JoinType, NestedLoop, Node, TableScan
from sqlnode.plan.scans import Leaves
from sqlnode.plan.walk import conjunction, entries_of, has_sublink, is_volatile, rewrite, walk
from sqlnode.types import oids

Exprs = tuple[Expr, ...]
PARAMETRISED_ROWS_MAX = 50.0
"""Outer rows up to which an index range is scanned anew for each of them."""
_INTEGERS = {oids.INT2, oids.INT4, oids.INT8}
_TYPES = {
    Kind.INNER: JoinType.INNER,
    Kind.LEFT: JoinType.LEFT,
    Kind.FULL: JoinType.FULL,
    Kind.SEMI: JoinType.SEMI,
    Kind.ANTI: JoinType.ANTI,
}


@dataclass(slots=True)
class Relation:
    """A member of a region of inner joins with the conditions about it alone."""

    node: From
    conditions: Exprs
    entries: frozenset[int]
    reads: frozenset[tree.Var]
    """Columns of other relations that a lateral one reads."""
    rows: float

    @property
    def depends(self) -> frozenset[int]:
        """The entries that must have been joined before."""
        return frozenset(var.entry for var in self.reads)


@dataclass(slots=True)
class Built:
    """A planned part of the join tree."""

    node: Node
    entries: frozenset[int]
    rows: float


def base_vars(expr: Expr) -> set[Expr]:
    """The columns and row keys of this query level an expression reads."""
    found: set[Expr] = set()

    def visit(node: Any, depth: int) -> Any:
        if isinstance(node, RowKey) or (isinstance(node, tree.Var) and node.levels_up == depth):
            found.add(node)
        return None

    rewrite(expr, visit)
    return found


class JoinPlanner:
    """Plans the join tree of one query."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves

    def build(self, node: From, conditions: Exprs, required: set[Expr]) -> Built:
        """The plan of a tree under conditions, giving the `required` columns."""
        if isinstance(node, Leaf):
            return self._leaf(node, conditions, required)
        if node.kind is Kind.INNER:
            return self._region(node, conditions, required)
        left_entries = output_entries(node.left)
        right_entries = entries_under(node.right)
        sinks = node.kind is not Kind.FULL
        down, above = _split(conditions, left_entries if sinks else frozenset())
        into_right, on = _split(node.on, right_entries if sinks else frozenset())
        if node.kind is Kind.SEMI:
            more, on = _split(on, left_entries)
            down = (*down, *more)
        reads = self._reads(node.right)
        needed = required | _vars(on) | _vars(above) | reads
        left = self.build(node.left, down, needed)
        right = Relation(
            node.right,
            into_right,
            right_entries,
            reads,
            self._rows(node.right, into_right),
        )
        return self._join(node.kind, left, right, on, above, required)

    # --- leaves ---

    def _leaf(self, node: Leaf, conditions: Exprs, required: set[Expr]) -> Built:
        output = self._output(required, frozenset((node.entry,)))
        scan, inputs = self._leaves.scan(node.entry, conditions, output)
        if inputs:
            raise LookupError(f"entry {node.entry} is lateral and comes first")
        rows = self._leaves.rows(node.entry, conditions)
        return Built(scan, frozenset((node.entry,)), rows)

    def _output(self, required: set[Expr], entries: frozenset[int]) -> Exprs:
        wanted = [expr for expr in required if expr.entry in entries]
        return tuple(sorted(wanted, key=lambda e: (e.entry, getattr(e, "column", -2))))

    def _reads(self, node: From) -> frozenset[tree.Var]:
        if isinstance(node, Leaf):
            return self._leaves.reads(node.entry)
        inside = entries_under(node)
        inner = self._reads(node.left) | self._reads(node.right)
        return frozenset(var for var in inner if var.entry not in inside)

    def _rows(self, node: From, conditions: Exprs) -> float:
        if isinstance(node, Leaf):
            return self._leaves.rows(node.entry, conditions)
        down, above = _split(conditions, output_entries(node.left))
        left = self._rows(node.left, down)
        if node.kind is Kind.INNER:
            into, on = _split((*above, *node.on), entries_under(node.right))
            right = self._rows(node.right, into)
            equal = any(_equal_pair(c) for c in on)
            return estimate.join_rows(left, right, equal=equal, other=max(0, len(on) - equal))
        if node.kind in (Kind.LEFT, Kind.FULL):
            return max(left, self._rows(node.right, node.on))
        return left

    # --- regions of inner joins ---

    def _region(self, node: Join, conditions: Exprs, required: set[Expr]) -> Built:
        members: list[From] = []
        pool = list(conditions)
        _flatten(node, members, pool)
        relations = []
        for member in members:
            entries = output_entries(member)
            local, rest = _split(tuple(pool), entries)
            pool = list(rest)
            relations.append(
                Relation(
                    member,
                    local,
                    entries,
                    self._reads(member),
                    self._rows(member, local),
                )
            )
        if self._leaves.statement.optimize:
            relations = _ordered(relations, pool)
        steps = _assign(relations, pool)
        # From the top down: what a step has to give is what later steps ask for.
        wanted = [set(required)]
        for relation, on in zip(reversed(relations[1:]), reversed(steps[1:]), strict=True):
            wanted.append(wanted[-1] | _vars(on) | relation.reads)
        wanted.reverse()
        first = relations[0]
        constant = steps[0]
        built = self.build(first.node, (*first.conditions, *constant), wanted[0])
        for position, relation in enumerate(relations[1:], 1):
            built = self._join(Kind.INNER, built, relation, steps[position], (), wanted[position])
        return built

    # --- one join ---

    def _join(
        self,
        kind: Kind,
        left: Built,
        right: Relation,
        on: Exprs,
        above: Exprs,
        required: set[Expr],
    ) -> Built:
        hidden = kind in (Kind.SEMI, Kind.ANTI)
        entries = left.entries if hidden else left.entries | right.entries
        output = self._output(required, entries)
        rows = left.rows
        if not hidden:
            equal = any(_equal_pair(condition) for condition in on)
            rows = estimate.join_rows(left.rows, right.rows, equal=equal, other=0)
        below = required | _vars(on) | _vars(above)
        node = self._index_join(kind, left, right, on, above, output, below)
        node = node or self._parametrised(kind, left, right, on, above, output, below)
        if node is None:
            node = self._plain_join(kind, left, right, on, above, output, below)
        return Built(node, entries, rows)

    def _plain_join(
        self,
        kind: Kind,
        left: Built,
        right: Relation,
        on: Exprs,
        above: Exprs,
        output: Exprs,
        below: set[Expr],
    ) -> Node:
        inner, inputs = self._right(right, below)
        if inputs:
            if kind is Kind.FULL:
                raise LookupError("a FULL join cannot be lateral")
            return NestedLoop(
                _TYPES[kind], left.node, inner, inputs, conjunction(on), conjunction(above), output
            )
        keys, residual = _hash_keys(on, left.entries, right.entries)
        if keys and self._leaves.statement.optimize:
            return HashJoin(
                _TYPES[kind],
                left.node,
                inner,
                keys,
                conjunction(residual),
                conjunction(above),
                output,
            )
        return NestedLoop(
            _TYPES[kind], left.node, inner, (), conjunction(on), conjunction(above), output
        )

    def _right(self, right: Relation, below: set[Expr]) -> tuple[Node, Any]:
        if isinstance(right.node, Leaf):
            output = self._output(below, right.entries)
            return self._leaves.scan(right.node.entry, right.conditions, output)
        if right.reads:
            raise unsupported("a LATERAL reference out of a join on the right side of another join")
        return self.build(right.node, right.conditions, below).node, ()

    def _index_join(
        self,
        kind: Kind,
        left: Built,
        right: Relation,
        on: Exprs,
        above: Exprs,
        output: Exprs,
        below: set[Expr],
    ) -> Node | None:
        table = self._storage_table(right)
        if table is None or kind is Kind.FULL or left.rows > estimate.NESTED_FETCH_ROWS_MAX:
            return None
        (entry,) = right.entries
        comparisons = [
            found
            for condition in (*right.conditions, *on)
            if (found := access.comparison(condition, entry)) is not None
            and entries_of(found.value) <= left.entries
        ]
        for index in table.indexes:
            path = access.key_range(table, index, comparisons)
            if path is None or not path.is_point or path.any_of is not None:
                continue
            if not any(entries_of(value) for value in path.equals):
                return None  # constants alone: the scan is a point by itself
            used = {id(condition) for condition in path.conditions}
            local = tuple(c for c in right.conditions if id(c) not in used)
            rest = tuple(c for c in on if id(c) not in used)
            scan = TableScan(
                entry,
                self._leaves.rtable[entry].alias,
                table,
                self._output(below, right.entries),
                conjunction(local),
                path,
            )
            return IndexJoin(
                _TYPES[kind], left.node, scan, conjunction(rest), conjunction(above), output
            )
        return None

    def _parametrised(
        self,
        kind: Kind,
        left: Built,
        right: Relation,
        on: Exprs,
        above: Exprs,
        output: Exprs,
        below: set[Expr],
    ) -> Node | None:
        table = self._storage_table(right)
        if table is None or kind is Kind.FULL or left.rows > PARAMETRISED_ROWS_MAX:
            return None
        (entry,) = right.entries
        inputs: dict[Any, int] = {}
        inner = tuple(
            self._in_slots(condition, entry, inputs)
            for condition in on
            if access.comparison(condition, entry) is not None and not has_sublink(condition)
        )
        with_outer = access.choose(table, entry, (*right.conditions, *inner))
        without = access.choose(table, entry, right.conditions)
        if with_outer.range is None or not with_outer.range.equals or without.range is not None:
            return None
        scan, _ = self._leaves.scan(
            entry, (*right.conditions, *inner), self._output(below, right.entries)
        )
        fill = tuple((slot, expr) for expr, slot in inputs.items())
        return NestedLoop(
            _TYPES[kind], left.node, scan, fill, conjunction(on), conjunction(above), output
        )

    def _storage_table(self, right: Relation) -> Any:
        if not isinstance(right.node, Leaf) or not self._leaves.statement.optimize:
            return None
        return self._leaves.table(right.node.entry)

    def _in_slots(self, condition: Any, entry: int, inputs: dict[Any, int]) -> Any:
        def visit(node: Any, depth: int) -> Any:
            if not isinstance(node, tree.Var) or node.entry == entry or node.levels_up != depth:
                return None
            if node not in inputs:
                inputs[node] = self._leaves.statement.slot()
            return Slot(inputs[node], node.type, node.typmod)

        return rewrite(condition, visit)


def _vars(conditions: Exprs) -> set[Expr]:
    return set().union(*map(base_vars, conditions))


def _split(conditions: Exprs, entries: frozenset[int]) -> tuple[Exprs, Exprs]:
    """(those that read nothing beyond `entries`, the others)."""
    inside: list[Expr] = []
    outside: list[Expr] = []
    for condition in conditions:
        fits = bool(entries) and entries_of(condition) <= entries and not is_volatile(condition)
        (inside if fits else outside).append(condition)
    return tuple(inside), tuple(outside)


def _flatten(node: From, members: list[From], pool: list[Expr]) -> None:
    if isinstance(node, Join) and node.kind is Kind.INNER:
        _flatten(node.left, members, pool)
        _flatten(node.right, members, pool)
        pool.extend(node.on)
    else:
        members.append(node)


def _ordered(relations: list[Relation], pool: list[Expr]) -> list[Relation]:
    """Greedy: the smallest first, then whatever keeps the intermediate result smallest."""
    left = list(relations)
    done: list[Relation] = []
    entries: frozenset[int] = frozenset()
    rows = 0.0
    while left:
        ready = [r for r in left if r.depends <= entries] or left[:1]
        best, best_rows = ready[0], float("inf")
        for relation in ready:
            size = relation.rows
            if done:
                linked = any(_links(c, entries, relation.entries) for c in pool)
                size = estimate.join_rows(rows, relation.rows, equal=linked, other=0)
            if size < best_rows:
                best, best_rows = relation, size
        left.remove(best)
        done.append(best)
        entries |= best.entries
        rows = best_rows
    return done


def _links(condition: Expr, placed: frozenset[int], new: frozenset[int]) -> bool:
    read = entries_of(condition)
    return (
        bool(read & placed)
        and bool(read & new)
        and read <= placed | new
        and (_equal_pair(condition))
    )


def _assign(relations: list[Relation], pool: list[Expr]) -> list[Exprs]:
    """For each step the conditions that can first be checked there."""
    steps: list[Exprs] = []
    entries: frozenset[int] = frozenset()
    rest = tuple(pool)
    for position, relation in enumerate(relations):
        entries |= relation.entries
        last = position == len(relations) - 1
        here = (
            rest if last else tuple(c for c in rest if entries_of(c) and entries_of(c) <= entries)
        )
        rest = tuple(c for c in rest if c not in here)
        steps.append(here)
    return steps


def _equal_pair(condition: Expr) -> bool:
    return isinstance(condition, tree.Call) and condition.operator == "="


def _hash_keys(
    on: Exprs, left: frozenset[int], right: frozenset[int]
) -> tuple[tuple[tuple[Expr, Expr], ...], Exprs]:
    keys, residual = [], []
    for condition in on:
        pair = _hash_pair(condition, left, right)
        if pair is None:
            residual.append(condition)
        else:
            keys.append(pair)
    return tuple(keys), tuple(residual)


def _hash_pair(
    condition: Expr, left: frozenset[int], right: frozenset[int]
) -> tuple[Expr, Expr] | None:
    if not isinstance(condition, tree.Call) or condition.operator != "=":
        return None
    a, b = condition.args
    own = a.type == b.type and condition.function is functions.equality(a.type)
    if not own and not {a.type, b.type} <= _INTEGERS:
        return None
    if is_volatile(condition) or any(has_sublink(node) for node in walk(condition)):
        return None
    reads_a, reads_b = entries_of(a), entries_of(b)
    if reads_a and reads_b and reads_a <= left and reads_b <= right:
        return a, b
    if reads_a and reads_b and reads_a <= right and reads_b <= left:
        return b, a
    return None
