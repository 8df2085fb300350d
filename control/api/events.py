"""The route of events."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from control.actor import OrganisationId, acting
from control.api.models_access import moment
from control.api.models_events import EventPage, EventView
from control.api.paths import After, Limit
from control.events import EventKind, Events, Recorded
from control.webhooks.patterns import ALL
from dormouse.base.ids import TENANT_ID_MAX, TenantId

_Filter = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX)]
_Kinds = Annotated[
    list[str] | None,
    Query(
        max_length=20,
        description="Only of this kind, or of this family as `spend.*`; may be repeated.",
    ),
]


def _view(found: Recorded) -> EventView:
    event = found.event
    return EventView(
        id=found.id,
        kind=event.kind,
        at=moment(found.at_ns),
        organisation=event.organisation,
        tenant=event.tenant,
        data=dict(event.data),
    )


def _matching(patterns: list[str]) -> tuple[str, ...]:
    """The kinds that some pattern means; a pattern that means none is taken for a kind."""
    if not patterns or ALL in patterns:
        return ()
    families = tuple(each.removesuffix(ALL) for each in patterns if each.endswith(f".{ALL}"))
    meant = [kind for kind in EventKind if families and kind.startswith(families)]
    return tuple(dict.fromkeys([*meant, *patterns]))


def add_event_route(router: APIRouter, events: Events) -> None:
    """Reading events."""

    @router.get("/events", tags=["events"])
    async def list_events(
        organisation: _Filter = None,
        tenant: _Filter = None,
        kind: _Kinds = None,
        order: Literal["oldest", "newest"] = "oldest",
        after: After = 0,
        limit: Limit = 100,
    ) -> EventPage:
        """What happened within the key's reach, in the order in which it happened (or the newest
        first), a page at a time. What belongs to the installation is for the operator's keys.
        """
        found = await events.page(
            after=after,
            limit=limit + 1,
            reach=acting().reach,
            organisation=OrganisationId(organisation) if organisation else None,
            tenant=TenantId(tenant) if tenant else None,
            kinds=_matching(kind or []),
            newest_first=order == "newest",
        )
        page = [_view(each) for each in found[:limit]]
        return EventPage(events=page, next=page[-1].id if len(found) > limit else None)
