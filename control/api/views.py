"""Tenants as documents of the API."""

from datetime import UTC, datetime
from typing import Any

from control.api.models import (
    DecisionView,
    ExplanationView,
    LiveTenantView,
    LiveView,
    SettingsView,
    TenantCreated,
    TenantView,
)
from control.live import Live
from control.pictures import Decision, Picture
from control.settings import NEVER, Settings
from control.tenants import DELETED, Described, Explained
from control.urls import Endpoint, connection_url, connection_url_sni


def tenant_view(
    described: Described, endpoint: Endpoint, password: str | None = None
) -> TenantView:
    """A tenant; its URL is with the password if there is one."""
    tenant = described.tenant
    return TenantView.model_validate(
        {
            **_picture(described.picture),
            **({"state": DELETED} if tenant.deleted_ns is not None else {}),
            "id": tenant.id,
            "name": tenant.name,
            "organisation": tenant.organisation,
            "labels": dict(tenant.labels),
            "settings": settings_view(tenant.settings),
            "user": tenant.owner,
            "database": tenant.database,
            "connection_url": connection_url(endpoint, tenant, password),
            "created_at": _time(tenant.created_ns / 1_000_000_000),
        }
    )


def created_view(described: Described, endpoint: Endpoint, password: str) -> TenantCreated:
    """A new tenant with its password."""
    return TenantCreated(
        **tenant_view(described, endpoint, password).model_dump(),
        password=password,
        connection_url_sni=connection_url_sni(endpoint, described.tenant, password),
    )


def settings_view(settings: Settings) -> SettingsView:
    """A tenant's settings."""
    timeout = NEVER if settings.never_sleeps else settings.idle_timeout_seconds or None
    return SettingsView(
        idle_timeout_seconds=timeout,
        pods_min=settings.pods_min,
        pods_max=settings.pods_max or None,
        allowed_networks=list(settings.allowed_networks),
        connections_max=settings.connections_max,
        storage_max_bytes=settings.storage_max_bytes or None,
        recovery_window_seconds=settings.recovery_window_seconds,
    )


def explanation_view(explained: Explained, endpoint: Endpoint) -> ExplanationView:
    """Why a tenant is as it is."""
    return ExplanationView(
        tenant=tenant_view(explained.described, endpoint),
        decisions=[_decision(each) for each in explained.decisions],
    )


def live_view(live: Live, *, registered: int, wall_ns: int) -> LiveView:
    """All tenants with pods or sessions at that moment."""
    totals, pool = live.totals, live.warm_pool
    return LiveView.model_validate(
        {
            "at": _time(wall_ns / 1_000_000_000),
            "tenants": [
                LiveTenantView.model_validate(
                    {**_picture(each.picture), "id": each.id, "name": each.name}
                )
                for each in live.tenants
            ],
            "more": live.more,
            "totals": {
                "registered": registered,
                "awake": totals.awake,
                "pods": totals.pods,
                "connections": totals.connections,
                "parked": totals.parked,
                "cpu_percent": totals.cpu_permille / 10,
                "request_units_per_second": _rate(totals.request_units_per_second),
            },
            "warm_pool": {"ready": pool.ready, "wanted": pool.wanted} if pool else None,
        }
    )


def _picture(picture: Picture) -> dict[str, Any]:
    cpu, rate = picture.cpu_permille, picture.request_units_per_second
    return {
        "state": picture.state,
        "pods": picture.pods,
        "pods_wanted": picture.pods_wanted,
        "connections": picture.connections,
        "parked": picture.parked,
        "cpu_percent": cpu / 10 if cpu is not None else None,
        "request_units_per_second": _rate(rate) if rate is not None else None,
        "awake_because": picture.awake_because,
        "holds": [
            {"backend_pid": hold.backend_pid, "reason": hold.reason} for hold in picture.holds
        ],
    }


def _decision(decision: Decision) -> DecisionView:
    return DecisionView(
        at=_time(decision.at_unix_ms / 1000),
        action=decision.action,
        reason=decision.reason,
        inputs=dict(decision.inputs),
    )


def _rate(per_second: float) -> float:
    return round(per_second, 3)


def _time(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
