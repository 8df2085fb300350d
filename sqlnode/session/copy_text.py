"""COPY's text and CSV formats: bytes cut into records, records into fields, and back.

A field is a str, or None for NULL. Readers are fed with pieces cut anywhere and give whole records.
The end-of-data mark `\\.` ends the data in both formats.
"""

import re
from collections.abc import Iterator, Sequence

from sqlnode.errors import SqlError
from sqlnode.session.copy_options import CopyOptions

Fields = list[str | None]
_ESCAPED = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
RECORD_BYTES_MAX = 256 << 20
"""A record without an end is refused past this (54000)."""


def decoded(data: bytes, codec: str) -> str:
    """Text of the data. Raises SqlError 22021."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        shown = " ".join(f"0x{byte:02x}" for byte in data[error.start : error.end])
        raise SqlError("22021", f'invalid byte sequence for encoding "UTF8": {shown}') from None
    if "\0" in text:
        raise SqlError("22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    return text


def _long(size: int) -> None:
    if size > RECORD_BYTES_MAX:
        raise SqlError("54000", f"a record of COPY data is longer than {RECORD_BYTES_MAX} bytes")


class TextReader:
    """Records of the text format."""

    def __init__(self, options: CopyOptions, codec: str) -> None:
        self._delimiter = options.delimiter
        self._null = options.null
        self._codec = codec
        self._rest = b""
        self._crlf: bool | None = None
        self.ended = False
        """The end-of-data mark was met; nothing after it counts."""

    def feed(self, data: bytes) -> list[Fields]:
        """The records that `data` completes. Raises SqlError."""
        return list(self.records(self.whole(data)))

    def finish(self) -> list[Fields]:
        """A last record without an end of line."""
        return list(self.records(self.rest()))

    def whole(self, data: bytes) -> bytes:
        """The whole lines that there are with `data`, perhaps none. Raises SqlError (54000)."""
        if self.ended:
            return b""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        while end and b"\\" in data and _ends_escaped(data, end - 1):
            end = data.rfind(b"\n", 0, end - 1) + 1
        self._rest = data[end:]
        _long(len(self._rest))
        return data[:end]

    def rest(self) -> bytes:
        """A last line without its end, or nothing."""
        rest, self._rest = self._rest, b""
        return b"" if self.ended else rest

    def records(self, data: bytes) -> Iterator[Fields]:
        """The records of whole lines, one by one: those before an error come before it.

        Raises SqlError.
        """
        if not data:
            return
        lines = (data[:-1] if data.endswith(b"\n") else data).split(b"\n")
        if b"\\" in data:
            yield from self._escaped(lines)
            return
        delimiter, null = self._delimiter, self._null
        never_null = "\\" in null
        if b"\r" not in data:
            self.meant_no_returns()
        for line in lines if b"\r" not in data else self._without_cr(lines):
            fields = decoded(line, self._codec).split(delimiter)
            yield list(fields) if never_null else [None if f == null else f for f in fields]

    def meant_no_returns(self) -> None:
        """Lines without carriage returns were met: now they end in newlines alone."""
        if self._crlf is None:
            self._crlf = False

    def _without_cr(self, lines: list[bytes]) -> Iterator[bytes]:
        if self._crlf is None:
            self._crlf = lines[0].endswith(b"\r")
        for line in lines:
            if self._crlf:
                yield line.removesuffix(b"\r")
            elif b"\r" in line:
                raise SqlError(
                    "22P04",
                    "literal carriage return found in data",
                    hint='Use "\\r" to represent carriage return.',
                )
            else:
                yield line

    def _escaped(self, lines: list[bytes]) -> Iterator[Fields]:
        joined: list[bytes] = []
        for line in lines:
            joined.append(line)
            if _ends_escaped(line + b"\n", len(line)):
                continue
            whole = b"\n".join(joined)
            joined = []
            (whole,) = self._without_cr([whole])
            if whole == b"\\.":
                self.ended = True
                return
            yield [self._field(field) for field in self._split(whole)]

    def _split(self, line: bytes) -> list[bytes]:
        delimiter = self._delimiter.encode()
        if b"\\" + delimiter not in line:
            return line.split(delimiter)
        fields: list[bytes] = []
        start = at = 0
        while at < len(line):
            if line[at] == 0x5C:
                at += 2
            elif line[at : at + 1] == delimiter:
                fields.append(line[start:at])
                at += 1
                start = at
            else:
                at += 1
        return [*fields, line[start:]]

    def _field(self, field: bytes) -> str | None:
        if field == self._null.encode():
            return None
        if b"\\" in field:
            field = _ESCAPED.sub(_unescaped, field)
        return decoded(field, self._codec)


def _ends_escaped(data: bytes, at: int) -> bool:
    """Whether an odd number of backslashes stands before position `at`."""
    start = at
    while start and data[start - 1] == 0x5C:
        start -= 1
    return (at - start) % 2 == 1


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    return _LETTERS.get(code, code)


class CsvReader:
    """Records of the CSV format. A quoted field may hold ends of line."""

    def __init__(self, options: CopyOptions, codec: str, columns: Sequence[str]) -> None:
        self._options = options
        self._codec = codec
        self._columns = columns
        self._rest = b""
        self._quote = options.quote.encode()
        self.ended = False
        """The end-of-data mark was met."""

    def feed(self, data: bytes) -> list[Fields]:
        """The records that `data` completes. Raises SqlError."""
        return self._read(self._rest + data, last=False)

    def finish(self) -> list[Fields]:
        """A last record without an end of line. Raises SqlError on an open quote."""
        records = self._read(self._rest, last=True)
        if self._rest:
            raise SqlError("22P04", "unterminated CSV quoted field")
        return records

    def _read(self, data: bytes, *, last: bool) -> list[Fields]:
        records: list[Fields] = []
        if self.ended:
            self._rest = b""
            return records
        start = at = 0
        quoted = False
        while not self.ended:
            end = data.find(b"\n", at)
            if end < 0 and not (last and start < len(data)):
                break
            stop = end if end >= 0 else len(data)
            quoted ^= self._toggles(data[at:stop])
            at = stop + 1
            if quoted:
                if end < 0:
                    break
                continue
            line = data[start:stop]
            start = at
            line = line[:-1] if line.endswith(b"\r") else line
            if line == b"\\.":
                self.ended = True
            else:
                records.append(self._fields(decoded(line, self._codec)))
        self._rest = b"" if self.ended else data[start:]
        _long(len(self._rest))
        return records

    def _toggles(self, piece: bytes) -> bool:
        """Whether an odd number of quotes stands in the piece (escaped ones do not count)."""
        quote, escape = self._quote, self._options.escape.encode()
        if escape != quote:
            piece = piece.replace(escape * 2, b"").replace(escape + quote, b"")
        return piece.count(quote) % 2 == 1

    def _fields(self, line: str) -> Fields:
        options = self._options
        if options.quote not in line:
            raw = [(text, False) for text in line.split(options.delimiter)]
        else:
            raw = list(_csv_fields(line, options))
        return [self._value(n, text, was_quoted) for n, (text, was_quoted) in enumerate(raw)]

    def _value(self, number: int, text: str, was_quoted: bool) -> str | None:
        name = self._columns[number] if number < len(self._columns) else ""
        options = self._options
        if text == options.null:
            if not was_quoted and name not in options.force_not_null:
                return None
            if was_quoted and name in options.force_null:
                return None
        return text


def _csv_fields(line: str, options: CopyOptions) -> Iterator[tuple[str, bool]]:
    delimiter, quote, escape = options.delimiter, options.quote, options.escape
    characters: list[str] = []
    inside = was_quoted = False
    at, size = 0, len(line)
    while at < size:
        c = line[at]
        if inside:
            if c == escape and at + 1 < size and line[at + 1] in (escape, quote):
                characters.append(line[at + 1])
                at += 1
            elif c == quote:
                inside = False
            else:
                characters.append(c)
        elif c == delimiter:
            yield "".join(characters), was_quoted
            characters, was_quoted = [], False
        elif c == quote:
            inside = was_quoted = True
        else:
            characters.append(c)
        at += 1
    yield "".join(characters), was_quoted


_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
    }
)


def text_line(fields: Fields, options: CopyOptions) -> str:
    """A record of the text format, with its end of line."""
    delimiter, null = options.delimiter, options.null
    words = []
    for field in fields:
        if field is None:
            words.append(null)
            continue
        word = field.translate(_ESCAPES)
        words.append(word if delimiter == "\t" else word.replace(delimiter, "\\" + delimiter))
    return delimiter.join(words) + "\n"


def csv_line(fields: Fields, options: CopyOptions, columns: Sequence[str]) -> str:
    """A record of the CSV format, with its end of line."""
    quote, escape = options.quote, options.escape
    words = []
    for name, field in zip(columns, fields, strict=True):
        if field is None:
            words.append(options.null)
            continue
        forced = options.force_quote is None or name in options.force_quote
        alone = len(fields) == 1 and field == "\\."
        special = any(c in field for c in (options.delimiter, quote, "\r", "\n"))
        if forced or alone or special or field == options.null:
            words.append(_quoted(field, quote, escape))
        else:
            words.append(field)
    return options.delimiter.join(words) + "\n"


def _quoted(field: str, quote: str, escape: str) -> str:
    inside = field if escape == quote else field.replace(escape, escape * 2)
    return quote + inside.replace(quote, escape + quote) + quote
