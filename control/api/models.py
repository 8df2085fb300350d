"""The documents of the HTTP API.

A tenant's id is a JSON number: ids count up from 1, far below the 2**53 that any JSON parser holds
exactly. Times are RFC 3339 in UTC.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dormouse.base.ids import TENANT_NAME

State = Literal["asleep", "waking", "running", "draining", "unknown"]


class TenantCreate(BaseModel):
    """What a tenant is made of."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(
        description="1 to 40 lower-case letters, digits and inner dashes; unique among the "
        "living tenants.",
        examples=["demo"],
        max_length=200,
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not TENANT_NAME.fullmatch(name):
            raise ValueError("use 1 to 40 lower-case letters, digits and inner dashes")
        return name


class TenantView(BaseModel):
    """A tenant and how it is just now."""

    id: int
    name: str
    state: State = Field(description="`unknown` while the autoscaler does not answer.")
    pods: int | None = Field(description="SQL pods; null where the state is unknown.")
    connections: int | None = Field(description="Open sessions; null where the state is unknown.")
    awake_because: str = Field(description="What keeps it awake, for people; empty if asleep.")
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
    """A deletion that is not finished yet."""

    id: int
    state: Literal["deleting"] = "deleting"


class RoleView(BaseModel):
    """A role of the installation."""

    pid: int | None = Field(description="null while it does not run.")
    state: str = Field(description="`starting`, `running`, `backoff` or `stopped`.")
    restarts: int
    since: datetime | None = Field(description="When it came to this state.")
    metrics: str | None = Field(
        default=None, description="Its Prometheus page; null where it has none."
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


class ProblemView(BaseModel):
    """An error (RFC 9457). Programs decide by `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]] | None = None
