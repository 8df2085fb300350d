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
NEAR = [tenant_prefix(TenantId(NUMBER + n)) for n in (-1, 0, 0, 0, 1)] + [PREFIX[:-1], b"m", b""]
KEYS = st.lists(
    st.builds(
        lambda prefix, rest, more: prefix + rest + bytes(more),
        st.sampled_from(NEAR),
        st.binary(max_size=3),
        st.sampled_from([0, 0, 0, 0, KEY_BYTES_MAX - len(PREFIX), KEY_BYTES_MAX]),
    ),
    max_size=20,
)


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
