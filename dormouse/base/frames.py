"""Length-prefixed messages on a local stream socket: what the pod host and the autoscaler speak.

    frame = length:u32 (big endian)  message…          at most FRAME_BYTES_MAX

The length comes from another process: a larger one ends the connection.
"""

import struct

FRAME_BYTES_MAX = 64 << 10
_LENGTH = struct.Struct(">I")


class BadFrame(ValueError):
    """A length beyond FRAME_BYTES_MAX; the stream cannot be followed any further."""


def encode(message: bytes) -> bytes:
    """The frame of one message. Raises BadFrame where it is too long."""
    if len(message) > FRAME_BYTES_MAX:
        raise BadFrame(f"message of {len(message)} bytes")
    return _LENGTH.pack(len(message)) + message


class FrameReader:
    """Cuts a stream of bytes, fed in any pieces, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises BadFrame."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > FRAME_BYTES_MAX:
                raise BadFrame(f"frame of {length} bytes announced")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return messages
