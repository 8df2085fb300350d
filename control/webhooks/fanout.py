"""From an event to its deliveries, in the transaction that records the event.

So a delivery exists once for each webhook that wanted the event when it happened: nobody looks for
events that have none yet, nothing is lost between two transactions, and a registry without
webhooks pays two looks into an index.
"""

import aiosqlite

from control.actor import OrganisationId
from control.webhooks.patterns import patterns_of

GIVE_UP_SECONDS = 3 * 86_400
"""So long after the event (or after it was asked for again) a delivery is tried."""


async def fan_out(
    connection: aiosqlite.Connection,
    *,
    event: int,
    kind: str,
    organisation: OrganisationId | None,
    at_ns: int,
) -> int:
    """Make the deliveries of an event; how many. The operator's webhooks hear of everything."""
    rows = await connection.execute_fetchall(
        "INSERT INTO deliveries (event_id, webhook_id, due_ns, give_up_ns)"
        " SELECT ?1, id, ?2, ?3 FROM webhooks WHERE enabled = 1"
        " AND (organisation_id IS NULL OR organisation_id = ?4) AND EXISTS"
        " (SELECT 1 FROM json_each(events) WHERE value IN (?5, ?6, ?7)) RETURNING 1",
        (event, at_ns, at_ns + GIVE_UP_SECONDS * 10**9, organisation, *patterns_of(kind)),
    )
    return len(list(rows))
