"""What a tenant's settings come to where the installation's defaults fill the gaps."""

from dataclasses import dataclass

from autoscaler.tenants import Limits
from proto.control_pb2 import TenantSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """For tenants that have no setting of their own."""

    idle_timeout: float = 300.0
    """Seconds."""
    pods_min: int = 0
    pods_max: int = 4

    def fill(self, settings: TenantSettings) -> Limits:
        """The limits of a tenant with these settings."""
        pods_max = settings.pods_max or self.pods_max
        timeout = settings.idle_timeout_seconds or self.idle_timeout
        return Limits(
            idle_timeout=None if settings.never_sleeps else timeout,
            pods_min=min(settings.pods_min or self.pods_min, pods_max),
            pods_max=pods_max,
            version=settings.version,
        )
