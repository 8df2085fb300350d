"""What clients send after startup: typed messages, their parser and their builder.

`parse` is on the path of every statement: one table lookup by the type byte, then one function.
Bodies of `p` mean different things at different moments and stay bytes (see pgwire.sasl).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgwire.errors import ProtocolViolation
from pgwire.framing import Frame
from pgwire.reader import BodyReader, decode_text

_HEADER = struct.Struct(">cI")
_I32 = struct.Struct(">i")
_U16 = struct.Struct(">H")
_NULL = _I32.pack(-1)

TEXT = 0
BINARY = 1


@dataclass(frozen=True, slots=True)
class Query:
    """A simple query: a text of any number of statements."""

    text: str


@dataclass(frozen=True, slots=True)
class Parse:
    """Prepare one statement. A type of 0 is to be inferred."""

    statement: str
    text: str
    param_types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """Make a portal of a prepared statement. Formats: none is all text, one is for all."""

    portal: str
    statement: str
    param_formats: tuple[int, ...]
    params: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask for the shape of a statement (`S`) or a portal (`P`)."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a portal; at most `rows_max` rows, 0 for all."""

    portal: str
    rows_max: int


@dataclass(frozen=True, slots=True)
class Close:
    """Drop a statement (`S`) or a portal (`P`)."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what is ready."""


@dataclass(frozen=True, slots=True)
class Sync:
    """End of a pipeline: closes an implicit transaction, ends skipping after an error."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """A friendly goodbye."""


@dataclass(frozen=True, slots=True)
class CopyData:
    """A piece of COPY's data, cut anywhere."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CopyDone:
    """The client has sent all of COPY's data."""


@dataclass(frozen=True, slots=True)
class CopyFail:
    """The client gives up the COPY."""

    reason: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The old fast path: the body stays unread."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Authentication:
    """A password or SASL message."""

    body: bytes


FrontendMessage = (
    Query
    | Parse
    | Bind
    | Describe
    | Execute
    | Close
    | Flush
    | Sync
    | Terminate
    | CopyData
    | CopyDone
    | CopyFail
    | FunctionCall
    | Authentication
)

_FLUSH, _SYNC, _TERMINATE, _COPY_DONE = Flush(), Sync(), Terminate(), CopyDone()
_UNNAMED_EXECUTE = Execute("", 0)


def _query(body: bytes, encoding: str) -> Query:
    if body[-1:] != b"\0" or body.find(b"\0") != len(body) - 1:
        raise ProtocolViolation("invalid string in message")
    return Query(decode_text(body[:-1], encoding))


def _parse_parse(body: bytes, encoding: str) -> Parse:
    reader = BodyReader(body)
    statement, text = reader.text(encoding), reader.text(encoding)
    types = reader.many("I", reader.count())
    reader.end()
    return Parse(statement, text, types)


def _bind(body: bytes, encoding: str) -> Bind:
    reader = BodyReader(body)
    portal, statement = reader.text(encoding), reader.text(encoding)
    formats = _formats(reader)
    count = reader.count()
    params: list[bytes | None] = []
    at, size = reader.at, len(body)
    for _ in range(count):
        if at + 4 > size:
            raise ProtocolViolation("insufficient data left in message")
        (length,) = _I32.unpack_from(body, at)
        at += 4
        if length < 0:
            if length != -1:
                raise ProtocolViolation("invalid parameter length in bind message")
            params.append(None)
            continue
        end = at + length
        if end > size:
            raise ProtocolViolation("insufficient data left in message")
        params.append(body[at:end])
        at = end
    reader.at = at
    if len(formats) > 1 and len(formats) != count:
        raise ProtocolViolation(
            f"bind message has {len(formats)} parameter formats but {count} parameters"
        )
    results = _formats(reader)
    reader.end()
    return Bind(portal, statement, formats, tuple(params), results)


def _formats(reader: BodyReader) -> tuple[int, ...]:
    count = reader.count()
    formats = reader.many("h", count) if count else ()
    for code in formats:
        if code not in (TEXT, BINARY):
            raise ProtocolViolation(f"unsupported format code: {code}", sqlstate="22023")
    return formats


