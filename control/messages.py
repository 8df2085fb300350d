"""A tenant as the other roles are told of it (proto/control.proto)."""

from control.registry import Tenant
from proto import control_pb2


def tenant_message(tenant: Tenant) -> control_pb2.Tenant:
    """The tenant with its settings; no secret of it."""
    return control_pb2.Tenant(
        tenant_id=tenant.id, name=tenant.name, settings=settings_message(tenant)
    )


def settings_message(tenant: Tenant) -> control_pb2.TenantSettings:
    """The settings."""
    settings = tenant.settings
    return control_pb2.TenantSettings(
        connections_max=settings.connections_max,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        never_sleeps=settings.never_sleeps,
        pods_min=settings.pods_min,
        pods_max=settings.pods_max,
        allowed_networks=settings.allowed_networks,
        version=tenant.version,
    )
