"""Certificates that change on disk: the next handshake gets the new one, sessions go on."""

import asyncio
import logging
import shutil
import ssl
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from dormouse.base import renewal
from dormouse.base.clock import ManualClock
from dormouse.base.renewal import CertificateFiles
from dormouse.base.tls import Credentials, Identity, Role
from proxy.certificates import Certificates
from tests.proxy.client import Client, connected
from tests.proxy.doubles import AUTHORITY, proxied, write_certificates


def serial_of(client: Client) -> int:
    connection: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def serial_in(folder: Path, name: str = "sql") -> int:
    pem = (folder / f"{name}.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).serial_number


def renew(folder: Path, name: str = "sql") -> None:
    credentials = AUTHORITY.credentials(Identity(role=Role.PROXY))
    (folder / f"{name}.key").write_bytes(credentials.key)
    (folder / f"{name}.crt").write_bytes(credentials.certificate)


def test_a_new_certificate_is_for_new_connections(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(tmp_path) as setup, connected(setup) as old:
            await old.log_in()
            before = serial_in(tmp_path)
            assert serial_of(old) == before
            renew(tmp_path)
            reload = setup.service.reload
            assert reload is not None
            await reload()
            async with connected(setup) as new:
                # The server name of a handshake is found under either certificate.
                await new.log_in()
                assert serial_of(new) == serial_in(tmp_path) != before
            assert await old.query()

    uvloop.run(main())


def test_the_files_are_looked_at_by_themselves(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(60),
            proxied(tmp_path, certificate_poll_seconds=0.05) as setup,
        ):
            renew(tmp_path)
            for _ in range(500):
                async with connected(setup) as client:
                    if serial_of(client) == serial_in(tmp_path):
                        return
                await asyncio.sleep(0.02)
            raise AssertionError("the new certificate is not used")

    uvloop.run(main())


def test_towards_pods_the_new_one_is_shown_as_well(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    certificates = Certificates(tmp_path, ManualClock())
    client, server = certificates.peer.tls_client, certificates.peer.tls_server
    renew(tmp_path, "proxy")
    asyncio.run(certificates.look())
    assert certificates.peer.tls_client is not client
    assert certificates.peer.tls_server is not server


def counted(used: str) -> float:
    return float(renewal.RELOADS.labels("sql", used)._value.get())


@pytest.mark.parametrize("broken", ["no match", "no certificate", "half a key", "gone"])
def test_a_broken_pair_is_refused_and_the_old_one_stays(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_certificates(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "good")
    used: list[bytes] = []
    pair = CertificateFiles(
        tmp_path, "sql", lambda credentials: _use(used, credentials), ManualClock()
    )
    other = AUTHORITY.credentials(Identity(role=Role.PROXY))
    key = tmp_path / "sql.key"
    if broken == "no match":
        key.write_bytes(other.key)
    elif broken == "no certificate":
        (tmp_path / "sql.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n")
    elif broken == "half a key":
        key.write_bytes(key.read_bytes()[:100])
    else:
        key.unlink()
    refused = counted("no")
    with caplog.at_level(logging.ERROR):
        pair.look()
        pair.look()
    assert [record.getMessage() for record in caplog.records] == [
        "certificate refused, the old one stays"
    ]
    assert (len(used), counted("no")) == (1, refused + 1)
    renew(tmp_path)
    accepted = counted("yes")
    pair.look()
    pair.look()
    assert (len(used), counted("yes")) == (2, accepted + 1)
    assert repr(pair) == "<CertificateFiles sql refused=False>"


def _use(used: list[bytes], credentials: Credentials) -> None:
    credentials.for_tls_server(mutual=False)
    used.append(credentials.certificate)


def test_when_it_ends_is_a_metric(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    Certificates(tmp_path, ManualClock())
    pem = (tmp_path / "sql.crt").read_bytes()
    expiry = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    assert renewal.EXPIRY.labels("sql")._value.get() == expiry


def test_without_certificates_there_is_no_proxy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Certificates(tmp_path, ManualClock())
