"""The validator against a dumb twin that remembers every commit for ever."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from proto import kv_pb2 as kv
from storage.validator import Range, Validator
from tests.support.kv import KvClient, KvError, storage_running

KEYS = [b"%02d" % n for n in range(30)]


@dataclass
class Twin:
    commits: list[tuple[int, set[bytes], list[Range]]] = field(default_factory=list)

    def conflicts(self, snapshot: int, keys: list[bytes], ranges: list[Range]) -> bool:
        for time, written, removed in self.commits:
            if time <= snapshot:
                continue
            read = {*keys, *(key for low, high in ranges for key in written if low <= key < high)}
            if read & written:
                return True
            if any(low <= key < high for key in keys for low, high in removed):
                return True
            if any(a < d and c < b for a, b in ranges for c, d in removed):
                return True
        return False


def some_range(rng: random.Random) -> Range:
    low, high = sorted(rng.sample(KEYS, 2))
    return low, high


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_agrees_with_the_dumb_twin(seed: int) -> None:
    rng = random.Random(seed)
    validator, twin = Validator(), Twin()
    readers: dict[int, int] = {}
    clock = 100
    for number in range(120):
        match rng.randrange(5):
            case 0:
                # Some commits are on their way when it begins: later than its snapshot.
                pending = [rng.sample(KEYS, 2) for _ in range(rng.randrange(3))]
                snapshot = clock
                for keys in pending:
                    clock += 1
                    twin.commits.append((clock, set(keys), []))
                if not readers:  # nobody has told the validator of these before
                    validator.begin(number, snapshot, pending, clock)
                else:
                    for time, written, _ in twin.commits[-len(pending) :] if pending else []:
                        validator.wrote(time, written)
                    validator.begin(number, snapshot, [], clock)
                readers[number] = snapshot
            case 1 if readers:
                reader = rng.choice(list(readers))
                keys = rng.sample(KEYS, rng.randrange(3))
                ranges = [some_range(rng) for _ in range(rng.randrange(2))]
                found = validator.conflict(reader, keys, ranges)
                assert (found is not None) == twin.conflicts(readers[reader], keys, ranges)
            case 2 if readers:
                snapshot = rng.choice(list(readers.values()))
                assert validator.join(number, snapshot)
                assert not validator.join(-1, snapshot - 1000)
                readers[number] = snapshot
            case 3 if readers:
                reader = rng.choice(list(readers))
                del readers[reader]
                validator.end(reader)
            case _:
                clock += 1
                written = set(rng.sample(KEYS, rng.randrange(1, 4)))
                removed = [some_range(rng)] if rng.random() < 0.1 else []
                twin.commits.append((clock, written, removed))
                validator.wrote(clock, written, removed)
    for reader in readers:
        validator.end(reader)
    assert repr(validator) == "<Validator 0 readers, 0 keys>"


def test_who_is_given_up_is_refused_and_never_guessed_at() -> None:
    validator = Validator(keys_max=100)
    validator.begin("old", 1, [], 1)
    validator.wrote(2, [b"%03d" % n for n in range(60)])
    validator.begin("young", 2, [], 2)
    validator.wrote(3, [b"%03d" % n for n in range(50, 110)])
    with pytest.raises(LookupError):
        validator.conflict("old", [b"none"], [])
    assert validator.conflict("young", [b"000"], []) is None
    assert validator.conflict("young", [b"105"], []) == b"105"
    validator.wrote(4, [b"x%03d" % n for n in range(90)])
    with pytest.raises(LookupError):
        validator.conflict("young", [], [])
    assert not validator.watches


class _NotToBeWalked(list[bytes]):
    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("walked")


def test_more_keys_than_can_be_remembered_are_not_walked() -> None:
    validator = Validator(keys_max=100)
    for reader, snapshot in (("old", 10), ("young", 20)):
        validator.begin(reader, snapshot, [], snapshot)
    validator.wrote(30, _NotToBeWalked([b"k"] * 101))
    for reader in ("old", "young"):
        with pytest.raises(LookupError):
            validator.conflict(reader, [], [])
    validator.begin("new", 30, [_NotToBeWalked([b"k"] * 101)], 40)
    with pytest.raises(LookupError):
        validator.conflict("new", [], [])
    assert repr(validator) == "<Validator 0 readers, 0 keys>"


def test_old_writes_are_forgotten_as_readers_end() -> None:
    validator = Validator()
    validator.begin("first", 0, [], 0)
    for time in range(1, 3000):
        validator.wrote(time, [b"%06d" % time])
        if time == 2900:
            validator.begin("second", time, [], time)
    validator.end("first")
    assert repr(validator) == "<Validator 1 readers, 99 keys>"
    assert validator.conflict("second", [b"002950"], []) == b"002950"
    assert validator.conflict("second", [b"002900"], [(b"0", b"002901")]) is None


def reads(client: KvClient, *keys: bytes, ranges: list[Range] | None = None) -> kv.Reads:
    spans = [
        kv.Range(start=client.prefix + low, end=client.prefix + high) for low, high in ranges or []
    ]
    return kv.Reads(keys=client.keys(keys), ranges=spans)


def test_commits_are_validated_over_the_wire(tmp_path: Path) -> None:
    async def begin(client: KvClient, *keys: bytes) -> int:
        txn = client.txn()
        await client.send(txn=txn, get=kv.Get(keys=client.keys(keys), pin=True, validated=True))
        return txn

    async def body() -> None:
        async with (
            storage_running(tmp_path) as storage,
            storage.session(TenantId(5)) as one,
            storage.session(TenantId(5)) as other,
        ):
            await one.put({b"a": b"1", b"b": b"1", b"c": b"1"})
            first, second = await begin(one, b"a", b"b"), await begin(other, b"a", b"b")
            await one.commit(first, {b"a": b"2"}, reads=reads(one, b"a", b"b"))
            with pytest.raises(KvError, match="READ_CONFLICT"):
                await other.commit(second, {b"b": b"2"}, reads=reads(other, b"a", b"b"))
            await other.end(second)
            # A range, a staged commit, a removal; and what was not read is no conflict.
            third, fourth = await begin(other), await begin(other)
            txn = one.txn()
            await one.stage(txn, {b"m": b"1"})
            await one.commit(txn, {b"b": None})
            span = reads(other, ranges=[(b"l", b"n")])
            with pytest.raises(KvError, match="READ_CONFLICT"):
                await other.commit(third, {b"z": b"1"}, reads=span)
            await other.end(third)
            await other.commit(fourth, {b"z": b"1"}, reads=reads(other, ranges=[(b"n", b"z")]))
            # A commit that says what it read without having begun so is not believed.
            with pytest.raises(KvError, match="READ_CONFLICT"):
                await one.commit(one.txn(), {b"q": b"1"}, reads=reads(one, b"q"))
            strange = kv.Reads(ranges=[kv.Range(start=b"a", end=b"b")])
            with pytest.raises(KvError, match="OUTSIDE_TENANT"):
                await one.commit(one.txn(), {b"q": b"1"}, reads=strange)

    uvloop.run(body())


def test_commits_on_their_way_count(tmp_path: Path) -> None:
    """Write skew, at full speed: of two that read both and write one each, one is refused."""

    async def pair(one: KvClient, other: KvClient, number: int) -> None:
        keys = [b"%d-left" % number, b"%d-right" % number]

        async def look(client: KvClient) -> tuple[int, int]:
            txn = client.txn()
            get = kv.Get(keys=client.keys(keys), pin=True, validated=True)
            return txn, (await client.send(txn=txn, get=get)).snapshot

        async def write(client: KvClient, key: bytes, txn: int, snapshot: int) -> bool:
            try:
                await client.commit(
                    txn, {key: b"taken"}, snapshot=snapshot, reads=reads(client, *keys)
                )
            except KvError as error:
                if error.name != "READ_CONFLICT":
                    raise
                await client.end(txn)
                return False
            return True

        # Both have looked before either writes, or one may see the other's.
        left, right = await asyncio.gather(look(one), look(other))
        done = await asyncio.gather(write(one, keys[0], *left), write(other, keys[1], *right))
        values = await one.get(*keys)
        assert [value is not None for value in values] == list(done)
        assert sum(done) == 1, "write skew"

    async def body() -> None:
        async with (
            storage_running(tmp_path) as storage,
            storage.session(TenantId(5)) as one,
            storage.session(TenantId(5)) as other,
        ):
            for number in range(150):
                await pair(one, other, number)

    uvloop.run(body())
