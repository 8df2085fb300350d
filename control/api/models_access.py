"""The documents about organisations, API keys, the audit log and operations."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from control.organisations import ORGANISATION_NAME, time_zones

_BASIS = datetime(1970, 1, 1, tzinfo=UTC)


def _is_name(name: str) -> str:
    if not ORGANISATION_NAME.fullmatch(name):
        raise ValueError("use 1 to 63 lower-case letters, digits and inner dashes")
    return name


def _is_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError("use the IANA name of a time zone, as Asia/Tokyo")
    return name


OrganisationName = Annotated[
    str,
    Field(
        description="1 to 63 lower-case letters, digits and inner dashes; unique.",
        examples=["acme"],
        json_schema_extra={"pattern": f"^{ORGANISATION_NAME.pattern}$"},
    ),
    AfterValidator(_is_name),
]
TimeZone = Annotated[
    str,
    Field(description="IANA name.", examples=["Asia/Tokyo"], max_length=100),
    AfterValidator(_is_zone),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class OrganisationCreate(_Request):
    """What an organisation is made of."""

    name: OrganisationName
    time_zone: TimeZone = "UTC"


class OrganisationChange(_Request):
    """What is to change; what is left out stays."""

    name: OrganisationName | None = None
    time_zone: TimeZone | None = None
    billing_address: Annotated[str | None, Field(max_length=1000)] = Field(
        default=None,
        description="Lines of text that its invoices are addressed to.",
        examples=["Acme KK\n1-1 Chiyoda, Tokyo"],
    )


class OrganisationView(BaseModel):
    """An organisation: whose tenants and keys are."""

    id: int
    name: str
    time_zone: str = Field(
        description="Months begin and end there; after a change from the next month on."
    )
    billing_address: str = Field(description="What its invoices are addressed to.")
    created_at: datetime


class OrganisationPage(BaseModel):
    """Some organisations, by id."""

    organisations: list[OrganisationView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


ScopeName = Literal["admin", "organisation", "tenant"]
AccessName = Literal["read", "write"]
Label = Annotated[str, Field(min_length=1, max_length=100, examples=["deploy"])]


class KeyCreate(_Request):
    """What an API key is made of: at most the reach of the key that makes it."""

    label: Label
    scope: ScopeName = Field(description="How far it reaches.", examples=["tenant"])
    access: AccessName = "write"
    organisation: int | None = Field(
        default=None, ge=1, lt=2**63, description="Of scope `organisation`."
    )
    tenant: int | None = Field(default=None, ge=1, lt=2**63, description="Of scope `tenant`.")
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = Field(
        default=None, description="null: never.", examples=["2030-01-01T00:00:00Z"]
    )


class KeyView(BaseModel):
    """An API key without its text."""

    id: int
    label: str
    scope: ScopeName
    access: AccessName
    organisation: int | None
    tenant: int | None
    created_at: datetime
    created_by: int | None = Field(description="The key that made it; null: the gateway.")
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class KeyCreated(KeyView):
    """A new API key with its text, which is shown this once and kept nowhere."""

    key: str


class KeyPage(BaseModel):
    """Some API keys, by id."""

    keys: list[KeyView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class MeView(BaseModel):
    """The key that asks."""

    id: int
    label: str
    scope: ScopeName
    access: AccessName
    organisation: int | None
    tenant: int | None
    expires_at: datetime | None


class SignupRequest(_Request):
    """Whoever signs up."""

    organisation: OrganisationName
    time_zone: TimeZone = "UTC"


class SignedUp(BaseModel):
    """A new organisation and a key for all of it, which is shown this once and kept nowhere."""

    organisation: OrganisationView
    key: str


class ChangeView(BaseModel):
    """A value as it was and as it is; null: not there."""

    old: Any
    new: Any


class AuditEntryView(BaseModel):
    """A change: who, from where, what, when."""

    id: int
    at: datetime
    key: int | None = Field(description="The API key; null: the gateway, or somebody new.")
    key_label: str
    address: str
    request_id: str = Field(description="As in the answer's `X-Request-Id`.")
    action: str = Field(examples=["tenant.create"])
    resource: str = Field(description="Its path below `/v1/`.", examples=["tenants/17"])
    organisation: int | None
    tenant: int | None
    changes: dict[str, ChangeView]


class AuditPage(BaseModel):
    """Some changes, oldest first."""

    entries: list[AuditEntryView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class OperationView(BaseModel):
    """A long action, on a tenant or on the whole installation."""

    id: int
    kind: Literal["suspend", "delete", "purge", "restore", "rotate"]
    tenant: int | None = Field(description="Null: on the whole installation.")
    status: Literal["running", "succeeded", "failed"]
    started_at: datetime
    ended_at: datetime | None
    error: str | None = Field(description="For people; of a failed one.")


class OperationPage(BaseModel):
    """Some operations of a tenant, oldest first."""

    operations: list[OperationView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


def time_of(ns: int | None) -> datetime | None:
    """The moment, for people."""
    return None if ns is None else moment(ns)


def moment(ns: int) -> datetime:
    """The moment of these nanoseconds since 1970, to the microsecond."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns // 1000 % 10**6)


def nanoseconds(at: datetime) -> int:
    """The other way round, exactly."""
    passed = at - _BASIS
    return ((passed.days * 86_400 + passed.seconds) * 10**6 + passed.microseconds) * 1000
