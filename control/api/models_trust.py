"""The documents of certificates and secrets."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CLIENTS_AFTER_SECONDS = 7 * 86_400
_CLIENTS_AFTER_MAX = 365 * 86_400


class CertificateView(BaseModel):
    """A certificate, and how long it holds."""

    name: str = Field(description="Of its file: a role, `sql`, `api`, or an authority.")
    serial: str = Field(description="Hexadecimal.")
    issuer: str
    begins_at: datetime
    ends_at: datetime
    days_left: float
    state: Literal["valid", "expiring", "expired"] = Field(
        description="`expiring`: it should have been renewed by now."
    )


class RotationView(BaseModel):
    """A rotation of the authority under way."""

    phase: Literal["introduced", "reissued", "retired", "shown"] = Field(
        description="`introduced`: both authorities are trusted; `reissued`: everything inside has"
        " certificates of the new one; `retired`: only the new one is trusted inside; `shown`:"
        " clients are shown it, and `ca.crt` still has both."
    )
    since: datetime
    clients_at: datetime = Field(
        description="From then on the gateway shows clients a certificate of the new authority."
    )
    operation: int


class SecretsView(BaseModel):
    """What the registry's secrets are sealed with."""

    key: str = Field(description="The name of the key that seals.")
    old_keys: int = Field(description="Keys that are kept until nothing is sealed under them.")


class AuthorityView(BaseModel):
    """The installation's authority and the certificates that it keeps."""

    authorities: list[CertificateView] = Field(description="The one that issues first.")
    certificates: list[CertificateView]
    rotation: RotationView | None
    secrets: SecretsView


class RotateRequest(BaseModel):
    """When clients of the gateway are to meet the new authority."""

    model_config = ConfigDict(extra="forbid")

    clients_after_seconds: int = Field(
        default=CLIENTS_AFTER_SECONDS,
        ge=0,
        le=_CLIENTS_AFTER_MAX,
        description="How long clients that have a copy of `ca.crt` have to fetch the one with both."
        " While a rotation is under way this can only become sooner.",
    )


class PodView(BaseModel):
    """A pod of a tenant."""

    id: str = Field(description="16 hexadecimal digits.")
    state: Literal["starting", "running", "draining", "ending"]
    sessions: int
    cpu_percent: float


class RevokedPodView(BaseModel):
    """A pod whose certificates are refused."""

    id: str
    revoked_at: datetime
    until: datetime = Field(description="When its last certificate has ended anyway.")


class PodList(BaseModel):
    """The pods of a tenant, and those whose certificates are refused."""

    pods: list[PodView]
    revoked: list[RevokedPodView]


class PodRevoked(RevokedPodView):
    """A pod that was revoked."""

    is_ended: bool = Field(
        description="False: the autoscaler did not answer; the pod reaches nobody, and is ended"
        " when it does."
    )
