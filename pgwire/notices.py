"""ErrorResponse and NoticeResponse: the fields by their letters, both ways."""

from collections.abc import Mapping
from dataclasses import dataclass

from pgwire.backend import message
from pgwire.errors import ProtocolViolation
from pgwire.reader import BodyReader

_LETTERS = {
    "severity": "V",
    "sqlstate": "C",
    "message": "M",
    "detail": "D",
    "hint": "H",
    "position": "P",
    "internal_position": "p",
    "internal_query": "q",
    "where": "W",
    "schema": "s",
    "table": "t",
    "column": "c",
    "datatype": "d",
    "constraint": "n",
    "file": "F",
    "line": "L",
    "routine": "R",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """An error or a notice. `position` is 1-based, in characters; 0 is none.

    `severity` is ERROR, FATAL or PANIC of an error, WARNING, NOTICE, INFO, LOG or DEBUG else.
    """

    severity: str
    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int = 0
    where: str | None = None
    schema: str | None = None
    table: str | None = None
    column: str | None = None
    datatype: str | None = None
    constraint: str | None = None

    def fields(self) -> dict[str, str]:
        """The fields that are set, by letter, in PostgreSQL's order."""
        fields = {"S": self.severity}
        for name, letter in _LETTERS.items():
            value = getattr(self, name, None)
            if value:
                fields[letter] = str(value)
        return fields


def error_response(notice: Notice, encoding: str = "utf-8") -> bytes:
    """The message E."""
    return message(b"E", _body(notice.fields(), encoding))


def notice_response(notice: Notice, encoding: str = "utf-8") -> bytes:
    """The message N."""
    return message(b"N", _body(notice.fields(), encoding))


def _body(fields: Mapping[str, str], encoding: str) -> bytes:
    parts = [
        letter.encode() + text.replace("\0", "").encode(encoding, "replace") + b"\0"
        for letter, text in fields.items()
    ]
    return b"".join(parts) + b"\0"


def parse_fields(body: bytes, encoding: str = "utf-8") -> dict[str, str]:
    """The fields of an E or N message by letter. Raises ProtocolViolation."""
    reader = BodyReader(body)
    fields: dict[str, str] = {}
    while letter := reader.byte():
        fields[chr(letter)] = reader.text(encoding)
    reader.end()
    return fields


def parse(body: bytes, encoding: str = "utf-8") -> Notice:
    """An E or N message. Raises ProtocolViolation."""
    fields = parse_fields(body, encoding)
    named = {name: fields[letter] for name, letter in _LETTERS.items() if letter in fields}
    try:
        position = int(named.get("position", "0"))
    except ValueError:
        raise ProtocolViolation("invalid position in error message") from None
    return Notice(
        severity=named.get("severity", fields.get("S", "ERROR")),
        sqlstate=named.get("sqlstate", "XX000"),
        message=named.get("message", ""),
        detail=named.get("detail"),
        hint=named.get("hint"),
        position=position,
        where=named.get("where"),
        schema=named.get("schema"),
        table=named.get("table"),
        column=named.get("column"),
        datatype=named.get("datatype"),
        constraint=named.get("constraint"),
    )
