"""Webhooks: whom to tell, what of, and the secrets that prove who tells.

A secret is shown in the answer that made it and sealed from then on (control/vault.py). URLs often
hold a secret, too, so the audit log and events name no more than where they lead.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiosqlite

from control.actor import OrganisationId
from control.database import Database, Row
from control.events import Event, EventKind, Events, time_text
from control.journal import Journal, Note, created
from control.registry import VersionMismatch
from control.webhooks.signing import generate_secret, secret_text
from control.webhooks.urls import origin_of
from control.webhooks.verdict import Disabled, Health
from dormouse.base.clock import Clock

WEBHOOK_SECRET = "webhook secret"
"""What the vault seals them for."""

WEBHOOKS_MAX = 20
"""Of one organisation, and of the operator."""

PREVIOUS_SECRET_SECONDS = 86_400
"""So long after a rotation the old secret signs as well."""

_COLUMNS = (
    "id, organisation_id, url, events, description, disabled_reason, created_ns, version,"
    " previous_until_ns, failures, failing_since_ns, paused_until_ns"
)


class TooManyWebhooks(Exception):
    """The organisation has as many webhooks as it may."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a webhook its owner decides."""

    url: str
    events: tuple[str, ...]
    """Patterns (control/webhooks/patterns.py)."""

    description: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook without its secret."""

    id: int
    organisation: OrganisationId | None
    """None: the operator's, which hears of everything."""

    terms: Terms
    disabled: Disabled | None
    created_ns: int
    version: int
    """Counts the changes of its terms and secret."""

    previous_until_ns: int | None
    """The previous secret signs as well, until then."""

    health: Health


class Webhooks:
    """The table `webhooks`."""

    def __init__(
        self, database: Database, clock: Clock, journal: Journal, *, events: Events
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._events = events

    async def add(self, organisation: OrganisationId | None, terms: Terms) -> tuple[Webhook, str]:
        """A new webhook and its secret; durable on return. Raises TooManyWebhooks."""
        secret = generate_secret()
        async with self._database.transaction() as connection:
            count = "SELECT count(*) FROM webhooks WHERE organisation_id IS ?"
            ((there,),) = await connection.execute_fetchall(count, (organisation,))
            if there >= WEBHOOKS_MAX:
                raise TooManyWebhooks(there)
            rows = await connection.execute_fetchall(
                "INSERT INTO webhooks (organisation_id, url, events, description, enabled,"
                " disabled_reason, created_ns, sealed_secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                f" RETURNING {_COLUMNS}",
                (organisation, *_terms_row(terms), self._clock.wall_ns(), self._seal(secret)),
            )
            (made,) = (_webhook(tuple(row)) for row in rows)
            changes = created(**_shown(terms))
            await self._journal.write(connection, _note(made, "webhook.create", changes))
        return made, secret_text(secret)

    async def get(self, number: int) -> Webhook | None:
        """The webhook with this id."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM webhooks WHERE id = ?", (number,)
        )
        return _webhook(row) if row is not None else None

    async def page(
        self, *, after: int, limit: int, organisation: OrganisationId | None = None
    ) -> list[Webhook]:
        """Webhooks by id, those above `after`; of one organisation, or (None) all there are."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM webhooks WHERE id > ?1"
            " AND (?2 IS NULL OR organisation_id = ?2) ORDER BY id LIMIT ?3",
            (after, organisation, limit),
        )
        return [_webhook(row) for row in rows]

    async def change(
        self,
        number: int,
        change: Callable[[Terms], Terms],
        *,
        versions: Collection[int] | None = None,
    ) -> Webhook | None:
        """Replace its terms by what `change` makes of them; None where there is no such webhook.

        Enabling one forgets its failures. Raises VersionMismatch, and what `change` raises; then
        nothing has changed.
        """
        async with self._database.transaction() as connection:
            before = await _read(connection, number)
            if before is None:
                return None
            if versions is not None and before.version not in versions:
                raise VersionMismatch(before.version)
            terms = change(before.terms)
            if terms == before.terms:
                return before
            rows = await connection.execute_fetchall(
                "UPDATE webhooks SET url = ?1, events = ?2, description = ?3, enabled = ?4,"
                " disabled_reason = ?5, version = version + 1, failures = iif(?6, 0, failures),"
                " failing_since_ns = iif(?6, NULL, failing_since_ns),"
                " paused_until_ns = iif(?6, 0, paused_until_ns)"
                f" WHERE id = ?7 RETURNING {_COLUMNS}",
                (*_terms_row(terms), _is_new_start(before.terms, terms), number),
            )
            (after,) = (_webhook(tuple(row)) for row in rows)
            was, now = _shown(before.terms), _shown(terms)
            # A URL with another path is a change although it leads to the same origin.
            differing = [
                each for each in now if getattr(before.terms, each) != getattr(terms, each)
            ]
            changes = {name: (was[name], now[name]) for name in differing}
            await self._journal.write(connection, _note(after, "webhook.change", changes))
        return after

    async def rotate_secret(self, number: int) -> tuple[Webhook, str] | None:
        """Give it a new secret, shown this once; None where there is no such webhook.

        The one of before signs as well for a day; one of before that no longer.
        """
        secret = generate_secret()
        until_ns = self._clock.wall_ns() + PREVIOUS_SECRET_SECONDS * 10**9
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "UPDATE webhooks SET sealed_previous_secret = sealed_secret, sealed_secret = ?,"
                f" previous_until_ns = ?, version = version + 1 WHERE id = ? RETURNING {_COLUMNS}",
                (self._seal(secret), until_ns, number),
            )
            for row in rows:
                rotated = _webhook(tuple(row))
                await self._journal.write(connection, _note(rotated, "webhook.secret", {}))
                return rotated, secret_text(secret)
        return None

    async def delete(self, number: int) -> Webhook | None:
        """Forget it; None where there is no such webhook.

        Nothing is delivered any more. The rows of its deliveries go when their events do.
        """
        async with self._database.transaction() as connection:
            gone = await _read(connection, number)
            if gone is None:
                return None
            await connection.execute("DELETE FROM webhooks WHERE id = ?", (number,))
            changes = {name: (value, None) for name, value in _shown(gone.terms).items()}
            await self._journal.write(connection, _note(gone, "webhook.delete", changes))
        return gone

    async def secrets(self, number: int) -> list[bytes]:
        """What its deliveries are signed with now, the newest first; none where there is none."""
        row = await self._database.read_one(
            "SELECT sealed_secret, iif(previous_until_ns > ?, sealed_previous_secret, x'')"
            " FROM webhooks WHERE id = ?",
            (self._clock.wall_ns(), number),
        )
        vault = self._database.vault
        return [vault.open(WEBHOOK_SECRET, sealed) for sealed in row or () if sealed]

    async def forget_previous_secrets(self) -> int:
        """Forget the previous secrets whose day is over; how many."""
        rows = await self._database.write_all(
            "UPDATE webhooks SET sealed_previous_secret = x'', previous_until_ns = NULL"
            " WHERE previous_until_ns <= ? RETURNING 1",
            (self._clock.wall_ns(),),
        )
        return len(rows)

    async def note_health(
        self,
        connection: aiosqlite.Connection,
        webhook: Webhook,
        health: Health,
        disabled: Disabled | None,
    ) -> None:
        """Write down how it is doing, in the transaction open on `connection`; disable it, if that
        is for something, and record the event. What was changed meanwhile starts anew.
        """
        numbers = (health.failures, health.failing_since_ns, health.paused_until_ns)
        await connection.execute(
            "UPDATE webhooks SET failures = ?, failing_since_ns = ?, paused_until_ns = ?"
            " WHERE id = ? AND version = ?",
            (*numbers, webhook.id, webhook.version),
        )
        if disabled is None:
            return
        rows = await connection.execute_fetchall(
            "UPDATE webhooks SET enabled = 0, disabled_reason = ?, version = version + 1"
            " WHERE id = ? AND version = ? AND enabled = 1 RETURNING 1",
            (disabled, webhook.id, webhook.version),
        )
        for _ in rows:
            since_ns = health.failing_since_ns or self._clock.wall_ns()
            data = {
                "webhook": webhook.id,
                "origin": str(origin_of(webhook.terms.url)),
                "reason": disabled,
                "failing_since": time_text(since_ns),
            }
            event = Event(
                kind=EventKind.WEBHOOK_DISABLED, organisation=webhook.organisation, data=data
            )
            await self._events.record(connection, event)

    def _seal(self, secret: bytes) -> bytes:
        return self._database.vault.seal(WEBHOOK_SECRET, secret)


