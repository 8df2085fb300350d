"""A tenant's settings: what each may be, and what a change makes of them. Pure.

A change names settings by the API's names; `null` puts one back to its default. Only what is
changed is checked, so that an older value that a newer rule refuses does not stand in the way.

    API                     kept as                              the default
    idle_timeout_seconds    idle_timeout_seconds, never_sleeps   the installation's (0)
    pods_min                pods_min                             0
    pods_max                pods_max                             the installation's (0)
    allowed_networks        allowed_networks                     from anywhere (none)
    connections_max         connections_max                      the installation's, as a number
    storage_max_bytes       storage_max_bytes                    the installation's (0)
    recovery_window_seconds recovery_window_seconds              the installation's (none)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from control.networks import canonical_networks

IDLE_TIMEOUT_SECONDS_MIN = 60
IDLE_TIMEOUT_SECONDS_MAX = 7 * 86_400
PODS_MAX = 64
CONNECTIONS_MAX = 10_000
STORAGE_BYTES_MIN = 1 << 20
STORAGE_BYTES_MAX = 1 << 50
RECOVERY_SECONDS_MAX = 30 * 86_400
NEVER: Literal["never"] = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for one tenant."""

    connections_max: int
    """Client connections that the proxies let in at a time."""

    idle_timeout_seconds: int = 0
    """Without a statement until the tenant sleeps; 0: the installation's default."""

    never_sleeps: bool = False
    """Wins over the idle timeout."""

    pods_min: int = 0
    """Above 0: this many pods even without a session."""

    pods_max: int = 0
    """0: the installation's default."""

    allowed_networks: tuple[str, ...] = ()
    """Canonical CIDR networks clients may come from; none: from anywhere."""

    storage_max_bytes: int = 0
    """Of current rows; 0: the installation's default."""

    recovery_window_seconds: int | None = None
    """How far back its rows can be read as they were; 0: not at all. None: the default."""


SETTING_NAMES = tuple(field.name for field in fields(Settings))


class InvalidSettings(Exception):
    """A change that is refused: a sentence for each setting that is to blame."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


def change_settings(
    settings: Settings, change: Mapping[str, Any], *, connections_default: int
) -> Settings:
    """The settings after `change`. Raises InvalidSettings, and nothing of the change holds."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, value in change.items():
        try:
            values |= _READERS[name](value)
        except ValueError as error:
            errors[name] = str(error)
    if values.get("connections_max") == 0:
        values["connections_max"] = connections_default
    if errors:
        raise InvalidSettings(errors)
    changed = replace(settings, **values)
    if changed.pods_max and changed.pods_min > changed.pods_max:
        name = "pods_min" if "pods_min" in change else "pods_max"
        text = f"pods_min ({changed.pods_min}) is above pods_max ({changed.pods_max})"
        raise InvalidSettings({name: text})
    return changed


def differences(before: Settings, after: Settings) -> dict[str, tuple[Any, Any]]:
    """What two settings differ in: old and new value by name."""
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in SETTING_NAMES)
    return {name: (old, new) for name, old, new in pairs if old != new}


def _idle_timeout(value: int | str | None) -> dict[str, Any]:
    if value == NEVER:
        return {"idle_timeout_seconds": 0, "never_sleeps": True}
    low, high = IDLE_TIMEOUT_SECONDS_MIN, IDLE_TIMEOUT_SECONDS_MAX
    seconds = _bounded(value, low, high, f'seconds, "{NEVER}"')
    return {"idle_timeout_seconds": seconds, "never_sleeps": False}


def _pods_min(value: int | None) -> dict[str, Any]:
    return {"pods_min": _bounded(value, 0, PODS_MAX, "pods")}


def _pods_max(value: int | None) -> dict[str, Any]:
    return {"pods_max": _bounded(value, 0, PODS_MAX, "pods")}


def _connections_max(value: int | None) -> dict[str, Any]:
    return {"connections_max": _bounded(value, 1, CONNECTIONS_MAX, "connections")}


def _storage_max_bytes(value: int | None) -> dict[str, Any]:
    return {"storage_max_bytes": _bounded(value, STORAGE_BYTES_MIN, STORAGE_BYTES_MAX, "bytes")}


def _recovery_window(value: int | None) -> dict[str, Any]:
    seconds = None if value is None else _bounded(value, 0, RECOVERY_SECONDS_MAX, "seconds")
    return {"recovery_window_seconds": seconds}


def _allowed_networks(value: list[str] | None) -> dict[str, Any]:
    return {"allowed_networks": canonical_networks(value or ())}


_READERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "idle_timeout_seconds": _idle_timeout,
    "pods_min": _pods_min,
    "pods_max": _pods_max,
    "allowed_networks": _allowed_networks,
    "connections_max": _connections_max,
    "storage_max_bytes": _storage_max_bytes,
    "recovery_window_seconds": _recovery_window,
}


def _bounded(value: int | str | None, low: int, high: int, unit: str) -> int:
    """The value, 0 for None; raises ValueError outside the bounds."""
    if value is None:
        return 0
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"use {low} to {high} {unit}, or null for the default")
    return value
