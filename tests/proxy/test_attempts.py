"""Attempts stand in line: in order, none forgotten, none too many, whoever leaves or fails."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from proxy.attempts import Attempts
from proxy.errors import Reason, Rejected
from proxy.throttle import AT_ONCE, FREE_FAILURES, Key, Outcome

KEY: Key = ("192.0.2.1", TenantId(17))


class Rig:
    """Attempts that go on until they are told how they ended."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.attempts = Attempts(self.clock)
        self.begun: list[int] = []
        self.refused: list[int] = []
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, count: int = 1) -> None:
        for _ in range(count):
            self.tasks.append(spawn(self._try(len(self.tasks)), name="try"))
        await self.settle()

    async def _try(self, number: int) -> None:
        try:
            async with self.attempts.attempt(KEY) as attempt:
                self.begun.append(number)
                self._outcomes[number] = asyncio.get_running_loop().create_future()
                attempt.outcome = await self._outcomes[number]
        except Rejected as error:
            if error.reason is not Reason.THROTTLED:
                raise
            self.refused.append(number)

    async def end(self, number: int, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        if not self._outcomes[number].done():
            self._outcomes[number].set_result(outcome)
        await self.settle()

    async def leave(self, number: int) -> None:
        await cancel(self.tasks[number])
        await self.settle()

    async def settle(self) -> None:
        for _ in range(50 + 2 * len(self.tasks)):
            await asyncio.sleep(0)

    def running(self) -> list[int]:
        return [each for each in self.begun if not self.tasks[each].done()]


def test_a_pool_gets_in_one_after_the_other() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.come(AT_ONCE + 5)
        assert rig.begun == list(range(AT_ONCE))
        for number in range(AT_ONCE + 5):
            await rig.end(number)
        assert rig.begun == list(range(AT_ONCE + 5))
        assert rig.refused == []
        assert repr(rig.attempts) == "<Attempts waiting=0 <Throttle failed=0 under_way=0>>"

    asyncio.run(main())


def test_where_those_in_front_fail_the_others_are_refused_unheard() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.come(AT_ONCE + 50)
        for number in range(FREE_FAILURES):
            await rig.end(number, Outcome.FAILED)
        # One was let in for each of the first failures; from the third on nobody is.
        assert len(rig.begun) == AT_ONCE + FREE_FAILURES - 1
        assert rig.refused == list(range(AT_ONCE + FREE_FAILURES - 1, AT_ONCE + 50))
        await cancel(*rig.tasks)

    asyncio.run(main())


def test_who_leaves_the_line_is_passed_over() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.come(AT_ONCE + 3)
        await rig.leave(AT_ONCE)
        await rig.end(0, Outcome.NEITHER)
        assert rig.running()[-1] == AT_ONCE + 1
        await rig.leave(1)  # in the middle of its attempt
        assert rig.running()[-1] == AT_ONCE + 2
        await cancel(*rig.tasks)
        assert repr(rig.attempts) == "<Attempts waiting=0 <Throttle failed=0 under_way=0>>"

    asyncio.run(main())


def test_who_is_called_and_leaves_at_that_moment_calls_the_next() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.come(AT_ONCE + 2)
        ending = rig.end(0)
        called = rig.tasks[AT_ONCE]
        rig._outcomes[0].set_result(Outcome.SUCCEEDED)
        while not rig.tasks[0].done():  # noqa: ASYNC110 - it is the very step that is wanted
            await asyncio.sleep(0)
        called.cancel()
        await ending
        assert rig.running()[-1] == AT_ONCE + 1
        await cancel(*rig.tasks)

    asyncio.run(main())


_STEP = st.tuples(
    st.sampled_from(["come", "come", "end", "leave", "pass"]),
    st.integers(0, 60),
    st.sampled_from(Outcome),
)


@pytest.mark.parametrize("outcomes", [[Outcome.SUCCEEDED, Outcome.NEITHER], list(Outcome)])
@settings(deadline=None, max_examples=60)
@given(steps=st.lists(_STEP, max_size=20))
def test_nobody_waits_for_ever(
    outcomes: list[Outcome], steps: list[tuple[str, int, Outcome]]
) -> None:
    async def main() -> None:
        rig = Rig()
        for step, which, outcome in steps:
            running = rig.running()
            if step == "come":
                await rig.come(which % 25)
            elif step == "end" and running:
                await rig.end(
                    running[which % len(running)],
                    outcome if outcome in outcomes else Outcome.SUCCEEDED,
                )
            elif step == "leave" and rig.tasks:
                await rig.leave(which % len(rig.tasks))
            elif step == "pass":
                rig.clock.advance(which)
            waiting = [each for each in rig.tasks if not each.done()]
            assert len(rig.running()) <= AT_ONCE
            assert len(rig.running()) == min(len(waiting), AT_ONCE) or len(waiting) == 0
        while running := rig.running():
            await rig.end(running[0])
        assert all(task.done() for task in rig.tasks)
        assert repr(rig.attempts).startswith("<Attempts waiting=0 ")

    asyncio.run(main())
