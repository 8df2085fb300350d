"""Who listens to what: the notifications of committed transactions, handed to a tenant's streams.

    commit ──▶ durable ──▶ deliver ──▶ every stream that listens to the channel ──▶ next frame
                              └── in the order of the commits, before the commit is answered

A stream is told once, however many sessions of its pod listen. What a pod does not take in time
gathers in its stream, up to a bound; past that the stream is cut, so that nobody's silence costs
memory. Nothing of this is durable: as in PostgreSQL, who was not there does not learn of it later.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from proto import kv_pb2 as kv
from storage.metrics import NOTIFICATIONS
from storage.refusals import Refusal, bad_request

CHANNELS_MAX = 10_000
"""Channels one stream may listen to."""
CHANNEL_BYTES_MAX = 63
PAYLOAD_BYTES_MAX = 7999
"""Both as in PostgreSQL."""


class Listener(Protocol):
    """A stream that may listen."""

    def tell_notification(self, notification: kv.Notification) -> None:
        """Send a notification soon."""
        ...


class Channels:
    """The channels of one tenant."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._channels: dict[Listener, set[str]] = {}

    def __repr__(self) -> str:
        return f"<Channels {len(self._listeners)}, {len(self._channels)} listeners>"

    def listen(self, listener: Listener, channels: Iterable[str]) -> None:
        """Let a stream hear what is committed from now on. Raises Refusal (TOO_LARGE)."""
        heard = self._channels.get(listener, set()) | set(channels)
        if len(heard) > CHANNELS_MAX:
            text = f"a stream listens to {CHANNELS_MAX} channels at most"
            raise Refusal(kv.Error.TOO_LARGE, text)
        for channel in heard - self._channels.get(listener, set()):
            self._listeners.setdefault(channel, {})[listener] = None
        if heard:
            self._channels[listener] = heard

    def unlisten(self, listener: Listener, channels: Iterable[str]) -> None:
        """Let a stream hear them no more."""
        heard = self._channels.get(listener, set())
        for channel in heard & set(channels):
            heard.discard(channel)
            listeners = self._listeners[channel]
            del listeners[listener]
            if not listeners:
                del self._listeners[channel]
        if not heard:
            self._channels.pop(listener, None)

    def left(self, listener: Listener) -> None:
        """A stream has ended."""
        self.unlisten(listener, set(self._channels.get(listener, ())))

    def deliver(self, notifications: Sequence[kv.Notification]) -> None:
        """A transaction with these has been committed."""
        for notification in notifications:
            for listener in list(self._listeners.get(notification.channel, ())):
                NOTIFICATIONS.inc()
                listener.tell_notification(notification)


def checked(notifications: Iterable[kv.Notification]) -> list[kv.Notification]:
    """The notifications of a commit. Raises Refusal (BAD_REQUEST) on one PostgreSQL would not
    take."""
    found = list(notifications)
    for each in found:
        size = len(each.channel.encode())
        if not 0 < size <= CHANNEL_BYTES_MAX or len(each.payload.encode()) > PAYLOAD_BYTES_MAX:
            raise bad_request("a notification with a channel or payload of a wrong length")
    return found
