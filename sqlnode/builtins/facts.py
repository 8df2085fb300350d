"""PostgreSQL 15's own system rows: every built-in type, function, operator, cast and aggregate.

The files under `data/` are written by `python -m sqlnode.builtins.generate` and are never edited:
COPY's text format under one header line of `name:type OID` fields. `reg*` columns hold OIDs, and
`proargdefaults` the defaults' SQL text. Only `own_proc.tsv` is written by hand: functions that
PostgreSQL gets from an extension, in the form of pg_proc.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DATA = Path(__file__).parent / "data"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}

FactRow = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class FactColumn:
    """A column of a system table; `type` is a pg_type OID."""

    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Facts:
    """The rows of one system table, each value in PostgreSQL's text form."""

    columns: tuple[FactColumn, ...]
    rows: tuple[FactRow, ...]

    def position(self, column: str) -> int:
        """Where `column` stands in a row; KeyError if the table has no such column."""
        for position, candidate in enumerate(self.columns):
            if candidate.name == column:
                return position
        raise KeyError(column)


@cache
def facts(table: str) -> Facts:
    """The rows of the system table `table`, such as pg_proc; FileNotFoundError if not kept."""
    header, *lines = (_DATA / f"{table}.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    columns = tuple(_column(text) for text in header.split("\t"))
    return Facts(columns, tuple(_row(line) for line in lines))


def _column(text: str) -> FactColumn:
    name, _, type_oid = text.partition(":")
    return FactColumn(name, int(type_oid))


def _row(line: str) -> FactRow:
    if "\\" not in line:
        return tuple(line.split("\t"))
    return tuple(_unescape(field) for field in line.split("\t"))


def _unescape(field: str) -> str | None:
    if field == "\\N":
        return None
    if "\\" not in field:
        return field
    head, *tails = field.split("\\")
    out = [head]
    after_backslash = False
    for tail in tails:
        if after_backslash:
            out.append(tail)
            after_backslash = False
        elif not tail:
            out.append("\\")
            after_backslash = True
        else:
            out.append(_ESCAPES.get(tail[0], tail[0]) + tail[1:])
    return "".join(out)
