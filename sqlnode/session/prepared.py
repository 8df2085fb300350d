"""Prepared statements of a session, by Parse or by PREPARE, with what Bind needs resolved."""

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
from sqlnode.session.pipeline import Planned

_FORMATS_MAX = 16
"""Combinations of formats a statement keeps codecs for."""


@dataclass(slots=True, eq=False)
class PreparedStatement:
    """A prepared statement. `planned` None: the text was empty."""

    name: str
    text: str
    planned: Planned | None
    columns: tuple[ResultColumn, ...] | None
    """Shape of its rows when it was prepared; None if it returns none."""
    declared: tuple[int, ...] = ()
    from_sql: bool = False
    """Made by PREPARE."""
    _decoders: dict[tuple[object, ...], tuple[ParamDecoder, ...]] = field(default_factory=dict)
    _encoders: dict[tuple[object, ...], tuple[tuple[int, ...], tuple[ColumnEncoder, ...]]] = field(
        default_factory=dict
    )

    @property
    def param_types(self) -> tuple[int, ...]:
        """Types of its parameters."""
        return self.planned.param_types if self.planned is not None else ()

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
