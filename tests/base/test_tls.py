import ssl
from pathlib import Path
from typing import Any

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


def test_a_key_is_never_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, chain: str, **more: Any) -> None:
        read.append(Path(chain).readlink())
        load(context, chain, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    Authority().credentials(Identity(role=Role.PROXY)).for_tls_client()
    assert [path.name.partition(":")[0] for path in read] == ["memfd"]
