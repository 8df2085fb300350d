"""COPY … TO STDOUT: the rows of a table or query as text, CSV or binary."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgwire import backend as replies
from sqlnode.errors import SqlError
from sqlnode.execute.api import ResultColumn, Row
from sqlnode.parse import RawStatement, parse
from sqlnode.session import copy_binary
from sqlnode.session.copy_options import CopyOptions
from sqlnode.session.copy_target import columns_of, table_of
from sqlnode.session.copy_text import Fields, csv_line, text_line
from sqlnode.session.pipeline import inner
from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer
from sqlnode.types.registry import by_oid

if TYPE_CHECKING:
    from sqlnode.session.session import Session

Format = Callable[[Row], bytes]


async def copy_to(session: "Session", raw: RawStatement, options: CopyOptions) -> Answer:
    """Run COPY TO and send its data."""
    portal = await _opened(session, raw)
    columns = portal.planned.columns
    if columns is None:
        raise SqlError("0A000", "COPY query must have a RETURNING clause")
    connection = session.connection
    connection.send(replies.copy_out_response(len(columns), binary=options.binary))
    text = _binary(columns) if options.binary else _textual(session, columns, options)
    before = copy_binary.HEADER if options.binary else _header(session, columns, options)
    count = 0
    while batch := await portal.take(0):
        lines = [text(row) for row in batch]
        # As PostgreSQL does: what comes before the rows travels with the first of them.
        if options.binary:
            lines[0], before = before + lines[0], b""
        elif before:
            lines.insert(0, before)
            before = b""
        connection.send(replies.copy_lines(lines))
        count += len(batch)
        if connection.crowded:
            await connection.drain()
            await session.interrupts.checkpoint()
    if options.binary:
        before += copy_binary.TRAILER
    if before:
        connection.send(replies.copy_data(before))
    connection.send(replies.COPY_DONE)
    return Answer(f"COPY {count}")


async def _opened(session: "Session", raw: RawStatement) -> Portal:
    node = raw.node
    session.look_again()
    if node.HasField("query"):
        statement = inner(raw, node.query)
    else:
        table = table_of(session, session.catalog, node.relation)
        names = [item.string.sval for item in node.attlist]
        chosen = ", ".join(_quoted(column.name) for column in columns_of(table, names))
        statement = parse(f"SELECT {chosen} FROM {_quoted(table.schema)}.{_quoted(table.name)}")[0]
    portal = Portal("", await session.plan(statement), undescribed=True)
    if portal.planned.executable is None:
        raise SqlError("0A000", "COPY query must be a query")
    await session.budget.enter(portal.planned)
    await session.start_query(portal)
    return portal


def _textual(session: "Session", columns: Sequence[ResultColumn], options: CopyOptions) -> Format:
    outputs = [by_oid(column.type).text_out for column in columns]
    context = session.context
    line = _line(session, columns, options)

    def text(row: Row) -> bytes:
        return line(
            [
                None if value is None else out(value, context)
                for value, out in zip(row, outputs, strict=True)
            ]
        )

    return text


def _line(
    session: "Session", columns: Sequence[ResultColumn], options: CopyOptions
) -> Callable[[Fields], bytes]:
    names = [column.name for column in columns]
    codec = options.codec or session.codec

    def line(fields: Fields) -> bytes:
        text = csv_line(fields, options, names) if options.csv else text_line(fields, options)
        return text.encode(codec)

    return line


def _header(session: "Session", columns: Sequence[ResultColumn], options: CopyOptions) -> bytes:
    if not options.header:
        return b""
    # Names are not forced into quotes, whatever FORCE_QUOTE says of the values.
    plain = replace(options, force_quote=frozenset())
    return _line(session, columns, plain)([column.name for column in columns])


def _binary(columns: Sequence[ResultColumn]) -> Format:
    outputs: list[Any] = [by_oid(column.type).binary_out for column in columns]

    def text(row: Row) -> bytes:
        return copy_binary.record(
            [None if value is None else out(value) for value, out in zip(row, outputs, strict=True)]
        )

    return text


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
