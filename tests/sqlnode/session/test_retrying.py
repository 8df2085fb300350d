"""How long a statement pauses before it is begun anew, and when it gives up."""

import pytest

from dormouse.base.errors import Blame
from sqlnode.errors import SqlError
from sqlnode.session.retrying import CONFLICTS_MAX, LOST_MAX, Retries


def _conflict(blame: Blame = Blame.USER) -> SqlError:
    error = SqlError("40001", "somebody was faster")
    error.blame, error.retryable = blame, True
    return error


class Clock:
    """Every attempt takes `attempt` seconds."""

    def __init__(self, attempt: float) -> None:
        self.attempt = attempt
        self.now = 0.0

    def pauses(self) -> list[float]:
        """Those of a statement that never gets through."""
        retries, found = Retries(lambda: self.now), list[float]()
        while True:
            self.now += self.attempt
            try:
                found.append(retries.pause(_conflict()))
            except SqlError:
                return found
            self.now += found[-1]


@pytest.mark.parametrize(
    ("attempt", "slot"), [(0.0, 0.001), (0.01, 0.01), (0.05, 0.05), (10.0, 0.05)]
)
def test_pauses_after_conflicts_are_of_attempts(attempt: float, slot: float) -> None:
    all_pauses = [Clock(attempt).pauses() for _ in range(100)]
    assert {len(pauses) for pauses in all_pauses} == {CONFLICTS_MAX}
    for number, nth in enumerate(zip(*all_pauses, strict=True), 1):
        assert number * slot / 2 < max(nth) <= number * slot * 1.0001


def test_pauses_double_while_storage_is_away() -> None:
    retries = Retries(lambda: 0.0)
    pauses = [retries.pause(_conflict(Blame.STORAGE)) for _ in range(LOST_MAX)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
    with pytest.raises(SqlError, match="somebody was faster"):
        retries.pause(_conflict(Blame.STORAGE))


def test_other_errors_are_nothing_to_try_again() -> None:
    with pytest.raises(SqlError, match="division"):
        Retries().pause(SqlError("22012", "division by zero"))
