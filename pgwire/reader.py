"""Reading the fields of one message body: every read is checked against the bytes at hand."""

import struct

from pgwire.errors import BadText, ProtocolViolation

_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")


def decode_text(data: bytes, encoding: str) -> str:
    """Text of a message. Raises BadText, as PostgreSQL words it."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        shown = " ".join(f"0x{byte:02x}" for byte in data[error.start : max(error.end, 1)])
        name = "UTF8" if encoding == "utf-8" else encoding.upper()
        raise BadText(f'invalid byte sequence for encoding "{name}": {shown}') from None


class BodyReader:
    """A cursor over a message body. Every method raises ProtocolViolation beyond the end."""

    __slots__ = ("at", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if count < 0 or end > len(self.body):
            raise ProtocolViolation("insufficient data left in message")
        data = self.body[self.at : end]
        self.at = end
        return data

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def i16(self) -> int:
        """A signed 16-bit number."""
        return int(_I16.unpack(self.take(2))[0])

    def i32(self) -> int:
        """A signed 32-bit number."""
        return int(_I32.unpack(self.take(4))[0])

    def count(self) -> int:
        """An element count (16 bits, unsigned as PostgreSQL reads it)."""
        return self.i16() & 0xFFFF

    def many(self, code: str, count: int) -> tuple[int, ...]:
        """`count` numbers of the struct format `code`."""
        form = f">{count}{code}"
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def cstring(self) -> bytes:
        """The bytes up to a zero byte, which is skipped."""
        end = self.body.find(b"\0", self.at)
        if end < 0:
            raise ProtocolViolation("invalid string in message")
        data = self.body[self.at : end]
        self.at = end + 1
        return data

    def text(self, encoding: str = "utf-8") -> str:
        """A zero-terminated text."""
        return decode_text(self.cstring(), encoding)

    def end(self) -> None:
        """Raises ProtocolViolation unless everything was read."""
        if self.at != len(self.body):
            raise ProtocolViolation("invalid message format")
