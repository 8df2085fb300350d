"""A simple SQL prompt, for machines without psql: type statements, end them with a semicolon.

It speaks the simple query protocol over one TLS connection and knows nothing of psql's backslash
commands but `\\q`.
"""

import os
import socket
import ssl
import struct
import sys
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from dormouse.cli.folder import CommandError
from dormouse.cli.output import table
from pgwire import frontend, notices
from pgwire.client import LoginClient, ServerError, parse_data_row
from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame
from pgwire.reader import BodyReader
from pgwire.scram import NONCE_BYTES

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_RECEIVE_BYTES = 64 << 10
_DIAL_SECONDS = 60.0
_FAILURES = (OSError, ServerError, ProtocolViolation)


class Session:
    """One connection. Raises OSError, ServerError and ProtocolViolation."""

    def __init__(self, url: str, password: str) -> None:
        parts = urlsplit(url)
        self._socket = _dial(parts.hostname or "", parts.port or 5432, parse_qs(parts.query))
        self._login = LoginClient(
            user=unquote(parts.username or ""),
            password=password,
            nonce=b64encode(os.urandom(NONCE_BYTES)),
            database=unquote(parts.path.lstrip("/")),
        )
        try:
            self._socket.sendall(self._login.start())
            while not self._login.ready:
                self._socket.sendall(self._login.feed(self._receive()))
        except BaseException:
            self._socket.close()
            raise

    @property
    def database(self) -> str:
        """Where this session is."""
        return self._login.database

    def execute(self, sql: str) -> Iterator[str]:
        """Run statements; what to show of each. Raises ServerError after the last answer."""
        self._socket.sendall(frontend.build(frontend.Query(sql)))
        failure: ServerError | None = None
        header: list[str] = []
        rows: list[list[str]] = []
        for frame in self._until_ready():
            match chr(frame.kind):
                case "T":
                    header, rows = _names(frame.body), []
                case "D":
                    rows.append([_cell(value) for value in parse_data_row(frame.body)])
                case "C":
                    yield _shown(header, rows, frame.body[:-1].decode())
                    header = []
                case "N":
                    notice = notices.parse(frame.body)
                    yield f"{notice.severity}:  {notice.message}"
                case "E":
                    failure = ServerError(notices.parse(frame.body))
                case "G":  # COPY FROM STDIN has no place at this prompt
                    self._socket.sendall(frontend.build(frontend.CopyFail("use psql for COPY")))
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Say goodbye and hang up."""
        try:
            self._socket.sendall(frontend.message(b"X"))
        finally:
            self._socket.close()

    def _until_ready(self) -> Iterator[Frame]:
        while True:
            frame = self._login.decoder.next()
            if frame is None:
                self._login.decoder.feed(self._receive())
            elif chr(frame.kind) == "Z":
                return
            else:
                yield frame

    def _receive(self) -> bytes:
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise OSError("the server closed the connection")
        return data


def run(url: str, password: str) -> int:
    """Read statements from standard input until its end; the exit code."""
    try:
        session = Session(url, password)
    except _FAILURES as error:
        raise CommandError(f"cannot connect: {error}") from None
    try:
        return _loop(session)
    except OSError as error:
        raise CommandError(str(error)) from None
    finally:
        session.close()


def _loop(session: Session) -> int:
    code, pending = 0, ""
    while True:
        mark = "-" if pending else "="
        try:
            line = input(f"{session.database}{mark}> " if sys.stdin.isatty() else "")
        except EOFError:
            return code
        except KeyboardInterrupt:
            print()
            pending = ""
            continue
        if not pending and line.strip() in ("\\q", "exit", "quit"):
            return code
        pending += line + "\n"
        if not pending.rstrip().endswith(";"):
            continue
        code, pending = _execute(session, pending), ""


def _execute(session: Session, sql: str) -> int:
    try:
        for text in session.execute(sql):
            print(text)
    except ServerError as error:
        notice = error.notice
        print(f"{notice.severity}:  {notice.message} ({notice.sqlstate})", file=sys.stderr)
        for name, more in (("DETAIL", notice.detail), ("HINT", notice.hint)):
            if more:
                print(f"{name}:  {more}", file=sys.stderr)
        return 1
    return 0


def _dial(host: str, port: int, query: dict[str, list[str]]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=query.get("sslrootcert", [None])[0])
    plain = socket.create_connection((host, port), timeout=_DIAL_SECONDS)
    try:
        plain.sendall(_SSL_REQUEST)
        if plain.recv(1) != b"S":
            raise OSError("the server does not speak TLS")
        wrapped = context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    wrapped.settimeout(None)
    return wrapped


def _names(body: bytes) -> list[str]:
    reader = BodyReader(body)
    names = []
    for _ in range(reader.count()):
        names.append(reader.text())
        reader.take(18)  # table, column, type, size, modifier, format
    return names


def _cell(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def _shown(header: list[str], rows: list[list[str]], tag: str) -> str:
    if not header:
        return tag
    plural = "" if len(rows) == 1 else "s"
    return f"{table(header, rows)}\n({len(rows)} row{plural})\n"
