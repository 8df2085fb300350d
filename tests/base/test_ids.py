from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import TENANT_ID_MAX, TENANT_NAME, TenantAddress, TenantId


@given(st.from_regex(TENANT_NAME, fullmatch=True), st.integers(1, TENANT_ID_MAX))
def test_an_address_reads_back(name: str, number: int) -> None:
    address = TenantAddress(name, TenantId(number))
    assert TenantAddress.parse(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_nothing(text: str) -> None:
    address = TenantAddress.parse(text)
    assert address is None or str(address) == text


def test_a_bare_id_is_no_address() -> None:
    for text in (
        "17",
        "-17",
        "demo-",
        "demo",
        "demo-0",
        "demo-017",
        "Demo-17",
        "demo-+17",
        "d_o-1",
    ):
        assert TenantAddress.parse(text) is None, text


def test_an_id_beyond_the_last_is_no_address() -> None:
    assert TenantAddress.parse(f"demo-{TENANT_ID_MAX}") is not None
    assert TenantAddress.parse(f"demo-{TENANT_ID_MAX + 1}") is None
