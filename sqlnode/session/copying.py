"""COPY, and its direction FROM STDIN.

It reads records as they come, turns a batch of them into rows a column at a time, and writes them
through the same writer INSERT uses; columns that are not given get their defaults from a query over
as many rows. An error names its line, as PostgreSQL's context does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgwire import backend as replies
from pgwire.frontend import CopyData, CopyFail
from sqlnode.catalog.descriptors import Column, Table
from sqlnode.errors import SqlError, unsupported
from sqlnode.execute.api import Execution, Row
from sqlnode.execute.writer import TableWriter
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.tables import ROW_EXCLUSIVE
from sqlnode.parse import RawStatement, parse
from sqlnode.session.copy_binary import BinaryReader, Record
from sqlnode.session.copy_columns import ColumnReader
from sqlnode.session.copy_options import CopyOptions, copy_options
from sqlnode.session.copy_target import columns_of, table_of
from sqlnode.session.copy_text import CsvReader, Fields, TextReader
from sqlnode.session.copy_to import copy_to
from sqlnode.session.portal import Portal
from sqlnode.session.transactions import STALE_RETRIES_MAX
from sqlnode.session.utility import Answer, CopyStates
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid

if TYPE_CHECKING:
    from sqlnode.session.session import Session

BATCH_ROWS = 1000
"""Rows written at once, where they are read one by one."""
PIECE_BYTES = 64 << 10
"""Text that is gathered before it is read, and read at once."""


async def copy(session: "Session", portal: Portal, states: CopyStates) -> Answer:
    """COPY."""
    raw = portal.planned.raw
    node = raw.node
    if node.is_program or node.filename:
        raise SqlError(
            "42501",
            "must be superuser or have privileges of the pg_execute_server_program role "
            "to COPY to or from an external program"
            if node.is_program
            else "permission denied to COPY to or from a file",
            hint="Anyone can COPY to stdout or from stdin. psql's \\copy command also works.",
        )
    options = copy_options(node.options, is_from=node.is_from)
    if node.is_from:
        return await _copy_from(session, raw, options, states)
    return await copy_to(session, raw, options)


# --- FROM --------------------------------------------------------------------------------------


async def _copy_from(
    session: "Session", raw: RawStatement, options: CopyOptions, states: CopyStates
) -> Answer:
    node = raw.node
    if node.HasField("where_clause"):
        raise unsupported("COPY FROM with WHERE")
    session.look_again()
    table, execution = await _claimed(session, node.relation)
    columns = columns_of(table, [item.string.sval for item in node.attlist])
    loader = _Loader(session, table, columns, execution, await _defaults(session, table, columns))
    connection = session.connection
    connection.send(replies.copy_in_response(len(columns), binary=options.binary))
    connection.flush()
    states.copy_in_begun()
    count = await _load(loader, options, states, session.codec)
    states.copy_in_ended()
    return Answer(f"COPY {count}")


async def _claimed(session: "Session", relation: Any) -> tuple[Table, Execution]:
    """The table to copy into. It is locked, so that it is the same when the data have come.

    Raises SqlError 42P01, 42501, 25006.
    """
    for _ in range(STALE_RETRIES_MAX):
        execution = await session.execution()
        table = table_of(session, execution.catalog, relation)
        if table.virtual:
            raise SqlError("42501", f"permission denied for table {table.name}")
        if session.transactions.read_only:
            raise SqlError("25006", "cannot execute COPY FROM in a read-only transaction")
        try:
            await execution.transaction.lock_tables([(table.oid, ROW_EXCLUSIVE)])
        except CatalogStale as stale:
            await session.catch_up(stale)
        else:
            # The data may take their time.
            await session.transactions.keep_snapshot()
            return table, execution
    raise CatalogStale(0)


async def _load(
    loader: "_Loader", options: CopyOptions, states: CopyStates, client_codec: str
) -> int:
    if options.binary:
        return await _load_binary(loader, states)
    codec = options.codec or client_codec
    names = [column.name for column in loader.columns]
    header = _Header(names, options) if options.header else None
    if not options.csv:
        return await _load_text(loader, TextReader(options, codec), options, codec, header, states)
    reader = CsvReader(options, codec, names)
    pending: list[Fields] = []
    done = False
    while not done:
        data = await _next_data(states)
        done = data is None
        with loader.located(len(pending)):
            pending += reader.finish() if data is None else reader.feed(data)
        if header is not None and pending:
            header.check(pending.pop(0), loader)
            header = None
        while len(pending) >= BATCH_ROWS or (done and pending):
            batch, pending = pending[:BATCH_ROWS], pending[BATCH_ROWS:]
            await loader.write(batch)
    return loader.count


async def _next_data(states: CopyStates) -> bytes | None:
    """What the client sends next; None at the end."""
    message = await states.read_copy()
    if isinstance(message, CopyFail):
        raise SqlError("57014", f"COPY from stdin failed: {message.reason}")
    return message.data if isinstance(message, CopyData) else None


async def _gathered(states: CopyStates) -> tuple[bytes, bool]:
    """A piece of what the client sends, and whether that was all."""
    pieces: list[bytes] = []
    size = 0
    while size < PIECE_BYTES:
        data = await _next_data(states)
        if data is None:
            return b"".join(pieces), True
        pieces.append(data)
        size += len(data)
    return b"".join(pieces), False


async def _load_text(
    loader: "_Loader",
    reader: TextReader,
    options: CopyOptions,
    codec: str,
    header: "_Header | None",
    states: CopyStates,
) -> int:
    columns = ColumnReader(loader.columns, options, codec, loader.session.context)
    done = False
    while not done:
        data, done = await _gathered(states)
        for at in range(0, len(data) or 1, PIECE_BYTES):
            last = done and at + PIECE_BYTES >= len(data)
            lines = reader.whole(data[at : at + PIECE_BYTES]) + (reader.rest() if last else b"")
            values = None if header is not None or not lines else columns.read(lines)
            if values is None:
                header = await _load_carefully(loader, reader, lines, header)
            else:
                await loader.write_columns(values, lines, reader)
    return loader.count


async def _load_binary(loader: "_Loader", states: CopyStates) -> int:
    reader = BinaryReader(len(loader.columns))
    done = False
    while not done:
        data, done = await _gathered(states)
        with loader.located():
            records = reader.feed(data)
            if done:
                reader.finish()
        for at in range(0, len(records), BATCH_ROWS):
            await loader.write_binary(records[at : at + BATCH_ROWS])
    return loader.count


async def _load_carefully(
    loader: "_Loader", reader: TextReader, lines: bytes, header: "_Header | None"
) -> "_Header | None":
    """Write lines record by record; the header that still must come."""
    records: list[Fields] = []
    failed: SqlError | None = None
    try:
        for record in reader.records(lines):
            if header is not None:
                header.check(record, loader)
                header = None
            else:
                records.append(record)
    except SqlError as error:
        failed = error
    for at in range(0, len(records), BATCH_ROWS):
        await loader.write(records[at : at + BATCH_ROWS])
    if failed is not None:
        with loader.located():
            raise failed
    return header


@dataclass(slots=True)
class _Header:
    """The line before the data."""

    names: Sequence[str]
    options: CopyOptions

    def check(self, fields: Fields, loader: "_Loader") -> None:
        """Look at it. Raises SqlError 22P04."""
        _check_header(fields, self.names, self.options)
        loader.line += 1


def _check_header(fields: Fields, names: Sequence[str], options: CopyOptions) -> None:
    if not options.match_header:
        return
    if len(fields) != len(names):
        raise SqlError(
            "22P04",
            f"wrong number of fields in header line: got {len(fields)}, expected {len(names)}",
        )
    for number, (got, wanted) in enumerate(zip(fields, names, strict=True), 1):
        if got != wanted:
            raise SqlError(
                "22P04",
                f'column name mismatch in header line field {number}: got "{got}", '
                f'expected "{wanted}"',
            )


@dataclass(slots=True)
class _Defaults:
    """The columns COPY does not give, and the query that makes their values."""

    positions: tuple[int, ...]
    query: Portal | None


async def _defaults(session: "Session", table: Table, given: Sequence[Column]) -> _Defaults:
    missing = [
        (position, column)
        for position, column in enumerate(table.live)
        if column.filled is not None and column not in given
    ]
    if not missing:
        return _Defaults((), None)
    expressions = ", ".join(
        f"CAST(({column.filled}) AS {_type_name(column)})" for _, column in missing
    )
    statement = parse(f"SELECT {expressions} FROM pg_catalog.generate_series(1, $1::int4)")[0]
    planned = await session.plan(statement)
    return _Defaults(tuple(position for position, _ in missing), Portal("", planned))


def _type_name(column: Column) -> str:
    from sqlnode.types.registry import format_type

    return format_type(column.type, column.typmod)


class _Loader:
    """Turns batches of fields into rows and writes them."""

    def __init__(
        self,
        session: "Session",
        table: Table,
        columns: Sequence[Column],
        execution: Execution,
        defaults: _Defaults,
    ) -> None:
        self.session = session
        self.table = table
        self.columns = columns
        self.count = 0
        self.line = 0
        self._execution = execution
        self._defaults = defaults
        self._writer = TableWriter(table)
        self._inputs = [by_oid(column.type).text_in for column in columns]
        width = len(table.live)
        places = [table.live.index(column) for column in columns]
        self._in_order = places == list(range(width))
        self._places = places

    def located(self, pending: int = 0) -> "_Located":
        """Adds the line to errors of reading; `pending` lines were read and not written yet."""
        return _Located(self, pending)

    async def write(self, batch: list[Fields]) -> None:
        """Convert and write a batch. Raises SqlError with PostgreSQL's context."""
        await self._write(self._convert(batch), lambda: batch)

    async def write_columns(
        self, columns: Sequence[Sequence[Value]], lines: bytes, reader: TextReader
    ) -> None:
        """Write values that were read from `lines`. Raises SqlError with PostgreSQL's context."""
        reader.meant_no_returns()
        await self._write(columns, lambda: list(reader.records(lines)))

    async def write_binary(self, batch: list[Record]) -> None:
        """Convert and write a batch. Raises SqlError with PostgreSQL's context."""
        columns: list[list[Value]] = []
        for fields, column in zip(zip(*batch, strict=True), self.columns, strict=True):
            read = by_oid(column.type).binary_in
            values: list[Value] = []
            columns.append(values)
            for field in fields:
                try:
                    values.append(None if field is None else read(field, column.typmod))
                except SqlError as error:
                    line = self.line + len(values) + 1
                    error.where = f"COPY {self.table.name}, line {line}, column {column.name}"
                    raise
        await self._write(columns, None, len(batch))

    async def _write(
        self,
        columns: Sequence[Sequence[Value]],
        batch: Callable[[], list[Fields]] | None,
        count: int = 0,
    ) -> None:
        """`batch` gives the fields as they came, for errors; binary ones are not shown."""
        if columns:
            count = len(columns[0])
        elif batch is not None:
            count = len(batch())
        await self.session.budget.checkpoint()  # the data may have taken long to come
        rows = await self._rows(columns, count)
        try:
            await self._writer.insert(self._execution, rows)
        except SqlError as error:
            self._place(error, None if batch is None else batch(), rows)
            raise
        await self._execution.transaction.flush()
        self.count += len(rows)
        self.line += len(rows)
        await self.session.interrupts.checkpoint()

    def _place(self, error: SqlError, batch: list[Fields] | None, rows: list[Row]) -> None:
        """Say which line a writer's error is about, as far as its detail lets us find out."""
        table = self.table.name
        if error.sqlstate == "23502":
            at = next(
                (
                    at
                    for at, row in enumerate(rows)
                    for value, column in zip(row, self.table.live, strict=True)
                    if value is None and column.name == error.column
                ),
                0,
            )
            shown = "" if batch is None else f": {_shown(batch[at])}"
            error.where = f"COPY {table}, line {self.line + at + 1}{shown}"
        elif error.sqlstate == "23505":
            last = max((n for n, row in enumerate(rows) if self._is_meant(error, row)), default=-1)
            if last >= 0:
                error.where = f"COPY {table}, line {self.line + last + 1}"

    def _is_meant(self, error: SqlError, row: Row) -> bool:
        """Whether a row has the key that a uniqueness error names; the last such is the one."""
        index = next((i for i in self.table.indexes if i.name == error.constraint), None)
        if index is None or not error.detail:
            return False
        context = self.session.context
        words = []
        for each in index.columns:
            place = next(p for p, c in enumerate(self.table.live) if c.number == each.number)
            column, value = self.table.live[place], row[place]
            if value is None:
                return False
            words.append(by_oid(column.type).text_out(value, context))
        return f"=({', '.join(words)}) " in error.detail

    def _convert(self, batch: list[Fields]) -> list[list[Value]]:
        width = len(self.columns)
        if any(len(fields) != width for fields in batch):
            self._complain_of_width(batch)
        context = self.session.context
        try:
            return [
                [None if f is None else read(f, column.typmod, context) for f in fields]
                for fields, read, column in zip(
                    zip(*batch, strict=True), self._inputs, self.columns, strict=True
                )
            ]
        except SqlError:
            self._find_error(batch)
            raise

    def _find_error(self, batch: list[Fields]) -> None:
        """Meet the error again, in the order of the lines, to say where it is."""
        context = self.session.context
        for number, fields in enumerate(batch, self.line + 1):
            for field, read, column in zip(fields, self._inputs, self.columns, strict=True):
                if field is None:
                    continue
                try:
                    read(field, column.typmod, context)
                except SqlError as error:
                    place = f"COPY {self.table.name}, line {number}, column {column.name}"
                    error.where = f'{place}: "{field[:100]}"'
                    raise

    def _complain_of_width(self, batch: list[Fields]) -> None:
        for number, fields in enumerate(batch, self.line + 1):
            where = f"COPY {self.table.name}, line {number}: " + _shown(fields)
            if len(fields) < len(self.columns):
                missing = self.columns[len(fields)].name
                raise SqlError("22P04", f'missing data for column "{missing}"', where=where)
            if len(fields) > len(self.columns):
                raise SqlError("22P04", "extra data after last expected column", where=where)

    async def _rows(self, columns: Sequence[Sequence[Value]], count: int) -> list[Row]:
        if self._in_order:
            return list(zip(*columns, strict=True))
        nulls: list[Value] = [None] * count
        whole: list[Sequence[Value]] = [nulls] * len(self.table.live)
        for place, values in zip(self._places, columns, strict=True):
            whole[place] = values
        if self._defaults.query is not None:
            made = await self._default_values(self._defaults.query, count)
            for place, made_values in zip(
                self._defaults.positions, zip(*made, strict=True), strict=True
            ):
                whole[place] = made_values
        return list(zip(*whole, strict=True))

    async def _default_values(self, query: Portal, count: int) -> list[Row]:
        executable = query.planned.executable
        if executable is None:
            raise RuntimeError("a query of defaults is a query")
        execution = Execution(
            transaction=self._execution.transaction,
            catalog=self._execution.catalog,
            functions=self._execution.functions,
            interrupts=self._execution.interrupts,
            params=(count,),
        )
        self.session.sequences.expect(count)
        rows: list[Row] = []
        async for batch in executable.run(execution):
            rows += batch
        return rows


class _Located:
    """Gives errors the line they happened in, where nothing more precise was said."""

    def __init__(self, loader: _Loader, pending: int) -> None:
        self._loader = loader
        self._pending = pending

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SqlError) and error.where is None:
            line = self._loader.line + self._pending + 1
            error.where = f"COPY {self._loader.table.name}, line {line}"


def _shown(fields: Fields) -> str:
    text = "\t".join("\\N" if field is None else field for field in fields)
    return f'"{text[:100]}"'
