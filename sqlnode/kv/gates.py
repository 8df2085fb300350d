"""Gates in front of commits: how building an index keeps rows from slipping past it.

An index is filled from one snapshot. A row committed by another session after that snapshot and
before the index is public would be missing from it. So the builder closes the gate of the table:
commits that wrote to the table wait, those on their way are waited for, and only then is the
snapshot taken. When the builder ends, the commits go on, and their guard tells them whether the
table still has the shape they wrote.

A gate is a prefix of guard keys, so that it holds for every shape of its table.

Gates hold inside one pod. Between pods it is the guard alone: a commit of another pod that falls
between snapshot and publication is not in the index.
"""

import asyncio
from collections.abc import Collection


class Gates:
    """Closed gates (prefixes of guard keys) and commits on their way, by guard key."""

    def __init__(self) -> None:
        self._closed: dict[bytes, tuple[object, asyncio.Future[None]]] = {}
        self._passing: dict[bytes, int] = {}
        self._left: list[asyncio.Future[None]] = []

    async def enter(self, keys: Collection[bytes], owner: object) -> None:
        """Wait until no other owner holds a gate of `keys`, then begin to pass."""
        while self._closed:
            closed = [
                future
                for gate, (holder, future) in self._closed.items()
                if holder is not owner and any(key.startswith(gate) for key in keys)
            ]
            if not closed:
                break
            await asyncio.wait(closed)
        for key in keys:
            self._passing[key] = self._passing.get(key, 0) + 1

    def leave(self, keys: Collection[bytes]) -> None:
        """The commit that entered has its answer."""
        for key in keys:
            self._passing[key] -= 1
            if not self._passing[key]:
                del self._passing[key]
        waiting, self._left = self._left, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def close(self, gate: bytes, owner: object) -> None:
        """Close a gate and wait until nobody is passing it."""
        held = self._closed.get(gate)
        while held is not None and held[0] is not owner:
            await asyncio.wait([held[1]])
            held = self._closed.get(gate)
        loop = asyncio.get_running_loop()
        if held is None:
            self._closed[gate] = (owner, loop.create_future())
        while any(key.startswith(gate) for key in self._passing):
            left: asyncio.Future[None] = loop.create_future()
            self._left.append(left)
            await left

    def open_all(self, owner: object) -> None:
        """Open the gates of an owner that has ended."""
        for gate in [gate for gate, (holder, _) in self._closed.items() if holder is owner]:
            _owner, future = self._closed.pop(gate)
            if not future.done():
                future.set_result(None)
