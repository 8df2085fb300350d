"""Pods whose certificates are refused although they have not ended yet.

    control ──▶ revoked.json, beside ca.crt ──looked at every second──▶ every role
                                                       │
              calls of that pod are refused ◀──────────┤
              its open streams are cut      ◀──────────┘

A certificate lives for days, so the list is short and bounded: control drops who has ended anyway.
It lies where the authority lies that a role trusts, and travels like that, so a role that starts
knows it before it answers. No file means that nobody was ever revoked; one that cannot be read
keeps a role from starting, and a running one at the list it has.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import Gauge

from dormouse.base.ids import PodId, TenantId
from dormouse.base.metrics import REGISTRY

FILE = "revoked.json"
LOOK_SECONDS = 1.0
"""How late a revocation may be noticed."""
_REVOKED_MAX = 100_000

REVOKED = Gauge(
    "dormouse_revoked_pods", "Pods whose certificates this role refuses.", registry=REGISTRY
)

_log = logging.getLogger(__name__)

Revoked = tuple[TenantId, PodId]


def write_text(pods: list[Revoked]) -> str:
    """The content of the file."""
    named = [f"{tenant}/{pod:016x}" for tenant, pod in sorted(pods)]
    return json.dumps({"pods": named}, indent=0) + "\n"


def read_text(text: str) -> frozenset[Revoked]:
    """What is in the file. Raises ValueError."""
    try:
        named = json.loads(text)["pods"]
        pairs = [str(each).split("/") for each in named[:_REVOKED_MAX]]
        return frozenset((TenantId(int(tenant)), PodId(int(pod, 16))) for tenant, pod in pairs)
    except (KeyError, TypeError):
        raise ValueError("not a list of revoked pods") from None


class Revocations:
    """The list as a role knows it. Reads it at once; raises OSError and ValueError."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._seen: object = None
        self._revoked: frozenset[Revoked] = frozenset()
        self.on_revoked: Callable[[TenantId, PodId], None] = lambda tenant, pod: None
        """Called for each pod that is revoked from now on."""
        self._watched: dict[Revoked, set[Callable[[], None]]] = {}
        self._take(self._read())

    def __repr__(self) -> str:
        return f"<Revocations pods={len(self._revoked)} watched={len(self._watched)}>"

    def __len__(self) -> int:
        return len(self._revoked)

    def has(self, tenant: TenantId, pod: PodId | None) -> bool:
        """Whether the pod is revoked."""
        return pod is not None and (tenant, pod) in self._revoked

    @contextmanager
    def cutting(self, tenant: TenantId, pod: PodId, cut: Callable[[], None]) -> Iterator[None]:
        """Call `cut` if the pod is revoked inside the block; at once if it is."""
        watched = self._watched.setdefault((tenant, pod), set())
        watched.add(cut)
        try:
            if self.has(tenant, pod):
                cut()
            yield
        finally:
            watched.discard(cut)
            if not watched:
                self._watched.pop((tenant, pod), None)

    def look(self) -> None:
        """Use the file where it has changed; a small one, read on the loop."""
        try:
            state = self._file.stat().st_mtime_ns, self._file.stat().st_ino
        except OSError:
            state = None
        if state == self._seen:
            return
        try:
            self._take(self._read())
        except (OSError, ValueError) as error:
            _log.error("the list of revoked pods cannot be read", extra={"cause": repr(error)})
        self._seen = state

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def _read(self) -> frozenset[Revoked]:
        try:
            return read_text(self._file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return frozenset()

    def _take(self, revoked: frozenset[Revoked]) -> None:
        new, self._revoked = revoked - self._revoked, revoked
        REVOKED.set(len(revoked))
        for tenant, pod in new:
            _log.warning("a pod is revoked", extra={"tenant": tenant, "pod": f"{pod:016x}"})
            for cut in list(self._watched.get((tenant, pod), ())):
                cut()
            self.on_revoked(tenant, pod)
