"""The write buffer against a twin that copies everything."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dormouse.base import blocks
from sqlnode.kv.buffer import Missing, WriteBuffer, Writes

_KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
_VALUES = st.none() | st.binary(max_size=3)


class BufferMachine(RuleBasedStateMachine):
    """`_seen` and `_all` are what reads and locks must find; levels are whole copies of it.

    `_remote` is what a storage that has applied all staged pieces and the rest would hold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.buffer = WriteBuffer()
        self._seen: Writes = {}
        self._all: Writes = {}
        self._levels: list[Writes] = []
        self._remote: Writes = {}

    @rule(key=_KEYS, value=_VALUES)
    def put(self, key: bytes, value: bytes | None) -> None:
        self.buffer.put(key, value)
        self._all[key] = value

    @rule(values=st.dictionaries(_KEYS, st.binary(max_size=4)))
    def put_all(self, values: dict[bytes, bytes]) -> None:
        self.buffer.put_all(list(values), list(values.values()))
        self._all.update(values)

    @rule(keys=st.lists(_KEYS, max_size=3))
    def are_new(self, keys: list[bytes]) -> None:
        if self.buffer.are_new(keys):
            assert len(set(keys)) == len(keys)
            assert all(isinstance(self.buffer.newest(key), Missing) for key in keys)

    @rule()
    def next_statement(self) -> None:
        self.buffer.next_statement()
        self._seen = dict(self._all)

    @rule()
    def stage(self) -> None:
        for piece in self.buffer.take_pieces(40):
            values = blocks.unpack(piece.packed_values)
            assert piece.keys == blocks.unpack_present(piece.packed_keys) == sorted(piece.keys)
            self._remote.update(zip(piece.keys, values, strict=True))

    @rule()
    def savepoint(self) -> None:
        assert self.buffer.savepoint() == len(self._levels)
        self._seen = dict(self._all)
        self._levels.append(dict(self._all))

    @precondition(lambda self: self._levels)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        level = data.draw(st.integers(0, len(self._levels) - 1))
        self.buffer.release(level)
        self._seen = dict(self._all)
        del self._levels[level:]

    @precondition(lambda self: self._levels)
    @rule(data=st.data())
    def rollback_to(self, data: st.DataObject) -> None:
        level = data.draw(st.integers(0, len(self._levels) - 1))
        for key in self.buffer.rollback_to(level):
            # The committed value of every key is "none" here.
            self.buffer.put_back(key, None)
            self._levels[level].setdefault(key, None)
        del self._levels[level + 1 :]
        self._all = dict(self._levels[level])
        self._seen = dict(self._all)

    @invariant()
    def reads_agree(self) -> None:
        for key in (b"a", b"b", b"c", b"d", b"e"):
            for found, wanted in (
                (self.buffer.visible(key), self._seen),
                (self.buffer.newest(key), self._all),
            ):
                value = None if isinstance(found, Missing) else found
                assert value == wanted.get(key)
        ranged = {k: v for k, v in self.buffer.visible_range(b"b", b"e").items() if v is not None}
        assert ranged == {k: v for k, v in self._seen.items() if b"b" <= k < b"e" and v is not None}

    @invariant()
    def the_commit_would_write_the_same(self) -> None:
        rest = {**self._remote, **self.buffer.take_rest()}
        assert {k: v for k, v in rest.items() if v is not None} == {
            k: v for k, v in self._all.items() if v is not None
        }

    def teardown(self) -> None:
        self.buffer.close()


BufferMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestBuffer = pytest.mark.filterwarnings("ignore::ResourceWarning")(BufferMachine.TestCase)
