"""Sharing what is left: the law, and that nobody is left without."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from control.spending.leaves import FREE, Leave, State, strictest
from control.spending.pods import Pod, Stream, Told
from control.spending.sharing import Sharer, rate_after, share

_SHARERS = st.lists(
    st.builds(
        Sharer,
        use=st.integers(0, 10**6),
        may_reach=st.integers(0, 10**6),
        per_second=st.integers(0, 10**5),
    ),
    max_size=8,
)


@given(st.integers(-(10**6), 10**7), _SHARERS)
def test_reserves_never_come_to_more_than_what_is_left(room: int, pods: list[Sharer]) -> None:
    """Nor to more than they were: what is out already stays out until it is taken back."""
    shares = share(room, pods)
    reserves = [
        max(part.ceiling, pod.may_reach) - pod.use for pod, part in zip(pods, shares, strict=True)
    ]
    before = sum(pod.reserve for pod in pods)
    assert sum(max(each, 0) for each in reserves) <= max(room, before)
    fallback = sum(part.fallback_per_second for part in shares)
    assert sum(max(each, 0) for each in reserves) + 3600 * fallback <= max(room, before)
    assert all(part.ceiling >= pod.use for pod, part in zip(pods, shares, strict=True))


@given(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_one_pod_alone_may_come_to_the_very_end(room: int, use: int, rate: int) -> None:
    for _ in range(200):
        [part] = share(room, [Sharer(use, use, rate)])
        if room < 10 * rate:
            assert part.ceiling == use + room
            return
        used = part.ceiling - use
        assert used or room < 4
        room, use = room - used, use + used


def test_whoever_is_busy_gets_what_the_idle_do_not_need() -> None:
    idle, busy = share(1000, [Sharer(0, 0, 0), Sharer(0, 0, 1000)])
    assert idle.ceiling <= 1
    assert busy.ceiling >= 999


def test_what_others_hold_is_taken_back_where_somebody_wants_it() -> None:
    holder, hungry = Sharer(0, 900, 10), Sharer(500, 500, 100)
    kept, none = share(900, [holder, hungry])
    assert kept.ceiling < 100
    assert none.ceiling == 500, "nothing is free before the holder has said so"
    _, given = share(900, [Sharer(0, kept.ceiling, 10), hungry])
    assert given.ceiling > 1200
    [alone] = share(900, [holder])
    assert alone.ceiling == 900, "nobody wants it"


def test_an_even_pace_is_told_rarely() -> None:
    """At 100 a second and 1000 in advance the ceiling moves every third second."""
    ceiling = moves = use = 0
    for _ in range(60):
        [part] = share(1_800, [Sharer(use, ceiling, 100)])
        moves += part.ceiling != ceiling
        ceiling = part.ceiling
        use += 100
    assert 15 <= moves <= 25


def test_a_rate_rises_at_once_and_falls_slowly() -> None:
    assert rate_after(10, used=500, seconds=1) == 500
    assert 180 < rate_after(500, used=0, seconds=10) < 190


def test_of_two_limits_the_stricter_one_counts() -> None:
    low = Leave(state=State.OPEN, ceiling=5, per_second=9, limit="low", percent=50, resets_at=1)
    high = Leave(state=State.OPEN, ceiling=7, per_second=3, limit="high", percent=75, resets_at=2)
    both = strictest([high, low])
    assert (both.ceiling, both.per_second, both.limit, both.percent) == (5, 3, "low", 75)
    stopped = Leave(state=State.STOPPED, per_second=1, limit="all", percent=100)
    assert strictest([low, stopped]) == stopped
    assert strictest([FREE, low]) == low
    assert strictest([]) == FREE


def test_a_ceiling_is_over_when_a_report_goes_by_a_later_leave() -> None:
    pod = Pod((1, 1), -1, heard_at=0)
    first = pod.reserve_for(Leave(state=State.OPEN, ceiling=130), 5)
    second = pod.reserve_for(Leave(state=State.OPEN, ceiling=110), 0)
    assert (first, second) == (5, 6)
    assert not pod.names(5)
    assert pod.may_reach == 130
    assert not pod.names(6)
    assert pod.may_reach == 110
    assert not pod.names(4), "of long ago"
    assert pod.names(100), "of a control before this one: it has to be told anew"
    assert pod.reserve_for(FREE, 0) == 101


def test_what_may_be_in_force_is_counted_however_much_is_told() -> None:
    pod = Pod((1, 1), -1, heard_at=0)
    for ceiling in range(1000, 0, -1):
        pod.reserve_for(Leave(state=State.OPEN, ceiling=ceiling), 0)
    assert pod.may_reach == 1000
    pod.names(pod.number)
    assert pod.may_reach == 1


def test_only_the_newest_leave_is_heard() -> None:
    async def body() -> None:
        stream = Stream()
        for number in (1, 2, 3):
            stream.tell(Told(number, FREE))
        told = await stream.next()
        assert told is not None
        assert told.number == 3
        stream.close()
        assert await stream.next() is None

    asyncio.run(body())
