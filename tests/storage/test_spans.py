"""The border of a tenant, on keys near it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix
from proto import kv_pb2 as kv
from storage.refusals import Refusal
from storage.spans import KEY_BYTES_MAX, TenantSpan

NUMBER = TenantId(0x0100)
PREFIX = tenant_prefix(NUMBER)
OWN = st.builds(
    lambda rest, more: PREFIX + rest + bytes(more),
    st.binary(max_size=3),
    st.sampled_from([0, 0, 0, KEY_BYTES_MAX - len(PREFIX) - 3]),
)
OTHER = st.one_of(
    st.sampled_from([tenant_prefix(TenantId(NUMBER + n)) + b"k" for n in (-1, 1)]),
    st.sampled_from([PREFIX[:-1], b"m", b"", PREFIX + bytes(KEY_BYTES_MAX)]),
)
KEYS = st.builds(
    lambda own, others, at: own[: at % (len(own) + 1)] + others + own[at % (len(own) + 1) :],
    st.lists(OWN, max_size=20),
    st.lists(OTHER, max_size=2),
    st.integers(0, 20),
)
"""Mostly the tenant's own, with none, one or two among them that are not or are too long."""


def refusal(keys: list[bytes]) -> "tuple[kv.Error.Code.ValueType, bytes] | None":
    """What a walk over the keys says."""
    for key in keys:
        if not key.startswith(PREFIX):
            return kv.Error.OUTSIDE_TENANT, key
        if len(key) > KEY_BYTES_MAX:
            return kv.Error.BAD_REQUEST, b""
    return None


@given(KEYS)
def test_all_keys_of_a_block_pass_or_the_first_that_does_not_is_named(keys: list[bytes]) -> None:
    span, block = TenantSpan(NUMBER), blocks.pack(keys)
    expected = refusal(keys)
    if expected is None:
        assert span.keys(block) == keys
        return
    with pytest.raises(Refusal) as refused:
        span.keys(block)
    assert (refused.value.code, refused.value.key) == expected
