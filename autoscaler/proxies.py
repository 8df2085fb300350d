"""The proxies that watch: their numbers, where they reach one another, and what they hold.

A proxy's number is part of the backend pids its clients see, so a cancel request finds its way by
it. It keeps the number for as long as it watches, and gets it back if it was cut off for a while:
a number is not given to another until QUARANTINE_SECONDS after it was last used, as long as there
are others. Newcomers get numbers at random: right after our own restart all numbers are free, and a
newcomer must not take one whose owner is on its way back.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import Proxies, ProxyAddress

NUMBER_MAX = 1023
QUARANTINE_SECONDS = 600.0
REPORTED_TENANTS_MAX = 200_000
"""Tenants one proxy may report; no proxy holds more connections than that."""


class ProxiesRefused(Exception):
    """All numbers are taken, or the report is not to be had: the text says which."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the proxies hold of one tenant."""

    sessions: int = 0
    """That have a pod."""
    parked: int = 0


@dataclass(slots=True, eq=False)
class Proxy:
    """One proxy that watches."""

    number: int
    peer_address: str
    told: Callable[[], None]
    """Called when the set of proxies has changed."""
    cut: Callable[[], None]
    """Called when the same proxy has come again: this stream of its is over."""
    held: Mapping[TenantId, Held] = field(default_factory=dict)


class ProxyTable:
    """All proxies that watch just now."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._proxies: dict[int, Proxy] = {}
        self._left: dict[int, float] = {}
        self._sums: dict[TenantId, Held] = {}
        self.parked = 0
        """Parked sessions of all tenants."""

    def __repr__(self) -> str:
        return f"<ProxyTable {sorted(self._proxies)} parked={self.parked}>"

    def __len__(self) -> int:
        return len(self._proxies)

    def join(
        self,
        peer_address: str,
        number: int,
        now: float,
        *,
        told: Callable[[], None],
        cut: Callable[[], None],
    ) -> Proxy:
        """A proxy watches, and had `number` (0: none). Raises ProxiesRefused."""
        ghost = self._proxies.get(number)
        if ghost is not None and peer_address and ghost.peer_address == peer_address:
            self.leave(ghost, now)  # its old stream is broken, and nobody has noticed
            ghost.cut()
        if not 0 < number <= NUMBER_MAX or number in self._proxies:
            number = self._free(now)
        proxy = Proxy(number, peer_address, told, cut)
        self._left.pop(number, None)
        self._proxies[number] = proxy
        self._tell(but=proxy)
        return proxy

    def leave(self, proxy: Proxy, now: float) -> None:
        """Its stream has ended; what it reported counts no longer."""
        if self._proxies.get(proxy.number) is proxy:
            del self._proxies[proxy.number]
            self._left[proxy.number] = now
            self._count(proxy.held, {})
            self._tell(but=proxy)

    def _free(self, now: float) -> int:
        free = [number for number in range(1, NUMBER_MAX + 1) if number not in self._proxies]
        if not free:
            raise ProxiesRefused(f"{NUMBER_MAX} proxies already")
        rested = [
            number
            for number in free
            if now - self._left.get(number, float("-inf")) > QUARANTINE_SECONDS
        ]
        if not rested:
            return min(free, key=lambda number: self._left[number])
        return self._random.choice(rested)

    def _tell(self, but: Proxy) -> None:
        for proxy in list(self._proxies.values()):
            if proxy is not but:
                proxy.told()

    def seen_by(self, proxy: Proxy) -> Proxies:
        """What the proxy is told of itself and the others."""
        others = [
            ProxyAddress(number=each.number, peer_address=each.peer_address)
            for each in self._proxies.values()
            if each is not proxy
        ]
        return Proxies(your_number=proxy.number, others=others)

    # What they hold

    def reported(self, number: int, held: Mapping[TenantId, Held]) -> set[TenantId]:
        """A proxy's whole report. Returns the tenants it has more sessions of than before.

        Raises ProxiesRefused.
        """
        proxy = self._proxies.get(number)
        if proxy is None:
            raise ProxiesRefused(f"no proxy {number} watches")
        if len(held) > REPORTED_TENANTS_MAX:
            raise ProxiesRefused(f"more than {REPORTED_TENANTS_MAX} tenants")
        before, proxy.held = proxy.held, held
        self._count(before, held)
        nothing = Held()
        return {
            tenant
            for tenant, each in held.items()
            if each.sessions > before.get(tenant, nothing).sessions
        }

    def _count(self, before: Mapping[TenantId, Held], after: Mapping[TenantId, Held]) -> None:
        """One proxy's share of the sums was `before` and is `after`."""
        nothing = Held()
        for tenant in before.keys() | after.keys():
            old, new = before.get(tenant, nothing), after.get(tenant, nothing)
            if old != new:
                was = self._sums.pop(tenant, nothing)
                sessions = was.sessions - old.sessions + new.sessions
                parked = was.parked - old.parked + new.parked
                self.parked += new.parked - old.parked
                if sessions or parked:
                    self._sums[tenant] = Held(sessions, parked)

    def held(self, tenant: TenantId) -> Held:
        """What all proxies hold of a tenant."""
        return self._sums.get(tenant, Held())

    def parked_tenants(self) -> list[TenantId]:
        """Tenants with a parked session."""
        return [tenant for tenant, each in self._sums.items() if each.parked]
