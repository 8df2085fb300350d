"""Prepared statements of a session, by Parse or by PREPARE, with what Bind needs resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgwire.errors import ProtocolViolation
from sqlnode.execute.api import ResultColumn
from sqlnode.session.encoding import (
    ColumnEncoder,
    ParamDecoder,
    column_encoder,
    param_decoder,
    result_formats,
)
from sqlnode.session.moving import decode_line, encode_line, shape_of
from sqlnode.session.pipeline import Planned

_FORMATS_MAX = 16
"""Combinations of formats a statement keeps codecs for."""
_LINE_BYTES = 64
"""What of a statement moves besides its name and text, about."""


@dataclass(slots=True, eq=False)
class PreparedStatement:
    """A prepared statement. `planned` None: the text was empty, or it is `resumed`."""

    name: str
    text: str
    planned: Planned | None
    columns: tuple[ResultColumn, ...] | None
    """Shape of its rows when it was prepared; None if it returns none."""
    param_types: tuple[int, ...] = ()
    """Types of its parameters."""
    from_sql: bool = False
    """Made by PREPARE: `text` is the whole command."""
    resumed: str | None = None
    """The shape its rows must have, where it came from another pod and is not planned here yet."""
    _line: bytes = b""
    _decoders: dict[tuple[object, ...], tuple[ParamDecoder, ...]] = field(default_factory=dict)
    _encoders: dict[tuple[object, ...], tuple[tuple[int, ...], tuple[ColumnEncoder, ...]]] = field(
        default_factory=dict
    )

    @classmethod
    def of_line(cls, name: str, line: bytes) -> "PreparedStatement":
        """A statement that another pod has prepared, to be planned when it is first used."""
        text, types, from_sql, shape = decode_line(line)
        return cls(name, text, None, None, types, from_sql, shape, _line=line)

    def line(self) -> bytes:
        """What moves to another pod; made once."""
        if not self._line:
            shape = shape_of(self.columns)
            self._line = encode_line(self.text, self.param_types, self.from_sql, shape)
        return self._line

    def was_planned(
        self, planned: Planned | None, columns: tuple[ResultColumn, ...] | None
    ) -> None:
        """A resumed statement is one like the others from here on."""
        self.planned, self.columns, self.resumed = planned, columns, None

    def decoders(
        self, formats: tuple[int, ...], count: int, codec: str
    ) -> tuple[ParamDecoder, ...]:
        """One decoder per parameter. Raises ProtocolViolation where their number is wrong."""
        types = self.param_types
        if count != len(types):
            raise ProtocolViolation(
                f"bind message supplies {count} parameters, "
                f'but prepared statement "{self.name}" requires {len(types)}'
            )
        key = (formats, codec)
        found = self._decoders.get(key)
        if found is None:
            each = formats if len(formats) > 1 else (formats or (0,)) * count
            found = tuple(
                param_decoder(kind, form, codec) for kind, form in zip(types, each, strict=True)
            )
            if len(self._decoders) >= _FORMATS_MAX:
                self._decoders.clear()
            self._decoders[key] = found
        return found

    def encoders(
        self, formats: tuple[int, ...], codec: str
    ) -> tuple[tuple[int, ...], tuple[ColumnEncoder, ...]]:
        """Format and encoder per column."""
        key = (formats, codec)
        found = self._encoders.get(key)
        if found is None:
            columns = self.columns or ()
            each = result_formats(formats, len(columns))
            encoders = tuple(
                column_encoder(column.type, form, codec)
                for column, form in zip(columns, each, strict=True)
            )
            found = (each, encoders)
            if len(self._encoders) >= _FORMATS_MAX:
                self._encoders.clear()
            self._encoders[key] = found
        return found


class Statements:
    """The prepared statements of a session by name; the unnamed one is called "".

    One that came from another pod stays the line it came as until somebody asks for it.
    """

    __slots__ = ("_by_name", "changes", "size")

    def __init__(self, lines: Mapping[str, bytes] | None = None) -> None:
        self._by_name: dict[str, PreparedStatement | bytes] = dict(lines or {})
        self.changes = 0
        """Counts what became of named statements."""
        self.size = sum(map(len, self._by_name)) + sum(map(len, (lines or {}).values()))
        """About what all take when they move, in bytes."""

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> PreparedStatement | None:
        """The statement of that name, None if there is none."""
        found = self._by_name.get(name)
        if not isinstance(found, bytes):
            return found
        statement = self._by_name[name] = PreparedStatement.of_line(name, found)
        self.size += _size(name, statement) - _size(name, found)
        return statement

    def add(self, statement: PreparedStatement) -> None:
        """Keep a statement, instead of the one that has its name."""
        name = statement.name
        self.drop(name)
        self._by_name[name] = statement
        self.size += _size(name, statement)
        if name:
            self.changes += 1

    def drop(self, name: str) -> None:
        """Forget a statement, if there is one of that name."""
        found = self._by_name.pop(name, None)
        if found is not None:
            self.size -= _size(name, found)
            if name:
                self.changes += 1

    def clear(self) -> None:
        """Forget all."""
        self._by_name.clear()
        self.size = 0
        self.changes += 1

    def lines(self, *, unnamed: bool) -> dict[str, bytes]:
        """What moves to another pod, with the unnamed one or without."""
        return {
            name: found if isinstance(found, bytes) else found.line()
            for name, found in self._by_name.items()
            if name or unnamed
        }


def _size(name: str, found: PreparedStatement | bytes) -> int:
    text = len(found) if isinstance(found, bytes) else len(found.text) + _LINE_BYTES
    return len(name) + text
