"""The routes of webhooks and their deliveries."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.access import Target
from control.actor import OrganisationId, Scope, acting
from control.api.models_access import moment, time_of
from control.api.models_events import (
    DeliveryPage,
    DeliveryView,
    StatusName,
    WebhookChange,
    WebhookCreate,
    WebhookCreated,
    WebhookPage,
    WebhookSecret,
    WebhookView,
)
from control.api.paths import After, IfMatch, Limit, etag, missing, parse_id, parse_versions
from control.api.problems import Problem, documented, invalid
from control.api.route import takes_idempotency_key
from control.organisations import Organisations
from control.registry import VersionMismatch
from control.webhooks.deliveries import Deliveries, Delivery, message_id
from control.webhooks.store import (
    WEBHOOKS_MAX,
    Terms,
    TooManyWebhooks,
    Webhook,
    Webhooks,
    changed_terms,
)
from control.webhooks.urls import UrlPolicy, check_url
from control.webhooks.verdict import Status
from dormouse.base.ids import TENANT_ID_MAX

_PATH = "/webhooks/{id}"
_Filter = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX)]
_Before = Annotated[int, Query(ge=1, le=TENANT_ID_MAX, description="The `next` of a page.")]


def view(webhook: Webhook) -> WebhookView:
    """The document of a webhook, without its secret."""
    terms, health = webhook.terms, webhook.health
    return WebhookView(
        id=webhook.id,
        organisation=webhook.organisation,
        url=terms.url,
        events=list(terms.events),
        description=terms.description,
        enabled=terms.enabled,
        disabled_reason=webhook.disabled.value if webhook.disabled is not None else None,
        failures=health.failures,
        failing_since=time_of(health.failing_since_ns),
        previous_secret_until=time_of(webhook.previous_until_ns),
        created_at=moment(webhook.created_ns),
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """The document of a delivery."""
    return DeliveryView(
        id=delivery.id,
        webhook=delivery.webhook,
        event=delivery.event.id,
        kind=delivery.event.event.kind,
        message=message_id(delivery.event),
        status=delivery.status.value,
        attempts=delivery.attempts,
        next_attempt_at=time_of(delivery.due_ns),
        attempted_at=time_of(delivery.attempted_ns),
        response_status=delivery.response_status,
        error=delivery.error,
    )


def add_webhook_routes(
    router: APIRouter,
    *,
    webhooks: Webhooks,
    organisations: Organisations,
    policy: UrlPolicy,
) -> None:
    """Making, listing, reading."""
    owner = _owner_of(organisations)

    @router.post(
        "/webhooks",
        status_code=HTTPStatus.CREATED,
        tags=["webhooks"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def create_webhook(body: WebhookCreate, response: Response) -> WebhookCreated:
        """Have events sent to a URL. The secret that signs them is in this answer and nowhere
        else.
        """
        _check(body.url, policy)
        organisation = await owner(body.organisation)
        terms = Terms(body.url, tuple(dict.fromkeys(body.events)), body.description)
        try:
            made, secret = await webhooks.add(organisation, terms)
        except TooManyWebhooks:
            detail = f"an organisation has at most {WEBHOOKS_MAX} webhooks: delete some"
            raise Problem(HTTPStatus.CONFLICT, "too_many_webhooks", detail) from None
        response.headers["Location"] = f"/v1/webhooks/{made.id}"
        response.headers["ETag"] = etag(made.version)
        return WebhookCreated(**view(made).model_dump(), secret=secret)

    @router.get("/webhooks", tags=["webhooks"])
    async def list_webhooks(
        organisation: _Filter = None, after: After = 0, limit: Limit = 100
    ) -> WebhookPage:
        """The webhooks within the key's reach, by id, a page at a time."""
        mine = acting().reach.organisation
        whose = OrganisationId(organisation) if organisation else mine
        found: list[Webhook] = []
        # What is beyond reach is an empty page, as for an organisation that does not exist.
        if mine in (None, whose):
            found = await webhooks.page(after=after, limit=limit + 1, organisation=whose)
        page = [view(each) for each in found[:limit]]
        return WebhookPage(webhooks=page, next=page[-1].id if len(found) > limit else None)

    @router.get(_PATH, tags=["webhooks"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_webhook(id: str, response: Response) -> WebhookView:  # noqa: A002
        """One webhook, without its secret."""
        found = await _read(webhooks, id)
        response.headers["ETag"] = etag(found.version)
        return view(found)


def add_webhook_changes(router: APIRouter, webhooks: Webhooks, policy: UrlPolicy) -> None:
    """Changing, deleting, a new secret."""

    @router.patch(
        _PATH,
        tags=["webhooks"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED),
    )
    async def change_webhook(
        id: str,  # noqa: A002
        body: WebhookChange,
        response: Response,
        if_match: IfMatch = None,
    ) -> WebhookView:
        """Change where a webhook sends to and what; disable it, or enable it again. What waits
        goes to the new URL.
        """
        if body.url is not None:
            _check(body.url, policy)
        wanted = body.model_dump(exclude_none=True)
        if body.events is not None:
            wanted["events"] = tuple(dict.fromkeys(body.events))
        try:
            changed = await webhooks.change(
                _number(id),
                lambda terms: changed_terms(terms, **wanted),
                versions=parse_versions(if_match),
            )
        except VersionMismatch:
            detail = "the webhook was changed since it was read"
            raise Problem(HTTPStatus.PRECONDITION_FAILED, "webhook_changed", detail) from None
        if changed is None:
            raise missing(Target.WEBHOOK, id)
        response.headers["ETag"] = etag(changed.version)
        return view(changed)

    @router.delete(
        _PATH,
        tags=["webhooks"],
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def delete_webhook(id: str) -> None:  # noqa: A002
        """Delete a webhook; what waits is not sent any more."""
        if await webhooks.delete(_number(id)) is None:
            raise missing(Target.WEBHOOK, id)

    @router.post(
        f"{_PATH}/secret",
        tags=["webhooks"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def rotate_secret(id: str) -> WebhookSecret:  # noqa: A002
        """Give a webhook a new secret. For a day the old one signs as well."""
        rotated = await webhooks.rotate_secret(_number(id))
        if rotated is None:
            raise missing(Target.WEBHOOK, id)
        webhook, secret = rotated
        until = time_of(webhook.previous_until_ns)
        return WebhookSecret(secret=secret, previous_secret_until=until)


def add_delivery_routes(router: APIRouter, webhooks: Webhooks, deliveries: Deliveries) -> None:
    """Looking at deliveries, and asking for one."""

    @router.get(
        f"{_PATH}/deliveries", tags=["webhooks"], responses=documented(HTTPStatus.NOT_FOUND)
    )
    async def list_deliveries(
        id: str,  # noqa: A002
        status: Annotated[StatusName | None, Query(description="Only of this one.")] = None,
        before: _Before = TENANT_ID_MAX,
        limit: Limit = 100,
    ) -> DeliveryPage:
        """A webhook's deliveries, newest first, a page at a time."""
        webhook = await _read(webhooks, id)
        only = Status(status) if status is not None else None
        found = await deliveries.page(webhook.id, before=before, limit=limit + 1, status=only)
        page = [delivery_view(each) for each in found[:limit]]
        return DeliveryPage(deliveries=page, next=page[-1].id if len(found) > limit else None)

    @router.post(
        f"{_PATH}/test",
        tags=["webhooks"],
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def test_webhook(id: str) -> DeliveryView:  # noqa: A002
        """Send a `webhook.test` event to this webhook, once. What came of it is among its
        deliveries.
        """
        return delivery_view(await deliveries.test(await _read_enabled(webhooks, id)))

    @router.post(
        f"{_PATH}/deliveries/{{delivery}}/redeliver",
        tags=["webhooks"],
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def redeliver(id: str, delivery: str) -> DeliveryView:  # noqa: A002
        """Make a delivery once more, whatever became of it, with all the attempts of a new one."""
        webhook = await _read_enabled(webhooks, id)
        number = parse_id(delivery)
        found = await deliveries.again(webhook, number) if number is not None else None
        if found is None:
            detail = "there is no such delivery of this webhook"
            raise Problem(HTTPStatus.NOT_FOUND, "delivery_not_found", detail)
        return delivery_view(found)


def _owner_of(
    organisations: Organisations,
) -> Callable[[int | None], Awaitable[OrganisationId | None]]:
    async def owner(named: int | None) -> OrganisationId | None:
        """Whose a new webhook is. Raises Problem for an organisation that is out of reach."""
        reach = acting().reach
        if named is None:
            return reach.organisation
        is_mine = reach.scope is Scope.ADMIN or named == reach.organisation
        found = await organisations.get(OrganisationId(named)) if is_mine else None
        if found is None:
            raise missing(Target.ORGANISATION, str(named))
        return found.id

    return owner


def _check(url: str, policy: UrlPolicy) -> None:
    try:
        check_url(url, policy)
    except ValueError as error:
        raise invalid({"body.url": str(error)}) from None


def _number(text: str) -> int:
    number = parse_id(text)
    if number is None:
        raise missing(Target.WEBHOOK, text)
    return number


async def _read(webhooks: Webhooks, text: str) -> Webhook:
    found = await webhooks.get(_number(text))
    if found is None:
        raise missing(Target.WEBHOOK, text)
    return found


async def _read_enabled(webhooks: Webhooks, text: str) -> Webhook:
    found = await _read(webhooks, text)
    if not found.terms.enabled:
        detail = "the webhook is disabled: enable it first"
        raise Problem(HTTPStatus.CONFLICT, "webhook_disabled", detail)
    return found
