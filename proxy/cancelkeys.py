"""Cancel keys: what the client was told, and which statement of which pod it stands for.

The pid stays the pod's own, so that pg_backend_pid() and the driver agree; the secret is ours. Pids
of different pods may be equal, hence the pair is the key. As many entries as sessions: each is
removed when its session ends.
"""

import secrets
from dataclasses import dataclass

from dormouse.base.ids import TenantId
from pgwire.startup import CancelRequest

SECRET_BYTES = 4
"""What protocol 3.0 has room for."""


@dataclass(frozen=True, slots=True)
class Target:
    """A session in a pod."""

    tenant: TenantId
    address: str
    request: CancelRequest
    """With the pod's own secret."""


class CancelKeys:
    """The keys of all sessions of this proxy."""

    def __init__(self) -> None:
        self._targets: dict[tuple[int, bytes], Target] = {}

    def __repr__(self) -> str:
        return f"<CancelKeys n={len(self._targets)}>"

    def add(self, target: Target) -> CancelRequest:
        """Make a key for the session; what the client will show."""
        pid = target.request.pid
        while (pid, secret := secrets.token_bytes(SECRET_BYTES)) in self._targets:
            pass  # one in four thousand million
        self._targets[pid, secret] = target
        return CancelRequest(pid, secret)

    def find(self, shown: CancelRequest) -> Target | None:
        """The session, where the key is one."""
        return self._targets.get((shown.pid, shown.secret))

    def remove(self, shown: CancelRequest) -> None:
        """The session has ended."""
        self._targets.pop((shown.pid, shown.secret), None)
