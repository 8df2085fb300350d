"""The whole gateway with its rows on an S3 server, through a kill of storage and a second start."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bench.gateway import GatewayError, own_gateway
from tests.support.gateway import gateway
from tests.support.objectstore import object_storage, s3_running

pytestmark = pytest.mark.e2e


def _flags(port: int) -> list[str]:
    storage = object_storage(port, "installation")
    options = [f"--object-store-option={name}={value}" for name, value in storage.options.items()]
    return ["--object-store", storage.url, *options]


def test_rows_live_in_the_object_store(tmp_path: Path) -> None:
    with s3_running() as port:
        with gateway(tmp_path, arguments=_flags(port)) as running:
            tenant = running.create_tenant("shop")
            with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
                connection.execute("CREATE TABLE t (id int PRIMARY KEY, s text)")
                connection.execute(
                    "INSERT INTO t SELECT n, 'x' || n FROM generate_series(1, 500) n"
                )
            running.kill_role("storage")
            with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
                connection.execute("UPDATE t SET s = 'y' WHERE id <= 10")
        assert not list((tmp_path / "gateway").rglob("storage.sqlite"))
        with gateway(tmp_path, arguments=_flags(port)) as running:
            url = make_conninfo(tenant["connection_url"], port=running.sql_port)
            with psycopg.connect(url) as connection:
                row = connection.execute(
                    "SELECT count(*), count(*) FILTER (WHERE s = 'y') FROM t"
                ).fetchone()
            assert row == (500, 10)
        # Without the flag every tenant would seem empty.
        with (
            pytest.raises(GatewayError, match="start with --object-store s3://bucket/installation"),
            own_gateway(tmp_path / "gateway"),
        ):
            pass
