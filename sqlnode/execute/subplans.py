"""Computing sub-selects ahead of the expressions that use them.

Compiled expressions cannot await, so a node with sub-selects prepares every batch first:

    batch ──▶ uncorrelated ones: run once in the statement, result into a slot
          ──▶ correlated ones:   for each row, by its input values, from the memo or run now;
                                 result appended to the row as one more column
          ──▶ compiled filter and projection over the longer rows

Errors of a sub-select (more than one row) are kept in place of its value and raised where the value
is used, so that CASE and AND still protect what they should. The memo is bounded: it is emptied
when full, which costs time and never correctness.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlnode import sqlstate, tree
from sqlnode.compile.helpers import Raised, make_array
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch
from sqlnode.execute.runtime import Operator, Runtime

MEMO_ENTRIES_MAX = 4096

_TOO_MANY = "more than one row returned by a subquery used as an expression"


class SubPlanRunner:
    """Runs one sub-select."""

    def __init__(
        self,
        kind: tree.SubLinkKind,
        operator: Operator,
        *,
        result: int,
        slots: Sequence[int],
        inputs: Callable[[Batch, Runtime], list[tuple[Any, ...]]] | None,
        hash_key: Callable[[Any], Any] | None,
        hashed: bool,
        memo: bool,
    ) -> None:
        self._kind = kind
        self._operator = operator
        self._result = result
        self._slots = slots
        self._inputs = inputs
        self._hash_key = hash_key
        self._hashed = hashed
        self._memo = memo

    async def once(self, runtime: Runtime) -> None:
        """Fill the result's slot, if this is the first time."""
        if self._result not in runtime.shared:
            runtime.slots[self._result] = await self._run(runtime)
            runtime.shared[self._result] = True

    async def column(self, batch: Batch, runtime: Runtime) -> list[Any]:
        """The result for every row of a batch."""
        if self._inputs is None:
            raise LookupError("an uncorrelated sub-select has no column")
        memo: dict[Any, Any] = runtime.shared.setdefault((self._result, "memo"), {})
        found = []
        for values in self._inputs(batch, runtime):
            # Keyed with the types, for 1, 1.0 and True are one dictionary key but not one value.
            key = (values, *map(type, values))
            if self._memo and key in memo:
                found.append(memo[key])
                continue
            for slot, value in zip(self._slots, values, strict=True):
                runtime.slots[slot] = value
            result = await self._run(runtime)
            if len(memo) >= MEMO_ENTRIES_MAX:
                memo.clear()
            memo[key] = result
            found.append(result)
        return found

    async def _run(self, runtime: Runtime) -> Any:
        try:
            return await self._collect(runtime)
        except SqlError as error:
            if error.sqlstate[:2] in ("21", "22"):  # what a value can be wrong about
                return Raised(error)
            raise

    async def _collect(self, runtime: Runtime) -> Any:
        rows: Batch = []
        enough = {tree.SubLinkKind.EXISTS: 1, tree.SubLinkKind.SCALAR: 2}.get(self._kind, 0)
        batches = self._operator.run(runtime)
        try:
            async for batch in batches:
                rows += batch
                if enough and len(rows) >= enough:
                    break
        finally:
            await batches.aclose()  # type: ignore[attr-defined]
        return self._shape(rows)

    def _shape(self, rows: Batch) -> Any:
        if self._kind is tree.SubLinkKind.EXISTS:
            return bool(rows)
        if self._kind is tree.SubLinkKind.SCALAR:
            if len(rows) > 1:
                raise SqlError(sqlstate.CARDINALITY_VIOLATION, _TOO_MANY)
            return rows[0][0] if rows else None
        if self._kind is tree.SubLinkKind.ARRAY:
            return make_array([row[0] for row in rows])
        if not self._hashed:
            return rows
        key = self._hash_key
        values = {row[0] if key is None else key(row[0]) for row in rows if row[0] is not None}
        return values, any(row[0] is None for row in rows)


class Preparation:
    """The sub-selects of one node's expressions."""

    def __init__(self, once: Sequence[SubPlanRunner], columns: Sequence[SubPlanRunner]) -> None:
        self._once = once
        self._columns = columns
        self.widens = bool(columns)
        """Whether rows become longer."""

    async def prepare(self, batch: Batch, runtime: Runtime) -> Batch:
        """The batch with a column for every correlated sub-select."""
        for runner in self._once:
            await runner.once(runtime)
        if not self._columns:
            return batch
        found = [await runner.column(batch, runtime) for runner in self._columns]
        return [row + extra for row, extra in zip(batch, zip(*found, strict=True), strict=True)]
