"""Metrics of storage, as one test changes them."""

from dormouse.base.metrics import REGISTRY

_GAUGES = (
    "transactions",
    "staged_bytes",
    "requests_in_flight",
    "roll_forwards",
    "roll_forwards_damaged",
    "roll_forwards_stuck",
    "roll_forward_bytes",
)
_before: dict[str, float] = {}


def begin() -> None:
    """A test begins: crashes that others have played in this process have left gauges behind."""
    _before.update({name: _read(name) for name in _GAUGES})


def value(name: str, **labels: str) -> float:
    """Of a metric; of a gauge, what it has become more since the test began."""
    return _read(name, **labels) - (_before.get(name, 0.0) if not labels else 0.0)


def _read(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"dormouse_storage_{name}", labels) or 0.0
