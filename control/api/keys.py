"""The routes of API keys."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.access import Target
from control.actor import Access, OrganisationId, Reach, Scope, acting
from control.api.models_access import (
    KeyCreate,
    KeyCreated,
    KeyPage,
    KeyView,
    MeView,
    moment,
    nanoseconds,
    time_of,
)
from control.api.paths import After, Limit, missing, parse_id
from control.api.problems import Problem, documented, invalid
from control.api.route import takes_idempotency_key
from control.keys import KEYS_MAX, ApiKey, Keys, LastAdminKey, TooManyKeys
from control.organisations import Organisations
from control.registry import Registry
from dormouse.base.clock import Clock
from dormouse.base.ids import TENANT_ID_MAX, TenantId

_Filter = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX)]


def view(key: ApiKey) -> KeyView:
    """The document of a key, without its text."""
    return KeyView(
        id=key.id,
        label=key.label,
        scope=key.reach.scope.value,
        access=key.reach.access.value,
        organisation=key.reach.organisation,
        tenant=key.reach.tenant,
        created_at=moment(key.created_ns),
        created_by=key.created_by,
        expires_at=time_of(key.expires_ns),
        last_used_at=time_of(key.last_used_ns),
    )


class ReachReader:
    """What reach a new key is to have."""

    def __init__(self, registry: Registry, organisations: Organisations) -> None:
        self._registry = registry
        self._organisations = organisations

    async def read(self, body: KeyCreate) -> Reach:
        """Raises Problem for what is no reach, or further than that of the key that asks."""
        named = {"organisation": body.organisation, "tenant": body.tenant}
        errors = {
            f"body.{field}": f"goes with scope `{field}`, and only with that"
            for field, value in named.items()
            if (value is not None) != (body.scope == field)
        }
        if errors:
            raise invalid(errors)
        organisation, tenant = await self._owners(body)
        reach = Reach(Scope(body.scope), Access(body.access), organisation, tenant)
        mine = acting().reach
        if not mine.covers(reach):
            # What is out of reach is as if it were not there.
            if body.tenant is not None and not mine.sees(organisation, tenant):
                raise missing(Target.TENANT, str(body.tenant))
            if body.organisation is not None and organisation != mine.organisation:
                raise missing(Target.ORGANISATION, str(body.organisation))
            detail = "a key makes keys of at most its own reach"
            raise Problem(HTTPStatus.FORBIDDEN, "beyond_reach", detail)
        return reach

    async def _owners(self, body: KeyCreate) -> tuple[OrganisationId | None, TenantId | None]:
        if body.tenant is not None:
            tenant = await self._registry.get(TenantId(body.tenant))
            if tenant is None:
                raise missing(Target.TENANT, str(body.tenant))
            return tenant.organisation, tenant.id
        if body.organisation is not None:
            found = await self._organisations.get(OrganisationId(body.organisation))
            if found is None:
                raise missing(Target.ORGANISATION, str(body.organisation))
            return found.id, None
        return None, None


def _expiry(body: KeyCreate, now_ns: int) -> int | None:
    """When the new key is to end. Raises Problem where that is past, or after this key's end."""
    expires_ns = nanoseconds(body.expires_at) if body.expires_at is not None else None
    if expires_ns is not None and not now_ns < expires_ns < 1 << 63:
        raise invalid({"body.expires_at": "has to be in the future"})
    mine_ns = acting().expires_ns
    if mine_ns is not None and (expires_ns is None or expires_ns > mine_ns):
        raise invalid({"body.expires_at": "may not be after the end of the key that asks"})
    return expires_ns


def add_key_routes(router: APIRouter, *, keys: Keys, reader: ReachReader, clock: Clock) -> None:
    """Making and listing."""

    @router.post(
        "/keys",
        status_code=HTTPStatus.CREATED,
        tags=["keys"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def create_key(body: KeyCreate, response: Response) -> KeyCreated:
        """Create an API key. Its text is in this answer and nowhere else."""
        expires_ns = _expiry(body, clock.wall_ns())
        reach = await reader.read(body)
        try:
            made, text = await keys.add(
                reach, label=body.label, expires_ns=expires_ns, created_by=acting().key_id
            )
        except TooManyKeys:
            detail = f"an organisation has at most {KEYS_MAX} keys: revoke some"
            raise Problem(HTTPStatus.CONFLICT, "too_many_keys", detail) from None
        response.headers["Location"] = f"/v1/keys/{made.id}"
        return KeyCreated(**view(made).model_dump(), key=text)

    @router.get("/keys", tags=["keys"])
    async def list_keys(
        organisation: _Filter = None,
        tenant: _Filter = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> KeyPage:
        """The keys within reach of this one, by id, a page at a time. Their texts are not there."""
        mine = acting().reach
        whose = OrganisationId(organisation) if organisation else mine.organisation
        which = TenantId(tenant) if tenant else mine.tenant
        found: list[ApiKey] = []
        # What is beyond reach is an empty page, as for an organisation that does not exist.
        if mine.organisation in (None, whose) and mine.tenant in (None, which):
            found = await keys.page(after=after, limit=limit + 1, organisation=whose, tenant=which)
        page = [view(each) for each in found[:limit]]
        return KeyPage(keys=page, next=page[-1].id if len(found) > limit else None)


def add_one_key_routes(router: APIRouter, keys: Keys) -> None:
    """Reading and revoking one; and the key that asks."""

    @router.get("/keys/{id}", tags=["keys"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_key(id: str) -> KeyView:  # noqa: A002
        """One key, without its text."""
        number = parse_id(id)
        found = await keys.get(number) if number is not None else None
        if found is None:
            raise missing(Target.KEY, id)
        return view(found)

    @router.delete(
        "/keys/{id}",
        tags=["keys"],
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def revoke_key(id: str) -> None:  # noqa: A002
        """Revoke a key: it opens nothing any more."""
        number = parse_id(id)
        try:
            revoked = await keys.revoke(number) if number is not None else None
        except LastAdminKey:
            detail = "without this key nobody could administer the gateway: make another first"
            raise Problem(HTTPStatus.CONFLICT, "last_admin_key", detail) from None
        if revoked is None:
            raise missing(Target.KEY, id)

    @router.get("/me", tags=["keys"])
    async def read_me() -> MeView:
        """The key that asks, and how far it reaches."""
        actor = acting()
        if actor.key_id is None:
            raise RuntimeError("a request without a key came this far")
        return MeView(
            id=actor.key_id,
            label=actor.label,
            scope=actor.reach.scope.value,
            access=actor.reach.access.value,
            organisation=actor.reach.organisation,
            tenant=actor.reach.tenant,
            expires_at=time_of(actor.expires_ns),
        )
