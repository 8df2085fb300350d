"""Who acts: the API key of the request in work, or the gateway itself. Pure, but for one context
variable, which the gate sets for a request and every note of a change reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from dormouse.base.ids import TenantId

OrganisationId = NewType("OrganisationId", int)
"""An organisation's number: counts up from 1, never given twice."""

DEFAULT_ORGANISATION = OrganisationId(1)
"""`default`: where tenants are that were made without naming one."""


class Scope(StrEnum):
    """How far a key reaches."""

    ADMIN = "admin"
    ORGANISATION = "organisation"
    TENANT = "tenant"


class Access(StrEnum):
    """What a key may do there; who may write may read."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Reach:
    """All (admin), all of one organisation, or one tenant of one organisation."""

    scope: Scope
    access: Access
    organisation: OrganisationId | None = None
    tenant: TenantId | None = None

    def sees(self, organisation: OrganisationId | None, tenant: TenantId | None) -> bool:
        """Whether something that belongs to those is within reach; None: to no single one."""
        if self.scope is Scope.ADMIN:
            return True
        if self.scope is Scope.ORGANISATION:
            return organisation == self.organisation
        return tenant is not None and tenant == self.tenant

    def covers(self, other: "Reach") -> bool:
        """Whether `other` goes nowhere that this does not, and may do nothing that this may not."""
        if other.access is Access.WRITE and self.access is Access.READ:
            return False
        if other.scope is Scope.ADMIN:
            return self.scope is Scope.ADMIN
        return self.sees(other.organisation, other.tenant)


EVERYTHING = Reach(Scope.ADMIN, Access.WRITE)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, from where, in which request."""

    reach: Reach
    key_id: int | None
    """None: not a key, but the gateway or somebody who signs up."""

    label: str
    address: str = ""
    request_id: str = ""
    expires_ns: int | None = None


SYSTEM = Actor(EVERYTHING, None, "system")
"""The gateway itself: what goes on by itself, and the command line on the machine."""

_acting: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def acting() -> Actor:
    """Who acts just now."""
    return _acting.get()


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Inside the block it is `actor` who acts."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)
