"""The documents of the HTTP API.

A tenant's id is a JSON number: ids count up from 1, far below the 2**53 that any JSON parser holds
exactly. Times are RFC 3339 in UTC.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from control.labels import LABELS_MAX, VALUE_MAX, check_labels
from control.labels import NAME as LABEL_NAME
from control.networks import NETWORKS_MAX
from control.settings import (
    CONNECTIONS_MAX,
    IDLE_TIMEOUT_SECONDS_MAX,
    IDLE_TIMEOUT_SECONDS_MIN,
    NEVER,
    PODS_MAX,
    RECOVERY_SECONDS_MAX,
    STORAGE_BYTES_MAX,
    STORAGE_BYTES_MIN,
)
from dormouse.base.ids import TENANT_NAME

State = Literal["asleep", "waking", "running", "draining", "unknown", "deleted"]
StateFilter = Literal["asleep", "waking", "running", "draining", "unknown", "deleted"]


def _is_name(name: str) -> str:
    if not TENANT_NAME.fullmatch(name):
        raise ValueError("use 1 to 40 lower-case letters, digits and inner dashes")
    return name


TenantName = Annotated[
    str,
    Field(
        description="1 to 40 lower-case letters, digits and inner dashes; unique among the "
        "living tenants.",
        examples=["demo"],
        json_schema_extra={"pattern": f"^{TENANT_NAME.pattern}$"},
    ),
    AfterValidator(_is_name),
]
Labels = Annotated[
    dict[str, str],
    Field(
        description=f"At most {LABELS_MAX} names with values, for whoever sorts tenants.",
        examples=[{"stage": "test"}],
        json_schema_extra={
            "maxProperties": LABELS_MAX,
            "propertyNames": {"pattern": f"^{LABEL_NAME.pattern}$"},
            "additionalProperties": {
                "type": "string",
                "maxLength": VALUE_MAX,
                "pattern": "^[ -~]*$",
            },
        },
    ),
    AfterValidator(check_labels),
]


class TenantCreate(BaseModel):
    """What a tenant is made of."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: TenantName
    organisation: int | None = Field(
        default=None,
        ge=1,
        lt=2**63,
        description="Whose it is; null: the key's own, the operator's tenants are in `default`.",
        examples=[1],
    )
    labels: Labels = Field(default_factory=dict)


