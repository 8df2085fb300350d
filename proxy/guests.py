"""Who is connected: from which address, to which tenant; and how many there may be of whom. Pure.

    enter ──▶ come_from(address) ──▶ ask_for(tenant) ──▶ settle ──▶ … ──▶ leave
    in all    handshakes of it       connections of it

Whoever is turned away by the first two is hung up on, for anything kinder costs the very handshake
that is to be saved. Beyond `connections_max` there is room for a few more (`polite`), who are heard
out: they may be cancel requests, and the others are told what is wrong.
"""

from collections import Counter
from collections.abc import Callable

from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId
from proxy.addresses import Address, neighbourhood
from proxy.config import ProxyLimits
from proxy.errors import too_many_for_tenant
from proxy.tenants import KnownTenant


class Guest:
    """One client connection."""

    __slots__ = ("address", "cut", "handshake", "neighbourhood", "polite", "tenant")

    def __init__(self, *, polite: bool) -> None:
        self.polite = polite
        """There is no place for a session of it."""
        self.address: Address | None = None
        self.tenant: TenantId | None = None
        self.cut: Callable[[DormouseError], None] = lambda _error: None
        """End the connection, and tell the client why."""
        self.neighbourhood = ""
        """Whom its address counts as."""
        self.handshake = False
        """It has not logged in yet."""

    def __repr__(self) -> str:
        return f"<Guest {self.address} tenant={self.tenant}>"


class Guests:
    """All client connections of the proxy."""

    def __init__(self, limits: ProxyLimits) -> None:
        self._limits = limits
        self._all: set[Guest] = set()
        self._handshakes: Counter[str] = Counter()
        self._tenants: dict[TenantId, set[Guest]] = {}

    def __repr__(self) -> str:
        return (
            f"<Guests n={len(self._all)} handshakes={self._handshakes.total()} "
            f"tenants={len(self._tenants)}>"
        )

    def __len__(self) -> int:
        return len(self._all)

    def enter(self) -> Guest | None:
        """A new connection's guest; None: there is no room, not even for a word."""
        if len(self._all) >= self._limits.connections_max + self._limits.polite_max:
            return None
        guest = Guest(polite=len(self._all) >= self._limits.connections_max)
        self._all.add(guest)
        return guest

    def come_from(self, guest: Guest, address: Address) -> bool:
        """The guest's address is known; False: too many handshakes of it are under way."""
        guest.address = address
        guest.neighbourhood = neighbourhood(address)
        if self._handshakes[guest.neighbourhood] >= self._limits.handshakes_per_address_max:
            return False
        self._handshakes[guest.neighbourhood] += 1
        guest.handshake = True
        return True

    def ask_for(self, guest: Guest, tenant: KnownTenant) -> None:
        """The guest wants to go to the tenant: from now on it is one of `of(tenant)`.

        Raises TooManyConnections if the tenant has as many as it may.
        """
        guests = self._tenants.get(tenant.id)
        if guests is not None and 0 < tenant.connections_max <= len(guests):
            raise too_many_for_tenant(tenant.name)
        guest.tenant = tenant.id
        self._tenants.setdefault(tenant.id, set()).add(guest)

    def settle(self, guest: Guest) -> None:
        """The guest's session is open: it is no handshake any more."""
        if guest.handshake:
            guest.handshake = False
            self._handshakes[guest.neighbourhood] -= 1
            if not self._handshakes[guest.neighbourhood]:
                del self._handshakes[guest.neighbourhood]

    def leave(self, guest: Guest) -> None:
        """The guest's connection is no more. Idempotent."""
        if guest not in self._all:
            return
        self._all.remove(guest)
        self.settle(guest)
        if guest.tenant is not None:
            guests = self._tenants[guest.tenant]
            guests.discard(guest)
            if not guests:
                del self._tenants[guest.tenant]

    def all(self) -> list[Guest]:
        """Every one of them."""
        return list(self._all)

    def of(self, tenant: TenantId) -> list[Guest]:
        """Those of a tenant, also those not logged in yet."""
        return list(self._tenants.get(tenant, ()))

    def tenants(self) -> list[TenantId]:
        """Tenants with guests."""
        return list(self._tenants)
