"""Pods whose certificates are refused: who was revoked, and how every role comes to know.

    BEGIN ─ the pod is revoked ─ who did it ─ COMMIT ──▶ revoked.json ──▶ the autoscaler ends it
                                                           │ (a role looks every second)
                                                           ▼
                              storage, control: its calls are refused, its streams cut
                              proxies: no session goes there, those that are there go elsewhere

A pod is revoked under its tenant, so nobody can name another's. It stays on the list until the last
certificate it can have has ended.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.database import Database
from control.journal import Journal, created
from control.metrics import PODS_REVOKED
from control.peers import Peers, PodPicture
from control.registry import Tenant, note_of
from control.trust.generations import write_file
from dormouse.base.clock import Clock
from dormouse.base.errors import DormouseError
from dormouse.base.ids import PodId, TenantId
from dormouse.base.revocation import FILE, Revocations, write_text

REVOKED_MAX = 100
"""Of one tenant at a time: it has far fewer pods."""
_DAY_NS = 86_400 * 1_000_000_000
_TIDY_SECONDS = 600.0
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class TooManyRevoked(Exception):
    """The tenant has as many revoked pods as it may."""


@dataclass(frozen=True, slots=True)
class RevokedPod:
    """A pod on the list."""

    pod: PodId
    revoked_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation, and what became of the pod."""

    entry: RevokedPod
    is_ended: bool
    """Whether it has ended; otherwise that follows when the autoscaler answers."""


class Revoking:
    """The table `revoked_pods` and the file that roles read."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        peers: Peers,
        clock: Clock,
        *,
        folder: Path | None,
        certificate_days: int,
    ) -> None:
        """`folder`: of the roles' certificates; None: somebody else takes the list there.
        `certificate_days`: how long the certificate of a pod can last."""
        self._database = database
        self._journal = journal
        self._peers = peers
        self._clock = clock
        self._folder = folder
        self._certificate_ns = certificate_days * _DAY_NS
        self._writing = asyncio.Lock()
        self._alive: set[tuple[TenantId, PodId]] = set()
        """Revoked pods that may not have ended."""
        self._more = asyncio.Event()
        self.own: Revocations | None = None
        """What this role refuses by; looked at as soon as the file is there."""

    async def pods(self, tenant: TenantId) -> tuple[Sequence[PodPicture], list[RevokedPod]]:
        """The pods that the tenant has, and those that are revoked. Raises Unavailable."""
        return await self._peers.pods(tenant), await self.revoked(tenant)

    async def revoked(self, tenant: TenantId) -> list[RevokedPod]:
        """Those of a tenant, the newest first."""
        rows = await self._database.read(
            "SELECT pod_id, revoked_ns, until_ns FROM revoked_pods"
            " WHERE tenant_id = ? AND until_ns > ? ORDER BY revoked_ns DESC",
            (tenant, self._clock.wall_ns()),
        )
        return [RevokedPod(PodId(int(pod, 16)), at, until) for pod, at, until in rows]

    async def revoke(self, tenant: Tenant, pod: PodId) -> Revoked:
        """Refuse the pod from now on, and have it ended. Raises TooManyRevoked.

        Durable on return; where the autoscaler does not answer the pod lives on for a while, cut
        off from everybody.
        """
        entry = await self._enter(tenant, pod)
        await self.write()
        self._alive.add((tenant.id, pod))
        is_ended = await self._end(tenant.id, pod)
        if not is_ended:
            self._more.set()
        return Revoked(entry, is_ended)

    async def _end(self, tenant: TenantId, pod: PodId) -> bool:
        """Whether the autoscaler has ended the pod, or has none like it."""
        try:
            await self._peers.end_pod(tenant, pod)
        except DormouseError as error:
            extra = {"tenant": tenant, "pod": f"{pod:016x}", "reason": str(error)}
            _log.warning("a revoked pod could not be ended", extra=extra)
            return False
        self._alive.discard((tenant, pod))
        return True

    async def _enter(self, tenant: Tenant, pod: PodId) -> RevokedPod:
        now_ns = self._clock.wall_ns()
        until_ns = now_ns + self._certificate_ns
        known = await self.revoked(tenant.id)
        if len(known) >= REVOKED_MAX and pod not in {each.pod for each in known}:
            raise TooManyRevoked(len(known))
        async with self._database.transaction() as connection:
            (row,) = await connection.execute_fetchall(
                "INSERT INTO revoked_pods (tenant_id, pod_id, revoked_ns, until_ns)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (tenant_id, pod_id) DO UPDATE"
                " SET until_ns = excluded.until_ns RETURNING revoked_ns",
                (tenant.id, f"{pod:016x}", now_ns, until_ns),
            )
            changes = created(pod=f"{pod:016x}")
            await self._journal.write(connection, note_of(tenant, "pod.revoke", changes))
        PODS_REVOKED.inc()
        return RevokedPod(pod, int(row[0]), until_ns)

    async def write(self) -> None:
        """Bring the file up to date with the table."""
        if self._folder is None:
            return
        async with self._writing:
            rows = await self._database.read(
                "SELECT tenant_id, pod_id FROM revoked_pods WHERE until_ns > ?",
                (self._clock.wall_ns(),),
            )
            pods = [(TenantId(tenant), PodId(int(pod, 16))) for tenant, pod in rows]
            await asyncio.to_thread(self._write, self._folder / FILE, write_text(pods))
        if self.own is not None:
            self.own.look()

    async def work_forever(self) -> None:
        """Write the file at the start, end the pods that could not be ended, and forget those whose
        certificates have ended."""
        rows = await self._database.read("SELECT tenant_id, pod_id FROM revoked_pods")
        self._alive |= {(TenantId(tenant), PodId(int(pod, 16))) for tenant, pod in rows}
        while True:
            self._more.clear()
            try:
                await self._database.write(
                    "DELETE FROM revoked_pods WHERE until_ns <= ?", (self._clock.wall_ns(),)
                )
                await self.write()
            except (OSError, sqlite3.Error):
                _log.exception("the list of revoked pods could not be written")
            for tenant, pod in list(self._alive):
                await self._end(tenant, pod)
            await self._wait(_RETRY_SECONDS if self._alive else _TIDY_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_RETRY_SECONDS)  # it has just failed

    def _write(self, file: Path, text: str) -> None:
        if not file.exists() or file.read_text(encoding="ascii") != text:
            write_file(file, text.encode("ascii"), mode=0o644)
