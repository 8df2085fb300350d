"""Text travels in the client's encoding, in both formats and both ways."""

from pathlib import Path

import psycopg
import pytest
import uvloop

from tests.support.pod import pod_running


@pytest.mark.parametrize("binary", [False, True])
def test_latin1_there_and_back(tmp_path: Path, binary: bool) -> None:
    async def body() -> None:
        async with pod_running(tmp_path) as pod:
            connection = await psycopg.AsyncConnection.connect(
                pod.dsn, autocommit=True, client_encoding="latin1"
            )
            cursor = connection.cursor(binary=binary)
            form = "%b" if binary else "%t"
            await cursor.execute(f"SELECT {form}::text, length({form}::text), 7", ["naïve é", "ï"])
            assert await cursor.fetchone() == ("naïve é", 1, 7)
            result = cursor.pgresult
            assert result is not None
            assert result.get_value(0, 0) == "naïve é".encode("latin1")
            with pytest.raises(psycopg.errors.UntranslatableCharacter):
                await cursor.execute("SELECT chr(9731)")
            await connection.close()

    uvloop.run(body())
