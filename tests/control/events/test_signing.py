"""Signatures, as the page about events explains them and as the reference library checks them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Reference
from standardwebhooks.webhooks import WebhookVerificationError

from control.webhooks.signing import generate_secret, secret_text, signatures
from dormouse.base.clock import SystemClock

_PAGE = Path(__file__).parents[3] / "docs" / "events.md"
_MESSAGE = "evt_1_18bcfe56800"
_Verify = Callable[[str, dict[str, str], bytes], bool]


def _now() -> int:
    return SystemClock().wall_ns() // 10**9


def _explained() -> _Verify:
    """`verify` of the page."""
    (code,) = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(_PAGE), "exec"), names)
    verify: _Verify = names["verify"]
    return verify


def _headers(secrets: list[bytes], body: bytes, *, timestamp: int) -> dict[str, str]:
    return {
        "webhook-id": _MESSAGE,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(
            secrets, message_id=_MESSAGE, timestamp=timestamp, body=body
        ),
    }


def _accepts(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Reference(secret).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


@pytest.mark.parametrize("verify", [_explained(), _accepts], ids=["explained", "reference"])
def test_a_receiver_knows_what_is_ours(
    verify: Callable[[str, dict[str, str], bytes], bool],
) -> None:
    old, new, other = generate_secret(), generate_secret(), generate_secret()
    body, now = b'{"data":"\xc3\xa4"}', _now()
    headers = _headers([new, old], body, timestamp=now)
    assert verify(secret_text(new), headers, body)
    assert verify(secret_text(old), headers, body)
    assert not verify(secret_text(other), headers, body)
    assert not verify(secret_text(new), headers, body + b" ")
    assert not verify(secret_text(new), headers | {"webhook-id": "evt_2"}, body)
    assert not verify(secret_text(new), headers | {"webhook-timestamp": str(now + 1)}, body)
    assert not verify(secret_text(new), _headers([new], body, timestamp=now - 400), body)
    assert not verify(secret_text(new), _headers([new], body, timestamp=now + 400), body)


@given(st.text(), st.binary(min_size=24, max_size=64))
def test_the_reference_agrees_whatever_is_sent(text: str, secret: bytes) -> None:
    body = text.encode("utf-8", "replace")
    assert _accepts(secret_text(secret), _headers([secret], body, timestamp=_now()), body)
