"""Which rules are compared, and which constants are turned, one at a time."""

from collections.abc import Mapping
from dataclasses import replace

from autoscaler.scale import ScalePolicy
from bench.simulation.life import Sleep
from bench.simulation.policies import (
    STEP_SECONDS_MAX,
    Dormouse,
    OnePod,
    PeakOnly,
    Reactive,
    RuleMaker,
    TargetTracking,
)

POLICY = replace(ScalePolicy(), sample_seconds_max=STEP_SECONDS_MAX)
"""As shipped, but for samples that speak for as long as a step of the simulation is."""

LEAN = replace(POLICY, average_factor=2.0, window_seconds=600.0)
"""The cheapest set that the sweep below found to be as good as the one shipped."""

IDLE_TIMEOUTS = (60.0, 300.0, 900.0)

RULES: Mapping[str, tuple[RuleMaker, Sleep]] = {
    "dormouse": (lambda: Dormouse(POLICY), Sleep()),
    "dormouse, 2 × average, 600 s": (lambda: Dormouse(LEAN), Sleep()),
    "target tracking, 80 %": (TargetTracking, Sleep()),
    "peak only, 80 %": (PeakOnly, Sleep()),
    "reactive, 90 % and 50 %": (Reactive, Sleep()),
    "one pod": (OnePod, Sleep()),
    "one pod, awake while connected": (OnePod, Sleep(while_connected=False)),
}

SWEPT: Mapping[str, tuple[float, ...]] = {
    "average_factor": (0.0, 2.0, 4.0, 6.0),
    "peak_factor": (1.0, 1.33, 1.6, 2.0),
    "window_seconds": (60.0, 300.0, 600.0),
    "peak_seconds": (1.0, 2.0, 5.0),
    "saturated_seconds": (1.0, 2.0, 5.0, 1e9),
    "quiet_seconds": (1.0, 60.0, 300.0),
    "dead_band": (0.0, 0.1, 0.3),
}


def turned(constant: str, value: float) -> RuleMaker:
    """Dormouse's rule with one constant changed."""
    policy = replace(POLICY, **{constant: value})
    return lambda: Dormouse(policy)


def without_sessions() -> RuleMaker:
    """Dormouse's rule, with more pods allowed than there are sessions."""
    return lambda: Dormouse(POLICY, by_sessions=False)
