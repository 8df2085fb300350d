"""Prepared statements of a session, by Parse or by PREPARE, with what Bind needs resolved."""

from collections.abc import Iterator
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
from sqlnode.session.moving import StatementLine, shape_of
from sqlnode.session.pipeline import Planned

_FORMATS_MAX = 16
"""Combinations of formats a statement keeps codecs for."""
_LINE_BYTES = 64
"""What a statement takes besides name and text when it moves, about."""


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
    resumed: StatementLine | None = None
    """It came from another pod and has not been planned here yet."""
    _line: bytes = b""
    _decoders: dict[tuple[object, ...], tuple[ParamDecoder, ...]] = field(default_factory=dict)
    _encoders: dict[tuple[object, ...], tuple[tuple[int, ...], tuple[ColumnEncoder, ...]]] = field(
        default_factory=dict
    )

    @classmethod
    def of_line(cls, line: bytes) -> "PreparedStatement":
        """A statement that another pod has prepared, to be planned when it is first used."""
        parts = StatementLine.decode(line)
        return cls(
            parts.name, parts.text, None, None, parts.types, parts.from_sql, parts, _line=line
        )

    def line(self) -> bytes:
        """What moves to another pod; made once."""
        if not self._line:
            shape = shape_of(self.columns)
            line = StatementLine(self.name, self.text, self.param_types, self.from_sql, shape)
            self._line = line.encode()
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
    """The prepared statements of a session by name; the unnamed one is called ""."""

    __slots__ = ("_by_name", "changes", "size")

    def __init__(self) -> None:
        self._by_name: dict[str, PreparedStatement] = {}
        self.changes = 0
        """Counts what became of named statements."""
        self.size = 0
        """About what all take when they move, in bytes."""

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> PreparedStatement | None:
        """The statement of that name, None if there is none."""
        return self._by_name.get(name)

    def add(self, statement: PreparedStatement) -> None:
        """Keep a statement, instead of the one that has its name."""
        self.drop(statement.name)
        self._by_name[statement.name] = statement
        self.size += _size(statement)
        if statement.name:
            self.changes += 1

    def drop(self, name: str) -> None:
        """Forget a statement, if there is one of that name."""
        statement = self._by_name.pop(name, None)
        if statement is not None:
            self.size -= _size(statement)
            if name:
                self.changes += 1

    def clear(self) -> None:
        """Forget all."""
        self._by_name.clear()
        self.size = 0
        self.changes += 1

    def all(self) -> Iterator[PreparedStatement]:
        """Every statement."""
        return iter(self._by_name.values())

    def named(self) -> Iterator[PreparedStatement]:
        """Every statement but the unnamed one."""
        return (each for name, each in self._by_name.items() if name)


def _size(statement: PreparedStatement) -> int:
    return len(statement.name) + len(statement.text) + _LINE_BYTES
