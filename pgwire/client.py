"""The client's side, without a socket: logs in and reads replies. For tests and health checks.

client = LoginClient(user=…, password=…, nonce=…)
send(client.start());  for every piece received: send(client.feed(piece))  until client.ready
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgwire import notices, sasl
from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame, FrameDecoder
from pgwire.notices import Notice
from pgwire.reader import BodyReader
from pgwire.scram import MECHANISM, ScramClient
from pgwire.startup import StartupMessage


class ServerError(Exception):
    """The server answered with ErrorResponse."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(f"{notice.sqlstate}: {notice.message}")
        self.notice = notice


@dataclass(slots=True)
class LoginClient:
    """Startup and SCRAM up to the first ReadyForQuery."""

    user: str
    password: str
    nonce: bytes
    database: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    ready: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    secret: bytes = b""
    decoder: FrameDecoder = field(default_factory=lambda: FrameDecoder(small=frozenset()))
    scram: ScramClient | None = None

    def start(self) -> bytes:
        """The StartupMessage."""
        named = {"user": self.user, **({"database": self.database} if self.database else {})}
        return StartupMessage({**named, **self.parameters}).build()

    def feed(self, data: bytes) -> bytes:
        """Take a piece; answers what to send. Raises ServerError, ProtocolViolation."""
        self.decoder.feed(data)
        answers = []
        while not self.ready and (frame := self.decoder.next()) is not None:
            answers.append(self._take(frame))
        return b"".join(answers)

    def _take(self, frame: Frame) -> bytes:
        match chr(frame.kind):
            case "R":
                return self._authenticate(BodyReader(frame.body))
            case "S":
                reader = BodyReader(frame.body)
                name, value = reader.text(), reader.text()
                self.settings[name] = value
            case "K":
                (self.pid,) = struct.unpack_from(">I", frame.body)
                self.secret = frame.body[4:]
            case "E":
                raise ServerError(notices.parse(frame.body))
            case "Z":
                self.ready = True
            case "N" | "v":
                pass
            case kind:
                raise ProtocolViolation(f"unexpected message {kind!r} during login")
        return b""

    def _authenticate(self, reader: BodyReader) -> bytes:
        code = reader.i32()
        data = reader.body[4:]
        if code == 0:
            return b""
        if code == 10:
            if MECHANISM.encode() not in data.split(b"\0"):
                raise ProtocolViolation("no SASL mechanism in common")
            self.scram = ScramClient(self.password, nonce=self.nonce)
            return sasl.build_initial(MECHANISM, self.scram.first())
        if code == 11 and self.scram is not None:
            return sasl.build_response(self.scram.final(data))
        if code == 12 and self.scram is not None:
            self.scram.check(data)
            return b""
        raise ProtocolViolation(f"unexpected authentication request {code}")


def parse_data_row(body: bytes) -> tuple[bytes | None, ...]:
    """The fields of a DataRow. Raises ProtocolViolation."""
    reader = BodyReader(body)
    values: list[bytes | None] = []
    for _ in range(reader.count()):
        length = reader.i32()
        values.append(None if length == -1 else reader.take(length))
    reader.end()
    return tuple(values)
