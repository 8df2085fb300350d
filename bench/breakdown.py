"""Where the time of a wake goes, by the roles' own clocks, and whether that is all of it.

```
 client   ├────────────────────────── what it waited for ─────────────────────────────┤
 proxy      ├ handshake ┤ resolve ┤ wake ─────────────────┤ dial ┤ login ┤ first row ┤
 autoscaler                       ├ claim ┤ issue ┤ stamp ┤
```

The proxy's parts follow each other without a gap. What is left over belongs to nobody's clock: the
client's own work, the network, and the way between proxy and autoscaler.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.scrape import Reading

_PROXY = ("resolve", "wake", "dial", "login", "first_row")
_AUTOSCALER = ("claim", "issue", "stamp")
_HANDSHAKE = "dormouse_proxy_handshake_seconds"


class DoesNotAddUp(Exception):
    """The parts are not what the client saw."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Mean milliseconds of a wake."""

    client_ms: float
    """What the client saw."""
    parts_ms: Mapping[str, float]
    """By part, in order, without a gap between them."""

    @property
    def unexplained_ms(self) -> float:
        """What the client saw and no part covers; below 0 where the parts are too long."""
        return self.client_ms - sum(self.parts_ms.values())

    def check(self, tolerance_percent: float) -> None:
        """Raises DoesNotAddUp if more is left unexplained than that much of what the client saw."""
        if abs(self.unexplained_ms) > tolerance_percent / 100 * self.client_ms:
            raise DoesNotAddUp(
                f"the client waited {self.client_ms:.1f} ms, the parts are "
                f"{sum(self.parts_ms.values()):.1f} ms: {dict(self.parts_ms)}"
            )


def breakdown(before: Reading, after: Reading, client_ms: float, wakes: int) -> Breakdown:
    """Of so many wakes between two readings; `client_ms` is the mean of what the client saw."""

    def each_ms(role: str, name: str) -> float:
        seconds = after.get((role, name, "sum"), 0.0) - before.get((role, name, "sum"), 0.0)
        return seconds * 1000 / wakes

    seen = {part: each_ms("proxy", f"dormouse_proxy_wake_seconds{{{part}}}") for part in _PROXY}
    inner = {
        part: each_ms("autoscaler", f"dormouse_wake_seconds{{{part}}}") for part in _AUTOSCALER
    }
    parts = {
        "handshake": each_ms("proxy", _HANDSHAKE),
        "resolve": seen["resolve"],
        **inner,
        "wake, the way there and back": seen["wake"] - sum(inner.values()),
        "dial": seen["dial"],
        "login": seen["login"],
        "first row": seen["first_row"],
    }
    return Breakdown(client_ms, {name: round(value, 3) for name, value in parts.items()})
