"""What a recall waits for: streams that answer, are gone or are cut, and orphaned commits."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage import wanted
from storage.wanted import Changes, WantedTables


class FakeStream:
    """Keeps what it is told; a cut ends it."""

    def __init__(self, tables: WantedTables) -> None:
        self.tables = tables
        self.words: list[tuple[int, int, int]] = []
        self.told_first = tables.join(self)

    def tell_table(self, word: kv.TableWord) -> None:
        self.words.append((word.table, word.recall, word.changed))

    def cut(self, reason: str) -> None:
        assert reason
        asyncio.get_running_loop().call_soon(self.tables.left, self)


def _running(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(body), 20))


async def _awaited(body: Callable[[], Awaitable[None]]) -> None:
    await body()


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_it_waits_for_every_stream_that_was_there() -> None:
    async def body() -> None:
        tables = WantedTables(list)
        one, two = FakeStream(tables), FakeStream(tables)
        wanting = spawn(tables.want(7, "A"), name="A")
        second = spawn(tables.want(7, "B"), name="B")
        await _turns()
        late = FakeStream(tables)
        assert (one.words, two.words, late.words) == ([(7, 1, 0)], [(7, 1, 0)], [])
        assert late.told_first == [7]
        tables.answered(one, 1)
        await _turns()
        assert not wanting.done()
        tables.left(two)
        await asyncio.gather(wanting, second)
        tables.done(7, "A", changed=5)
        assert one.words == [(7, 1, 0)]
        tables.done(7, "B")
        tables.done(7, "B")
        assert one.words[1:] == late.words == [(7, 0, 5)]
        assert (tables.changes.of(7), tables.changes.of(8)) == (5, 0)

    _running(body)


def test_commits_whose_streams_are_gone_are_waited_for() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        outcomes: list[asyncio.Future[int]] = [loop.create_future(), loop.create_future()]
        tables = WantedTables(lambda: [*outcomes])
        wanting = spawn(tables.want(7, "A"), name="A")
        await _turns()
        outcomes[0].set_result(3)
        await _turns()
        assert not wanting.done()
        outcomes[1].set_result(0)
        await wanting

    _running(body)


def test_a_stream_that_is_silent_is_cut_and_not_waited_for_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wanted, "ANSWER_SECONDS", 0.02)

    async def body() -> None:
        tables = WantedTables(list)
        silent, quick = FakeStream(tables), FakeStream(tables)
        given_up = spawn(tables.want(7, "A"), name="A")
        await _turns()
        given_up.cancel()
        tables.done(7, "A")
        wanting = spawn(tables.want(8, "B"), name="B")
        await _turns()
        tables.answered(quick, 2)
        await wanting
        assert silent.words == [(7, 1, 0), (7, 0, 0), (8, 2, 0)]
        assert repr(tables) == "<WantedTables [8], recall 2>"

    _running(body)


def test_changes_are_forgotten_in_favour_of_what_is_surely_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wanted, "CHANGED_MAX", 2)
    changes = Changes()
    changes.begin(3)
    for version, table in ((4, 1), (5, 2), (6, 1), (7, 3)):
        changes.note(table, version)
    assert [changes.of(table) for table in (1, 2, 3, 9)] == [6, 5, 7, 5]
