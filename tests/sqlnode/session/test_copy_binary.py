"""COPY's binary format: its reader on strange bytes, and whole trips against PostgreSQL's rules."""

from pathlib import Path

import psycopg
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sqlnode.errors import SqlError
from sqlnode.session.copy_binary import HEADER, TRAILER, BinaryReader, record
from tests.support.pod import pod_running

_RECORDS = st.lists(st.lists(st.none() | st.binary(max_size=20), min_size=3, max_size=3))


@given(_RECORDS, st.data())
def test_a_file_reads_back_however_it_is_cut(
    records: list[list[bytes | None]], data: st.DataObject
) -> None:
    file = HEADER + b"".join(map(record, records)) + TRAILER
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=5)))
    reader = BinaryReader(3)
    seen: list[list[bytes | None]] = []
    for low, high in zip([0, *cuts], [*cuts, len(file)], strict=True):
        seen += reader.feed(file[low:high])
    reader.finish()
    assert seen == records


@given(st.binary(max_size=60))
def test_strange_bytes_are_refused_and_never_crash(data: bytes) -> None:
    assert _refusal(HEADER + data) in {None, "22P04"}


def _refusal(file: bytes) -> str | None:
    try:
        _read(file)
    except SqlError as error:
        return error.sqlstate
    return None


def _read(file: bytes) -> None:
    reader = BinaryReader(1)
    reader.feed(file)
    reader.finish()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "COPY file signature not recognized"),
        (b"1\t2\n", "COPY file signature not recognized"),
        (HEADER[:13], "invalid COPY file header (missing flags)"),
        (HEADER[:11] + b"\0\1\0\0" + bytes(4), "invalid COPY file header (WITH OIDS)"),
        (HEADER[:11] + b"\0\2\0\0" + bytes(4), "unrecognized critical flags in COPY file header"),
        (HEADER + record([b"a", b"b"]), "row field count is 2, expected 1"),
        (HEADER + record([b"abc"])[:-1], "unexpected EOF in COPY data"),
        (HEADER + b"\0\1\xff\xff\xff\xfe", "invalid field size"),
        (HEADER + TRAILER + b"x", "received copy data after EOF marker"),
    ],
)
def test_a_bad_file_is_refused_in_postgresql_s_words(file: bytes, message: str) -> None:
    with pytest.raises(SqlError) as caught:
        _read(file)
    assert caught.value.message == message


def test_there_and_back_through_a_client(tmp_path: Path) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            connection = await psycopg.AsyncConnection.connect(pod.dsn, autocommit=True)
            await connection.execute(
                "CREATE TABLE t (id int PRIMARY KEY, name varchar(9), price numeric, day date)"
            )
            rows = [(1, "one", None, None), (2, "naïve ☃", None, None)]
            cursor = connection.cursor()
            async with cursor.copy("COPY t (id, name) FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "varchar"])
                for number, name, *_ in rows:
                    await copy.write_row((number, name))
            assert cursor.statusmessage == "COPY 2"
            async with cursor.copy("COPY t TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4", "varchar", "numeric", "date"])
                assert [row async for row in copy.rows()] == rows
            async with cursor.copy("COPY (SELECT 1 WHERE false) TO STDOUT BINARY") as copy:
                assert b"".join([bytes(piece) async for piece in copy]) == HEADER + TRAILER
            with pytest.raises(psycopg.errors.UniqueViolation) as caught:
                async with cursor.copy("COPY t (id, name) FROM STDIN (FORMAT binary)") as copy:
                    await copy.write(HEADER + record([b"\0\0\0\2", b"again"]) + TRAILER)
            assert caught.value.diag.context == "COPY t, line 1"
            with pytest.raises(psycopg.errors.InvalidBinaryRepresentation) as wrong:
                async with cursor.copy("COPY t (id) FROM STDIN (FORMAT binary)") as copy:
                    await copy.write(HEADER + record([b"\0\0\2"]) + TRAILER)
            assert wrong.value.diag.context == "COPY t, line 1, column id"
            await connection.close()

    uvloop.run(body())