async def delete_webhooks_of(
    connection: aiosqlite.Connection, organisation: OrganisationId
) -> None:
    """Forget an organisation's webhooks with it, in the transaction open on `connection`."""
    await connection.execute("DELETE FROM webhooks WHERE organisation_id = ?", (organisation,))


async def _read(connection: aiosqlite.Connection, number: int) -> Webhook | None:
    rows = await connection.execute_fetchall(
        f"SELECT {_COLUMNS} FROM webhooks WHERE id = ?", (number,)
    )
    return next((_webhook(tuple(row)) for row in rows), None)


def _is_new_start(before: Terms, after: Terms) -> bool:
    """Whether failures of before say nothing about it any more."""
    return after.url != before.url or (after.enabled and not before.enabled)


def _terms_row(terms: Terms) -> Row:
    reason = None if terms.enabled else Disabled.BY_REQUEST
    return terms.url, json.dumps(terms.events), terms.description, int(terms.enabled), reason


def _shown(terms: Terms) -> dict[str, Any]:
    """What the audit log shows of the terms, by their names."""
    return {
        "url": str(origin_of(terms.url)),
        "events": list(terms.events),
        "description": terms.description,
        "enabled": terms.enabled,
    }


def _differences(before: Terms, after: Terms) -> dict[str, tuple[Any, Any]]:
    was, now = _shown(before), _shown(after)
    # A URL with another path is a change although it leads to the same origin.
    return {
        name: (was[name], now[name])
        for name in now
        if getattr(before, name) != getattr(after, name)
    }


def _note(webhook: Webhook, action: str, changes: Mapping[str, tuple[Any, Any]]) -> Note:
    return Note(
        action=action,
        resource=f"webhooks/{webhook.id}",
        organisation=webhook.organisation,
        changes=changes,
    )


def _webhook(row: Row) -> Webhook:
    number, organisation, url, events, description, reason, created_ns, version, *rest = row
    previous_until_ns, failures, failing_since_ns, paused_until_ns = rest
    return Webhook(
        id=number,
        organisation=OrganisationId(organisation) if organisation is not None else None,
        terms=Terms(url, tuple(json.loads(events)), description, reason is None),
        disabled=Disabled(reason) if reason is not None else None,
        created_ns=created_ns,
        version=version,
        previous_until_ns=previous_until_ns,
        health=Health(failures, failing_since_ns, paused_until_ns),
    )


def changed_terms(terms: Terms, **wanted: Any) -> Terms:
    """The terms with what is wanted; None leaves a field as it is."""
    return replace(terms, **{name: value for name, value in wanted.items() if value is not None})
