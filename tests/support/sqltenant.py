"""SQL over real storage without sessions: statements in, rows or tags out.

    async def body(db: Sql) -> None:
        await db.run("CREATE TABLE t (a int)")
        assert await db.rows("SELECT * FROM t") == []

Each statement is a transaction of its own unless `begin` opened one.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from dormouse.base.clock import SystemClock
from sqlnode.analyse.statement import analyse
from sqlnode.catalog import store
from sqlnode.catalog.catalog import Catalog
from sqlnode.compile.statement import compile_plan
from sqlnode.ddl.dispatch import run_utility
from sqlnode.execute.api import Execution
from sqlnode.kv.api import Isolation
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.transaction import KvTransaction
from sqlnode.parse import parse
from sqlnode.plan.planner import plan
from sqlnode.session.context import SessionContext
from sqlnode.session.settings import Settings
from sqlnode.tree import Utility
from tests.support.tenant import with_tenant


class _NoInterrupts:
    async def checkpoint(self) -> None:
        """Nobody interrupts."""


class Sql:
    """One session's worth of statements; `catalog` is what it has read."""

    def __init__(self, client: KvClient, catalog: Catalog) -> None:
        self.client = client
        self.catalog = catalog
        self.notices: list[str] = []
        self.transaction: KvTransaction | None = None
        self._committed = catalog
        settings = Settings({}, internal={})
        self.context = SessionContext(
            settings, catalog, SystemClock(), user="demo", database="demo", pid=1
        )

    @classmethod
    async def open(cls, client: KvClient) -> "Sql":
        return cls(client, await store.load(client, owner="demo", database="demo"))

    def begin(self, isolation: Isolation = Isolation.READ_COMMITTED) -> None:
        self.transaction = self.client.begin(isolation=isolation)

    async def commit(self) -> None:
        if self.transaction is None:
            raise RuntimeError("no transaction")
        transaction, self.transaction = self.transaction, None
        try:
            await transaction.commit()
        except Exception:
            self.catalog = self._committed
            raise
        if self.catalog is not self._committed:
            await self.reload()

    def rollback(self) -> None:
        if self.transaction is None:
            raise RuntimeError("no transaction")
        self.transaction.rollback()
        self.transaction = None
        self.catalog = self._committed

    async def reload(self) -> None:
        self.catalog = self._committed = await store.load(
            self.client, owner="demo", database="demo"
        )

    async def run(self, text: str) -> str:
        """Run statements; the last one's command tag, or how many rows it gave."""
        tag = ""
        for raw in parse(text):
            tag, _rows = await self._one(raw)
        return tag

    async def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        [raw] = parse(text)
        return (await self._one(raw))[1]

    async def _one(self, raw: Any) -> tuple[str, list[tuple[Any, ...]]]:
        if self.transaction is not None:
            return await self._attempt(raw)
        self.begin()
        try:
            try:
                answer = await self._attempt(raw)
            except CatalogStale:
                await self.reload()
                answer = await self._attempt(raw)
        except Exception:
            self.rollback()
            raise
        await self.commit()
        return answer

    async def _attempt(self, raw: Any) -> tuple[str, list[tuple[Any, ...]]]:
        transaction = self.transaction
        if transaction is None:
            raise RuntimeError("no transaction")
        transaction.catalog_version = self.catalog.version
        await transaction.begin_statement()
        self.context.catalog = self.catalog
        analysed = analyse(
            raw,
            catalog=self.catalog,
            search_path=self.context.search_path(),
            context=self.context,
        )
        execution = Execution(transaction, self.catalog, self.context, _NoInterrupts())
        if isinstance(analysed.statement, Utility):
            tag = await run_utility(analysed.statement, execution)
            self.catalog = execution.catalog
            self.notices += [message for _, _, message in execution.notices]
            return tag, []
        executable = compile_plan(
            plan(analysed.statement, catalog=self.catalog), analysed.param_types
        )
        rows = [row async for batch in executable.run(execution) for row in batch]
        return executable.tag, rows


def with_sql(body: Callable[[Sql], Awaitable[None]], **settings: Any) -> None:
    """Run `body` with a fresh tenant."""

    async def run(client: KvClient) -> None:
        await body(await Sql.open(client))

    with_tenant(run, **settings)
