"""The certificate authority: what it makes, keeps, renews and refuses."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from control.authority import Authority
from control.trust.generations import AuthorityError
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.tls import Credentials, Identity, Role, peer_identity

_NOW = ManualClock(wall_ns=1_800_000_000_000_000_000)


def _real_clock() -> ManualClock:
    from dormouse.base.clock import SystemClock

    return ManualClock(wall_ns=SystemClock().wall_ns())


def _public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _private_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> Identity | None:
    """A TLS handshake in memory; who the server finds the client to be."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, other]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    if waiting:
        raise AssertionError("the handshake does not end")
    return peer_identity(other.getpeercert)


def test_it_is_made_once_and_privately(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "a", _NOW)
    assert (tmp_path / "a" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert Authority.open(tmp_path / "a", _NOW).certificate_pem == first.certificate_pem


def test_a_lost_key_is_refused_and_a_lost_certificate_made_again(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, _NOW)
    name = x509.load_pem_x509_certificate(authority.certificate_pem).subject
    (tmp_path / "ca.crt").unlink()
    again = x509.load_pem_x509_certificate(Authority.open(tmp_path, _NOW).certificate_pem)
    assert again.subject == name
    (tmp_path / "ca.key").unlink()
    with pytest.raises(AuthorityError, match=r"ca\.key is missing"):
        Authority.open(tmp_path, _NOW)


def test_files_of_two_authorities_are_refused(tmp_path: Path) -> None:
    Authority.open(tmp_path / "a", _NOW)
    Authority.open(tmp_path / "b", _NOW)
    (tmp_path / "a" / "ca.crt").write_bytes((tmp_path / "b" / "ca.crt").read_bytes())
    with pytest.raises(AuthorityError, match="belong together"):
        Authority.open(tmp_path / "a", _NOW)


def test_role_certificates_are_renewed_near_their_end(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=_NOW.wall_ns())
    authority = Authority.open(tmp_path / "a", clock)

    def ensure() -> bytes:
        authority.ensure_role(tmp_path, Role.PROXY)
        return (tmp_path / "proxy.crt").read_bytes()

    first = ensure()
    clock.advance(300 * 86_400)
    assert ensure() == first
    clock.advance(10 * 86_400)
    renewed = x509.load_pem_x509_certificate(ensure())
    assert renewed.public_bytes(serialization.Encoding.PEM) != first
    key = serialization.load_pem_private_key((tmp_path / "proxy.key").read_bytes(), None)
    assert key.public_key() == renewed.public_key()


def test_a_foreign_or_broken_certificate_is_replaced(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "a", _NOW)
    Authority.open(tmp_path / "b", _NOW).ensure_role(tmp_path, Role.PROXY)
    foreign = (tmp_path / "proxy.crt").read_bytes()
    authority.ensure_role(tmp_path, Role.PROXY)
    ours = (tmp_path / "proxy.crt").read_bytes()
    assert ours != foreign
    (tmp_path / "proxy.crt").write_bytes(ours[:100])
    authority.ensure_role(tmp_path, Role.PROXY)
    assert len((tmp_path / "proxy.crt").read_bytes()) > 100


def test_a_new_host_name_makes_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "a", _NOW)
    authority.ensure_sql(tmp_path, ["localhost"], ["127.0.0.1"])
    first = (tmp_path / "sql.crt").read_bytes()
    authority.ensure_sql(tmp_path, ["localhost"], ["127.0.0.1"])
    assert (tmp_path / "sql.crt").read_bytes() == first
    authority.ensure_sql(tmp_path, ["localhost", "*.example.org"], ["127.0.0.1"])
    assert (tmp_path / "sql.crt").read_bytes() != first


def test_a_pod_is_its_tenant_to_others_and_they_are_roles_to_it(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "a", _real_clock())
    authority.ensure_role(tmp_path, Role.STORAGE)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = authority.issue_pod(TenantId(17), _public_key(key), days=7)
    pod = Credentials(_private_key(key), pem, authority.certificate_pem)
    storage = Credentials.read(tmp_path, "storage")
    tenant, role = Identity(tenant=TenantId(17)), Identity(role=Role.STORAGE)
    assert (
        _shake_hands(pod.for_tls_client(), storage.for_tls_server(mutual=True), role.server_name)
        == tenant
    )
    assert (
        _shake_hands(storage.for_tls_client(), pod.for_tls_server(mutual=True), tenant.server_name)
        == role
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(storage.for_tls_client(), pod.for_tls_server(mutual=True), role.server_name)


def test_a_pods_certificate_is_short_lived(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, _NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = authority.issue_pod(TenantId(1), _public_key(key), days=7)
    certificate = x509.load_pem_x509_certificate(pem)
    left = certificate.not_valid_after_utc.timestamp() - _NOW.wall_ns() / 1e9
    assert left == 7 * 86_400


def test_what_clients_see_is_nobodys_identity(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "a", _real_clock())
    authority.ensure_sql(tmp_path, ["localhost"], ["127.0.0.1", "::1"])
    authority.ensure_role(tmp_path, Role.STORAGE)
    sql, storage = Credentials.read(tmp_path, "sql"), Credentials.read(tmp_path, "storage")
    server = storage.for_tls_server(mutual=True)
    with pytest.raises(ssl.SSLError):
        _shake_hands(sql.for_tls_client(), server, "storage.dormouse.internal")
    assert Identity.parse("sql") is None


@pytest.mark.parametrize("kind", ["rubbish", "rsa", "p384"])
def test_other_keys_are_not_certified(tmp_path: Path, kind: str) -> None:
    keys = {
        "rubbish": b"rubbish",
        "rsa": rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        "p384": _public_key(ec.generate_private_key(ec.SECP384R1())),
    }
    with pytest.raises(AuthorityError):
        Authority.open(tmp_path, _NOW).issue_pod(TenantId(1), keys[kind], days=7)
