"""variance, standard deviation, covariance, correlation, regression.

Integers and numeric are summed exactly and divided once at the end, as PostgreSQL does; doubles go
through its Youngs-Cramer recurrence, so that even the last digit is the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlnode.functions.aggregates import present
from sqlnode.functions.family import Family
from sqlnode.functions.numericmath import numeric_div, numeric_sqrt
from sqlnode.types.base import Value
from sqlnode.types.numerics import CONTEXT

FAMILY = Family()
Columns = Sequence[Sequence[Value]]
ExactState = tuple[int, Decimal, Decimal]
FloatState = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ExactSpread:
    """Over integers or numeric: state is (count, sum, sum of squares)."""

    sample: bool
    root: bool

    def new(self) -> ExactState:
        """Nothing seen."""
        return 0, Decimal(0), Decimal(0)

    def add(self, state: ExactState, columns: Columns, count: int) -> ExactState:
        """The running sums."""
        seen, total, squares = state
        for raw in present(columns[0]):
            value = raw if isinstance(raw, Decimal) else Decimal(raw)
            seen += 1
            total = CONTEXT.add(total, value)
            squares = CONTEXT.add(squares, CONTEXT.multiply(value, value))
        return seen, total, squares

    def result(self, state: ExactState) -> Decimal | None:
        """NULL of too few values."""
        seen, total, squares = state
        if seen <= (1 if self.sample else 0):
            return None
        if not (total.is_finite() and squares.is_finite()):
            return Decimal("NaN")
        count = Decimal(seen)
        spread = CONTEXT.subtract(CONTEXT.multiply(count, squares), CONTEXT.multiply(total, total))
        if spread <= 0:
            return Decimal(0)
        divisor = CONTEXT.multiply(count, count - 1 if self.sample else count)
        variance = numeric_div(spread, divisor)
        return numeric_sqrt(variance) if self.root else variance


@dataclass(frozen=True, slots=True)
class FloatSpread:
    """Over doubles: state is (count, sum, sum of squared deviations)."""

    sample: bool
    root: bool

    def new(self) -> FloatState:
        """Nothing seen."""
        return 0.0, 0.0, 0.0

    def add(self, state: FloatState, columns: Columns, count: int) -> FloatState:
        """The running sums."""
        seen, total, deviations = state
        for value in present(columns[0]):
            seen += 1.0
            total += value
            if seen > 1.0:
                step = value * seen - total
                deviations += step * step / (seen * (seen - 1.0))
            elif value - value != 0.0:
                deviations = math.nan
        return seen, total, deviations

    def result(self, state: FloatState) -> float | None:
        """NULL of too few values."""
        seen, _, deviations = state
        if seen <= (1.0 if self.sample else 0.0):
            return None
        variance = deviations / (seen - 1.0 if self.sample else seen)
        return math.sqrt(variance) if self.root else variance


for _names, _sample, _root in (
    (("var_pop",), False, False),
    (("var_samp", "variance"), True, False),
    (("stddev_pop",), False, True),
    (("stddev_samp", "stddev"), True, True),
):
    for _name in _names:
        FAMILY.aggregate(
            ExactSpread(_sample, _root),
            *(f"{_name}({type_name})" for type_name in ("int2", "int4", "int8", "numeric")),
        )
        FAMILY.aggregate(FloatSpread(_sample, _root), f"{_name}(float4)", f"{_name}(float8)")

# --- two variables -----------------------------------------------------------------------------

PairState = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Over pairs (Y, X): state is (N, Sx, Sxx, Sy, Syy, Sxy); `finish` makes the answer."""

    finish: Callable[[PairState], float | int | None]

    def new(self) -> PairState:
        """Nothing seen."""
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0

    def add(self, state: PairState, columns: Columns, count: int) -> PairState:
        """The running sums."""
        n, sx, sxx, sy, syy, sxy = state
        for y, x in zip(columns[0], columns[1], strict=True):
            if x is None or y is None:
                continue
            n += 1.0
            sx += x
            sy += y
            if n > 1.0:
                step_x, step_y = x * n - sx, y * n - sy
                scale = 1.0 / (n * (n - 1.0))
                sxx += step_x * step_x * scale
                syy += step_y * step_y * scale
                sxy += step_x * step_y * scale
        return n, sx, sxx, sy, syy, sxy

    def result(self, state: PairState) -> float | int | None:
        """By `finish`."""
        return self.finish(state)


def _at_least(count: float, compute: Callable[[PairState], float | None]) -> Pairs:
    return Pairs(lambda state: compute(state) if state[0] >= count else None)


def _correlation(state: PairState) -> float | None:
    _, _, sxx, _, syy, sxy = state
    return None if sxx == 0 or syy == 0 else sxy / math.sqrt(sxx * syy)


def _r2(state: PairState) -> float | None:
    _, _, sxx, _, syy, sxy = state
    if sxx == 0:
        return None
    return 1.0 if syy == 0 else (sxy * sxy) / (sxx * syy)


def _slope(state: PairState) -> float | None:
    return None if state[2] == 0 else state[5] / state[2]


def _intercept(state: PairState) -> float | None:
    n, sx, sxx, sy, _, sxy = state
    return None if sxx == 0 else (sy - sx * sxy / sxx) / n


for _key, _machine in (
    ("regr_count", Pairs(lambda s: int(s[0]))),
    ("regr_sxx", _at_least(1, lambda s: s[2])),
    ("regr_syy", _at_least(1, lambda s: s[4])),
    ("regr_sxy", _at_least(1, lambda s: s[5])),
    ("regr_avgx", _at_least(1, lambda s: s[1] / s[0])),
    ("regr_avgy", _at_least(1, lambda s: s[3] / s[0])),
    ("regr_r2", _at_least(1, _r2)),
    ("regr_slope", _at_least(1, _slope)),
    ("regr_intercept", _at_least(1, _intercept)),
    ("covar_pop", _at_least(1, lambda s: s[5] / s[0])),
    ("covar_samp", _at_least(2, lambda s: s[5] / (s[0] - 1.0))),
    ("corr", _at_least(1, _correlation)),
):
    FAMILY.aggregate(_machine, f"{_key}(float8,float8)")