class TenantChange(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: TenantName | None = Field(
        default=None, description="Its address changes with it: old addresses stop at once."
    )
    labels: Labels | None = Field(default=None, description="All of them; others go.")


class TenantRestore(BaseModel):
    """How a tenant is to come back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: TenantName | None = Field(
        default=None, description="Where another tenant has its name by now."
    )


IdleTimeout = int | Literal["never"] | None


class SettingsView(BaseModel):
    """A tenant's settings."""

    idle_timeout_seconds: IdleTimeout = Field(
        description="Without a statement until it sleeps; null: the installation's default."
    )
    pods_min: int = Field(description="Above 0: so many pods even without a session.")
    pods_max: int | None = Field(description="null: the installation's default.")
    allowed_networks: list[str] = Field(
        description="Networks that clients may come from; empty: from anywhere.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    )
    connections_max: int = Field(description="Client connections at a time.")
    storage_max_bytes: int | None = Field(
        description="Of current rows; beyond, writes fail with 53100 and deleting goes on."
        " null: the installation's default."
    )
    recovery_window_seconds: int | None = Field(
        description="How far back rows can be read as they were; 0: not at all."
        " null: the installation's default."
    )


class SettingsChange(BaseModel):
    """What is to change; null puts a setting back to its default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    idle_timeout_seconds: IdleTimeout = Field(
        default=None,
        description=f"{IDLE_TIMEOUT_SECONDS_MIN} to {IDLE_TIMEOUT_SECONDS_MAX}, or `never`.",
        examples=[600],
    )
    pods_min: int | None = Field(
        default=None, description=f"0 to {PODS_MAX}, not above `pods_max`.", examples=[0]
    )
    pods_max: int | None = Field(default=None, description=f"1 to {PODS_MAX}.", examples=[4])
    allowed_networks: list[str] | None = Field(
        default=None,
        description=f"At most {NETWORKS_MAX} networks or addresses, IPv4 or IPv6.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    )
    connections_max: int | None = Field(
        default=None, description=f"1 to {CONNECTIONS_MAX}.", examples=[100]
    )
    storage_max_bytes: int | None = Field(
        default=None,
        description=f"{STORAGE_BYTES_MIN} to {STORAGE_BYTES_MAX}.",
        examples=[10_737_418_240],
    )
    recovery_window_seconds: int | None = Field(
        default=None, description=f"0 to {RECOVERY_SECONDS_MAX}.", examples=[86_400]
    )

    @field_validator("idle_timeout_seconds", mode="before")
    @classmethod
    def _is_timeout(cls, value: Any) -> Any:
        # Otherwise each of the kinds it is not would be an error of its own.
        if value is None or value == NEVER or type(value) is int:
            return value
        raise ValueError(f'use a whole number of seconds, "{NEVER}" or null')


class HoldView(BaseModel):
    """A session that cannot be parked."""

    backend_pid: int = Field(description="As `pg_backend_pid()` has it.")
    reason: str


class PictureView(BaseModel):
    """How a tenant is just now. The numbers are null where the state is unknown."""

    state: State = Field(description="`unknown` while the autoscaler does not answer.")
    pods: int | None = Field(description="SQL pods.")
    pods_wanted: int | None = Field(description="SQL pods that its load asks for.")
    connections: int | None = Field(description="Sessions that have a pod.")
    parked: int | None = Field(description="Sessions that wait, open, without a pod.")
    cpu_percent: float | None = Field(description="Of one core, all pods, over the last seconds.")
    request_units_per_second: float | None = Field(description="Over the last seconds.")
    awake_because: str = Field(description="What keeps it awake, for people; empty if asleep.")
    holds: list[HoldView] = Field(description="Sessions that keep it awake; a few at most.")


class TenantView(PictureView):
    """A tenant and how it is just now."""

    id: int
    name: str
    organisation: int = Field(description="Whose it is.")
    labels: dict[str, str]
    settings: SettingsView
    user: str = Field(description="The tenant's first role.")
    database: str
    created_at: datetime
    connection_url: str = Field(
        description="Works as it stands in psql, psycopg, asyncpg and node-postgres on the "
        "gateway's machine; the tenant is named in the user. The password is in it only in the "
        "answer that created the tenant."
    )


class TenantCreated(TenantView):
    """A new tenant with its password, which is shown this once and kept nowhere."""

    password: str
    connection_url_sni: str = Field(description="The same, with the tenant named in the host.")


class TenantPage(BaseModel):
    """Some tenants, by id."""

    tenants: list[TenantView]
    next: int | None = Field(description="The `after` of the next page; null at the end.")


class TenantDeleted(BaseModel):
    """A deleted tenant whose data is still there."""

    id: int
    state: Literal["deleting", "deleted"] = Field(
        description="`deleting`: something is still being ended or removed."
    )
    restorable_until: datetime | None = Field(description="null: not any more.")
    operation: int = Field(description="`GET /v1/operations/{id}` tells how far it is.")


class PasswordReset(BaseModel):
    """A new password, which is shown this once and kept nowhere."""

    user: str
    password: str
    connection_url: str
    connection_url_sni: str
    in_effect: bool = Field(
        description="Whether every running pod wants it by now; false: some may take the old one"
        " until they answer again."
    )


class ConnectionUrls(BaseModel):
    """Every way to name the tenant to a client, without the password."""

    user: str = Field(description="In the user name: for every client.")
    sni: str = Field(description="In the host name: for clients that send it in TLS.")
    options: str = Field(description="In the startup option `--tenant`: for libpq's family.")
    database: str = Field(description="In the database name: where nothing else can be set.")


class DecisionView(BaseModel):
    """Something that the autoscaler did about a tenant, or would not do."""

    at: datetime
    action: str = Field(examples=["scale up"])
    reason: str
    inputs: dict[str, str] = Field(
        description="What it was based on.", examples=[{"average_cores": "0.31", "pods": "1"}]
    )


class ExplanationView(BaseModel):
    """Why a tenant is as it is."""

    tenant: TenantView
    decisions: list[DecisionView] = Field(description="Newest first; kept for a while.")


class LiveTenantView(PictureView):
    """A tenant that is awake, or sleeps with parked sessions."""

    id: int
    name: str


class WarmPoolView(BaseModel):
    """Pods that wait for the next tenant to wake."""

    ready: int
    wanted: int


class LiveTotalsView(BaseModel):
    """Sums over all of them."""

    registered: int = Field(description="Tenants, awake or not.")
    awake: int
    pods: int
    connections: int
    parked: int
    cpu_percent: float
    request_units_per_second: float


class LiveView(BaseModel):
    """The tenants that are awake or have parked sessions, sorted by what was asked for."""

    at: datetime
    tenants: list[LiveTenantView]
    more: int = Field(description="So many others are left out.")
    totals: LiveTotalsView
    warm_pool: WarmPoolView | None = Field(description="null: the autoscaler does not tell.")


class RetiringView(BaseModel):
    """A process of older code that ends when its last session has moved or ended."""

    pid: int
    generation: int
    since: datetime
    version: str | None = None
    metrics: str | None = None


class RoleView(BaseModel):
    """A role of the installation."""

    pid: int | None = Field(description="null while it does not run.")
    state: str = Field(description="`starting`, `running`, `backoff` or `stopped`.")
    restarts: int = Field(description="Deaths; a successor that took over is none.")
    since: datetime | None = Field(description="When it came to this state.")
    generation: int = Field(default=0, description="Counts its successors.")
    version: str | None = Field(default=None, description="Of its code; null until it says so.")
    metrics: str | None = Field(
        default=None, description="Its Prometheus page; null where it has none."
    )
    retiring: list[RetiringView] = Field(
        default_factory=list, description="Predecessors that have not ended yet."
    )


class TenantTotals(BaseModel):
    """How many tenants there are."""

    registered: int
    ever: int = Field(description="With the deleted ones.")


class StatusView(BaseModel):
    """The installation."""

    version: str
    roles: dict[str, RoleView]
    tenants: TenantTotals
    warnings: list[str] = Field(
        default_factory=list,
        description="For people: certificates that end and are not renewed, a full disk.",
    )


class ProblemView(BaseModel):
    """An error (RFC 9457). Programs decide by `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]] | None = None
