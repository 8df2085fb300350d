"""The autoscaler put together: everything but its sockets.

proxies, control ──▶ AutoscalerService ──▶ Waker, Suspender ──▶ Controller ──▶ runtime, pods
                                                                    ▲
control's stream of tenants ──▶ TenantFollower ─────────────────────┘
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from autoscaler.actions import Policy
from autoscaler.closing import Closing
from autoscaler.controller import Controller
from autoscaler.fleet import Fleet
from autoscaler.follower import TenantFollower
from autoscaler.limits import Defaults
from autoscaler.owners import Owners
from autoscaler.podcontrol import PodControl
from autoscaler.proxies import ProxyTable
from autoscaler.renewer import Renewer
from autoscaler.runtimes.base import PodRuntime
from autoscaler.service import AutoscalerService
from autoscaler.suspender import Suspender
from autoscaler.waker import WakeLimits, Waker
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub


class Core:
    """All parts, and the two that run by themselves."""

    def __init__(
        self,
        *,
        policy: Policy,
        limits: WakeLimits,
        defaults: Defaults,
        runtime: PodRuntime,
        pods: PodControl,
        control: "ControlAsyncStub",
        storage_address: str,
        control_address: str,
        clock: Clock,
    ) -> None:
        self.controller = Controller(Fleet(policy.scale), policy, runtime, pods, clock)
        self.closing = Closing(control)
        pods.on_status, pods.on_forget = self.closing.said, self.closing.ended
        self.proxies = ProxyTable(random.Random())
        owners = Owners(self.controller)
        waker = Waker(
            self.controller,
            control,
            storage_address,
            limits,
            defaults,
            control_address=control_address,
            owners=owners,
        )
        suspender = Suspender(self.controller, waker, lambda: len(self.proxies) > 0)

        def end_deleted(tenant: TenantId) -> Coroutine[Any, Any, int]:
            return suspender.suspend(tenant, why="it was deleted", grace=0.0)

        self.follower = TenantFollower(self.controller, control, defaults, end_deleted)
        self.service = AutoscalerService(
            self.controller,
            waker,
            suspender,
            self.proxies,
            owners,
            Renewer(self.controller, control, owners),
        )
        self._waker = waker
        self.running = spawn(self.controller.run(), name="controller")
        """Ends only when something is broken."""
        self._following: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Core {self.controller} {self.proxies} {self.follower}>"

    async def until_ready(self, timeout: float) -> bool:
        """Wait for the pods that live and for a full pool; False where that took too long. Control
        is followed from then on: first of all it is asked for the tenants that are awake."""
        full = await self.controller.until_warm(timeout)
        self._following = spawn(self.follower.run(), name="tenant-follower")
        return full

    async def close(self) -> None:
        """Stop; the pods live on."""
        await cancel(self._following)
        await self.closing.close()
        await self._waker.close()
        await cancel(self.running)
