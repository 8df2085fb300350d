"""A session: its client, the pod that has it, and what is needed to give it to another.

    arrival ──▶ join ──(login relayed)──▶ settle ──▶ bytes both ways ──▶ closed
                                                     │           ▲
                             ask ──▶ given away ──▶ held: no pod │
                                                     └─▶ attach ─┘     (proxy.phase has the table)

An open session costs its two transports and this object, no task and no timer: the ends call its
methods. Whoever moves, parks or resumes it (`proxy.moving`, `proxy.resuming`) works with a
`Transfer`, which is there only as long as that takes. In the phases between two pods what the
client sends is held in it; it is not read from then, so that is a piece or two.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from dormouse.base.errors import Unavailable
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tasks import spawn
from pgwire.exchange import Exchange
from pgwire.link import Checkpoint, GivenAway, Held, Purpose, Refused
from pgwire.startup import CancelRequest
from proto.autoscaler_pb2 import PodAddress
from proxy import errors, metrics
from proxy.cancelkeys import Target
from proxy.door import Door
from proxy.phase import Event, Loss, Phase, after, may_ask, on_pod_lost
from proxy.preamble import ClientGone
from proxy.relay import NOBODY, ClientEnd, PodEnd, PodLogin
from proxy.resuming import resume
from proxy.stopwatch import FirstRow
from proxy.transfer import Transfer

TERMINATE = b"X\x00\x00\x00\x04"

_log = logging.getLogger(__name__)


class Session:
    """See the module."""

    __slots__ = (
        "_client",
        "_client_slow",
        "_first_row",
        "_on_gone",
        "_pod",
        "_pod_key",
        "_pod_slow",
        "checkpoint",
        "claimed",
        "door",
        "exchange",
        "held_because",
        "link",
        "name",
        "on_idle",
        "phase",
        "pod_address",
        "readies_seen",
        "retry_at",
        "retry_wait",
        "tenant",
        "transfer",
        "transport",
        "user",
    )

    def __init__(
        self,
        door: Door,
        *,
        name: str,
        tenant: TenantId,
        user: str,
        transport: asyncio.Transport,
        on_gone: Callable[[], None],
    ) -> None:
        self.door = door
        self.name = name
        self.tenant = tenant
        self.user = user
        self.transport = transport
        """The client's."""
        self.link = door.keys.issue(self, door.pods.number)
        self.phase = Phase.LOGGING_IN
        self.exchange = Exchange()
        self.checkpoint: bytes | None = None
        """The state to continue from if the pod dies; while there is no pod, the state itself."""
        self.held_because = ""
        """Why the pod would not give the session away; empty if it would, as far as is known."""
        self.transfer: Transfer | None = None
        self.claimed = False
        """Somebody is about to move or park it."""
        self.on_idle: Callable[[Session], None] | None = None
        """To be called once the session is quiescent; once."""
        self.retry_at = 0.0
        """Not to be moved or parked before that (monotonic seconds)."""
        self.retry_wait = 0.0
        """How long it was left alone the last time."""
        self.readies_seen = -1
        """How many ReadyForQuery there were when somebody last looked."""
        self.pod_address: PodAddress | None = None
        self._on_gone = on_gone
        self._client = ClientEnd(self, self.exchange)
        self._client_slow = False
        self._pod: PodLogin | PodEnd | None = None
        self._pod_slow = False
        self._pod_key: CancelRequest | None = None
        self._first_row: FirstRow | None = None

    def __repr__(self) -> str:
        return (
            f"<Session {self.name} tenant={self.tenant} {self.phase.value} "
            f"pod={self.pod_id} {self.exchange} {self.transfer}>"
        )

    @property
    def pod_id(self) -> PodId | None:
        """The pod that has it."""
        return None if self.pod_address is None else PodId(self.pod_address.pod_id)

    def cancel_target(self) -> Target | None:
        """Where its statements run now; None: nowhere."""
        if self.pod_address is None or self._pod_key is None:
            return None
        return Target(self.tenant, self.pod_address.sql_address, self._pod_key)

    # The login

    def join(self, address: PodAddress, pod: PodLogin, early: bytes) -> None:
        """Connect the two ends; what has come in the meantime (`early`) goes first.

        Raises ClientGone.
        """
        if pod.transport is None or self.phase is Phase.CLOSED or self.transport.is_closing():
            pod.close()
            raise ClientGone
        self._seat(address, pod)
        pod.session = self
        self._client.other = pod.transport
        self.transport.set_protocol(self._client)
        self.transport.write(pod.answered.result())
        if early:
            self._client.data_received(early)
        self.transport.resume_reading()

    def settle(self, pod: PodLogin, *, woken: bool = False) -> None:
        """The login is over. If the tenant was `woken` for it, its first answer is timed.

        Raises ClientGone, Unavailable.
        """
        if self.phase is Phase.CLOSED:
            raise ClientGone
        if pod.lost:
            raise Unavailable("the database ended the connection during login")
        self.door.sessions.add(self)
        self.door.census.opened(self.tenant)
        self.phase = after(self.phase, Event.READY)
        if woken:
            self._first_row = FirstRow(self.door.clock)
            self._client.other = None  # so that the first piece comes to `client_sent`
        self._take_seat(pod)

    def _seat(self, address: PodAddress, pod: PodLogin) -> None:
        self.pod_address = address
        self._pod = pod
        self._pod_slow = False
        self.door.pods.session_opened(address)
        if pod.transport is not None:
            pod.transport.set_write_buffer_limits(self.door.limits.buffer_bytes)

    def _take_seat(self, pod: PodLogin) -> None:
        """A plain end in the place of the one that logged in; and what that has left."""
        if pod.transport is None:
            raise ClientGone
        end = self._pod = PodEnd(self, self.exchange, pod.transport, self.transport)
        self._pod_key = pod.login.key
        self._watch()
        pod.transport.set_protocol(end)
        self.exchange.taken += pod.login.taken
        if rest := pod.login.rest():
            end.data_received(rest)
        if self.exchange.taken:
            self.pod_sent()
        _read(pod.transport, on=not self._client_slow)

    def cut_pod(self) -> None:
        """Hang up on a pod that is not to be spoken to any more; what follows is as if it died."""
        if self._pod is not None and self._pod.transport is not None:
            self._pod.transport.abort()

    # What the ends report

    def client_sent(self, data: bytes) -> None:
        """A piece that could not be passed on just like that."""
        if self.phase is Phase.RELAYING:
            if self._first_row is not None:
                self._first_row.asked()
            if self.transfer is None:
                self._flow([data])
            else:
                self._ask_within(data, self.transfer)
        elif self.transfer is not None:
            self.transfer.held.append(data)
            if self.phase is Phase.PARKED:
                self._wake(self.transfer)

    def client_full(self, *, full: bool) -> None:
        """The client reads slowly, or has caught up."""
        self._client_slow = full
        if self._pod is not None and self._pod.transport is not None:
            _read(self._pod.transport, on=not full)
        self._ask_if_possible()

    def client_lost(self) -> None:
        """The client's connection is no more."""
        self.close()
        self._on_gone()

    def pod_full(self, *, full: bool) -> None:
        """The pod reads slowly, or has caught up."""
        self._pod_slow = full
        self._read_client()

    def pod_sent(self) -> None:
        """A piece has passed, with frames for the proxy or while somebody watches."""
        taken, self.exchange.taken = self.exchange.taken, []
        for frame in taken:
            if isinstance(frame, Checkpoint):
                self._keep(frame.sealed)
                self.held_because = ""
            elif isinstance(frame, Held):
                self._keep(None)
                self.held_because = frame.reason
            else:
                self._answered(frame)
        if self._first_row is not None and self._first_row.answered():
            self._first_row = None
            self._watch()
        if self.on_idle is not None and self.exchange.quiescent:
            told, self.on_idle = self.on_idle, None
            self._watch()
            told(self)
        self._ask_if_possible()

    def pod_lost(self) -> None:
        """The pod has hung up, or its machine is gone."""
        transfer = self.transfer
        loss = on_pod_lost(
            self.phase,
            self.exchange,
            recoverable=self.checkpoint is not None,
            was_quiet=transfer is not None and transfer.was_quiet,
        )
        if loss is not Loss.OVER:
            metrics.PODS_LOST.labels(loss.name.lower()).inc()
            _log.info("pod lost", extra=self.facts() | {"then": loss.value})
        if loss is Loss.RECOVER:
            self._recover()
            return
        if loss is Loss.TELL:
            self.transport.write(errors.POD_GONE)
        self.close()

    def pod_broke(self, error: Exception) -> None:
        """The pod does not keep to the protocol: nothing it says can be trusted any more."""
        _log.error("pod broke the protocol", extra=self.facts() | {"cause": repr(error)})
        self.close()

    # Giving it away

    def want(self, purpose: Purpose, cause: str) -> Transfer | None:
        """Ask its pod for the session as soon as may be; None if this is not the time for it."""
        if self.phase is not Phase.RELAYING or self.transfer is not None:
            return None
        transfer = self.transfer = Transfer(purpose, cause, self.door.clock.monotonic())
        self._watch()
        self._ask_if_possible()
        return transfer

    def unwant(self) -> bool:
        """Leave it where it is after all. False: its pod has been asked already."""
        if self.transfer is None or self.transfer.asked:
            return False
        self.transfer = None
        self._flow(())
        return True

    def hurry(self) -> None:
        """It is asked for at the next best moment, even if its pod is at work then."""
        if self.transfer is not None and self.phase is Phase.RELAYING:
            self.transfer.patient = False
            self._client.other = None  # so that its pieces come to `client_sent`
            self._ask_if_possible()

    def tell_when_idle(self, told: "Callable[[Session], None]") -> None:
        """Call `told` once, when the session is quiescent next."""
        self.on_idle = told
        self._watch()

    def _ask_if_possible(self) -> None:
        transfer, pod = self.transfer, self._pod
        if transfer is None or self.phase is not Phase.RELAYING or not isinstance(pod, PodEnd):
            return
        if may_ask(self.exchange, patient=transfer.patient, client_slow=self._client_slow):
            transfer.asked = True
            transfer.was_quiet = self.exchange.quiescent
            transfer.begun = self.door.clock.monotonic()
            self._enter(Event.ASKED)
            pod.transport.write(self.link.give_away(transfer.purpose))

    def _ask_within(self, data: bytes, transfer: Transfer) -> None:
        """A client that never stops is asked for behind the last request in its piece."""
        at = self.exchange.cut(data)
        if at >= 0:
            self._pass(data[:at])
            self._ask_if_possible()
            data = data[at:]
        if not transfer.asked:
            self._pass(data)
        elif data:
            transfer.held.append(data)

    def _pass(self, data: bytes) -> None:
        if isinstance(self._pod, PodEnd):
            self.exchange.requested(data)
            self._pod.transport.write(data)

    def _answered(self, frame: GivenAway | Refused) -> None:
        transfer = self.transfer
        if self.phase is not Phase.MOVING or transfer is None:
            self.pod_broke(RuntimeError("an answer that nobody asked for"))
            return
        if isinstance(frame, Refused):
            self.transfer = None
            self._enter(Event.REFUSED)
            self._flow(transfer.held)
        else:
            self._enter(Event.GIVEN_AWAY)
            self._leave_pod()
            self._keep(None)
        transfer.settle(frame)

    def _recover(self) -> None:
        state, transfer = self.checkpoint or b"", self.transfer
        asked = self.phase is Phase.MOVING
        self._leave_pod()
        self._enter(Event.RECOVERED)
        if asked and transfer is not None:  # whoever asked goes on as if the pod had answered
            transfer.cause = "recover"
            transfer.settle(GivenAway(state))
            return
        if transfer is not None:
            transfer.settle(None)
        self.transfer = Transfer(Purpose.MOVE, "recover", self.door.clock.monotonic())
        spawn(resume(self, state), name="recover session")

    def _leave_pod(self) -> None:
        """The pod has nothing of the session any more."""
        pod, self._pod = self._pod, None
        self._pod_key = None
        self._pod_slow = False
        if pod is not None and pod.transport is not None:
            pod.transport.set_protocol(NOBODY)
            pod.transport.close()
        if isinstance(pod, PodLogin):
            pod.close()
        if self.pod_address is not None:
            self.door.pods.session_closed(self.pod_address)
            self.pod_address = None

    # Having no pod, and getting one

    def park(self, sealed: bytes) -> bool:
        """Keep the state until the client says something. False: it has, or there is no room."""
        if self.phase is not Phase.RESUMING or self.transfer is None or self.transfer.held:
            return False
        if not self._keep(sealed):
            return False
        self._enter(Event.KEPT)
        self.door.census.parked(self.tenant)
        metrics.PARKED_BYTES.inc(len(sealed))
        return True

    def _wake(self, transfer: Transfer) -> None:
        said = b"".join(transfer.held)
        if said == TERMINATE:
            self.close()
        elif not TERMINATE.startswith(said):
            sealed = self.checkpoint or b""
            self._unpark()
            transfer.begun = self.door.clock.monotonic()
            transfer.cause = "wake"
            self._enter(Event.WOKEN)
            spawn(resume(self, sealed), name="wake session")

    def _unpark(self) -> None:
        self.door.census.unparked(self.tenant)
        metrics.PARKED_BYTES.dec(len(self.checkpoint or b""))

    def attach(self, address: PodAddress, pod: PodLogin) -> bool:
        """Another pod has taken it up; what was held goes to it. False: it is too late for that."""
        transfer = self.transfer
        if self.phase is not Phase.RESUMING or transfer is None or pod.lost:
            return False
        self.transfer = None
        self.exchange.restart()
        self._seat(address, pod)
        self._enter(Event.TAKEN_UP)
        self._take_seat(pod)
        self._flow(transfer.held)
        seconds = self.door.clock.monotonic() - transfer.begun
        metrics.STALL_SECONDS.labels(transfer.cause).observe(seconds)
        return True

    def _flow(self, held: Sequence[bytes]) -> None:
        """Bytes pass again; what was held goes first."""
        self._watch()
        for data in held:
            self._pass(data)
        if isinstance(self._pod, PodEnd):
            self._client.other = self._pod.transport

    # Ends

    def shut_down(self, packet: bytes = errors.SHUTDOWN) -> None:
        """End the session from here: tell the client why, as far as it can be told."""
        open_ = self.phase is not Phase.LOGGING_IN and self.phase is not Phase.CLOSED
        if open_ and self.exchange.server_between:
            self.transport.write(packet)
        self.close()

    def close(self) -> None:
        """Close both ends, once what is written has gone out; forget the session. Idempotent."""
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.PARKED:
            self._unpark()
        self.phase = after(self.phase, Event.ENDED)
        self.door.keys.revoke(self.link)
        if self in self.door.sessions:
            self.door.sessions.discard(self)
            self.door.census.closed(self.tenant)
        self._keep(None)
        self._leave_pod()
        self._client.other = self._first_row = self.on_idle = None
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            transfer.settle(None)
        self.transport.close()

    def facts(self) -> dict[str, object]:
        """For the log."""
        return {"session": self.name, "tenant": self.tenant, "pod": self.pod_id}

    def _enter(self, event: Event) -> None:
        self.phase = after(self.phase, event)
        self._client.other = None  # until `_flow`
        self._read_client()

    def _read_client(self) -> None:
        reading = self.phase in (Phase.LOGGING_IN, Phase.RELAYING, Phase.PARKED)
        _read(self.transport, on=reading and not self._pod_slow)

    def _watch(self) -> None:
        if isinstance(self._pod, PodEnd):
            watchers = (self.transfer, self.on_idle, self._first_row)
            self._pod.alert = any(each is not None for each in watchers)

    def _keep(self, sealed: bytes | None) -> bool:
        """Hold this state in the place of the one before; False: there is no room for it."""
        store, old = self.door.sealed, self.checkpoint
        self.checkpoint = None
        if old is not None:
            store.give_back(self.tenant, len(old))
        if sealed is None:
            return True
        if store.take(self.tenant, len(sealed)):
            self.checkpoint = sealed
            return True
        return False


def _read(transport: asyncio.Transport, *, on: bool) -> None:
    if transport.is_closing():
        return
    if on:
        transport.resume_reading()
    else:
        transport.pause_reading()
