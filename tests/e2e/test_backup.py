"""Backups as an operator makes them: under load, through the command, into another tenant."""

import base64
import itertools
import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway
from dormouse.cli import client as client_module
from dormouse.cli.main import main
from tests.e2e.test_kills import Bank, _wait_for_more
from tests.support.gateway import gateway
from tests.support.objectstore import object_storage, s3_running

pytestmark = pytest.mark.e2e

_SCHEMA = """
CREATE SCHEMA sales;
CREATE TABLE sales.orders (
    id int PRIMARY KEY,
    customer text NOT NULL,
    total numeric(12,2) DEFAULT 0
);
CREATE INDEX orders_by_customer ON sales.orders (customer, total DESC);
INSERT INTO sales.orders (id, customer, total)
SELECT n, 'c' || n % 7, n * 1.5 FROM generate_series(1, 3000) n;
"""
_COLUMNS = """
SELECT column_name, column_default, is_nullable FROM information_schema.columns
WHERE table_name = 'orders' ORDER BY ordinal_position
"""


@dataclass
class Command:
    """The command on one gateway; answers its JSON."""

    running: OwnGateway
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Any:
        code = self.code(*arguments)
        out, errors = self.capsys.readouterr()
        assert code == 0, errors
        return json.loads(out)

    def code(self, *arguments: object) -> int:
        words = [str(each) for each in arguments]
        needs_none = words[0] == "verify" or words[:2] == ["backup", "--list"]
        where = [] if needs_none else ["--data", str(self.running.folder)]
        return main([*words, "--json", *where])

    def refusal(self, *arguments: object) -> str:
        assert self.code(*arguments) == 1
        return self.capsys.readouterr().err


