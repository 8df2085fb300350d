"""Keeps certificates fresh and takes a rotation of the authority to its end.

    every minute, and every second while a rotation is under way:
        renew what ends soon ─▶ warn of what ends all the same ─▶ go on with the rotation

What is to be done follows from the files alone, so a control that died in any phase goes on where
it was. Pods are told by the autoscaler (autoscaler/renewer.py); roles read their files themselves
(dormouse.base.renewal).
"""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from control.authority import Authority, Held
from control.events import Event, EventKind, Events, time_text
from control.journal import Note, created
from control.metrics import CERTIFICATES_RENEWED, ROTATION_PHASE
from control.operations import INTERRUPTED, Kind, Operation, Operations
from control.peers import Peers
from control.trust.expiry import ExpiryWarnings, state
from control.trust.generations import write_file
from control.trust.rotation import Phase, Rotation, is_over
from dormouse.base.clock import Clock
from dormouse.base.errors import DormouseError

_LOOK_SECONDS = 60.0
_ROTATING_SECONDS = 1.0
_NS = 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StewardFiles:
    """What the steward keeps up to date."""

    certificates: Path | None
    """Every role's certificate; None: somebody else renews them."""

    for_clients: Path | None
    """What clients verify the gateway with; None: not made by this authority."""


class NotManaged(Exception):
    """The certificates of the roles are somebody else's to replace."""


class Steward:
    """See the module."""

    def __init__(
        self,
        authority: Authority,
        files: StewardFiles,
        *,
        operations: Operations,
        events: Events,
        warnings: ExpiryWarnings,
        peers: Peers,
        clock: Clock,
        settle_seconds: float,
    ) -> None:
        """`settle_seconds`: how long roles may take to read new files."""
        self.authority = authority
        self._files = files
        self._operations = operations
        self._events = events
        self._warnings = warnings
        self._peers = peers
        self._clock = clock
        self._settle_ns = round(settle_seconds * _NS)
        self._told: Rotation | None = None
        """The phase that every pod has been told of."""
        self._changed = asyncio.Event()
        self._stepping = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Steward {self.authority.generations}>"

    @property
    def rotation(self) -> Rotation | None:
        """The rotation under way."""
        return self.authority.generations.rotation

    def held(self) -> list[Held]:
        """The certificates that are kept up to date here."""
        folder = self._files.certificates
        return self.authority.held(folder) if folder is not None else []

    def warnings(self) -> list[str]:
        """A sentence for each certificate that ends soon, or has ended."""
        now_ns = self._clock.wall_ns()
        groups = ((self.held(), False), (self.authority.authorities(), True))
        return [
            f"the certificate {held.name} ends on {held.ends:%Y-%m-%d} and was not renewed"
            for group, is_authority in groups
            for held in group
            if state(held, now_ns, is_authority=is_authority) != "valid"
        ]

    async def rotate(self, clients_after_seconds: float) -> Operation:
        """Begin to rotate the authority; clients are shown the new one's certificates after that
        time. Under way already: no other is begun, but clients' time may become shorter.

        Raises NotManaged where nobody would be given the new authority's certificates.
        """
        if self._files.certificates is None:
            raise NotManaged
        async with self._stepping:
            clients_ns = self._clock.wall_ns() + round(clients_after_seconds * _NS)
            generations = self.authority.generations
            rotation = generations.rotation
            if rotation is not None:
                await asyncio.to_thread(generations.hasten, clients_ns)
                operation = await self._operations.get(rotation.operation)
            else:
                operation = await self._begin(clients_ns)
        self._changed.set()
        if operation is None:
            raise RuntimeError("the rotation under way has no operation")
        return operation

    async def work_forever(self) -> None:
        """Do what is to be done, until cancelled; a failure is logged and tried again."""
        await self._take_up()
        while True:
            self._changed.clear()
            try:
                await self.step()
            except (OSError, ValueError, sqlite3.Error):
                _log.exception("certificates could not be kept up to date")
            pause = _LOOK_SECONDS if self.rotation is None else _ROTATING_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Do it once."""
        async with self._stepping:
            await self._renew()
            await self._warnings.look(self.held(), self.authority.authorities())
            rotation = self.rotation
            if rotation is None:
                return
            if self._told != rotation:
                await self._tell(rotation)
            now_ns, know = self._clock.wall_ns(), self._told == rotation
            if is_over(rotation, now_ns=now_ns, settle_ns=self._settle_ns, pods_know=know):
                await self._advance()
                await self._renew()

    async def _begin(self, clients_ns: int) -> Operation:
        changes = created(clients_at=time_text(clients_ns))
        note = Note(action="authority.rotate", resource="authority", changes=changes)
        operation = await self._operations.start(Kind.ROTATE, None, note=note)
        generations = self.authority.generations
        rotation = await asyncio.to_thread(
            lambda: generations.introduce(clients_ns=clients_ns, operation=operation.id)
        )
        _log.info("rotation begun", extra={"old": rotation.old, "new": rotation.new})
        return operation

    async def _take_up(self) -> None:
        """At the start: an operation that the files know nothing of has failed, one that they have
        finished has succeeded."""
        generations = self.authority.generations
        for operation in await self._operations.running(Kind.ROTATE, 1):
            if generations.finished == operation.id:
                await self._finish()
            elif generations.rotation is None:
                await self._operations.finish(None, Kind.ROTATE, error=INTERRUPTED)

    async def _renew(self) -> None:
        renewed = await asyncio.to_thread(self._renew_files)
        if renewed:
            CERTIFICATES_RENEWED.inc(len(renewed))
            _log.info("certificates renewed", extra={"certificates": renewed})

    def _renew_files(self) -> list[str]:
        folder, file = self._files.certificates, self._files.for_clients
        # What clients are shown next is trusted before it is shown.
        if file is not None and folder is not None:
            pem = self.authority.client_certificate_pem
            if not file.exists() or file.read_bytes() != pem:
                write_file(file, pem, mode=0o644)
        return self.authority.renew(folder) if folder is not None else []

    async def _tell(self, rotation: Rotation) -> None:
        try:
            left = await self._peers.renew_pods()
        except DormouseError as error:
            _log.warning("pods could not be renewed", extra={"reason": str(error)})
            return
        if left:
            _log.info("some pods are not renewed yet", extra={"left": left})
        elif self.rotation == rotation:
            self._told = rotation

    async def _advance(self) -> None:
        entered = await asyncio.to_thread(self.authority.generations.advance)
        for phase in Phase:
            ROTATION_PHASE.labels(phase).set(entered is not None and entered.phase is phase)
        _log.info("rotation goes on", extra={"phase": entered.phase if entered else "over"})
        if entered is None:
            await self._finish()

    async def _finish(self) -> None:
        generations = self.authority.generations
        certificate = generations.certificate(generations.current)
        end_ns = int(certificate.not_valid_after_utc.timestamp()) * _NS
        event = Event(
            kind=EventKind.AUTHORITY_ROTATED,
            data={
                "authority": certificate.fingerprint(hashes.SHA256()).hex(),
                "expires_at": time_text(end_ns),
            },
        )
        async with self._operations.transaction() as connection:
            await self._operations.end(connection, None, (Kind.ROTATE,))
            await self._events.record(connection, event)
