"""Filter and projection of batches: one generated comprehension per stage.

    [(r[0], f(r[2])) for r in rows if r[1] is not None and r[1] > 5]

Conditions without sub-selects run first, in a stage of their own if others follow, so that a
sub-select is only computed for rows that can still count.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlnode.compile.expression import Compiler
from sqlnode.compile.source import Code, Module
from sqlnode.compile.subplan import result_code
from sqlnode.execute.api import Batch
from sqlnode.execute.runtime import Runtime
from sqlnode.execute.stages import Pipeline, Stage
from sqlnode.execute.subplans import Preparation, SubPlanRunner
from sqlnode.plan.expressions import Expr, SubPlan
from sqlnode.plan.walk import children, conjunction, conjuncts

BatchFunction = Callable[[Batch, Runtime], Batch]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of rows are, and which of them may be NULL."""

    exprs: tuple[Expr, ...]
    nullable: tuple[bool, ...]

    def columns(self, row: str = "r", offset: int = 0) -> dict[Expr, Code]:
        """Where each expression's value stands in a row called `row`."""
        found: dict[Expr, Code] = {}
        for position, (expr, nullable) in enumerate(zip(self.exprs, self.nullable, strict=True)):
            code = Code(f"{row}[{position + offset:d}]", nullable, simple=True)
            found.setdefault(expr, code)
        return found

    def __add__(self, other: "Layout") -> "Layout":
        return Layout(self.exprs + other.exprs, self.nullable + other.nullable)

    def optional(self) -> "Layout":
        """The same where an outer join may leave the row out."""
        return Layout(self.exprs, (True,) * len(self.exprs))


EMPTY = Layout((), ())
Runner = Callable[[SubPlan, Layout], SubPlanRunner]


def tuple_text(parts: Sequence[str]) -> str:
    """Source of a tuple."""
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


class RowsetCompiler:
    """Builds pipelines for one plan."""

    def __init__(self, module: Module, runner: Runner) -> None:
        self.module = module
        self._runner = runner
        self.drained = False
        """Whether all rows of what is being compiled are wanted, whatever is in them."""

    def pipeline(
        self, layout: Layout, condition: Expr | None, output: Sequence[Expr]
    ) -> tuple[Pipeline, Layout]:
        """Rows of `layout` filtered by `condition` and turned into `output`."""
        waited, self.module.waits = self.module.waits, False
        parts = conjuncts(condition)
        cheap = [part for part in parts if not subplans_of((part,), layout.exprs)]
        dear = [part for part in parts if subplans_of((part,), layout.exprs)]
        in_output = subplans_of(output, layout.exprs)
        stages: list[Stage] = []
        if cheap and (dear or in_output):
            stages.append(self._stage(layout, conjunction(tuple(cheap)), None)[0])
            cheap = []
        if dear:
            rest = conjunction(tuple(dear))
            if in_output:
                stages.append(self._stage(layout, rest, layout.exprs)[0])
                dear = []
        rest = conjunction((*cheap, *dear))
        stage, result = self._stage(layout, rest, output)
        if stage.function is not None or stage.preparation is not None:
            stages.append(stage)
        waits = self.module.waits
        self.module.waits |= waited
        return Pipeline(tuple(stages), waits=waits, drained=self.drained), result

    def _stage(
        self, layout: Layout, condition: Expr | None, output: Sequence[Expr] | None
    ) -> tuple[Stage, Layout]:
        exprs = [*(output or ()), *(() if condition is None else (condition,))]
        preparation, compiler = self.prepared(layout, exprs)
        wanted = layout.exprs if output is None else tuple(output)
        codes = [compiler.value(expr) for expr in wanted]
        width = len(layout.exprs)
        same = [code.text for code in codes] == [f"r[{at:d}]" for at in range(width)]
        extended = preparation is not None and preparation.widens
        test = "" if condition is None else f" if {compiler.true(condition)}"
        result = Layout(wanted, tuple(code.nullable for code in codes))
        if same and not extended and not test:
            return Stage(preparation, None), result
        row = "r" if same and not extended else tuple_text([code.text for code in codes])
        function = self.module.function(["rows"], f"[{row} for r in rows{test}]")
        return Stage(preparation, function), result

    def prepared(
        self, layout: Layout, exprs: Iterable[Expr]
    ) -> tuple[Preparation | None, Compiler]:
        """A compiler for expressions over `layout`, and what has to run before its code."""
        once: list[SubPlanRunner] = []
        columns: list[SubPlanRunner] = []
        places = layout.columns()
        compiler = Compiler(self.module, places)
        for subplan in subplans_of(exprs, layout.exprs):
            runner = self._runner(subplan, layout)
            if not subplan.inputs:
                once.append(runner)
                continue
            place = f"r[{len(layout.exprs) + len(columns):d}]"
            columns.append(runner)
            places[subplan] = result_code(compiler, subplan, place)
        if not once and not columns:
            return None, compiler
        return Preparation(once, columns), compiler

    def values(
        self, layout: Layout, exprs: Sequence[Expr]
    ) -> Callable[[Batch, Runtime], list[tuple[Any, ...]]]:
        """A function from a batch to a tuple of values per row; no sub-selects."""
        compiler = Compiler(self.module, layout.columns())
        row = tuple_text([compiler.value(expr).text for expr in exprs])
        return self.module.function(["rows"], f"[{row} for r in rows]")

    def scalars(self, exprs: Sequence[Expr]) -> Callable[[Runtime], tuple[Any, ...]]:
        """A function that gives the values of expressions that read no row."""
        compiler = Compiler(self.module, {}, ())
        text = tuple_text([compiler.value(expr).text for expr in exprs])
        return self.module.function([], text)


def subplans_of(exprs: Iterable[Expr], given: Collection[Expr] = ()) -> list[SubPlan]:
    """The sub-selects in expressions, each once; those of inputs and tests before their users.

    What is `given` as a column is not looked into.
    """
    found: dict[SubPlan, None] = {}
    columns = frozenset(given)
    stack = list(exprs)
    while stack:
        node = stack.pop()
        if node in columns:
            continue
        if isinstance(node, SubPlan):
            found.pop(node, None)
            found[node] = None
        stack.extend(children(node))
    return list(reversed(found))
