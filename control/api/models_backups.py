"""Documents of restores."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from control.api.models import Labels, SettingsChange, TenantName
from control.api.spending import SpendLimitPut

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
    settings: SettingsChange = Field(
        default_factory=SettingsChange,
        description="As in the manifest; those that this release does not know are left out.",
    )
    spend_limit: SpendLimitPut | None = Field(
        default=None, description="As in the manifest; null: none."
    )
    rows: int = Field(ge=0, le=_COUNT_MAX, description="How many rows come, index entries too.")
    counters: int = Field(ge=0, le=_COUNT_MAX, description="How many counters come.")
    has_catalog: bool = Field(description="As the manifest says.")

    @field_validator("settings", mode="before")
    @classmethod
    def _leave_out_unknown(cls, settings: Any) -> Any:
        """A backup may be of a newer release, which has more of them."""
        if not isinstance(settings, dict):
            return settings
        return {n: value for n, value in settings.items() if n in SettingsChange.model_fields}


class RestoreBegun(BaseModel):
    """A tenant to be."""

    id: int = Field(description="The tenant's id, and the restore's.")
    piece_bytes_max: int = Field(description="The longest frame that is taken.")


class RestoreCounting(BaseModel):
    """A restore that is not at its end."""

    status: Literal["counting"] = "counting"
