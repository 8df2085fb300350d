"""When a pod has control hear at once what it uses."""

from dataclasses import replace

from dormouse.base.ids import TenantId
from sqlnode.spending.leave import FREE, Leave, State
from sqlnode.spending.scale import Scale
from sqlnode.spending.spending import Spending
from tests.sqlnode.spending.test_booking import Counters

UNIT = 1_000_000


class _Bench:
    """A pod's spending, its counters, and how often control was asked."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.asked = 0
        self.spending = Spending(TenantId(7), self.counters.clock)
        scale = Scale(self.counters.accounts(), self.counters.kv, self.counters.clock)
        self.spending.begin_with(FREE, scale)
        self.spending.on_need(self._ask)

    def _ask(self) -> None:
        self.asked += 1

    def use(self, units: int) -> None:
        """Whole units, and look."""
        self.counters.kv.write_requests += units
        if not self.spending.is_calm(0):
            self.spending._look(0)


def test_once_at_the_half_and_once_at_the_end_of_each_leave() -> None:
    bench = _Bench()
    leave = Leave(state=State.OPEN, ceiling=100 * UNIT)
    bench.spending.take(leave)
    asked = []
    for units in (49, 1, 10, 39, 1, 10, 50):
        bench.use(units)
        asked.append(bench.asked)
    assert asked == [0, 1, 1, 1, 2, 2, 2]
    bench.spending.take(replace(leave, ceiling=260 * UNIT))
    bench.use(49)
    assert bench.asked == 2
    bench.use(1)
    assert bench.asked == 3


def test_what_is_let_go_is_told() -> None:
    bench = _Bench()
    leave = Leave(state=State.OPEN, ceiling=100 * UNIT)
    for told, asked in (
        (leave, 0),
        (replace(leave, ceiling=200 * UNIT), 0),
        (replace(leave, ceiling=150 * UNIT), 1),
        (replace(leave, ceiling=150 * UNIT, percent=50), 1),
        (Leave(state=State.STOPPED), 2),
        (FREE, 2),
    ):
        bench.spending.take(told)
        assert bench.asked == asked
