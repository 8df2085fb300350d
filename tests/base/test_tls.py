from pathlib import Path

import pytest

from dormouse.base.ids import TENANT_ID_MAX, TenantId
from dormouse.base.tls import Identity, Role
from tests.support.certificates import Authority


@pytest.mark.parametrize("identity", [Identity(role=role) for role in Role])
def test_a_role_reads_back(identity: Identity) -> None:
    assert Identity.parse(identity.common_name) == identity


def test_a_tenant_reads_back() -> None:
    identity = Identity(tenant=TenantId(17))
    assert Identity.parse("17") == identity
    assert identity.server_name == "17.dormouse.internal"


@pytest.mark.parametrize("name", ["", "0", "017", "-1", "1.5", "admin", "STORAGE", "²", "1" * 30])
def test_a_strange_name_is_nobody(name: str) -> None:
    assert Identity.parse(name) is None


def test_an_id_beyond_the_last_is_nobody() -> None:
    assert Identity.parse(str(TENANT_ID_MAX)) is not None
    assert Identity.parse(str(TENANT_ID_MAX + 1)) is None


def test_no_authority_but_the_installations_own_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = tmp_path / "system.pem"
    systems.write_bytes(Authority("of the system").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(systems))
    credentials = Authority().credentials(Identity(role=Role.PROXY))
    for context in (credentials.for_tls_client(), credentials.for_tls_server(mutual=True)):
        assert context.cert_store_stats()["x509_ca"] == 1