@contextmanager
def working(bank: Bank) -> Iterator[None]:
    threads = [threading.Thread(target=bank.work, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        bank.stop.set()
        for thread in threads:
            thread.join()


def fetched(url: str, *queries: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def test_a_tenant_under_load_comes_back_as_it_was_at_one_moment(
    shared_gateway: OwnGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(shared_gateway, capsys)
    tenant = shared_gateway.create_tenant("bank")
    bank = Bank(tenant["connection_url"])
    bank.create()
    with psycopg.connect(bank.url, autocommit=True) as connection:
        connection.execute(_SCHEMA)
    shared_gateway.change(tenant["id"], idle_timeout_seconds=900)
    with working(bank):
        known: list[set[str]] = []
        for number in range(3):
            _wait_for_more(bank, 30)
            known.append(set(bank.acknowledged))
            command("backup", "bank", "-o", tmp_path / f"{number}.backup")
    assert not bank.unexpected
    sizes, copy = [], {"connection_url": ""}
    for number in range(3):
        file = tmp_path / f"{number}.backup"
        assert command("verify", file)["tenant"]["name"] == "bank"
        copy = command("restore", file, "--as", f"copy{number}")
        assert copy["settings"]["idle_timeout_seconds"] == 900
        # What was acknowledged before it began is in it, and all sums agree.
        restored = Bank(copy["connection_url"], acknowledged=sorted(known[number]))
        restored.check()
        sizes.append(fetched(copy["connection_url"], "SELECT count(*) FROM history")[0])
    assert len({str(each) for each in sizes}) > 1  # they are of different moments
    with psycopg.connect(copy["connection_url"]) as connection:
        last = connection.execute("SELECT max(number) FROM history").fetchone()
        insert = "INSERT INTO history (mark) VALUES ('restored') RETURNING number"
        number_row = connection.execute(insert).fetchone()
        assert last is not None
        assert number_row is not None
        assert number_row[0] > last[0]
    _same_schema(tenant["connection_url"], copy["connection_url"])


def _same_schema(before: str, after: str) -> None:
    queries = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'sales' ORDER BY 1",
        "SELECT conname, contype FROM pg_constraint ORDER BY 1",
        "SELECT count(*), sum(total) FROM sales.orders",
        "SELECT customer, total FROM sales.orders WHERE customer = 'c3' ORDER BY total DESC",
        _COLUMNS,
    )
    assert fetched(before, *queries) == fetched(after, *queries)
    with psycopg.connect(after, autocommit=True) as connection:
        connection.execute("INSERT INTO sales.orders VALUES (3001, 'new')")
        # Its rows have no key of their own but numbers, which must not begin anew.
        connection.execute("INSERT INTO history SELECT 'new', 0 FROM generate_series(1, 100)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO sales.orders (id, customer) VALUES (1, 'x')")
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute("INSERT INTO sales.orders VALUES (3002, NULL)")
        connection.execute("CREATE TABLE later (id int PRIMARY KEY)")
        connection.execute("ALTER TABLE sales.orders ADD COLUMN note text")
        connection.execute("DROP INDEX sales.orders_by_customer")


def test_what_is_dropped_comes_back_under_its_name(
    shared_gateway: OwnGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(shared_gateway, capsys)
    tenant = shared_gateway.create_tenant("phoenix")
    with psycopg.connect(tenant["connection_url"]) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (42)")
    file = tmp_path / "phoenix.backup"
    command("backup", tenant["id"], "-o", file)
    assert "exists" in command.refusal("restore", file)
    shared_gateway.delete(tenant["id"])
    back = command("restore", file)
    assert (back["name"], back["id"] != tenant["id"]) == ("phoenix", True)
    assert fetched(back["connection_url"], "SELECT n FROM t") == [[(42,)]]
    assert command("backup", "--all", "--to", tmp_path / "all")["failed"] == []
    files = sorted((tmp_path / "all").iterdir())
    assert any(each.name.startswith("phoenix-") for each in files)
    assert all(command("verify", each)["sums"]["pieces"] >= 0 for each in files)
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_all_tenants_go_to_a_bucket_and_come_back_from_it(
    shared_gateway: OwnGateway,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = Command(shared_gateway, capsys)
    with s3_running() as port:
        for name, value in object_storage(port, "").options.items():
            if name.startswith(("aws_access", "aws_secret")):
                monkeypatch.setenv(name.upper(), value)
        flags = [
            f"--object-store-option=aws_endpoint=http://127.0.0.1:{port}",
            "--object-store-option=aws_allow_http=true",
            "--object-store-option=aws_region=us-east-1",
        ]
        place = "s3://bucket/nightly"
        assert command("backup", "--list", place, *flags) == {"backups": []}
        tenant = shared_gateway.create_tenant("cloudy")
        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("CREATE TABLE t (n int, s text)")
            connection.execute(
                "INSERT INTO t SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) n"
            )
        done = command("backup", "--all", "--to", place, *flags)
        assert done["failed"] == []
        listed = {
            each["file"]: each for each in command("backup", "--list", place, *flags)["backups"]
        }
        assert {each["file"]: each["file_bytes"] for each in done["backups"]} == {
            file: each["bytes"] for file, each in listed.items() if each["whole"]
        }
        [file] = [each["file"] for each in done["backups"] if each["name"] == "cloudy"]
        assert command("verify", file, *flags)["tenant"]["name"] == "cloudy"
        copy = command("restore", file, "--as", "clear", *flags)
        query = "SELECT count(*), sum(n), sum(length(s)) FROM t"
        assert fetched(tenant["connection_url"], query) == fetched(copy["connection_url"], query)
        (tmp_path / "key").write_text("ab" * 32)
        sealed = [*flags, "--key-file", tmp_path / "key"]
        command("backup", "cloudy", "-o", f"{place}/mine.backup", *sealed)
        assert command("verify", f"{place}/mine.backup", *sealed)["sums"]["rows"] > 20_000
        assert "exists" in command.refusal("backup", "cloudy", "-o", f"{place}/mine.backup", *flags)
        assert "NoSuchBucket" in command.refusal("backup", "cloudy", "--to", "s3://gone/x", *flags)
        assert "there is no backup" in command.refusal("verify", f"{place}/no.backup", *flags)


def test_an_encrypted_backup_needs_its_key(
    shared_gateway: OwnGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(shared_gateway, capsys)
    tenant = shared_gateway.create_tenant("discreet")
    with psycopg.connect(tenant["connection_url"]) as connection:
        connection.execute("CREATE TABLE t (s text)")
        connection.execute("INSERT INTO t VALUES ('whisper')")
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text(secrets.token_hex(32) + "\n")
    other.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    file, open_file = tmp_path / "sealed.backup", tmp_path / "open.backup"
    assert command("backup", "discreet", "-o", file, "--key-file", key)["encrypted"]
    assert not command("backup", "discreet", "-o", open_file)["encrypted"]
    assert b"discreet" not in file.read_bytes()
    assert b"discreet" in open_file.read_bytes()
    for words in (["verify", file], ["restore", file, "--as", "never"]):
        assert "is encrypted" in command.refusal(*words)
        assert "another key" in command.refusal(*words, "--key-file", other)
    assert "is not encrypted" in command.refusal("verify", open_file, "--key-file", key)
    assert "no key of 32 bytes" in command.refusal("verify", file, "--key-file", open_file)
    assert "cannot be read" in command.refusal("verify", file, "--key-file", tmp_path / "none")
    assert command("verify", file, "--key-file", key)["tenant"]["name"] == "discreet"
    copy = command("restore", file, "--as", "heard", "--key-file", key)
    assert fetched(copy["connection_url"], "SELECT s FROM t") == [[("whisper",)]]
    _flip(file, file.stat().st_size // 2)
    assert "damaged" in command.refusal("restore", file, "--as", "never", "--key-file", key)


def _flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_a_damaged_file_is_refused_before_anything_is_written(
    shared_gateway: OwnGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(shared_gateway, capsys)
    tenant = shared_gateway.create_tenant("fragile")
    with psycopg.connect(tenant["connection_url"]) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t SELECT n FROM generate_series(1, 2000) n")
    whole = tmp_path / "whole.backup"
    command("backup", "fragile", "-o", whole)
    size = whole.stat().st_size
    before = _ever(shared_gateway)
    for at in [*range(0, size, size // 20), size - 1]:
        damaged = Path(shutil.copy(whole, tmp_path / "damaged.backup"))
        _flip(damaged, at)
        assert "damaged" in command.refusal("verify", damaged)
        assert "damaged" in command.refusal("restore", damaged, "--as", "never")
    for length in (0, 10, size // 2, size - 1):
        (tmp_path / "short.backup").write_bytes(whole.read_bytes()[:length])
        assert "damaged" in command.refusal("restore", tmp_path / "short.backup")
    assert _ever(shared_gateway) == before  # not even a number was given away


def _ever(running: OwnGateway) -> int:
    return int(running.call("GET", "/v1/status")["tenants"]["ever"])


@pytest.mark.parametrize("role", ["storage", "control"])
def test_a_kill_leaves_no_half_of_anything(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    role: str,
) -> None:
    """While it is written the backup is no file; while it is restored the tenant is not there, and
    the restore goes on when the role is back."""
    with gateway(tmp_path, allowed=(r"role \w+ died", "broke off")) as running:
        command = Command(running, capsys)
        tenant = running.create_tenant("shop")
        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, s text)")
            for part in range(8):
                connection.execute(
                    "INSERT INTO t SELECT n, repeat(md5(n::text), 20)"
                    f" FROM generate_series({part * 5000}, {part * 5000 + 4999}) n"
                )
        file = tmp_path / "shop.backup"
        with monkeypatch.context() as patch:
            _kill_while_read(running, role, patch)
            code = command.code("backup", "shop", "-o", file)
        capsys.readouterr()
        if code == 0:
            command("verify", file)
        else:
            assert not list(tmp_path.glob("shop.backup*"))
        command("backup", "shop", "-o", file)
        _kill_at_piece(2, running, role, monkeypatch)
        copy = command("restore", file, "--as", "copy")
        query = "SELECT count(*), sum(id), sum(length(s)) FROM t"
        assert fetched(tenant["connection_url"], query) == fetched(copy["connection_url"], query)


def _kill_while_read(running: OwnGateway, role: str, patch: pytest.MonkeyPatch) -> None:
    """Kill a role when a part of the backup has been read."""
    backup = client_module.Client.backup

    @contextmanager
    def killing(self: client_module.Client, tenant: int) -> Iterator[Callable[[int], bytes]]:
        with backup(self, tenant) as read:
            calls = itertools.count()

            def read_some(size: int) -> bytes:
                if next(calls) == 4:
                    running.kill_role(role)
                return read(size)

            yield read_some

    patch.setattr(client_module.Client, "backup", killing)


def _kill_at_piece(
    number: int, running: OwnGateway, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill a role before a piece is sent; nobody sees the tenant then."""
    put = client_module.Client.put_piece

    def killing(self: client_module.Client, restore: int, piece: int, frame: bytes) -> None:
        if piece == number:
            assert running.request("GET", f"/v1/tenants/{restore}").status_code == 404
            running.kill_role(role)
        put(self, restore, piece, frame)

    monkeypatch.setattr(client_module.Client, "put_piece", killing)
