"""Organisations: who owns tenants and keys, and whose calendar a month is.

An organisation that is deleted stays as a tombstone, its name free, its keys revoked; it cannot be
deleted while a tenant of it lives.
"""

import re
import sqlite3
import zoneinfo
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import aiosqlite

from control.actor import DEFAULT_ORGANISATION, OrganisationId
from control.database import Database, Row
from control.events import Events
from control.journal import Journal, Note, created
from control.keys import revoke_keys_of
from control.months import Calendar
from control.registry import NameTaken, VersionMismatch
from control.webhooks.store import delete_webhooks_of
from dormouse.base.clock import Clock

ORGANISATION_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Lower-case letters, digits, inner dashes; 1 to 63 characters."""

_COLUMNS = "id, name, time_zone, billing_address, created_ns, version"


class NoSuchOrganisation(Exception):
    """There is no living organisation with this id."""


class HasTenants(Exception):
    """Tenants of it live; `count` of them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class IsDefault(Exception):
    """The organisation `default` stays."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """A living organisation."""

    id: OrganisationId
    name: str
    time_zone: str
    """IANA name, as `Asia/Tokyo`: its months begin and end there, a new one's from the next month
    on (control/months.py)."""

    billing_address: str
    """Lines of text that its invoices are addressed to."""

    created_ns: int
    version: int


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The time zones that this machine knows."""
    return frozenset(zoneinfo.available_timezones())


class Organisations:
    """The table `organisations`."""

    def __init__(
        self, database: Database, clock: Clock, journal: Journal, *, events: Events
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._events = events

    async def add(self, *, name: str, time_zone: str) -> Organisation:
        """A new organisation; durable on return. Raises NameTaken."""
        async with self._database.transaction() as connection:
            return await self.insert(connection, name=name, time_zone=time_zone)

    async def insert(
        self, connection: aiosqlite.Connection, *, name: str, time_zone: str
    ) -> Organisation:
        """See `add`, in the transaction that is open on `connection`."""
        insert = (
            "INSERT INTO organisations (name, time_zone, created_ns) VALUES (?, ?, ?)"
            f" RETURNING {_COLUMNS}"
        )
        try:
            values = (name, time_zone, self._clock.wall_ns())
            rows = list(await connection.execute_fetchall(insert, values))
        except sqlite3.IntegrityError as error:
            raise NameTaken(name) from error
        made = _organisation(tuple(rows[0]))
        changes = created(name=name, time_zone=time_zone)
        await self._journal.write(connection, _note(made, "organisation.create", changes))
        return made

    async def get(self, organisation: OrganisationId) -> Organisation | None:
        """The living organisation with this id."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM organisations WHERE id = ? AND deleted_ns IS NULL",
            (organisation,),
        )
        return _organisation(row) if row is not None else None

    async def page(
        self,
        *,
        after: int,
        limit: int,
        name: str | None = None,
        only: OrganisationId | None = None,
    ) -> list[Organisation]:
        """Living organisations by id, those above `after`; of this name, or this one alone."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM organisations WHERE deleted_ns IS NULL AND id > ?1"
            " AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR id = ?3) ORDER BY id LIMIT ?4",
            (after, name, only, limit),
        )
        return [_organisation(row) for row in rows]

    async def change(
        self,
        organisation: OrganisationId,
        *,
        name: str | None = None,
        time_zone: str | None = None,
        billing_address: str | None = None,
        versions: Collection[int] | None = None,
    ) -> Organisation:
        """Rename it, move it to another time zone, set what invoices are addressed to; None leaves
        that as it is.

        Raises NoSuchOrganisation, NameTaken, VersionMismatch, and IsDefault for a new name of that.
        """
        async with self._database.transaction() as connection:
            select = f"SELECT {_COLUMNS} FROM organisations WHERE id = ? AND deleted_ns IS NULL"
            rows = list(await connection.execute_fetchall(select, (organisation,)))
            if not rows:
                raise NoSuchOrganisation(organisation)
            before = _organisation(tuple(rows[0]))
            if versions is not None and before.version not in versions:
                raise VersionMismatch(before.version)
            wanted = {
                "name": name or before.name,
                "time_zone": time_zone or before.time_zone,
                "billing_address": (
                    before.billing_address if billing_address is None else billing_address
                ),
            }
            changes = {
                field: (getattr(before, field), new)
                for field, new in wanted.items()
                if getattr(before, field) != new
            }
            if not changes:
                return before
            if organisation == DEFAULT_ORGANISATION and "name" in changes:
                raise IsDefault
            update = (
                "UPDATE organisations SET name = ?, time_zone = ?, billing_address = ?, zones = ?,"
                f" version = version + 1 WHERE id = ? RETURNING {_COLUMNS}"
            )
            zones = await self._zones(connection, before, wanted["time_zone"])
            try:
                values = (*wanted.values(), zones, organisation)
                rows = list(await connection.execute_fetchall(update, values))
            except sqlite3.IntegrityError as error:
                raise NameTaken(wanted["name"]) from error
            after = _organisation(tuple(rows[0]))
            await self._journal.write(connection, _note(after, "organisation.change", changes))
        return after

    async def _zones(
        self, connection: aiosqlite.Connection, before: Organisation, time_zone: str
    ) -> str:
        """The zones of its months (control/months.py); a new one counts from the next month on."""
        select = "SELECT zones FROM organisations WHERE id = ?"
        ((zones,),) = await connection.execute_fetchall(select, (before.id,))
        calendar = Calendar.read(before.time_zone, zones)
        now = self._clock.wall_ns() // 1_000_000_000
        return calendar.moved(now, time_zone).zones_text

    async def delete(self, organisation: OrganisationId) -> None:
        """Turn it into a tombstone, revoke its keys and forget its webhooks.

        Raises NoSuchOrganisation, HasTenants, and IsDefault.
        """
        if organisation == DEFAULT_ORGANISATION:
            raise IsDefault
        async with self._database.transaction() as connection:
            count = "SELECT count(*) FROM tenants WHERE organisation_id = ? AND deleted_ns IS NULL"
            ((tenants,),) = await connection.execute_fetchall(count, (organisation,))
            now_ns = self._clock.wall_ns()
            delete = (
                "UPDATE organisations SET deleted_ns = ? WHERE id = ? AND deleted_ns IS NULL"
                f" RETURNING {_COLUMNS}"
            )
            rows = list(await connection.execute_fetchall(delete, (now_ns, organisation)))
            if not rows:
                raise NoSuchOrganisation(organisation)
            if tenants:
                raise HasTenants(tenants)
            await revoke_keys_of(connection, self._events, at_ns=now_ns, organisation=organisation)
            await delete_webhooks_of(connection, organisation)
            gone = _organisation(tuple(rows[0]))
            changes = {"name": (gone.name, None)}
            await self._journal.write(connection, _note(gone, "organisation.delete", changes))


def _note(
    organisation: Organisation, action: str, changes: Mapping[str, tuple[object, object]]
) -> Note:
    return Note(
        action=action,
        resource=f"organisations/{organisation.id}",
        organisation=organisation.id,
        changes=changes,
    )


def _organisation(row: Row) -> Organisation:
    number, *rest = row
    return Organisation(OrganisationId(number), *rest)