def _execute(body: bytes, encoding: str) -> Execute:
    if body == b"\0\0\0\0\0":
        return _UNNAMED_EXECUTE
    reader = BodyReader(body)
    portal, rows = reader.text(encoding), reader.i32()
    reader.end()
    return Execute(portal, max(rows, 0))


def _kind_and_name(body: bytes, encoding: str) -> tuple[str, str]:
    reader = BodyReader(body)
    kind, name = reader.byte(), reader.text(encoding)
    reader.end()
    return chr(kind), name


def _describe(body: bytes, encoding: str) -> Describe:
    kind, name = _kind_and_name(body, encoding)
    if kind not in "SP":
        raise ProtocolViolation(f"invalid DESCRIBE message subtype {ord(kind)}")
    return Describe(kind, name)


def _close(body: bytes, encoding: str) -> Close:
    kind, name = _kind_and_name(body, encoding)
    if kind not in "SP":
        raise ProtocolViolation(f"invalid CLOSE message subtype {ord(kind)}")
    return Close(kind, name)


def _copy_fail(body: bytes, encoding: str) -> CopyFail:
    reader = BodyReader(body)
    reason = reader.text(encoding)
    reader.end()
    return CopyFail(reason)


_PARSERS: dict[int, Callable[[bytes, str], FrontendMessage]] = {
    ord("B"): _bind,
    ord("C"): _close,
    ord("D"): _describe,
    ord("E"): _execute,
    ord("F"): lambda body, _: FunctionCall(body),
    ord("H"): lambda _body, _: _FLUSH,
    ord("P"): _parse_parse,
    ord("Q"): _query,
    ord("S"): lambda _body, _: _SYNC,
    ord("X"): lambda _body, _: _TERMINATE,
    ord("c"): lambda _body, _: _COPY_DONE,
    ord("d"): lambda body, _: CopyData(body),
    ord("f"): _copy_fail,
    ord("p"): lambda body, _: Authentication(body),
}


def parse(frame: Frame, encoding: str = "utf-8") -> FrontendMessage:
    """The message in a frame; texts are decoded with the Python codec `encoding`.

    Raises ProtocolViolation, or BadText where only a text is wrong.
    """
    parser = _PARSERS.get(frame.kind)
    if parser is None:
        raise ProtocolViolation(f"invalid frontend message type {frame.kind}")
    return parser(frame.body, encoding)


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message with its header."""
    return _HEADER.pack(kind, len(body) + 4) + body


def _array(code: str, numbers: Sequence[int]) -> bytes:
    return struct.pack(f">H{len(numbers)}{code}", len(numbers), *numbers)


def _field(value: bytes | None) -> bytes:
    return _NULL if value is None else _I32.pack(len(value)) + value


def _cstrings(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def build(item: FrontendMessage) -> bytes:
    """The bytes of a message (texts in UTF-8): the inverse of `parse`."""
    match item:
        case Query(text):
            return message(b"Q", _cstrings(text))
        case Parse(statement, text, types):
            return message(b"P", _cstrings(statement, text) + _array("I", types))
        case Bind(portal, statement, formats, params, results):
            fields = b"".join(map(_field, params))
            count = _U16.pack(len(params))
            head = _cstrings(portal, statement) + _array("h", formats)
            return message(b"B", head + count + fields + _array("h", results))
        case Describe(kind, name):
            return message(b"D", kind.encode() + _cstrings(name))
        case Close(kind, name):
            return message(b"C", kind.encode() + _cstrings(name))
        case Execute(portal, rows):
            return message(b"E", _cstrings(portal) + _I32.pack(rows))
        case CopyData(data):
            return message(b"d", data)
        case CopyFail(reason):
            return message(b"f", _cstrings(reason))
        case FunctionCall(body):
            return message(b"F", body)
        case Authentication(body):
            return message(b"p", body)
        case _:
            return _BARE[type(item)]


_BARE: dict[type, bytes] = {
    Flush: message(b"H"),
    Sync: message(b"S"),
    Terminate: message(b"X"),
    CopyDone: message(b"c"),
}
