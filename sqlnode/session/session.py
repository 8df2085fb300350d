"""One session: its settings, statements, portals and transaction, and how a statement runs.

The wire protocol is `sqlnode.session.backend`'s; what a statement of the session's own means
(SET, BEGIN, FETCH, COPY …) is `sqlnode.session.utility`'s. Here is what both share: planning with a
fresh catalog, opening portals, and sending rows.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pgwire.backend import data_rows, notification, row_description
from pgwire.link import Link
from pgwire.notices import Notice, notice_response
from sqlnode.analyse.locking import NAMES as LOCKING_NAMES
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Execution, ResultColumn
from sqlnode.kv.advisory import AdvisoryLocks
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.sequences import SessionSequences
from sqlnode.parse import RawStatement
from sqlnode.session.budget import Budget
from sqlnode.session.connection import Connection
from sqlnode.session.context import SessionContext
from sqlnode.session.encoding import column_encoder, encode_batch, fields, result_formats
from sqlnode.session.guc_values import codec
from sqlnode.session.interrupts import SessionInterrupts
from sqlnode.session.notifications import Notifications
from sqlnode.session.pipeline import Planned, make_plan, names_objects, plan_one, takes_snapshot
from sqlnode.session.portal import Portal
from sqlnode.session.prepared import PreparedStatement, Statements
from sqlnode.session.replies import wanted
from sqlnode.session.retrying import STATEMENTS_OVERTAKEN, Retries
from sqlnode.session.settings import Settings
from sqlnode.session.tenant import Tenant
from sqlnode.session.transactions import STALE_RETRIES_MAX, Transactions
from sqlnode.statements.meter import Meter
from sqlnode.types.base import Value

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog

_log = logging.getLogger(__name__)


class Session:
    """A client's session. `secret` is what its CancelRequest must show."""

    def __init__(
        self,
        tenant: Tenant,
        connection: Connection,
        settings: Settings,
        interrupts: SessionInterrupts,
        *,
        user: str,
        pid: int,
        secret: bytes,
        link: Link | None = None,
    ) -> None:
        self.tenant = tenant
        self.connection = connection
        self.settings = settings
        self.interrupts = interrupts
        self.user = user
        self.pid = pid
        self.secret = secret
        self.link = link
        """What the proxy may ask with; None for a client without a proxy."""
        self.busy = False
        """Whether a message is being worked on."""
        self.waits_since = tenant.clock.monotonic()
        """Since when the client has been silent, while it is (clock.monotonic)."""
        self.resumed = False
        """Whether another pod had it before."""
        self.told: Mapping[str, str] = settings.reported()
        """The values of reported settings as the client knows them."""
        self.context = SessionContext(
            settings, tenant.catalog, tenant.clock, user=user, database=tenant.database, pid=pid
        )
        self.context.statement_costs = tenant.costs
        self.meter = Meter(tenant.costs, user, connection)
        self.notifications: Notifications = Notifications(
            tenant.kv.channels, pid, wake=self._notified, overflow=self._overheard
        )
        self.context.notifications = self.notifications
        self.advisory: AdvisoryLocks = AdvisoryLocks(
            tenant.kv, pid, transaction=lambda: self.transactions.kv, lost=self._locks_lost
        )
        self.context.advisory = self.advisory
        self.sequences = self.context.sequences = SessionSequences(
            tenant.kv,
            session=pid,
            catalog=lambda: self.transactions.newest_catalog,
            reload=tenant.reload_catalog,
            read_only=lambda: self.transactions.read_only,
        )
        self.context.warn = self.warn
        connection.on_writable = self._notified
        self.transactions = Transactions(
            tenant,
            settings,
            self.context,
            interrupts,
            self.notifications,
            self.advisory,
            self.warn,
        )
        unsent = self.transactions.unsent_micro_units
        self.budget = interrupts.budget = Budget(tenant.spending, unsent)
        self.statements = Statements()
        self.portals: dict[str, Portal] = {}
        self.codec = codec(settings["client_encoding"])
        self._timeouts_of = -1
        self._statement_timeout_ms = 0
        self._idle_session_ms = 0
        self._idle_transaction_ms = 0

    def __repr__(self) -> str:
        return f"<Session {self.pid} of {self.user}, {self.transactions.status}>"

    # --- telling the client ------------------------------------------------------------------

    def warn(self, sqlstate: str, message: str) -> None:
        """A WARNING."""
        self.notice("WARNING", sqlstate, message)

    def notice(self, severity: str, sqlstate: str, message: str) -> None:
        """Any notice, where client_min_messages lets it through."""
        self.tell(Notice(severity, sqlstate, message))

    def tell(self, notice: Notice | None) -> None:
        """Likewise, with all its fields; None is nothing."""
        if notice and wanted(notice.severity, self.settings["client_min_messages"]):
            self.connection.send(notice_response(notice, self.codec))

    def tell_notifications(self) -> None:
        """What was notified meanwhile, where the client can take it now."""
        if self.connection.write_paused or self.transactions.in_block:
            return
        for each in self.notifications.take():
            if each is None:
                self.warn("01000", "notifications may have been lost")
            else:
                texts = each.channel, each.payload
                self.connection.send(notification(each.pid, *texts, self.codec))

    def _notified(self) -> None:
        if self.interrupts.waits and not self.busy and not self.transactions.active:
            self.tell_notifications()
            self.connection.flush()

    def _locks_lost(self) -> None:
        _log.warning("session ended that has lost its advisory locks", extra={"pid": self.pid})
        error = SqlError(
            "57P01",
            "terminating connection because its advisory locks are lost",
            detail="The connection to storage broke, and others may hold the locks now.",
            hint="Connect again, and take the locks anew.",
        )
        self.interrupts.end_session(error)

    def _overheard(self) -> None:
        _log.warning("session ended that does not take its notifications", extra={"pid": self.pid})
        text = "terminating connection because too many notifications wait for the client"
        self.interrupts.end_session(SqlError("53400", text))

    # --- time-outs ---------------------------------------------------------------------------

    @property
    def statement_timeout_ms(self) -> int:
        """statement_timeout; 0 is no limit."""
        if self._timeouts_of != self.settings.generation:
            self._read_timeouts()
        return self._statement_timeout_ms

    def idle_timeout(self) -> tuple[str, int]:
        """Which time-out runs while the client is silent, and its milliseconds (0: none)."""
        if self._timeouts_of != self.settings.generation:
            self._read_timeouts()
        if self.transactions.in_block:
            return "transaction", self._idle_transaction_ms
        return "session", self._idle_session_ms

    def _read_timeouts(self) -> None:
        settings = self.settings
        self._timeouts_of = settings.generation
        self._statement_timeout_ms = settings.milliseconds("statement_timeout")
        self._idle_session_ms = settings.milliseconds("idle_session_timeout")
        self._idle_transaction_ms = settings.milliseconds("idle_in_transaction_session_timeout")

    # --- planning ----------------------------------------------------------------------------

    @property
    def catalog(self) -> "Catalog":
        """The catalog the next statement sees."""
        return self.transactions.catalog

    def look_again(self) -> None:
        """Let the next statement see settings and catalog as they are now."""
        self.context.catalog = self.transactions.catalog
        self.context.refresh()

    async def plan(
        self, raw: RawStatement, declared: Sequence[int] = (), *, alone: bool = False
    ) -> Planned:
        """Plan a statement; `alone` where it is the whole text, so that the plan may be shared.

        A name that is not found may be one that another pod has made: before the error stands, the
        catalog's version is asked for.
        """
        await self.look_first(raw)
        self.look_again()
        try:
            return self._plan(raw, declared, alone=alone)
        except SqlError as error:
            if not error.sqlstate.startswith(("42", "3F")) or not await self._newer_catalog():
                raise
        self.look_again()
        return self._plan(raw, declared, alone=alone)

    async def look_first(self, raw: RawStatement) -> None:
        """Take the snapshot of a statement that has to take it before it is planned. Raises
        SqlError."""
        if names_objects(raw):
            await self.transactions.look_back()
        if takes_snapshot(raw):
            await self.transactions.keep_snapshot()

    def _plan(self, raw: RawStatement, declared: Sequence[int], *, alone: bool) -> Planned:
        if alone:
            return plan_one(self.tenant.plans, raw, self.context, declared)
        return make_plan(raw, self.context, declared)

    async def _newer_catalog(self) -> bool:
        """Whether the catalog was outdated; it has been read again then."""
        before = self.transactions.catalog
        if before is not self.tenant.catalog:
            return False  # this transaction has changed it: nobody else can have
        version = await self.tenant.kv.current_catalog_version()
        if version <= before.version:
            return False
        await self.tenant.reload_catalog(version)
        return True

    async def catch_up(self, stale: CatalogStale) -> None:
        """A statement met an outdated catalog: let it begin anew with the newest, or raise where it
        has left something behind."""
        if not self.transactions.take_back_statement():
            raise stale
        STATEMENTS_OVERTAKEN.inc()
        self.advisory.take_back_statement()
        await self.tenant.reload_catalog(stale.version)
        self.look_again()

    async def fresh(self, planned: Planned, *, undescribed: bool = False) -> Planned:
        """The same statement planned for the catalog as it is now. Raises SqlError 0A000 where that
        gives rows of another shape, unless nobody was told of the first."""
        if planned.executable is not None:
            await self.transactions.look_back()
            await self.transactions.keep_snapshot()
        if planned.catalog is self.transactions.catalog or planned.executable is None:
            return planned
        again = await self.plan(planned.raw, planned.param_types)
        if not undescribed and _row_shape(again) != _row_shape(planned):
            raise SqlError("0A000", "cached plan must not change result type")
        return again

    async def settled(self, planned: Planned) -> Planned:
        """A statement that is to be described: where one of its tables is being changed just now,
        that is waited for, as PostgreSQL's Parse does."""
        for _ in range(STALE_RETRIES_MAX):
            tables = planned.executable.tables if planned.executable is not None else ()
            if not self.tenant.kv.tables.contended(tables, planned.catalog.version):
                break
            execution = await self.execution(catalog=planned.catalog)
            try:
                await execution.transaction.lock_tables(tables)
            except CatalogStale as stale:
                await self.catch_up(stale)
                planned = await self.plan(planned.raw, planned.param_types, alone=True)
            else:
                break
        return planned

    # --- running -----------------------------------------------------------------------------

    async def execution(
        self, params: tuple[Value, ...] = (), catalog: "Catalog | None" = None
    ) -> Execution:
        """A statement's snapshot and surroundings; paused portals are read to their end first.
        `catalog` is what it was planned with, where it was."""
        if self.portals:
            await self._hold_paused()
        catalog = catalog or self.transactions.catalog
        transaction = await self.transactions.statement(catalog)
        return Execution(
            transaction=transaction,
            catalog=catalog,
            functions=self.context,
            interrupts=self.interrupts,
            params=params,
            memory_bytes_max=self.tenant.limits.statement_memory_bytes,
        )

    async def _hold_paused(self) -> None:
        for portal in self.portals.values():
            if portal.paused:
                await portal.hold()

    async def start_query(self, portal: Portal) -> None:
        """Let a portal of a planned query begin; its first rows are read here.

        Where it is the first of an implicit transaction and met a conflict, or lost its snapshot
        with storage's stream (40001), it is begun anew: it has given no row yet.
        """
        fresh, retries = self.transactions.is_fresh, Retries()
        while True:
            try:
                await self._start_query(portal)
            except SqlError as error:
                if not fresh:
                    raise
                pause = retries.pause(error)
                self._take_back()
                await asyncio.sleep(pause)
            else:
                return

    async def _start_query(self, portal: Portal) -> None:
        """A catalog that storage says is outdated is read again and the statement planned anew."""
        for attempt in range(STALE_RETRIES_MAX + 1):
            planned = portal.planned = await self.fresh(
                portal.planned, undescribed=portal.undescribed
            )
            self._check_writable(planned)
            execution = await self.execution(portal.params, planned.catalog)
            executable = planned.executable
            if executable is None:
                raise RuntimeError("a utility statement has no plan")
            batches = executable.run(execution)
            try:
                first = await anext(batches, None)
            except CatalogStale as stale:
                if attempt == STALE_RETRIES_MAX:
                    raise
                await self.catch_up(stale)
                continue
            portal.open(_resumed(first, batches), execution)
            return

    async def run_write(self, portal: Portal, *, alone: bool) -> None:
        """Let a portal of a statement that writes begin, and run it to its end.

        `alone`: nothing else is in its implicit transaction, which is committed before anybody is
        told anything. Where the commit finds that the schema has changed meanwhile, all begins
        anew: as in PostgreSQL, where such a statement waits for the change before it looks. So it
        does where it met a conflict (40001) with others' rows, of which its client knows nothing.
        """
        alone = alone and self.transactions.is_fresh
        stale_left, retries = STALE_RETRIES_MAX, Retries()
        while True:
            try:
                await self._start_query(portal)
                await portal.hold()
                await self.budget.checkpoint()
                if not alone:
                    return
                self.portals.pop(portal.name, None)  # it is to outlive the end of its transaction
                await self.finish()
            except CatalogStale as stale:
                stale_left -= 1
                if not alone or stale_left < 0:
                    raise
                await self._begin_anew(portal)
                await self.tenant.reload_catalog(stale.version)
                self.look_again()
            except SqlError as error:
                if not alone:
                    raise
                pause = retries.pause(error)
                await self._begin_anew(portal)
                await asyncio.sleep(pause)
            else:
                return

    async def _begin_anew(self, portal: Portal) -> None:
        """Undo all that the only statement of an implicit transaction has done."""
        await portal.close()
        self._take_back()

    def _take_back(self) -> None:
        if self.transactions.active:
            self.transactions.fail()
        self.advisory.take_back_statement()
        self.transactions.start()
        self.look_again()

    def _check_writable(self, planned: Planned) -> None:
        executable = planned.executable
        if executable is not None and executable.writes and self.transactions.read_only:
            command = executable.tag.split()[0]
            if locking := getattr(planned.raw.node, "locking_clause", None):
                command = f"SELECT {LOCKING_NAMES[locking[0].locking_clause.strength]}"
            raise SqlError("25006", f"cannot execute {command} in a read-only transaction")

    def shape(
        self, portal: Portal, columns: tuple[ResultColumn, ...] | None, formats: Sequence[int] = ()
    ) -> None:
        """Give a portal its columns and their encoders."""
        portal.columns = columns
        if columns is not None:
            portal.formats = result_formats(formats, len(columns))
            portal.codec = self.codec
            portal.encoders = [
                column_encoder(column.type, form, self.codec)
                for column, form in zip(columns, portal.formats, strict=True)
            ]

    def send_description(self, portal: Portal) -> None:
        """RowDescription of a portal that returns rows."""
        if portal.columns is not None:
            described = fields(portal.columns, portal.formats)
            self.connection.send(row_description(described, self.codec))

    async def send_rows(self, portal: Portal, limit: int = 0) -> int:
        """Send a portal's next rows, at most `limit` (0: all); how many there were."""
        sent = 0
        connection, context, encoders = self.connection, self.context, portal.encoders
        while batch := await portal.take(limit - sent if limit else 0):
            columns = encode_batch(batch, encoders, context)
            connection.send(data_rows(columns, len(batch)))
            sent += len(batch)
            if sent == limit:
                break
            if connection.crowded:
                await connection.drain()
                await self.interrupts.checkpoint()
        return sent

    # --- portals and statements --------------------------------------------------------------

    async def close_portal(self, name: str) -> None:
        """Drop a portal, if there is one of that name."""
        portal = self.portals.pop(name, None)
        if portal is not None:
            await portal.close()

    def add_portal(self, portal: Portal) -> None:
        """Keep a portal. Raises SqlError 54000 where there are too many."""
        if len(self.portals) >= self.tenant.limits.portals_max:
            raise SqlError(
                "54000", f"a session has at most {self.tenant.limits.portals_max} open portals"
            )
        self.portals[portal.name] = portal

    def add_statement(self, statement: PreparedStatement) -> None:
        """Keep a prepared statement. Raises SqlError 54000 where there are too many."""
        limit = self.tenant.limits.statements_max
        if statement.name not in self.statements and len(self.statements) >= limit:
            raise SqlError("54000", f"a session has at most {limit} prepared statements")
        self.statements.add(statement)

    async def end_transaction_portals(self, *, committed: bool) -> None:
        """Portals live as long as their transaction, held cursors longer if it commits."""
        for name, portal in list(self.portals.items()):
            if portal.holdable and committed:
                await portal.hold()
                portal.outlives = True
            elif not portal.outlives:
                await self.close_portal(name)

    async def finish(self) -> None:
        """A query or a pipeline is over: end an implicit transaction."""
        if self.transactions.active and not self.transactions.in_block:
            if self.portals:
                await self.end_transaction_portals(committed=True)
            await self.transactions.finish()
        await self._settle()

    async def _settle(self) -> None:
        """What this session has freed is free for others before its client hears of it."""
        if self.pid in self.tenant.kv.freeing:
            with self.interrupts.shielded(_nothing):
                await self.tenant.kv.settled(self.pid)

    async def fail(self) -> None:
        """A statement has failed."""
        self.transactions.fail()
        if self.portals and not self.transactions.in_block:
            await self.end_transaction_portals(committed=False)
        await self._settle()

    def take_encoding(self) -> None:
        """Follow client_encoding."""
        self.codec = codec(self.settings["client_encoding"])

    async def close(self) -> None:
        """Roll back what is open and let go of everything."""
        for portal in list(self.portals.values()):
            await portal.close()
        self.portals.clear()
        self.transactions.abandon()
        self.notifications.close()
        self.advisory.close()
        self.tenant.kv.freeing.pop(self.pid, None)


def _nothing() -> None:
    """What is shielded here ends by itself."""


def _row_shape(planned: Planned) -> list[tuple[str, int, int]] | None:
    """What a client relies on: not where columns come from, which may have been made anew."""
    columns = planned.columns
    return None if columns is None else [(each.name, each.type, each.typmod) for each in columns]


async def _resumed(first: Batch | None, rest: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    if first is None:
        return
    yield first
    async for batch in rest:
        yield batch
