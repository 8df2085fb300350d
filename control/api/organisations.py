"""The routes of organisations, and of signing up."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.access import Target
from control.actor import Actor, OrganisationId, acting, acting_as
from control.api.gate import address_group
from control.api.models_access import (
    OrganisationChange,
    OrganisationCreate,
    OrganisationPage,
    OrganisationView,
    SignedUp,
    SignupRequest,
    moment,
)
from control.api.paths import After, IfMatch, Limit, etag, missing, parse_id, parse_versions
from control.api.problems import Problem, documented
from control.api.route import takes_idempotency_key
from control.buckets import Buckets
from control.organisations import (
    HasTenants,
    IsDefault,
    NoSuchOrganisation,
    Organisation,
    Organisations,
)
from control.registry import NameTaken, VersionMismatch
from control.signup import Signup
from dormouse.base.clock import Clock

_PATH = "/organisations/{id}"


def view(organisation: Organisation) -> OrganisationView:
    """The document of an organisation."""
    return OrganisationView(
        id=organisation.id,
        name=organisation.name,
        time_zone=organisation.time_zone,
        billing_address=organisation.billing_address,
        created_at=moment(organisation.created_ns),
    )


def name_taken(name: str) -> Problem:
    """The answer where the name is another's."""
    detail = f"an organisation named {name!r} exists"
    return Problem(HTTPStatus.CONFLICT, "name_taken", detail)


def _is_default() -> Problem:
    detail = "the organisation `default` keeps its name and stays"
    return Problem(HTTPStatus.CONFLICT, "organisation_is_default", detail)


def add_organisation_routes(router: APIRouter, organisations: Organisations) -> None:
    """Making, listing, reading."""

    @router.post(
        "/organisations",
        status_code=HTTPStatus.CREATED,
        tags=["organisations"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def create_organisation(body: OrganisationCreate, response: Response) -> OrganisationView:
        """Create an organisation."""
        try:
            made = await organisations.add(name=body.name, time_zone=body.time_zone)
        except NameTaken:
            raise name_taken(body.name) from None
        response.headers["Location"] = f"/v1/organisations/{made.id}"
        response.headers["ETag"] = etag(made.version)
        return view(made)

    @router.get("/organisations", tags=["organisations"])
    async def list_organisations(
        name: Annotated[str | None, Query(description="Only the one of this name.")] = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> OrganisationPage:
        """The organisations within the key's reach, by id, a page at a time."""
        only = acting().reach.organisation
        found = await organisations.page(after=after, limit=limit + 1, name=name, only=only)
        page = [view(each) for each in found[:limit]]
        more = page[-1].id if len(found) > limit else None
        return OrganisationPage(organisations=page, next=more)

    @router.get(_PATH, tags=["organisations"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_organisation(id: str, response: Response) -> OrganisationView:  # noqa: A002
        """One organisation."""
        found = await organisations.get(_id(id))
        if found is None:
            raise missing(Target.ORGANISATION, id)
        response.headers["ETag"] = etag(found.version)
        return view(found)


def add_organisation_changes(router: APIRouter, organisations: Organisations) -> None:
    """Changing and deleting."""

    @router.patch(
        _PATH,
        tags=["organisations"],
        responses=documented(
            HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED
        ),
    )
    async def change_organisation(
        id: str,  # noqa: A002
        body: OrganisationChange,
        response: Response,
        if_match: IfMatch = None,
    ) -> OrganisationView:
        """Rename an organisation, move it to another time zone, say what its invoices are
        addressed to."""
        try:
            changed = await organisations.change(
                _id(id),
                name=body.name,
                time_zone=body.time_zone,
                billing_address=body.billing_address,
                versions=parse_versions(if_match),
            )
        except NoSuchOrganisation:
            raise missing(Target.ORGANISATION, id) from None
        except NameTaken:
            raise name_taken(body.name or "") from None
        except IsDefault:
            raise _is_default() from None
        except VersionMismatch:
            detail = "the organisation has changed meanwhile: read it again"
            changed_meanwhile = HTTPStatus.PRECONDITION_FAILED
            raise Problem(changed_meanwhile, "organisation_changed", detail) from None
        response.headers["ETag"] = etag(changed.version)
        return view(changed)

    @router.delete(
        _PATH,
        tags=["organisations"],
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def delete_organisation(id: str) -> None:  # noqa: A002
        """Delete an organisation without living tenants; its keys are revoked."""
        try:
            await organisations.delete(_id(id))
        except NoSuchOrganisation:
            raise missing(Target.ORGANISATION, id) from None
        except IsDefault:
            raise _is_default() from None
        except HasTenants as error:
            detail = f"tenants of it live ({error.count}): delete those first"
            raise Problem(HTTPStatus.CONFLICT, "organisation_has_tenants", detail) from None


def add_signup_route(
    router: APIRouter,
    *,
    signup: Signup,
    signups: Buckets | None,
    clock: Clock,
) -> None:
    """Signing up; `signups` None: closed."""

    @router.post(
        "/signup",
        status_code=HTTPStatus.CREATED,
        tags=["organisations"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def sign_up(body: SignupRequest) -> SignedUp:
        """Make an organisation of one's own and a key for all of it, where that is open.

        An idempotency key has at least 22 random characters here, for whoever knows it can read
        the answer again, from the same address.
        """
        if signups is None:
            detail = "this gateway's operator makes the organisations"
            raise Problem(HTTPStatus.FORBIDDEN, "signup_closed", detail)
        stranger = acting()
        wait = signups.take(address_group(stranger.address), clock.monotonic())
        if wait:
            headers = {"Retry-After": str(int(wait) + 1)}
            detail = "too many signed up from this address; try later"
            too_many = HTTPStatus.TOO_MANY_REQUESTS
            raise Problem(too_many, "rate_limited", detail, headers=headers)
        newcomer = Actor(stranger.reach, None, "signup", stranger.address, stranger.request_id)
        with acting_as(newcomer):
            try:
                made, text = await signup.sign_up(name=body.organisation, time_zone=body.time_zone)
            except NameTaken:
                raise name_taken(body.organisation) from None
        return SignedUp(organisation=view(made), key=text)


def _id(text: str) -> OrganisationId:
    number = parse_id(text)
    if number is None:
        raise NoSuchOrganisation(text)
    return OrganisationId(number)
