"""The pure parts: pauses, verdicts, lanes, patterns, addresses, URLs."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.events import EventKind
from control.webhooks.addresses import AddressPolicy
from control.webhooks.backoff import (
    JITTER,
    PAUSE_SECONDS_MAX,
    endpoint_pause_seconds,
    pause_seconds,
)
from control.webhooks.fanout import GIVE_UP_SECONDS
from control.webhooks.lanes import FAILING_LANES, LANES, LANES_PER_HOST, Due, choose
from control.webhooks.patterns import known_patterns, patterns_of
from control.webhooks.urls import UrlPolicy, check_url, origin_of
from control.webhooks.verdict import Disabled, Health, Outcome, Status, judge

_FAILED = Outcome(kind="refused", status=500, error="it answered (500)")
_FRACTION = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), _FRACTION, st.floats(0, 10**9))
def test_a_pause_is_bounded(attempts: int, random: float, retry_after: float) -> None:
    pause = pause_seconds(attempts, random)
    assert 5 * (1 - JITTER) <= pause <= PAUSE_SECONDS_MAX * (1 + JITTER)
    assert pause_seconds(attempts + 1, random) >= pause
    asked = pause_seconds(attempts, random, retry_after=retry_after)
    assert asked >= pause
    assert asked >= min(retry_after, 3600)
    assert asked <= max(pause, 3600)
    assert 2 <= endpoint_pause_seconds(attempts) <= 60


@given(st.lists(_FRACTION, min_size=40, max_size=40))
def test_a_delivery_is_tried_for_three_days(randoms: list[float]) -> None:
    """However the dice fall: a fair number of times, until nearly three days are over."""
    now_ns, attempts, verdict = 0, 0, None
    for random in randoms:
        attempts += 1
        verdict = judge(
            _FAILED,
            attempts=attempts,
            give_up_ns=GIVE_UP_SECONDS * 10**9,
            health=Health(),
            now_ns=now_ns,
            disable_seconds=10**9,
            random=random,
        )
        if verdict.due_ns is None:
            break
        assert verdict.status is Status.WAITING
        assert verdict.due_ns > now_ns
        now_ns = verdict.due_ns
    assert verdict is not None
    assert verdict.status is Status.DEAD
    assert 15 <= attempts <= 25
    assert now_ns >= (GIVE_UP_SECONDS - PAUSE_SECONDS_MAX * (1 + JITTER)) * 10**9


def _judge(outcome: Outcome, health: Health, *, now_ns: int = 10**15) -> tuple[Health, str | None]:
    verdict = judge(
        outcome,
        attempts=1,
        give_up_ns=2 * 10**15,
        health=health,
        now_ns=now_ns,
        disable_seconds=5,
        random=0.5,
    )
    return verdict.health, verdict.disabled


def test_a_webhook_is_disabled_after_days_of_nothing_but_failures() -> None:
    now_ns = 10**15
    long_ago, lately = now_ns - 6 * 10**9, now_ns - 4 * 10**9
    health, disabled = _judge(_FAILED, Health())
    assert (health.failures, health.failing_since_ns, disabled) == (1, now_ns, None)
    assert health.paused_until_ns > now_ns
    assert _judge(_FAILED, Health(9, lately, 0))[1] is None
    assert _judge(_FAILED, Health(3, long_ago, 0))[1] is None  # a rare event, say
    health, disabled = _judge(_FAILED, Health(9, long_ago, 0))
    assert (health.failures, health.failing_since_ns) == (10, long_ago)
    assert disabled is Disabled.FAILING
    arrived = Outcome(kind="delivered", status=200)
    assert _judge(arrived, Health(9, long_ago, 0)) == (Health(), None)
    gone = Outcome(kind="refused", status=410, error="it answered (410)")
    assert _judge(gone, Health())[1] is Disabled.GONE


_DUE = st.builds(
    Due,
    st.integers(1, 60),
    st.sampled_from("abcdefghijklmnop"),
    st.booleans(),
    st.integers(0, 200),
)


@given(st.lists(_DUE, unique_by=lambda each: each.webhook), st.integers(0, 100), st.data())
def test_lanes_have_bounds_and_none_stays_empty(
    due: list[Due], now_ns: int, data: st.DataObject
) -> None:
    # Whoever is busy was chosen before.
    busy = list(choose(data.draw(st.lists(_DUE, unique_by=lambda x: x.webhook)), [], 100, {}).begin)
    choice = choose(due, busy, now_ns, {})
    running = [*busy, *choice.begin]
    hosts = [each.host for each in running]
    assert len({each.webhook for each in running}) == len(running) <= LANES
    assert all(hosts.count(host) <= LANES_PER_HOST for host in hosts)
    assert sum(each.failing for each in running) <= FAILING_LANES
    assert all(each.due_ns <= now_ns for each in choice.begin)
    taken = {each.webhook for each in running}
    for each in due:
        if each.webhook in taken or each.due_ns > now_ns:
            continue
        full = len(running) == LANES or hosts.count(each.host) == LANES_PER_HOST
        assert full or (each.failing and sum(x.failing for x in running) == FAILING_LANES)
    idle = [each for each in due if each.webhook not in {one.webhook for one in busy}]
    later = [each.due_ns for each in idle if each.due_ns > now_ns]
    assert choice.look_ns == min(later, default=None)


def test_receivers_that_hang_leave_lanes_to_the_others() -> None:
    hanging = [Due(number, f"slow{number}", True, 0) for number in range(100)]
    begun = choose(hanging, [], 1, {}).begin
    assert len(begun) == FAILING_LANES
    healthy = Due(1000, "fine", False, 0)
    assert choose([*hanging, healthy], begun, 1, {}).begin == [healthy]


def test_lanes_go_round() -> None:
    """One with an old backlog has its turns, and no more."""
    crowd = [Due(number, f"h{number}", False, number) for number in range(3 * LANES)]
    turns: dict[int, int] = {}
    for turn in range(1, 4):
        begun = choose(crowd, [], 10**6, turns).begin
        turns |= {each.webhook: turn for each in begun}
        assert len(begun) == LANES
    assert sorted(turns) == [each.webhook for each in crowd]


def test_patterns() -> None:
    known = known_patterns(EventKind)
    assert {"*", "spend.*", "spend.notice", "tenant.*"} <= known
    assert not {"", "spend", "spend.", "*.notice", "nothing.*", "tenant.nothing"} & known
    assert set(patterns_of("spend.notice")) == {"*", "spend.*", "spend.notice"}


_PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::808:808")
_INNER = (
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "172.31.255.255",
    "192.168.1.1",
    "192.0.0.192",
    "198.19.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)


@pytest.mark.parametrize("text", _PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    assert AddressPolicy().allows(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", _INNER)
def test_inner_addresses_are_refused_unless_the_operator_allows_them(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not AddressPolicy().allows(address)
    assert AddressPolicy.of([str(ipaddress.ip_network(address))]).allows(address)
    others = AddressPolicy.of(["10.9.0.0/16", "fd01::/16"])
    assert not others.allows(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_the_same_however_it_is_dressed(address: ipaddress.IPv4Address) -> None:
    policy = AddressPolicy.of(["10.9.0.0/16"])
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert policy.allows(mapped) is policy.allows(translated) is policy.allows(address)
    # What Python knows to be special is refused; we refuse a little more.
    if not address.is_global or address.is_multicast:
        assert policy.allows(address) is (address in ipaddress.ip_network("10.9.0.0/16"))


@given(st.ip_addresses(v=6))
def test_special_ipv6_addresses_are_refused(address: ipaddress.IPv6Address) -> None:
    is_translated = address in ipaddress.ip_network("64:ff9b::/96")
    if (not address.is_global or address.is_multicast or address.is_reserved) and not is_translated:
        assert not AddressPolicy().allows(address) or address.ipv4_mapped is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?token=x",
        "https://example.com:8443",
        "https://8.8.8.8/",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/",
        "https://xn--bcher-kva.example./a",
    ],
)
def test_urls_that_can_be(url: str) -> None:
    check_url(url, UrlPolicy())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "visible"),
        ("https://example.com/" + "x" * 2000, "at most"),
        ("https://exa mple.com/", "visible"),
        ("https://exämple.com/", "ASCII"),
        ("example.com/hook", "URL"),
        ("https:///hook", "URL"),
        ("https://example.com:99999/", "URL"),
        ("https://example.com:0/", "URL"),
        ("https://[::1/", "URL"),
        ("http://example.com/", "use https"),
        ("ftp://example.com/", "URL"),
        ("https://ann:secret@example.com/", "user name"),
        ("https://ann@example.com/", "user name"),
        ("https://example.com/#a", "fragment"),
        ("https://exa%6dple.com/", "host"),
        (f"https://{'a' * 64}.com/", "host"),
        ("https://a..b/", "host"),
        ("https://127.0.0.1/", "that address"),
        ("https://[::ffff:10.0.0.1]/", "that address"),
        ("https://169.254.169.254/latest/meta-data", "that address"),
    ],
)
def test_urls_that_cannot_be(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_url(url, UrlPolicy())


def test_an_operator_may_allow_more() -> None:
    policy = UrlPolicy(AddressPolicy.of(["127.0.0.0/8"]), http=True)
    check_url("http://127.0.0.1:8000/hook", policy)
    with pytest.raises(ValueError, match="https or http"):
        check_url("gopher://127.0.0.1:70/", policy)


def test_an_origin_tells_no_secret() -> None:
    assert str(origin_of("https://h.example/services/T0/SECRET?x=1")) == "https://h.example"
    assert str(origin_of("http://h.example:8080/SECRET")) == "http://h.example:8080"
    assert str(origin_of("https://[2001:db8::1]:8443/SECRET")) == "https://[2001:db8::1]:8443"
