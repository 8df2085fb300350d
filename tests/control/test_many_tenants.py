"""A hundred thousand tenants: what is asked for costs what it answers, not what there is.

Work is counted in steps of SQLite's virtual machine, which are the same on every machine and in
every run; time is the benchmark's business (bench/control.py).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.fill import fill
from control.actor import Access, OrganisationId, Reach, Scope
from control.authority import Authority
from control.config import ControlSettings
from control.database import Database, open_database
from control.filters import Filter, page_query
from control.serve import serve
from control.services import Stores
from control.storage_sampling import StorageLevels
from dormouse.base.clock import ManualClock, SystemClock
from dormouse.base.ids import TenantId
from dormouse.base.tls import Role
from dormouse.cli.sockets import free_ports

FEW = 200
MANY = 100_000
SLACK = 1.3
"""A tree of many is a level or two deeper."""

_FILTERS = {
    "all": Filter(),
    "by name": Filter(name="many-150"),
    "of an organisation": Filter(organisation=OrganisationId(1)),
    "of another organisation": Filter(organisation=OrganisationId(9)),
    "a common label": Filter(labels=[("stage", "test")]),
    "a rare label": Filter(labels=[("group", "g150")]),
    "any value of a label": Filter(labels=[("group", None)]),
    "an unknown label": Filter(labels=[("stage", "live")]),
    "two labels": Filter(labels=[("group", "g150"), ("stage", "test")]),
    "one tenant": Filter(tenant=TenantId(150)),
    "those awake": Filter(among=[TenantId(150), TenantId(160)]),
    "those asleep": Filter(apart_from=[TenantId(150), TenantId(160)]),
    "search, often": Filter(search="many"),
    "deleted": Filter(deleted=True),
    "deleted, by name": Filter(deleted=True, name="many-150"),
}
_LIMIT = 50


class _Work:
    """Counts the steps of every connection that is opened while it is in force."""

    def __init__(self) -> None:
        self.steps = 0

    def _step(self) -> int:
        self.steps += 1
        return 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connect = sqlite3.connect

        def counting(*arguments: object, **options: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
            connection.set_progress_handler(self._step, 1)
            return connection

        monkeypatch.setattr(sqlite3, "connect", counting)  # aiosqlite's

    async def of(self, action: Awaitable[object]) -> int:
        before = self.steps
        await action
        return self.steps - before


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Registries with few and with many tenants."""
    made = {}
    for count in (FEW, MANY):
        folder = tmp_path_factory.mktemp(f"with-{count}")
        asyncio.run(_begin(folder / "registry.sqlite"))
        fill(folder / "registry.sqlite", 1, count)
        _store(folder / "registry.sqlite")
        made[count] = folder / "registry.sqlite"
    return made


