"""Documents of restores."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from control.api.models import Labels, TenantName

_COUNT_MAX = 2**62


class RestoreBegin(BaseModel):
    """What a backup's manifest says, and whose tenant is to be made of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: TenantName
    organisation: int | None = Field(
        default=None,
        ge=1,
        lt=2**63,
        description="Whose it is; null: the key's own, the operator's tenants are in `default`.",
    )
    labels: Labels = Field(default_factory=dict)
    settings: dict[str, Any] = Field(
        default_factory=dict,
        max_length=100,
        description="As in `GET /v1/tenants/{id}/settings`; unknown ones are left out.",
    )
    rows: int = Field(ge=0, le=_COUNT_MAX, description="How many rows come, index entries too.")
    counters: int = Field(ge=0, le=_COUNT_MAX, description="How many counters come.")
    has_catalog: bool = Field(description="As the manifest says.")


class RestoreBegun(BaseModel):
    """A tenant to be."""

    id: int = Field(description="The tenant's id, and the restore's.")
    piece_bytes_max: int = Field(description="The longest frame that is taken.")
