"""psql says through the gateway what it says on PostgreSQL 15, banner to error.

`psql.out` is recorded from PostgreSQL 15 as an ordinary role `owner` that owns its database:

    python -m tests.e2e.test_psql 'postgresql://owner@…/…' > tests/e2e/psql.out
"""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.gateway import OwnGateway

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).resolve().parent


def run_psql(url: str, *arguments: str) -> str:
    """What psql prints, standard error in its place, without the file name in front of errors."""
    done = subprocess.run(
        ["psql", "-X", url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.replace(f"psql:{FOLDER / 'psql.sql'}:", "psql:")


def test_a_first_day_in_psql(shared_gateway: OwnGateway) -> None:
    url = shared_gateway.create_tenant("first-day")["connection_url"]
    expected = (FOLDER / "psql.out").read_text(encoding="utf-8")
    assert run_psql(url, "-a", "-f", str(FOLDER / "psql.sql")) == expected


def test_psql_connects_without_a_warning(shared_gateway: OwnGateway) -> None:
    url = shared_gateway.create_tenant("no-warning")["connection_url"]
    assert run_psql(url, "-At", "-c", "SELECT 1") == "1\n"
    done = subprocess.run(
        ["psql", "-X", url], input="\\q\n", capture_output=True, text=True, timeout=60, check=True
    )
    assert "WARNING" not in done.stdout + done.stderr


def test_without_tls_there_is_a_hint(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("no-tls")
    url = tenant["connection_url"].split("?")[0] + "?sslmode=disable"
    assert "sslmode=require" in run_psql(url, "-c", "SELECT 1")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("owner", "tenant"),
        ("owner.first-day-99999999", "no such tenant"),
        ("owner.other-1", "no such tenant"),
    ],
)
def test_a_mistaken_address_is_told_how_and_nothing_more(
    shared_gateway: OwnGateway, user: str, message: str
) -> None:
    address = f"{shared_gateway.sql_host}:{shared_gateway.sql_port}"
    out = run_psql(f"postgresql://{user}:x@{address}/x?sslmode=require", "-c", "SELECT 1")
    assert "FATAL" in out
    assert message in out
    assert "HINT" in out


if __name__ == "__main__":
    sys.stdout.write(run_psql(sys.argv[1], "-a", "-f", str(FOLDER / "psql.sql")))
