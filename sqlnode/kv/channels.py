"""What the pod's sessions listen to: told to storage, and what it hears handed to each.

    LISTEN ──▶ listen ──▶ storage ──▶ reply: what is committed from now on is heard
                             │ ServerFrame.notifications
    session ◀── heard ◀──────┘

When the stream breaks, the next one listens to the same channels from its first frame on. What was
committed in between nobody has heard, so every session that listened is told that it may have
missed something.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from proto import kv_pb2 as kv
from sqlnode.kv.errors import KvRefused, StreamLost, connection_lost, sql_error

Ask = Callable[[kv.Request], asyncio.Future[kv.Reply]]
Tell = Callable[[kv.Request], None]


class Ear(Protocol):
    """A session that listens."""

    def heard(self, notification: kv.Notification) -> None:
        """A notification of a channel it listens to."""
        ...

    def missed(self) -> None:
        """There may have been notifications that nobody heard."""
        ...


class Channels:
    """The channels of one pod. `ask` sends a request, again if its stream breaks; `tell` sends one
    to the present stream, and nobody waits for its reply."""

    def __init__(self, ask: Ask, tell: Tell) -> None:
        self._ask = ask
        self._tell = tell
        self._ears: dict[str, dict[Ear, None]] = {}
        self._deaf: set[Ear] = set()

    def __repr__(self) -> str:
        return f"<Channels {sorted(self._ears)}>"

    @property
    def names(self) -> Sequence[str]:
        """All channels that somebody listens to."""
        return list(self._ears)

    async def listen(self, ear: Ear, channels: Iterable[str]) -> None:
        """Hear what is committed from now on. Raises DormouseError; nothing has changed then."""
        names = [name for name in channels if ear not in self._ears.get(name, ())]
        for name in names:
            self._ears.setdefault(name, {})[ear] = None
        try:
            # Also where another session listens already: it may still be waiting for the answer.
            await self._ask(kv.Request(listen=kv.Listen(channels=names)))
        except BaseException as error:
            self.unlisten(ear, names)
            if isinstance(error, KvRefused):
                raise sql_error(error) from error
            if isinstance(error, StreamLost):
                raise connection_lost() from error
            raise

    def unlisten(self, ear: Ear, channels: Iterable[str]) -> None:
        """Hear them no more."""
        gone = []
        for name in channels:
            ears = self._ears.get(name, {})
            ears.pop(ear, None)
            if not ears and self._ears.pop(name, None) is not None:
                gone.append(name)
        if gone:
            self._tell(kv.Request(listen=kv.Listen(gone=gone)))

    def told(self, notifications: Iterable[kv.Notification]) -> None:
        """Storage has sent these."""
        for notification in notifications:
            for ear in list(self._ears.get(notification.channel, ())):
                ear.heard(notification)

    def stream_broke(self) -> None:
        """Nothing is heard until the next stream."""
        for ears in self._ears.values():
            self._deaf.update(ears)

    def greeted(self) -> None:
        """A stream has begun that listens to `names`."""
        deaf, self._deaf = self._deaf, set()
        listening = {ear for ears in self._ears.values() for ear in ears}
        for ear in deaf & listening:
            ear.missed()
