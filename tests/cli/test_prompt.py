"""The simple prompt against PostgreSQL 15 with TLS and SCRAM, as a tenant's connection has them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from bench.postgres import PostgresMissing, binary, postgres
from control.authority import Authority
from dormouse.base.clock import SystemClock
from dormouse.cli.folder import CommandError
from dormouse.cli.prompt import Session, run
from pgwire.client import ServerError

_PASSWORD = "tell-no-one"


@dataclass(frozen=True)
class _Server:
    url: str
    foreign_ca: Path


def _installed() -> bool:
    try:
        return bool(binary("initdb"))
    except PostgresMissing:
        return False


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    if not _installed():
        pytest.skip("PostgreSQL 15 is not installed")
    with tempfile.TemporaryDirectory(prefix="dormouse-test-") as name:
        folder = Path(name)
        certificates, data = folder / "certificates", folder / "postgres"
        for authority in ("ours", "foreign"):
            made = Authority.open(folder / authority, SystemClock())
            made.ensure_sql(folder / authority, ["localhost"], ["127.0.0.1"])
        shutil.copytree(folder / "ours", certificates)
        with postgres(folder) as plain:
            _demand_tls_and_password(plain, data, certificates)
            port = plain.split(":")[-1].split("/")[0]
            yield _Server(
                f"postgresql://owner@localhost:{port}/postgres?sslrootcert={folder}/ours/ca.crt",
                folder / "foreign" / "ca.crt",
            )


def _demand_tls_and_password(plain: str, data: Path, certificates: Path) -> None:
    owner = data.stat()
    for name in ("sql.key", "sql.crt"):
        shutil.copy(certificates / name, data / name)
        (data / name).chmod(0o600)
        os.chown(data / name, owner.st_uid, owner.st_gid)
    (data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE owner LOGIN PASSWORD '{_PASSWORD}'".encode())
        connection.execute("GRANT CREATE ON SCHEMA public TO owner")
        connection.execute("ALTER SYSTEM SET ssl_cert_file = 'sql.crt'")
        connection.execute("ALTER SYSTEM SET ssl_key_file = 'sql.key'")
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
        # The reload is done once a new session is refused without TLS.
        for _ in range(1000):
            try:
                psycopg.connect(plain).close()
            except psycopg.OperationalError:
                return
    raise AssertionError("PostgreSQL did not take its settings")


def test_statements_are_answered_as_tables(server: _Server) -> None:
    session = Session(server.url, _PASSWORD)
    try:
        assert session.database == "postgres"
        assert list(session.execute("CREATE TABLE t (id int, name text);")) == ["CREATE TABLE"]
        shown = list(
            session.execute("INSERT INTO t VALUES (1, 'é'), (20, NULL); SELECT * FROM t ORDER BY 1")
        )
        assert shown == ["INSERT 0 2", "id  name\n1   é\n20\n(2 rows)\n"]
        with pytest.raises(ServerError, match="22012"):
            list(session.execute("SELECT 1 / 0"))
        with pytest.raises(ServerError, match="57014"):
            list(session.execute("COPY t FROM STDIN"))
        assert list(session.execute("SELECT count(*) FROM t")) == ["count\n2\n(1 row)\n"]
        notice = "DO $$ BEGIN RAISE NOTICE 'hello'; END $$"
        assert list(session.execute(notice)) == ["NOTICE:  hello", "DO"]
        assert list(session.execute("")) == []
    finally:
        session.close()


def test_a_script_on_standard_input(
    server: _Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryFile("w+") as script:
        script.write("SELECT 1\n AS one;\nSELECT nothing;\n\\q\nSELECT 2;\n")
        script.seek(0)
        monkeypatch.setattr("sys.stdin", script)
        assert run(server.url, _PASSWORD) == 1
    shown = capsys.readouterr()
    assert shown.out == "one\n1\n(1 row)\n\n"
    assert "42703" in shown.err


@pytest.mark.parametrize("fault", ["password", "authority", "port"])
def test_it_does_not_connect_to_what_it_should_not(server: _Server, fault: str) -> None:
    url, password = server.url, _PASSWORD
    if fault == "password":
        password = "wrong"
    elif fault == "authority":
        url = url.split("?")[0] + f"?sslrootcert={server.foreign_ca}"
    else:
        url = "postgresql://x@localhost:1/x"
    with pytest.raises(CommandError, match="cannot connect"):
        run(url, password)
