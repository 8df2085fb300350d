"""Who is served when: the queues alone, on a clock that only moves where work is done."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage.admission import (
    SHORT_SLICE_SECONDS,
    SLICE_SECONDS,
    TOGETHER_SECONDS,
    WRITE_BYTES_MIN,
)
from storage.shares import (
    CREDIT_SECONDS,
    HEAD_START_SECONDS,
    PART,
    PAUSE_SECONDS_MAX,
    WINDOW_SECONDS,
    Share,
    Work,
)
from tests.storage.node import Node
from tests.support.kv import KvClient, storage_running


def test_alone_everything_is_handled_at_once_and_in_order() -> None:
    async def body() -> None:
        node = Node()
        node.ask("a", 1000)
        assert node.handled == [("a", n) for n in range(1000)]
        node.now += TOGETHER_SECONDS
        node.ask("b", 3)
        assert node.handled[-3:] == [("b", 0), ("b", 1), ("b", 2)]

    uvloop.run(body())


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("noisy", 1000)
        for _ in range(20):
            before = len(node.handled)
            node.ask("quiet", 1)
            await node.settle("quiet")
            # One slice that had begun, and nothing more.
            assert node.handled[before:].index(node.handled[-1]) <= 6
        await node.settle()
        assert Counter(name for name, _ in node.handled) == {"noisy": 1000, "quiet": 21}

    uvloop.run(body())


def test_who_asks_for_little_is_next_also_after_a_slow_write_of_its_own() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("noisy", 100_000)
        await node.run(3 * TOGETHER_SECONDS)
        quiet = node.shares["quiet"]
        for _ in range(20):
            node.ask("quiet", 1)
            await node.settle("quiet")
            node.admission.applied([(quiet, 1)], HEAD_START_SECONDS / 4)
            await node.run(0.001)
            before = len(node.handled)
            node.ask("quiet", 1)
            assert [name for name, _ in node.handled[before:]] == ["quiet"]
            await node.run(0.05)

    uvloop.run(body())


def test_what_somebody_modest_is_in_the_middle_of_comes_before_the_next_slice() -> None:
    async def body() -> None:
        node = Node()
        noisy_before: list[int] = []

        def hop(left: int) -> None:
            """As a frame that is read, handled and answered."""
            if left:
                asyncio.get_running_loop().call_soon(hop, left - 1)
            else:
                noisy_before.append(len(node.handled))

        node.ask("quiet", 1)
        node.ask("noisy", 1000)
        for _ in range(10):
            await node.run(SLICE_SECONDS)
            node.ask("quiet", 1)
            answered = len(node.handled)
            hop(2)
            while not noisy_before:
                await node.turn()
            assert noisy_before.pop() == answered

    uvloop.run(body())


def test_a_request_in_pieces_lets_others_in_between_and_its_own_tenants_wait() -> None:
    async def body() -> None:
        node = Node()
        done: list[str] = []
        share = node.shares.setdefault("large", Share())

        def piece(request: kv.Request) -> None:
            node.now += SLICE_SECONDS / 5
            done.append(f"piece {request.id}")
            if request.id < 40:
                node.admission.go_on(share, piece, kv.Request(id=request.id + 1))

        def behind(_: kv.Request) -> None:
            done.append("behind")

        node.ask("quiet", 1)
        node.admission.admit(share, piece, [kv.Request(id=1)])
        node.admission.admit(share, behind, [kv.Request(id=1)])
        await node.turn()
        assert done[-1].startswith("piece")
        node.ask("quiet", 1)
        await node.settle("quiet")
        assert done[-1].startswith("piece")
        assert node.handled[-1] == ("quiet", 1)
        await node.settle()
        assert done == [f"piece {n}" for n in range(1, 41)] + ["behind"]

    uvloop.run(body())


def test_equals_are_served_equally_and_nobody_saves_up() -> None:
    async def body() -> None:
        node = Node()
        node.ask("early", 1)
        node.ask("a", 18_000)
        node.ask("b", 18_000)
        await node.until(2001)
        counts = Counter(name for name, _ in node.handled)
        assert abs(counts["a"] - counts["b"]) <= 10
        # Who did nothing meanwhile gets its part from now on, and not what it left to the others,
        # but for its credit.
        node.ask("early", 18_000)
        credit, head_start = (
            each / (SLICE_SECONDS / 5) for each in (CREDIT_SECONDS, HEAD_START_SECONDS)
        )
        for ahead in (credit + head_start, head_start):
            seen = len(node.handled)
            await node.until(seen + 24_000)
            counts = Counter(name for name, _ in node.handled[seen:])
            assert max(counts.values()) - min(counts.values()) <= ahead
        await node.settle()

    uvloop.run(body())


def test_nobody_is_punished_for_what_it_did_alone_or_long_ago() -> None:
    async def body() -> None:
        node = Node()
        alone = node.shares["alone"] = Share()

        async def work() -> None:
            node.now += 1.0

        for _ in range(100):
            await node.admission.read(alone, work)
        assert alone.served == 0
        # Much was read while others were about: what is owed for that is bounded.
        node.ask("other", 1)
        node.ask("alone", 1)
        await node.settle()
        alone.served += 100
        node.ask("other", 4000)
        node.ask("alone", 1)
        await node.settle("alone")
        assert Counter(name for name, _ in node.handled)["other"] < 1200
        await node.settle()

    uvloop.run(body())


def test_beside_another_a_tenant_has_its_part_and_the_other_hardly_waits() -> None:
    async def body() -> None:
        node = Node()
        cost = SLICE_SECONDS / 5
        node.ask_often("quiet", every=0.007)
        node.ask("noisy", 100_000, seconds=cost)
        await node.run(3 * TOGETHER_SECONDS)  # its credit is used up
        seen, began = len(node.handled), node.now
        node.waits.clear()
        await node.run(2.0)
        part = node.part_of("noisy", seen, began, seconds=cost)
        assert PART * 0.9 < part < PART * 1.05
        assert len(node.waits) > 200
        # Most of the time nobody is served, else it waits for what is left of a slice.
        assert max(node.waits) <= SHORT_SLICE_SECONDS + cost
        assert sum(1 for wait in node.waits if wait == 0) > len(node.waits) * 0.5

    uvloop.run(body())


def test_alone_again_a_tenant_has_all_of_the_time() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("noisy", 100_000)
        await node.run(TOGETHER_SECONDS * 1.5)
        seen, began = len(node.handled), node.now
        await node.run(1.0)
        assert node.part_of("noisy", seen, began, seconds=SLICE_SECONDS / 5) > 0.99

    uvloop.run(body())


def test_those_that_ask_for_all_they_can_get_leave_nothing_over() -> None:
    async def body() -> None:
        node = Node()
        cost = SLICE_SECONDS / 5

        async def parts() -> list[float]:
            await node.run(3 * TOGETHER_SECONDS)
            seen, began = len(node.handled), node.now
            await node.run(1.0)
            return [node.part_of(name, seen, began, seconds=cost) for name in "ab"]

        for name in ("quiet", "a", "b"):
            node.ask(name, 1 if name == "quiet" else 200_000)
        assert await parts() == pytest.approx([0.5, 0.5], abs=0.01)
        # Beside who asks for little each of them has its part, and there is something over.
        node.ask_often("quiet", every=0.01)
        assert await parts() == pytest.approx([PART, PART], rel=0.1)
        node.left.add("quiet")
        assert await parts() == pytest.approx([0.5, 0.5], abs=0.01)

    uvloop.run(body())


def test_many_that_ask_for_all_they_can_get_fill_a_node_beside_one_that_does_not() -> None:
    async def body() -> None:
        node = Node()
        node.ask_often("quiet", every=0.01)
        for name in "abcd":
            node.ask(name, 100_000)
        await node.run(3 * TOGETHER_SECONDS)
        seen, began = len(node.handled), node.now
        await node.run(1.0)
        parts = [node.part_of(name, seen, began, seconds=SLICE_SECONDS / 5) for name in "abcd"]
        assert parts == pytest.approx([0.25] * 4, abs=0.01)

    uvloop.run(body())


def test_nobody_is_held_back_for_long_or_for_one_slow_write() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("other", 1)
        await node.settle()
        quiet, other = node.shares["quiet"], node.shares["other"]
        # Time of the disk goes by bytes.
        node.now += CREDIT_SECONDS
        node.admission.applied([(quiet, 1000), (other, 99_000), (None, 7)], CREDIT_SECONDS)
        assert other.served > quiet.served * 50
        node.ask("quiet", 1)
        assert not quiet.queue
        # Whatever one has had, it waits no longer than that.
        node.admission.applied([(other, 99_000)], 1000.0)
        node.ask("other", 1)
        began = node.now
        await node.settle("other")
        assert node.now - began <= PAUSE_SECONDS_MAX + SLICE_SECONDS

    uvloop.run(body())


def test_beside_another_a_tenant_leaves_a_reading_thread_free() -> None:
    async def body() -> None:
        node = Node(readers=3)
        node.ask("quiet", 1)
        node.ask("noisy", 1)
        noisy, quiet = node.shares["noisy"], node.shares["quiet"]
        gate = asyncio.Event()
        reads = [spawn(node.admission.read(noisy, gate.wait), name="read") for _ in range(9)]
        await asyncio.sleep(0)
        assert (noisy.reading, len(noisy.reads)) == (2, 7)

        async def at_once() -> bool:
            return True

        assert await node.admission.read(quiet, at_once)
        node.now += TOGETHER_SECONDS
        reads += [spawn(node.admission.read(noisy, gate.wait), name="read") for _ in range(9)]
        await asyncio.sleep(0)
        assert noisy.reading == 6
        gate.set()
        await asyncio.gather(*reads)

    uvloop.run(body())


def test_what_the_loop_works_beside_slices_is_charged_with_them() -> None:
    worked = 0.0
    work = Work(lambda: worked)
    now, cost = 100.0, 0.0
    for _ in range(1000):
        now += WINDOW_SECONDS / 10
        worked += WINDOW_SECONDS / 20
        cost = work.cost(WINDOW_SECONDS / 100, now)
    assert cost == pytest.approx(WINDOW_SECONDS / 20)
    for _ in range(1000):  # reading threads work, and the loop does not
        now += WINDOW_SECONDS / 10
        cost = work.cost(WINDOW_SECONDS / 20, now)
    assert cost == pytest.approx(WINDOW_SECONDS / 20)
    now += 1000.0
    worked += 999.0  # while it was alone
    work.cost(WINDOW_SECONDS / 20, now)
    assert work.cost(WINDOW_SECONDS / 20, now) == pytest.approx(WINDOW_SECONDS / 20)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_request_is_handled_once_and_a_tenants_in_order(
    frames: list[tuple[str, int]],
) -> None:
    async def body() -> None:
        node = Node()
        asked: Counter[str] = Counter()
        for tenant, count in frames:
            node.ask(tenant, count)
            asked[tenant] += count
            if random.random() < 0.5:
                await asyncio.sleep(0)
        await node.settle()
        for tenant, count in asked.items():
            assert [n for name, n in node.handled if name == tenant] == list(range(count))

    asyncio.run(body())


def test_who_fills_the_way_to_the_disk_is_passed_over_until_it_is_written() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("noisy", 1)
        await node.settle()
        noisy, quiet = node.shares["noisy"], node.shares["quiet"]
        size = node.admission.write_bytes_max
        assert size >= WRITE_BYTES_MIN
        node.admission.queued(noisy, size)
        node.ask("noisy", 5)
        node.ask("quiet", 5)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(noisy.queue), len(quiet.queue)) == (5, 0)
        node.admission.written(noisy, size)
        await node.settle()
        # Alone the bound is a whole group.
        node.now += TOGETHER_SECONDS
        node.admission.queued(noisy, size)
        node.ask("noisy", 5)
        assert not noisy.queue

    uvloop.run(body())


def test_who_filled_the_log_waits_while_it_is_copied_and_pays_for_it() -> None:
    async def body() -> None:
        node = Node()
        node.ask("quiet", 1)
        node.ask("noisy", 1)
        await node.settle()
        noisy, quiet, admission = node.shares["noisy"], node.shares["quiet"], node.admission
        size = admission.write_bytes_max
        admission.copying()
        admission.copied(0.001)
        parts = [(noisy, size), (quiet, size // 100), (None, size)]
        admission.applied(parts, 0.00201)
        admission.copying()
        node.ask("noisy", 5)
        node.ask("quiet", 5)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(noisy.queue), len(quiet.queue)) == (5, 0)
        before = noisy.served
        admission.copied(CREDIT_SECONDS)
        assert noisy.served - before == pytest.approx(CREDIT_SECONDS / 2.01, rel=0.01)
        await node.settle()
        # Nobody waits for long: what is copied may be as large as the log.
        admission.applied(parts, 0.00201)
        admission.copying()
        node.ask("noisy", 5)
        began = node.now
        await node.settle()
        assert node.now - began == pytest.approx(PAUSE_SECONDS_MAX, rel=0.1)
        admission.copied(0.0)
        # What was copied once is not copied again.
        admission.copying()
        node.ask("noisy", 5)
        await node.settle()
        admission.copied(0.0)
        # Alone nobody waits or pays for it, nor later for what it wrote alone.
        admission.applied(parts, 0.00201)
        node.now += TOGETHER_SECONDS
        admission.copying()
        node.ask("noisy", 5)
        assert not noisy.queue
        admission.applied(parts, 0.00201)
        before = noisy.served
        admission.copied(1.0)
        assert noisy.served == before
        node.ask("quiet", 1)
        admission.copying()
        node.ask("noisy", 5)
        await node.settle()
        before = noisy.served
        admission.copied(1.0)
        assert noisy.served == before

    uvloop.run(body())


def test_of_an_engine_that_copies_nothing_nothing_is_noted() -> None:
    node, share, other = Node(), Share(), Share()

    def ignore(_request: kv.Request) -> None:
        """Nothing is counted."""

    for asking in (other, share):
        node.admission.admit(asking, ignore, [])
    held = sys.getrefcount(share)
    node.admission.applied([(share, 1000)], 0.001)
    assert sys.getrefcount(share) == held
    # Nor of one that does, for longer than until it has.
    for _ in range(2):
        node.admission.copying()
        node.admission.applied([(share, 1000)], 0.001)
        node.admission.copied(1.0)
    node.admission.copying()
    node.admission.copied(1.0)
    assert sys.getrefcount(share) == held


def test_the_way_to_the_disk_is_as_long_as_what_the_disk_does_in_time() -> None:
    node = Node()
    for _ in range(50):
        node.admission.applied([(None, 1 << 20)], 1.0)
    assert node.admission.write_bytes_max == WRITE_BYTES_MIN
    for _ in range(50):
        node.admission.applied([(None, 8 << 20)], 0.0005)
    assert node.admission.write_bytes_max == 8 << 20
    node.admission.applied(
        [(None, 10)], 5.0
    )  # a small group tells of the disk's latency, not of its rate
    assert node.admission.write_bytes_max == 8 << 20


def test_reads_of_the_engine_take_turns() -> None:
    async def body() -> None:
        node = Node()
        noisy, quiet = Share(), Share()
        order: list[str] = []
        most = running = 0

        async def read(name: str, share: Share) -> None:
            async def work() -> None:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                node.now += 0.01
                running -= 1

            await node.admission.read(share, work)
            order.append(name)

        reads = [spawn(read("noisy", noisy), name="read") for _ in range(40)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reads.append(spawn(read("quiet", quiet), name="read"))
        given_up = [spawn(read("noisy", noisy), name="read") for _ in range(5)]
        await asyncio.sleep(0)
        for each in given_up:
            each.cancel()
        await asyncio.gather(*reads)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.gather(*given_up)
        assert most == 2
        assert order.index("quiet") <= 6
        assert repr(node.admission) == "<Admission 0 tenants wait, 0 reads>"

    uvloop.run(body())


def test_a_read_that_fails_makes_way() -> None:
    async def body() -> None:
        node = Node()
        share = Share()

        async def fail() -> None:
            await asyncio.sleep(0)
            raise OSError

        results = await asyncio.gather(
            *[node.admission.read(share, fail) for _ in range(9)], return_exceptions=True
        )
        assert all(isinstance(result, OSError) for result in results)

        async def read() -> str:
            return "fine"

        assert await node.admission.read(share, read) == "fine"

    uvloop.run(body())


def test_two_tenants_that_ask_at_once_get_all_their_answers(tmp_path: Path) -> None:
    async def ask(client: KvClient, count: int) -> None:
        rows = {b"%04d" % n: b"%d" % (n * client.tenant) for n in range(count)}
        await client.put(rows)
        gets = asyncio.gather(*[client.get(key) for key in rows])
        puts = asyncio.gather(*[client.put({b"x" + key: b"y" * 2000}) for key in rows])
        scan = await client.scan(b"0", b"a", rows=50)
        assert scan == sorted(rows.items())
        assert await gets == [[value] for value in rows.values()]
        await puts
        assert len(await client.scan(b"x", b"y")) == count

    async def body() -> None:
        async with (
            storage_running(tmp_path) as storage,
            storage.session(TenantId(3)) as one,
            storage.session(TenantId(4)) as other,
        ):
            await asyncio.gather(ask(one, 400), ask(other, 60))

    uvloop.run(body())


def test_a_get_of_many_keys_beside_another_tenant_is_as_it_is_alone(tmp_path: Path) -> None:
    rows = {b"%04d" % n: b"%d" % n for n in range(0, 1000, 2)}
    keys = [b"%04d" % n for n in range(1000)]

    async def body() -> None:
        async with (
            storage_running(tmp_path) as storage,
            storage.session(TenantId(3)) as one,
            storage.session(TenantId(4)) as other,
        ):
            await one.put(rows)
            before = (await one.send(get=kv.Get(keys=one.keys([b""])))).snapshot
            old = [rows.get(key) for key in keys]
            await one.put({b"0500": b"new", b"0501": b"new", b"0502": None})
            new = [*old[:500], b"new", b"new", None, *old[503:]]
            for number in range(8):
                await other.put({b"k": b"v"})
                all_new, all_old, theirs, *_ = await asyncio.gather(
                    one.get(*keys),
                    one.get(*keys, snapshot=before),  # of what memory does not have
                    other.get(b"k"),
                    one.put({b"a%d" % number: b"v"}),
                    other.put({b"k": b"v"}),
                )
                assert (all_new, all_old, theirs) == (new, old, [b"v"])

    uvloop.run(body())
