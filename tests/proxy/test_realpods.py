"""The proxy with two real pods on real storage: psycopg's sessions move, wait and recover."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop

from dormouse.base.ids import PodId
from dormouse.base.revocation import FILE, write_text
from proto.autoscaler_pb2 import MOVE, PARK, SERVE
from proxy import metrics, mover
from tests.proxy.doubles import AUTHORITY, FakePod, Setup, proxied
from tests.support.bornpod import Pod, pod_beside
from tests.support.cutter import cutting
from tests.support.kv import storage_running
from tests.support.pod import DATABASE, PASSWORD, USER
from tests.support.tenant import TENANT
from tests.support.waiting import GUARD_SECONDS, until


class RealPod(FakePod):
    """A real pod as the autoscaler tells of it."""

    def __init__(self, pod: Pod, number: int, address: str) -> None:
        super().__init__(TENANT)
        self.pod = pod
        self.id = number
        self.address = address

    async def sessions(self) -> int:
        return (await self.pod.status()).sessions


Body = Callable[[Setup, RealPod, RealPod], Coroutine[Any, Any, None]]


@asynccontextmanager
async def real_pod(storage: Any, folder: Path) -> AsyncIterator[RealPod]:
    async with pod_beside(storage, folder) as pod:
        reply = await pod.stamp(sessions_max=100)
        yield RealPod(pod, reply.pod_id, (await pod.status()).sql_address)


def run(folder: Path, body: Body) -> None:
    async def main() -> None:
        async with (
            proxied(folder / "proxy") as setup,
            storage_running(folder / "kv", engine="memory", authority=AUTHORITY) as storage,
            real_pod(storage, folder / "one") as one,
            real_pod(storage, folder / "two") as two,
        ):
            setup.plane.tenants[TENANT] = "den"
            await told(setup, one)
            await body(setup, one, two)

    uvloop.run(main())


@asynccontextmanager
async def connected(setup: Setup) -> AsyncIterator["psycopg.AsyncConnection[Any]"]:
    conninfo = setup.conninfo(user=f"{USER}.den-{TENANT}", dbname=DATABASE, password=PASSWORD)
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        yield connection


async def one_row(connection: "psycopg.AsyncConnection[Any]", text: str) -> Any:
    return await (await connection.execute(text.encode())).fetchone()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover, "TICK_SECONDS", 0.05)


async def told(setup: Setup, *pods: RealPod) -> None:
    """These are the tenant's pods, and the proxy knows."""
    setup.plane.running[TENANT] = list(pods)
    await setup.publish(TENANT)


async def has(pod: RealPod, count: int) -> None:
    """Wait until the pod has so many sessions."""
    async with asyncio.timeout(GUARD_SECONDS):
        while await pod.sessions() != count:  # noqa: ASYNC110 - a pod tells nobody
            await asyncio.sleep(0.02)


def test_sessions_take_all_they_have_along(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with connected(setup) as connection, connected(setup) as other:
            await connection.execute("set work_mem = '9MB'")
            await connection.execute("create table mice (id int primary key, name text)")
            await connection.execute("prepare named as select name from mice where id = $1")
            await connection.execute("insert into mice values (1, 'ada')")
            pid = connection.info.backend_pid
            one.wish = MOVE
            await told(setup, one, two)
            await has(two, 2)
            assert await one_row(connection, "execute named(1)") == ("ada",)
            assert await one_row(connection, "show work_mem") == ("9MB",)
            assert await one_row(connection, "select pg_backend_pid()") == (pid,)
            assert await one_row(other, "show work_mem") != ("9MB",)

    run(tmp_path, body)


def test_a_steady_query_is_not_disturbed_by_moves(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        before = metrics.RESUMES.labels("move", "taken_up")._value.get()
        stop = asyncio.Event()
        counts = [0] * 8

        async def ask(number: int) -> None:
            async with connected(setup) as connection:
                while not stop.is_set():
                    row = await (
                        await connection.execute("select %s::int + %s", (counts[number], number))
                    ).fetchone()
                    assert row == (counts[number] + number,)
                    counts[number] += 1

        def all_have_asked(times: int) -> bool:
            return asking.done() or min(counts) > times

        asking = asyncio.gather(*(ask(number) for number in range(8)))
        pods = [one, two]
        for rounds in range(6):
            await until(partial(all_have_asked, rounds))
            pods[0].wish, pods[1].wish = MOVE, SERVE
            await told(setup, *pods)
            await has(pods[1], 8)
            pods.reverse()
        stop.set()
        await asking
        assert metrics.RESUMES.labels("move", "taken_up")._value.get() - before >= 48

    run(tmp_path, body)


def test_a_parked_session_goes_on_in_another_pod(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with connected(setup) as connection:
            await connection.execute("set search_path = elsewhere")
            one.wish = PARK
            await told(setup, one)
            await until(lambda: metrics.PARKED._value.get() == 1)
            await has(one, 0)
            await told(setup)
            setup.plane.sleeping[TENANT] = [two]
            assert await one_row(connection, "show search_path") == ("elsewhere",)
            assert await two.sessions() == 1

    run(tmp_path, body)


def test_a_lost_pod_is_not_noticed_between_transactions(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with cutting(one.address) as cutter:
            one.address = cutter.address
            await told(setup, one)
            async with connected(setup) as idle, connected(setup) as busy:
                await idle.execute("set work_mem = '9MB'")
                await busy.execute("begin")
                setup.plane.sleeping[TENANT] = [two]
                cutter.refuse_first = 100
                cutter.cut()
                await has(two, 1)
                assert await one_row(idle, "show work_mem") == ("9MB",)
                with pytest.raises(psycopg.OperationalError, match="its server ended"):
                    await busy.execute("commit")

    run(tmp_path, body)


def revoke(folder: Path, pod: RealPod) -> None:
    """As control does, for a role with its certificates in `folder`."""
    (folder / "next").write_text(write_text([(TENANT, PodId(pod.id))]))
    (folder / "next").rename(folder / FILE)


def test_a_proxy_hangs_up_on_a_revoked_pod_and_sends_nobody_there(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with connected(setup) as connection:
            await connection.execute("set work_mem = '9MB'")
            pid = connection.info.backend_pid
            await has(one, 1)
            await told(setup, one, two)
            revoke(tmp_path / "proxy", one)
            await has(two, 1)
            assert await one_row(connection, "show work_mem") == ("9MB",)
            assert await one_row(connection, "select pg_backend_pid()") == (pid,)
            for _ in range(4):
                async with connected(setup) as newcomer:
                    assert await one_row(newcomer, "select 1") == (1,)
            await has(one, 0)

    run(tmp_path, body)


def test_storage_cuts_a_revoked_pod_off_and_no_other(tmp_path: Path) -> None:
    async def body(setup: Setup, one: RealPod, two: RealPod) -> None:
        async with connected(setup) as connection:
            await connection.execute("create table mice (id int primary key)")
            await has(one, 1)
            tenant = one.pod.service._tenant
            assert tenant is not None
            epoch = tenant.kv.epoch
            revoke(tmp_path / "kv" / "certs", one)
            await until(lambda: tenant.kv.epoch > epoch + 1)
            assert not tenant.kv._greeted
        await told(setup, two)
        async with connected(setup) as connection:
            assert await one_row(connection, "select count(*) from mice") == (0,)

    run(tmp_path, body)