def _store(file: Path) -> None:
    """Every tenant stores something."""
    with sqlite3.connect(file) as connection:
        levels = (
            "INSERT INTO storage_levels (tenant_id, bytes, booked) SELECT id, 4096, ? FROM tenants"
        )
        connection.execute(levels, (ManualClock().wall_ns() // 1_000_000_000,))
    connection.close()


async def _begin(file: Path) -> None:
    async with open_database(file) as database:
        await _create(Stores.over(database, ManualClock()), "pattern")


async def _create(stores: Stores, name: str) -> None:
    await stores.registry.add(
        name=name,
        owner="owner",
        database=name,
        scram_verifier="v" * 133,
        connections_max=10,
        labels={"stage": "test"},
    )


@asynccontextmanager
async def _stores(file: Path) -> AsyncIterator[tuple[Database, Stores]]:
    async with open_database(file) as database:
        yield database, Stores.over(database, ManualClock())


def _steps(
    files: dict[int, Path],
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[Stores], Awaitable[object]],
) -> dict[int, int]:
    """The work of an action with few and with many tenants."""

    async def run(file: Path) -> int:
        work = _Work()
        work.install(monkeypatch)
        async with _stores(file) as (_, stores):
            return await work.of(action(stores))

    found = {count: asyncio.run(run(file)) for count, file in files.items()}
    assert min(found.values()) > 0  # it was counted
    return found


@pytest.mark.parametrize("name", _FILTERS)
def test_a_page_costs_what_is_on_it(
    files: dict[int, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def read(stores: Stores) -> None:
        await stores.registry.page(after=0, limit=_LIMIT, where=_FILTERS[name])

    steps = _steps(files, monkeypatch, read)
    # Of the rare label, there is one tenant among few and a hundred among many.
    slack = SLACK * _LIMIT if "group" in str(_FILTERS[name]) else SLACK
    assert steps[MANY] <= slack * steps[FEW], steps


def test_the_last_page_costs_as_much_as_the_first(
    files: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(after: int) -> int:
        async def read(stores: Stores) -> None:
            found = await stores.registry.page(after=after, limit=_LIMIT)
            assert len(found) == _LIMIT

        return _steps({MANY: files[MANY]}, monkeypatch, read)[MANY]

    assert at(MANY - 2 * _LIMIT) == at(0)


@pytest.mark.parametrize("where", _FILTERS.values(), ids=_FILTERS)
def test_every_page_begins_at_an_index(files: dict[int, Path], where: Filter) -> None:
    sql, values = page_query("id, name", where, after=0, limit=_LIMIT)
    with sqlite3.connect(files[FEW]) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    connection.close()
    assert not any("TEMP B-TREE" in line for line in plan), plan
    scans = [line for line in plan if line.startswith("SCAN") and "json_each" not in line]
    assert scans == [], plan


async def _resolve(stores: Stores) -> object:
    return await stores.registry.get(TenantId(150))


async def _owner(stores: Stores) -> object:
    return await stores.registry.organisation_of(TenantId(150))


async def _find(stores: Stores) -> object:
    return await stores.registry.find([TenantId(150), TenantId(160)])


async def _authenticate(stores: Stores) -> object:
    return await stores.keys.find("dm_nobody")


async def _make_key(stores: Stores) -> object:
    reach = Reach(Scope.TENANT, Access.READ, OrganisationId(1), TenantId(150))
    return await stores.keys.add(reach, label="x", expires_ns=None, created_by=None)


async def _make(stores: Stores) -> None:
    await _create(stores, "newcomer")


async def _delete(stores: Stores) -> object:
    return await stores.registry.mark_deleted(TenantId(151), grace_seconds=60)


async def _purgeable(stores: Stores) -> object:
    return await stores.registry.to_purge(100)


async def _audit(stores: Stores) -> object:
    reach = Reach(Scope.ADMIN, Access.READ)
    return await stores.journal.page(after=0, limit=_LIMIT, reach=reach, tenant=TenantId(150))


async def _stored(stores: Stores) -> object:
    levels = StorageLevels(stores.database, ManualClock())
    return await levels.now(-1), await levels.now(0)


@pytest.mark.parametrize(
    "action",
    [
        _stored,
        _resolve,
        _owner,
        _find,
        _authenticate,
        _make_key,
        _make,
        _delete,
        _purgeable,
        _audit,
    ],
    ids=lambda action: action.__name__,
)
def test_what_is_done_with_one_tenant_knows_no_others(
    files: dict[int, Path],
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[Stores], Awaitable[object]],
) -> None:
    steps = _steps(files, monkeypatch, action)
    assert steps[MANY] <= SLACK * steps[FEW], steps


def _settings(registry: Path) -> ControlSettings:
    """With everything in one folder, where the keys of the registry's secrets are."""
    folder, ports = registry.parent, free_ports()
    Authority.open(folder, SystemClock()).ensure_role(folder / "certificates", Role.CONTROL)
    return ControlSettings(
        registry=registry,
        authority=folder,
        certs=folder / "certificates",
        rpc_address=f"127.0.0.1:{next(ports)}",
        autoscaler_address=f"127.0.0.1:{next(ports)}",
        storage_address=f"127.0.0.1:{next(ports)}",
    )


def test_a_start_reads_no_tenants(files: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(settings: ControlSettings) -> None:
        async with serve(settings):
            pass

    found = {}
    for count, file in files.items():
        work = _Work()
        work.install(monkeypatch)
        asyncio.run(start(_settings(file)))
        found[count] = work.steps
    assert found[FEW] > 0
    # The one thing that is counted is tenants, by SQLite itself and without reading them.
    assert found[MANY] <= 2 * found[FEW], found
