"""Seals: what was sealed comes out for its tenant, and no other bytes come out at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from sqlnode.session.seals import KEY_BYTES, OVERHEAD_BYTES, SealBroken, Seals

KEY, TENANT = bytes(range(KEY_BYTES)), TenantId(7)


@given(st.binary(max_size=2000), st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_what_is_sealed_comes_out(plain: bytes, key: bytes) -> None:
    sealed = Seals(key, TENANT).seal(plain)
    assert Seals(key, TENANT).open(sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD_BYTES


@given(st.binary(min_size=8, max_size=200))
def test_nothing_of_it_shows(plain: bytes) -> None:
    seals = Seals(KEY, TENANT)
    assert plain not in seals.seal(plain)
    assert seals.seal(plain) != seals.seal(plain)


@given(st.data())
def test_any_changed_byte_breaks_a_seal(data: st.DataObject) -> None:
    seals = Seals(KEY, TENANT)
    sealed = bytearray(seals.seal(b"state of a session"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        seals.open(bytes(sealed))


@given(st.binary(max_size=100))
def test_bytes_of_a_stranger_are_no_seal(data: bytes) -> None:
    with pytest.raises(SealBroken):
        Seals(KEY, TENANT).open(data)


@given(st.integers(0, 60))
def test_a_cut_seal_is_broken(length: int) -> None:
    seals = Seals(KEY, TENANT)
    with pytest.raises(SealBroken):
        seals.open(seals.seal(b"state of a session")[:length])


def test_another_tenant_or_key_opens_nothing() -> None:
    sealed = Seals(KEY, TENANT).seal(b"state")
    for other in (Seals(KEY, TenantId(8)), Seals(bytes(KEY_BYTES), TENANT)):
        with pytest.raises(SealBroken):
            other.open(sealed)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_its_length(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Seals(bytes(size), TENANT)
