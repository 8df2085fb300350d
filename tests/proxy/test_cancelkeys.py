"""Cancel keys lead to their session, and to nothing once it has ended."""

import pytest

from dormouse.base.ids import TenantId
from pgwire.startup import CancelRequest
from proxy.cancelkeys import CancelKeys, Target


class Somebody:
    def __init__(self, target: Target | None) -> None:
        self.target = target

    def cancel_target(self) -> Target | None:
        return self.target


def target(pid: int) -> Target:
    return Target(TenantId(1), "host:1", CancelRequest(pid, b"real"))


def test_a_key_leads_to_where_its_session_is_now() -> None:
    keys = CancelKeys()
    one, two = Somebody(None), Somebody(target(2))
    link_one, link_two = keys.issue(one, 5), keys.issue(two, 5)
    shown = CancelRequest(link_one.pid, link_one.cancel_secret)
    assert keys.find(shown) is None
    one.target = target(1)
    assert keys.find(shown) is one.target
    one.target = target(3)
    assert keys.find(shown) is one.target
    assert keys.find(CancelRequest(link_two.pid, link_two.cancel_secret)) is two.target
    keys.revoke(link_one)
    assert keys.find(shown) is None
    assert repr(keys) == "<CancelKeys n=1>"


@pytest.mark.parametrize("secret", [b"", b"\0\0\0\0", b"xxxxxxxx"])
def test_a_guess_leads_nowhere(secret: bytes) -> None:
    keys = CancelKeys()
    link = keys.issue(Somebody(target(1)), 0)
    assert link.cancel_secret != secret
    assert keys.find(CancelRequest(link.pid, secret)) is None
    assert keys.find(CancelRequest(link.pid + 1, link.cancel_secret)) is None


@pytest.mark.parametrize("number", [0, 1, 1023])
def test_any_proxy_knows_whose_a_key_is(number: int) -> None:
    keys = CancelKeys()
    links = [keys.issue(Somebody(None), number) for _ in range(1000)]
    assert len({link.pid for link in links}) == 1000
    assert all(0 < link.pid < 2**31 for link in links)
    shown = [CancelRequest(link.pid, link.cancel_secret) for link in links]
    assert {CancelKeys().owner_of(each) for each in shown} == {number}
