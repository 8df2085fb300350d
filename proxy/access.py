"""Where a tenant's clients may come from: at the door, and again whenever the rules change."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dormouse.base.ids import PodId, TenantId
from proxy import metrics
from proxy.addresses import Address
from proxy.errors import administrator_ended, not_allowed
from proxy.guests import Guests
from proxy.tenants import KnownTenant

if TYPE_CHECKING:
    from proxy.session import Session

_log = logging.getLogger(__name__)


def allows(tenant: KnownTenant, address: Address | None) -> bool:
    """Whether a client may come from there. An unknown address is in no network."""
    return tenant.allowed is None or (address is not None and address in tenant.allowed)


def check_access(tenant: KnownTenant, address: Address | None) -> None:
    """Raises Rejected where the client may not come from there."""
    if not allows(tenant, address):
        raise not_allowed(address)


def enforce(guests: Guests, tenant: TenantId, known: KnownTenant | None) -> None:
    """Cut those of the tenant's clients who may not be here any more; None: it is no more."""
    for guest in guests.of(tenant):
        if known is not None and allows(known, guest.address):
            continue
        cause = "deleted" if known is None else "not_allowed"
        metrics.CUT.labels(cause).inc()
        extra = {"tenant": tenant, "address": str(guest.address), "cause": cause}
        _log.info("connection cut", extra=extra)
        guest.cut(administrator_ended())


def cut_pod(sessions: "Iterable[Session]", tenant: TenantId, pod: PodId) -> None:
    """Hang up on a pod that was revoked, for all sessions it has."""
    for session in [each for each in sessions if each.tenant == tenant and each.pod_id == pod]:
        metrics.CUT.labels("revoked").inc()
        session.cut_pod()
