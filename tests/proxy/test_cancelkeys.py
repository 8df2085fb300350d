"""Cancel keys lead to their session, and to nothing once it has ended."""

from dormouse.base.ids import TenantId
from pgwire.startup import CancelRequest
from proxy.cancelkeys import CancelKeys, Target


def test_equal_pids_of_two_pods_are_told_apart() -> None:
    keys = CancelKeys()
    one = Target(TenantId(1), "host:1", CancelRequest(7, b"aaaa"))
    two = Target(TenantId(2), "host:2", CancelRequest(7, b"aaaa"))
    shown_one, shown_two = keys.add(one), keys.add(two)
    assert shown_one.pid == shown_two.pid == 7
    assert keys.find(shown_one) is one
    assert keys.find(shown_two) is two
    keys.remove(shown_one)
    assert keys.find(shown_one) is None
    assert keys.find(shown_two) is two
    assert repr(keys) == "<CancelKeys n=1>"


def test_the_pods_own_secret_is_no_key() -> None:
    keys = CancelKeys()
    keys.add(Target(TenantId(1), "host:1", CancelRequest(7, b"aaaabbbb")))
    assert keys.find(CancelRequest(7, b"aaaabbbb")) is None
