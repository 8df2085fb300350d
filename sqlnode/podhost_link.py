"""The pod host's end of the Unix socket: one peer at a time, bounded both ways.

The peer is trusted (mode 0600) but may be slow or dead: what it does not read is kept up to a
bound, beyond which it is cut off. It then connects again and learns the living pods from the hello.
"""

import socket
from pathlib import Path

from dormouse.base.frames import BadFrame, FrameReader, encode
from proto.podhost_pb2 import HostCommand, HostEvent

UNSENT_BYTES_MAX = 1 << 20
_READ_BYTES = 64 << 10


def socket_path(folder: Path, generation: int) -> Path:
    """The name under which a host of a generation listens."""
    return folder / f"podhost-{generation}.sock"


class Link:
    """A connected autoscaler."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.socket = peer
        self._unsent = bytearray()
        self._reader = FrameReader()

    @property
    def has_unsent(self) -> bool:
        """Whether the socket is to be watched for writing."""
        return bool(self._unsent)

    def send(self, event: HostEvent) -> bool:
        """Queue an event and send what the socket takes. False: the peer is gone or too slow."""
        self._unsent += encode(event.SerializeToString())
        return len(self._unsent) <= UNSENT_BYTES_MAX and self.flush()

    def flush(self) -> bool:
        """Send what the socket takes now. False: the peer is gone."""
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def receive(self) -> list[HostCommand] | None:
        """The commands that have arrived; None: the peer is gone or talks nonsense."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            return [HostCommand.FromString(message) for message in self._reader.feed(data)]
        except (BadFrame, ValueError):
            return None

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
