"""A session: its two ends, from the moment a pod has taken it to its last byte.

    arrival ──▶ join ──(login relayed)──▶ settle ──▶ bytes both ways ──▶ closed

An open session costs its two transports and this object, no task: the two ends call `_lost`.
"""

import asyncio
from collections.abc import Callable

from dormouse.base.ids import TenantId
from pgwire.startup import CancelRequest
from proto.autoscaler_pb2 import PodAddress
from proxy import errors, metrics
from proxy.door import Door
from proxy.preamble import ClientGone
from proxy.relay import End, PodLogin


class Session:
    """See the module."""

    __slots__ = (
        "_client",
        "_door",
        "_on_gone",
        "_pod",
        "_pod_address",
        "_transport",
        "key",
        "name",
        "tenant",
    )

    def __init__(
        self,
        door: Door,
        *,
        name: str,
        tenant: TenantId,
        transport: asyncio.Transport,
        on_gone: Callable[[], None],
    ) -> None:
        self.name = name
        self.tenant = tenant
        self.key: CancelRequest | None = None
        """What the client was told, once it was."""
        self._door = door
        self._on_gone = on_gone
        self._transport = transport
        self._client: End | None = None
        self._pod: End | None = None
        self._pod_address: PodAddress | None = None

    def __repr__(self) -> str:
        return f"<Session {self.name} tenant={self.tenant} pod={self._pod_address}>"

    def join(self, address: PodAddress, pod: PodLogin, early: bytes) -> None:
        """Connect the two ends; what has come in the meantime (`early`) goes first.

        Raises ClientGone.
        """
        if pod.transport is None:
            raise ClientGone
        self._pod_address = address
        self._door.pods.session_opened(address)
        self._door.sessions.add(self)
        metrics.SESSIONS.inc()
        pod.transport.set_write_buffer_limits(self._door.limits.buffer_bytes)
        client = End(self._lost)
        client.transport, client.other = self._transport, pod.transport
        pod.other = self._transport
        pod.on_lost = self._lost
        self._client, self._pod = client, pod
        self._transport.set_protocol(client)
        self._transport.write(pod.answered.result())
        if early:
            pod.transport.write(early)
        self._transport.resume_reading()

    def settle(self, pod: PodLogin) -> None:
        """The login is over: nothing looks at the bytes any more. Raises ClientGone."""
        if pod.transport is None or pod.lost:
            raise ClientGone
        plain = End(self._lost)
        plain.transport, plain.other, plain.tail = pod.transport, pod.other, pod.tail
        self._pod = plain
        pod.transport.set_protocol(plain)

    def _lost(self, end: End) -> None:
        if end is self._pod and not self._is_over():
            metrics.PODS_LOST.inc()
            if end.between_messages:
                self._transport.write(errors.POD_GONE)
        if end is self._pod or end is self._client:
            self.close()
        if end is self._client:
            self._on_gone()

    def _is_over(self) -> bool:
        """Whether the client has ended the session, so that the pod's end is no loss."""
        goodbye = self._client is not None and self._client.said_goodbye
        return goodbye or self._transport.is_closing()

    def shut_down(self, packet: bytes = errors.SHUTDOWN) -> None:
        """End the session from here: tell the client why, as far as it can be told."""
        if self._pod is not None and self._pod.between_messages:
            self._transport.write(packet)
        self.close()

    def close(self) -> None:
        """Close both ends, once what is written has gone out; forget the session. Idempotent."""
        if self.key is not None:
            self._door.keys.remove(self.key)
            self.key = None
        if self in self._door.sessions:
            self._door.sessions.discard(self)
            metrics.SESSIONS.dec()
            if self._pod_address is not None:
                self._door.pods.session_closed(self._pod_address)
        if self._pod is not None and self._pod.transport is not None:
            self._pod.transport.close()
        self._transport.close()
