"""LISTEN and NOTIFY of one session: what its transaction is about to say and hear, and its inbox.

    NOTIFY ──▶ said ─────────with the commit message──▶ storage ──▶ every pod that listens
    LISTEN ──▶ to do ─prepare─▶ asked of storage ─ended(committed)─▶ listening
                                                                        │ heard
    client ◀── NotificationResponse ◀── idle, no transaction ◀── inbox ◀┘

As in PostgreSQL, neither counts before the commit: a rollback forgets both, ROLLBACK TO SAVEPOINT
what came since. What is said twice in a transaction is sent once. The channels of a LISTEN are
asked for just before the commit, so the transaction hears its own NOTIFY, and all that commit
later. The client is told between its transactions: at once where it is idle, else before the
ReadyForQuery that ends one.

The inbox is bounded. A client that takes nothing while much is notified is disconnected, which is
how it learns that it has missed something; PostgreSQL would refuse the NOTIFY of others instead.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from proto import kv_pb2 as kv
from sqlnode.errors import SqlError
from sqlnode.kv.channels import Channels

CHANNEL_BYTES_MAX = 63
PAYLOAD_BYTES_MAX = 7999
SAID_BYTES_MAX = 1 << 20
"""Of the notifications of one transaction; they go with its commit message."""
INBOX_BYTES_MAX = 4 << 20
"""Of what waits to be sent to one client."""
_OVERHEAD_BYTES = 64
_ALL = ""
"""Stands for every channel in what is to be done."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How much a transaction had said and was to do at a savepoint."""

    said: int
    to_do: int
    said_bytes: int


class Notifications:
    """See the module. `overflow` ends a session whose inbox is full, `wake` is called when there is
    something in it."""

    def __init__(
        self,
        channels: Channels,
        pid: int,
        *,
        wake: Callable[[], None],
        overflow: Callable[[], None],
    ) -> None:
        self.listening: dict[str, None] = {}
        """The channels whose notifications the client is told of, in the order of their LISTEN."""
        self._channels = channels
        self._pid = pid
        self._wake = wake
        self._overflow = overflow
        self._said: dict[tuple[str, str], None] = {}
        self._said_bytes = 0
        self._to_do: list[tuple[bool, str]] = []
        self._asked: list[str] = []
        """Channels storage sends to this session that it does not listen to yet."""
        self._inbox: deque[kv.Notification | None] = deque()
        self._inbox_bytes = 0

    def __repr__(self) -> str:
        return f"<Notifications {list(self.listening)}, {len(self._inbox)} waiting>"

    # --- statements ----------------------------------------------------------------------------

    def notify(self, channel: str, payload: str) -> None:
        """NOTIFY, pg_notify(). Raises SqlError 22023, 54000."""
        if not channel:
            raise SqlError("22023", "channel name cannot be empty")
        if len(channel.encode()) > CHANNEL_BYTES_MAX:
            raise SqlError("22023", "channel name too long")
        if len(payload.encode()) > PAYLOAD_BYTES_MAX:
            raise SqlError("22023", "payload string too long")
        if (channel, payload) in self._said:
            return
        size = _size(channel, payload)
        if self._said_bytes + size > SAID_BYTES_MAX:
            raise SqlError(
                "54000",
                "too many notifications in the transaction",
                detail=f"They may have {SAID_BYTES_MAX} bytes together.",
            )
        self._said[channel, payload] = None
        self._said_bytes += size

    def listen(self, channel: str) -> None:
        """LISTEN."""
        self._to_do.append((True, channel))

    def unlisten(self, channel: str) -> None:
        """UNLISTEN."""
        self._to_do.append((False, channel))

    def unlisten_all(self) -> None:
        """UNLISTEN *."""
        self._to_do.append((False, _ALL))

    # --- the transaction -----------------------------------------------------------------------

    def mark(self) -> Mark:
        """For a savepoint."""
        return Mark(len(self._said), len(self._to_do), self._said_bytes)

    def restore(self, mark: Mark) -> None:
        """Back to a savepoint."""
        while len(self._said) > mark.said:
            self._said.popitem()
        self._said_bytes = mark.said_bytes
        del self._to_do[mark.to_do :]

    @property
    def said(self) -> Sequence[kv.Notification]:
        """What the commit message carries."""
        return [
            kv.Notification(channel=channel, payload=payload, pid=self._pid)
            for channel, payload in self._said
        ]

    async def prepare(self) -> None:
        """The transaction is about to commit: ask for the channels it wants to listen to. Raises
        DormouseError."""
        if self._to_do:
            asked = [name for name in self._after() if name not in self.listening]
            if asked:
                await self._channels.listen(self, asked)
                self._asked = asked

    def ended(self, *, committed: bool) -> None:
        """The transaction is over."""
        self._said.clear()
        self._said_bytes = 0
        if not self._to_do and not self._asked:
            return
        before = [*self.listening, *self._asked]
        if committed:
            self.listening = self._after()
        self._to_do.clear()
        self._asked = []
        self._channels.unlisten(self, [name for name in before if name not in self.listening])

    def close(self) -> None:
        """The session ends."""
        self._channels.unlisten(self, [*self.listening, *self._asked])
        self.listening.clear()
        self._asked = []
        self._inbox.clear()

    def _after(self) -> dict[str, None]:
        """What it listens to once everything is done."""
        listening = dict(self.listening)
        for begins, channel in self._to_do:
            if begins:
                listening[channel] = None
            elif channel == _ALL:
                listening.clear()
            else:
                listening.pop(channel, None)
        return listening

    # --- the inbox -----------------------------------------------------------------------------

    def heard(self, notification: kv.Notification) -> None:
        """See `sqlnode.kv.channels.Ear`."""
        self._inbox.append(notification)
        self._inbox_bytes += _size(notification.channel, notification.payload)
        self._wake()
        if self._inbox_bytes > INBOX_BYTES_MAX:
            self._inbox.clear()
            self._inbox_bytes = 0
            self._overflow()

    def missed(self) -> None:
        """See `sqlnode.kv.channels.Ear`."""
        self._inbox.append(None)
        self._wake()

    @property
    def waiting(self) -> bool:
        """Whether there is something for the client."""
        return bool(self._inbox)

    @property
    def usage(self) -> float:
        """How full the inbox is, from 0 to 1."""
        return self._inbox_bytes / INBOX_BYTES_MAX

    def take(self) -> Iterable[kv.Notification | None]:
        """What is to be sent now, in order; None where something may have been missed."""
        inbox, self._inbox, self._inbox_bytes = self._inbox, deque(), 0
        return [each for each in inbox if each is None or each.channel in self.listening]


def _size(channel: str, payload: str) -> int:
    return len(channel) + len(payload) + _OVERHEAD_BYTES
