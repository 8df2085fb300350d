"""The picture of several pod hosts: what is told when hosts come, go and fall silent."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.pods import PodKey
from autoscaler.runtimes.base import Connected, Ended, Living, Lost, RuntimeEvent, Started
from autoscaler.runtimes.hosts import Hosts

A, B = PodKey("10"), PodKey("20")


def test_one_host() -> None:
    hosts = Hosts()
    hosts.seen(1)
    assert hosts.newest is None
    assert hosts.greeted(1, {A: "h:10"}, False) == [Connected({A: Living("h:10", 1)}, 1)]
    assert hosts.started(1, 7, B, "h:20") == [Started(7, B, "h:20", 1)]
    assert hosts.of(B) == 1
    assert hosts.ended(1, A, 0) == [Ended(A, 0)]
    assert hosts.cut(1) == [Lost()]
    assert hosts.gone(1) == []
    assert hosts.newest is None


def test_the_picture_waits_for_every_host_that_was_seen() -> None:
    hosts = Hosts()
    hosts.seen(1)
    hosts.seen(2)
    assert hosts.greeted(1, {A: "a"}, False) == []
    # What it tells meanwhile is part of the picture, not news.
    assert hosts.started(1, 0, B, "b") == []
    living = {A: Living("a", 1), B: Living("b", 1)}
    assert hosts.greeted(2, {}, False) == [Connected(living, 2)]


def test_a_silent_host_is_not_waited_for_forever() -> None:
    hosts = Hosts()
    hosts.seen(1)
    hosts.seen(2)
    assert hosts.greeted(1, {}, False) == []
    assert hosts.given_up(2) == [Connected({}, 1)]
    assert hosts.given_up(2) == []
    assert hosts.gone(2) == []
    assert hosts.given_up(1) == [], "it has spoken"


def test_a_successor_takes_the_forks_and_its_predecessor_retires() -> None:
    hosts = Hosts()
    hosts.greeted(1, {A: "a"}, False)
    assert hosts.outdated() == []
    assert hosts.greeted(2, {}, False) == [Connected({A: Living("a", 1)}, 2)]
    assert (hosts.newest, hosts.outdated()) == (2, [1])
    assert hosts.greeted(1, {A: "a"}, True) == [], "an acknowledgement is no news"
    assert hosts.outdated() == []
    assert hosts.gone(1) == [Connected({}, 2)]


def test_a_host_that_is_cut_off_keeps_its_pods_until_it_is_known_to_be_gone() -> None:
    hosts = Hosts()
    hosts.greeted(1, {A: "a"}, True)
    hosts.greeted(2, {B: "b"}, False)
    assert hosts.cut(1) == []
    both = {A: Living("a", 1), B: Living("b", 2)}
    assert hosts.greeted(1, {A: "a"}, True) == [Connected(both, 2)]
    hosts.cut(1)
    assert hosts.gone(1) == [Connected({B: Living("b", 2)}, 2)]


def test_a_newest_host_that_is_cut_off_stays_the_newest() -> None:
    hosts = Hosts()
    hosts.greeted(1, {}, True)
    hosts.greeted(2, {}, False)
    hosts.cut(2)
    assert (hosts.newest, hosts.outdated()) == (2, [])
    assert hosts.gone(2) == [Connected({}, 1)]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["seen", "greeted", "retired", "cut", "gone", "given up", "start", "end"]),
        st.integers(1, 3),
        st.integers(1, 4),
    ),
    max_size=40,
)


@given(_STEPS)
def test_what_was_told_adds_up_to_what_is(steps: list[tuple[str, int, int]]) -> None:
    """Whoever believes the events in their order knows exactly the pods of the hosts."""
    hosts, truth = Hosts(), dict[int, dict[PodKey, str]]()
    answering, believed = set[int](), None
    for word, host, number in steps:
        pod = PodKey(str(10 * host + number))  # pids are never shared
        events = _happens(hosts, truth, answering, word, host, pod)
        for event in events:
            believed = _believe(believed, event)
        if believed is not None:
            assert believed == {key: n for n, living in truth.items() for key in living}
            assert answering
        newest = max(answering, default=0)
        assert all(n < newest for n in hosts.outdated())


def _happens(
    hosts: Hosts,
    truth: dict[int, dict[PodKey, str]],
    answering: set[int],
    word: str,
    host: int,
    pod: PodKey,
) -> list[RuntimeEvent]:
    match word:
        case "seen":
            hosts.seen(host)
        case "greeted" | "retired":
            answering.add(host)
            return hosts.greeted(host, truth.setdefault(host, {}), word == "retired")
        case "cut" if host in answering:
            answering.discard(host)
            return hosts.cut(host)
        case "gone":
            answering.discard(host)
            truth.pop(host, None)
            return hosts.gone(host)
        case "given up":
            return hosts.given_up(host)
        case "start" if host in answering:
            truth[host][pod] = "h"
            return hosts.started(host, 0, pod, "h")
        case "end" if host in answering and pod in truth[host]:
            del truth[host][pod]
            return hosts.ended(host, pod, 0)
    return []


def _believe(believed: dict[PodKey, int] | None, event: RuntimeEvent) -> dict[PodKey, int] | None:
    match event:
        case Connected(living, _):
            return {key: each.generation for key, each in living.items()}
        case Lost():
            return None
        case Started(_, pod, _, generation):
            assert believed is not None
            return {**believed, pod: generation}
        case Ended(pod, _):
            assert believed is not None
            return {key: n for key, n in believed.items() if key != pod}
    raise AssertionError(event)
