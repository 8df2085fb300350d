"""The documents about events, webhooks and deliveries."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from control.events import EventKind
from control.webhooks.patterns import known_patterns
from control.webhooks.urls import URL_CHARACTERS_MAX

_PATTERNS = known_patterns(kind for kind in EventKind if kind is not EventKind.WEBHOOK_TEST)
_PATTERNS_MAX = 40


def _is_pattern(text: str) -> str:
    if text not in _PATTERNS:
        raise ValueError("use a kind of event as `spend.notice`, a family as `spend.*`, or `*`")
    return text


Pattern = Annotated[
    str,
    Field(
        description="A kind of event, a family of kinds as `spend.*`, or `*`.",
        examples=["spend.*"],
        json_schema_extra={"enum": sorted(_PATTERNS)},
    ),
    AfterValidator(_is_pattern),
]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=_PATTERNS_MAX)]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=URL_CHARACTERS_MAX,
        description="Where deliveries are sent to: https, and a public address.",
        examples=["https://example.com/dormouse"],
    ),
]
Description = Annotated[str, Field(max_length=200, description="For people.")]
StatusName = Literal["waiting", "delivered", "dead"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EventView(BaseModel):
    """Something that happened."""

    id: int
    kind: str = Field(examples=["tenant.created"])
    at: datetime
    organisation: int | None = Field(description="null: it belongs to the whole installation.")
    tenant: int | None
    data: dict[str, Any] = Field(description="Its names depend on the kind: see docs/events.md.")


class EventPage(BaseModel):
    """Some events, in the order that was asked for."""

    events: list[EventView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class WebhookCreate(_Request):
    """What a webhook is made of."""

    url: Url
    events: Patterns
    description: Description = ""
    organisation: int | None = Field(
        default=None,
        ge=1,
        lt=2**63,
        description="Whose events; by default the key's organisation, and of an admin key "
        "(null) the events of everybody and of the installation.",
    )


class WebhookChange(_Request):
    """What is to change; what is left out stays."""

    url: Url | None = None
    events: Patterns | None = None
    description: Description | None = None
    enabled: bool | None = Field(
        default=None, description="Enabling forgets the failures of before."
    )


class WebhookView(BaseModel):
    """A webhook without its secret."""

    id: int
    organisation: int | None = Field(description="null: the operator's.")
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_reason: Literal["by_request", "failing", "gone"] | None = Field(
        description="`failing`: nothing arrived for days; `gone`: the receiver answered 410."
    )
    failures: int = Field(description="Attempts that failed since the last that did not.")
    failing_since: datetime | None
    previous_secret_until: datetime | None = Field(
        description="Until then the secret of before the last rotation signs as well."
    )
    created_at: datetime


class WebhookCreated(WebhookView):
    """A new webhook with its secret, which is shown this once."""

    secret: str = Field(description="For verifying signatures; see docs/events.md.")


class WebhookPage(BaseModel):
    """Some webhooks, by id."""

    webhooks: list[WebhookView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class WebhookSecret(BaseModel):
    """A new secret, which is shown this once."""

    secret: str
    previous_secret_until: datetime | None = Field(
        description="Until then deliveries carry a signature by the old secret as well."
    )


class DeliveryView(BaseModel):
    """An event on its way to a webhook."""

    id: int
    webhook: int
    event: int
    kind: str
    message: str = Field(description="The `webhook-id` that the receiver knows it by.")
    status: StatusName = Field(description="`dead`: given up.")
    attempts: int = Field(description="Since it was made, or last asked for again.")
    next_attempt_at: datetime | None
    attempted_at: datetime | None
    response_status: int | None = Field(
        description="HTTP status of the last attempt; null: there was no answer."
    )
    error: str | None = Field(description="For people: what was wrong with the last attempt.")


class DeliveryPage(BaseModel):
    """Some deliveries of a webhook, newest first."""

    deliveries: list[DeliveryView]
    next: int | None = Field(description="The `before` of the next page; null at the end.")
