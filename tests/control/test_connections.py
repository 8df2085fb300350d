"""Who is let in and who goes, against what the table promises, over random crowds."""

from hypothesis import given
from hypothesis import strategies as st

from control.api.connections import Connections, Full

_EVENTS = st.lists(
    st.tuples(st.sampled_from(["come", "work", "rest", "go"]), st.integers(0, 9)), max_size=80
)


@given(_EVENTS, st.integers(1, 4), st.integers(1, 6))
def test_bounds_hold_and_only_the_idle_go(
    events: list[tuple[str, int]], per_address_max: int, total_max: int
) -> None:
    table: Connections[int] = Connections(total_max=total_max, per_address_max=per_address_max)
    present: dict[int, str] = {}
    idle: list[int] = []
    for number, (what, whom) in enumerate(events):
        if what == "come":
            address = f"address {whom % 3}"
            mates = [each for each, other in present.items() if other == address]
            admission = table.admit(number, address)
            assert admission.full == _full(len(mates), len(present), per_address_max, total_max)
            among = [each for each in idle if admission.full is Full.ALL or each in mates]
            expected = among[0] if admission.full and among else None
            assert admission.evicted == expected
            assert admission.is_let_in is (admission.full is None or expected is not None)
            if expected is not None:
                del present[expected]
                idle.remove(expected)
            if admission.is_let_in:
                present[number] = address
                idle.append(number)
        elif present:
            who = list(present)[whom % len(present)]
            if what == "work":
                table.busy(who)
                idle = [each for each in idle if each != who]
            elif what == "rest":
                table.idle(who)
                idle += [] if who in idle else [who]
            else:
                table.leave(who)
                table.leave(who)
                table.idle(who)  # late news of one that is gone
                del present[who]
                idle = [each for each in idle if each != who]
        assert len(table) == len(present) <= total_max
        assert f"idle={len(idle)}" in repr(table)


def _full(mates: int, present: int, per_address_max: int, total_max: int) -> Full | None:
    if mates >= per_address_max:
        return Full.ADDRESS
    return Full.ALL if present >= total_max else None
