"""Transaction blocks of one session: PostgreSQL's rules over one KV transaction at a time.

    NONE ──statement──▶ (implicit: committed at its end, or at Sync)
     │  ──several statements in one query──▶ IMPLICIT ──end of the query──▶ NONE
     └─BEGIN──▶ OPEN ──error──▶ FAILED ──ROLLBACK, COMMIT (says ROLLBACK)──▶ NONE
                 ▲               │
                 └──ROLLBACK TO──┘       BEGIN in IMPLICIT makes it OPEN, with what it did so far

Nothing reaches storage before the first statement that reads or writes: the KV transaction is made
then, with the isolation level and access mode the settings have by that time. A savepoint is a
mark in the KV transaction, in the settings and in the catalog; rolling back to it restores all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sqlnode.errors import SqlError
from sqlnode.kv.advisory import AdvisoryLocks
from sqlnode.kv.api import Isolation
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.transaction import KvTransaction
from sqlnode.session import modes
from sqlnode.session.asof import as_of_ns, catalog_of_past
from sqlnode.session.context import SessionContext
from sqlnode.session.guc_values import AS_OF
from sqlnode.session.interrupts import SessionInterrupts
from sqlnode.session.modes import Mode
from sqlnode.session.notifications import Mark, Notifications
from sqlnode.session.settings import Settings, SettingsMark
from sqlnode.session.snapshots import (
    Exports,
    SnapshotName,
    catalog_at,
    catalog_of_snapshot,
    invalid,
)
from sqlnode.session.tenant import Tenant
from sqlnode.spending.scale import of_writes

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog

STALE_RETRIES_MAX = 5
"""Times a statement is begun anew because the catalog changed under it."""
SAVEPOINTS_MAX = 10_000
"""Open savepoints of one transaction; one more is refused with 54000."""

Warn = Callable[[str, str], None]
"""(SQLSTATE, message) of a WARNING to the client."""


class Block(Enum):
    """Where a session stands with transaction blocks."""

    NONE = "none"
    IMPLICIT = "implicit"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class _Savepoint:
    name: str
    settings: SettingsMark
    notifications: Mark
    advisory: int
    read_only: bool
    catalog: "Catalog | None"


_Look = Callable[[KvTransaction, "Catalog"], Awaitable["Catalog"]]


async def _look_now(kv: KvTransaction, catalog: "Catalog") -> "Catalog":
    """The snapshot of now, which proves that the catalog is the newest."""
    await kv.look()
    return catalog


class Transactions:
    """The transaction state of one session."""

    def __init__(
        self,
        tenant: Tenant,
        settings: Settings,
        context: SessionContext,
        interrupts: SessionInterrupts,
        notifications: Notifications,
        advisory: AdvisoryLocks,
        warn: Warn,
    ) -> None:
        self._tenant = tenant
        self._settings = settings
        self._context = context
        self._interrupts = interrupts
        self._notifications = notifications
        self._advisory = advisory
        self._warn = warn
        self._exports = Exports(tenant.kv)
        context.export_snapshot = self._export_snapshot
        self._kv: KvTransaction | None = None
        self._savepoints: list[_Savepoint] = []
        self._begun = settings.mark()
        self._catalog: Catalog | None = None
        self._frozen: Catalog | None = None
        self._started = False
        self._facts_of = -1
        self._kv_isolation = Isolation.READ_COMMITTED
        self._kv_read_only = False
        self._as_of = ""
        self._lock_timeout_ms = 0
        self._chained = modes.DEFAULTS
        """What the transaction has from the one before it (AND CHAIN)."""
        self.block = Block.NONE
        settings.check_mode = self._check_mode

    # --- what the session looks at -----------------------------------------------------------

    @property
    def status(self) -> str:
        """ReadyForQuery's status."""
        if self.block is Block.FAILED:
            return "E"
        return "T" if self.block is Block.OPEN else "I"

    @property
    def kv(self) -> KvTransaction | None:
        """The KV transaction that is open, if one is."""
        return self._kv

    @property
    def active(self) -> bool:
        """Whether anything of a transaction is open."""
        return self._started or self.block is not Block.NONE

    @property
    def catalog(self) -> "Catalog":
        """The catalog statements see: the pod's, or the one this transaction has made, or from
        REPEATABLE READ on that of its snapshot."""
        return self._catalog or self._frozen or self._tenant.catalog

    @property
    def newest_catalog(self) -> "Catalog":
        """What counts for sequences, which have no snapshots: the pod's catalog, or the one this
        transaction has made."""
        return self._catalog or self._tenant.catalog

    def adopt_catalog(self, catalog: "Catalog") -> None:
        """A statement of this transaction has changed the catalog."""
        self._catalog = catalog

    @property
    def in_block(self) -> bool:
        """Whether a transaction block is open, failed or not."""
        return self.block is Block.OPEN or self.block is Block.FAILED

    @property
    def is_fresh(self) -> bool:
        """Whether the next statement is the first of an implicit transaction."""
        return self.block is Block.NONE and self._kv is None

    @property
    def has_queried(self) -> bool:
        """Whether a snapshot was taken: isolation and mode are fixed by then."""
        return self._kv is not None

    @property
    def isolation(self) -> str:
        """The isolation level of the transaction."""
        return self._settings["transaction_isolation"]

    @property
    def read_only(self) -> bool:
        """Whether the transaction may not write."""
        return self._settings["transaction_read_only"] == "on" or self._reads_past

    @property
    def _reads_past(self) -> bool:
        return bool(self._settings[AS_OF] if self._kv is None else self._kv.as_of)

    def require_block(self, what: str) -> None:
        """Raises 25P01 where no transaction block is open."""
        if self.block is not Block.OPEN and self.block is not Block.FAILED:
            raise SqlError("25P01", f"{what} can only be used in transaction blocks")

    def refuse_block(self, what: str) -> None:
        """Raises 25001 inside a transaction block."""
        if self.block is not Block.NONE:
            raise SqlError("25001", f"{what} cannot run inside a transaction block")

    def refuse_failed(self) -> None:
        """Raises 25P02 in a failed transaction."""
        if self.block is Block.FAILED:
            raise SqlError(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )

    def unsent_micro_units(self) -> int:
        """Millionths of a request unit that a commit would use now."""
        return 0 if self._kv is None else of_writes(*self._kv.unsent_writes)

    # --- statements --------------------------------------------------------------------------

    def start(self) -> None:
        """A statement begins: so does a transaction, if none is open."""
        if not self._started:
            self._started = True
            self._begun = self._settings.mark()
            self._context.start_transaction()

    async def statement(self, catalog: "Catalog") -> KvTransaction:
        """The KV transaction for a statement that reads or writes, planned with `catalog`."""
        kv = self._kv
        if kv is None:
            kv = self._kv = self._begin_kv()
            for _ in self._savepoints:
                kv.savepoint()
        elif self._facts_of != self._settings.generation and self._settings[AS_OF] != self._as_of:
            raise SqlError("25001", f"{AS_OF} must be set before any query of a transaction")
        kv.catalog_version = catalog.version
        if self._kv_isolation is not Isolation.READ_COMMITTED:
            # An index that is younger than the snapshot would lack rows the snapshot has.
            self._frozen = self._frozen or catalog
        await kv.begin_statement()
        self._advisory.next_statement()
        return kv

    def _begin_kv(self) -> KvTransaction:
        isolation = self._isolation_of_kv()
        # What is read-only behind a savepoint may become read-write again.
        read_only = self._kv_read_only and not self._savepoints
        as_of = as_of_ns(self._as_of, self._context) if self._as_of else 0
        kv = self._tenant.kv.begin(
            isolation=isolation, read_only=read_only or as_of != 0, as_of=as_of
        )
        kv.lock_timeout_ms = self._lock_timeout_ms
        kv.session = self._context.backend_pid
        return kv

    def _isolation_of_kv(self) -> Isolation:
        """The isolation of the KV transaction, or of the one that would begin now."""
        if self._kv is None and self._facts_of != self._settings.generation:
            self._read_facts()
        return self._kv_isolation

    def _read_facts(self) -> None:
        settings = self._settings
        self._facts_of = settings.generation
        self._kv_isolation = modes.ISOLATIONS[self.isolation]
        self._kv_read_only = self.read_only
        self._as_of = settings[AS_OF]
        if self._as_of and self._kv_isolation is Isolation.READ_COMMITTED:
            self._kv_isolation = Isolation.REPEATABLE_READ
        self._lock_timeout_ms = settings.milliseconds("lock_timeout")

    async def look_back(self) -> None:
        """Before a statement is planned: where it begins a transaction that reads the past, take
        the snapshot, and the catalog of then. Raises SqlError."""
        if self._kv is None and self._settings[AS_OF] and self.block is not Block.FAILED:
            self.start()
            await self._begin_with(catalog_of_past)

    async def keep_snapshot(self) -> None:
        """Before a query is planned: where it is the first of a transaction which keeps its
        snapshot, take that, and the catalog of then. One that may be all of an implicit transaction
        takes it with what it reads: nobody can tell. Raises SqlError."""
        if self._isolation_of_kv() is Isolation.READ_COMMITTED:
            return
        if self._kv is None:
            if self.block is not Block.NONE:
                self.start()
                await self._begin_with(_look_now)
        elif not self._kv.at_old_snapshot:
            self._kv.catalog_version = 0
            tenant = self._tenant
            self._frozen = await catalog_of_snapshot(tenant.kv, self._kv, tenant.catalog)

    async def _begin_with(self, look: _Look) -> None:
        """Begin with the snapshot that `look` takes; it answers the catalog of then."""
        for attempt in range(STALE_RETRIES_MAX + 1):
            catalog = self._tenant.catalog
            kv = await self.statement(catalog)
            try:
                self._frozen = await look(kv, catalog)
            except CatalogStale as stale:
                # The pod has yet to hear of a change, which may be older than the snapshot.
                kv.rollback()
                self._kv = self._frozen = None
                if attempt == STALE_RETRIES_MAX:
                    raise
                await self._tenant.reload_catalog(stale.version)
            else:
                return

    def take_back_statement(self) -> bool:
        """Let the statement that met an outdated catalog begin anew; False where it has left
        something behind, or may not use another catalog."""
        kv = self._kv
        if kv is None or self._catalog or kv.as_of or not kv.take_back_statement():
            return False
        self._frozen = None
        return True

    def begin_implicit_block(self) -> None:
        """A query of several statements starts."""
        if self.block is Block.NONE:
            self.block = Block.IMPLICIT

    async def finish(self) -> None:
        """The end of a statement, query or pipeline outside a block: commit what is open."""
        if self.block in (Block.NONE, Block.IMPLICIT) and self.active:
            await self._commit()

    def fail(self) -> None:
        """A statement has failed: the block has too, and an implicit one is over."""
        if self.block is Block.OPEN:
            self.block = Block.FAILED
            self._advisory.restore(self._savepoints[-1].advisory if self._savepoints else 0)
            if not self._savepoints:
                self._exports.end()
            if self._kv is not None and not self._savepoints:
                # Nothing can be taken up again, so others need not wait for ROLLBACK.
                self._kv.rollback()
                self._kv = None
                self._undo_catalog(None)
            elif self._kv is not None:
                self._kv.fail()
        elif self.block is not Block.FAILED:
            self._rollback()

    # --- commands ----------------------------------------------------------------------------

    def begin(self, mode: Mode) -> None:
        """BEGIN, START TRANSACTION."""
        if self.block in (Block.OPEN, Block.FAILED):
            self._warn("25001", "there is already a transaction in progress")
        self.start()
        self.set_mode(mode)  # where it is refused, no block is opened
        self.block = Block.OPEN

    def set_mode(self, mode: Mode) -> None:
        """SET TRANSACTION and the options of BEGIN. Raises 25001."""
        settings = self._settings
        if mode.isolation is not None:
            settings.set("transaction_isolation", mode.isolation, local=True)
        if mode.read_only is not None:
            settings.set("transaction_read_only", "on" if mode.read_only else "off", local=True)
        if mode.deferrable is not None:
            text = "on" if mode.deferrable else "off"
            settings.set("transaction_deferrable", text, local=True)

    def _check_mode(self, name: str, value: str) -> None:
        """Raises 25001 where the transaction can no longer get this mode."""
        if value != self._settings[name] or name == "transaction_deferrable":
            modes.refuse_late(
                name, value, is_inner=bool(self._savepoints), has_queried=self.has_queried
            )

    async def commit(self, *, chain: bool) -> str:
        """COMMIT, END: the command tag. Raises what the commit raises; then all is rolled back."""
        if self.block is Block.FAILED:
            return self.rollback(chain=chain)
        if self.block in (Block.NONE, Block.IMPLICIT):
            self._refuse_chain("COMMIT", chain)
            self._warn("25P01", "there is no transaction in progress")
        mode = self._mode()
        await self._commit()
        if chain:
            self._chain(mode)
        return "COMMIT"

    def rollback(self, *, chain: bool) -> str:
        """ROLLBACK, ABORT: the command tag."""
        if self.block in (Block.NONE, Block.IMPLICIT):
            self._refuse_chain("ROLLBACK", chain)
            self._warn("25P01", "there is no transaction in progress")
        mode = self._mode()
        self._rollback()
        if chain:
            self._chain(mode)
        return "ROLLBACK"

    def _refuse_chain(self, what: str, chain: bool) -> None:
        if chain:
            raise SqlError("25P01", f"{what} AND CHAIN can only be used in transaction blocks")

    def _chain(self, mode: Mode) -> None:
        self.begin(mode)
        self._chained = mode

    def _mode(self) -> Mode:
        if self.block is Block.FAILED:
            # The failure has reset what was set since, in PostgreSQL too.
            return self._chained
        deferrable = self._settings["transaction_deferrable"] == "on"
        return Mode(self.isolation, self.read_only, deferrable)

    # --- snapshots ---------------------------------------------------------------------------

    async def _export_snapshot(self) -> str:
        """pg_export_snapshot(): a name for the snapshot of the statement that runs."""
        if self._savepoints:
            raise SqlError("25001", "cannot export a snapshot from a subtransaction")
        if self._kv is None:
            raise RuntimeError("a statement without a transaction")
        is_serializable = self.isolation == "serializable"
        return await self._exports.add(
            self._kv, is_serializable=is_serializable, is_read_only=self.read_only
        )

    async def import_snapshot(self, text: str) -> None:
        """SET TRANSACTION SNAPSHOT. Raises 25001, 0A000, 22023."""
        if self.has_queried or self._savepoints:
            raise SqlError("25001", "SET TRANSACTION SNAPSHOT must be called before any query")
        modes.refuse_to_import(self.isolation)
        if self._settings[AS_OF]:
            raise SqlError("0A000", f"a transaction with {AS_OF} cannot import a snapshot")
        name = SnapshotName.read(text)
        if self.isolation == "serializable":
            is_deferrable = self._settings["transaction_deferrable"] == "on"
            name.refuse_serializable(is_read_only=self.read_only, is_deferrable=is_deferrable)
        self.start()
        try:
            await self._import(name)
        except SqlError as error:
            raise invalid(text) if error.sqlstate == "22023" else error from None

    async def _import(self, name: SnapshotName) -> None:
        """Begin with an exported snapshot, and with the catalog of then. Raises SqlError."""

        async def look(kv: KvTransaction, catalog: "Catalog") -> "Catalog":
            await kv.look(name.time, imports=name.lot)
            return await catalog_at(self._tenant.kv, name, catalog)

        await self._begin_with(look)

    # --- savepoints --------------------------------------------------------------------------

    def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        self.require_block("SAVEPOINT")
        if len(self._savepoints) >= SAVEPOINTS_MAX:
            raise SqlError("54000", f"a transaction has at most {SAVEPOINTS_MAX} savepoints")
        if self._kv is not None:
            self._kv.savepoint()
        marks = self._settings.mark(), self._notifications.mark(), self._advisory.mark()
        self._savepoints.append(_Savepoint(name, *marks, self.read_only, self._catalog))

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT."""
        self.require_block("RELEASE SAVEPOINT")
        position = self._position(name)
        if self._kv is not None:
            self._kv.release(position)
        if self._savepoints[position].read_only != self.read_only:
            # What a subtransaction sets of this ends with it, whichever way it does.
            self._settings.restore_mode("transaction_read_only", "off")
        del self._savepoints[position:]

    async def rollback_to(self, name: str) -> None:
        """ROLLBACK TO SAVEPOINT: also out of a failed block."""
        self.require_block("ROLLBACK TO SAVEPOINT")
        position = self._position(name)
        savepoint = self._savepoints[position]
        if self._kv is not None:
            await self._kv.rollback_to(position)
        self._settings.restore(savepoint.settings)
        self._notifications.restore(savepoint.notifications)
        self._advisory.restore(savepoint.advisory)
        self._undo_catalog(savepoint.catalog)
        self._context.refresh()
        del self._savepoints[position + 1 :]
        self.block = Block.OPEN

    def _undo_catalog(self, before: "Catalog | None") -> None:
        changed, self._catalog = self._catalog is not before, before
        if changed and self._context.sequences is not None:
            self._context.sequences.rolled_back()

    def _position(self, name: str) -> int:
        for position in reversed(range(len(self._savepoints))):
            if self._savepoints[position].name == name:
                return position
        raise SqlError("3B001", f'savepoint "{name}" does not exist')

    # --- ends --------------------------------------------------------------------------------

    async def _commit(self) -> None:
        said = self._notifications.said
        if said and self._kv is None:
            self._kv = self._begin_kv()
        kv = self._kv
        try:
            self._advisory.check()
            await self._exports.close()
            await self._notifications.prepare()
            if kv is None:
                self._end(committed=True)
                return
            kv.notifications = said
            with self._interrupts.shielded(kv.give_up):
                version = await kv.commit()
        except BaseException:
            if kv is not None:
                kv.rollback()  # nothing to do where the commit itself failed
            self._end(committed=False)
            raise
        changed = self._catalog
        self._kv = None
        self._end(committed=True)
        if changed is not None:
            await self._tenant.catalog_committed(version)

    def _rollback(self) -> None:
        kv, self._kv = self._kv, None
        self._end(committed=False)
        if kv is not None:
            kv.rollback()

    def _end(self, *, committed: bool) -> None:
        if committed:
            self._settings.end_transaction()
        elif self._started:
            self._settings.restore(self._begun)
        self._notifications.ended(committed=committed)
        self._advisory.restore(0)
        self._exports.end()
        self._started = False
        self._savepoints.clear()
        if committed:
            self._catalog = None
        else:
            self._undo_catalog(None)
        self._frozen = None
        self._chained = modes.DEFAULTS
        self._kv = None
        self.block = Block.NONE
        self._context.refresh()

    def abandon(self) -> None:
        """The session ends: whatever is open is rolled back."""
        self._rollback()
