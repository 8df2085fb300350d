"""The byte store under the KV service: ordered keys, atomic durable batches, nothing else.

Who owns what: one storage process owns an engine's data exclusively. Opening it a second time
either raises `EngineInUse` before a byte is touched, or takes it over, and then nothing that
the first one writes from there on is ever there. The engine owns no meaning: versions, tenants and
locks are encoded in keys and values by the layers above.

Durable when: `apply` returns after the whole batch is on stable storage. If it raises, or the
process dies before it returns, the batch is there as a whole or not at all. After a raise the
caller must treat the batch as not applied, for the engine has rolled it back; only after
`EngineLost` it stays open.

Ordering: keys sort as bytes and are not empty. Batches become visible in the order in which `apply`
was called; calls may overlap. A read that starts after an `apply` returned sees that batch. The
ranges of one `scan` call are read one after the other in the order given, each at a state not older
than the one before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

Write = tuple[bytes, bytes | None]
"""A key and its new value; None removes the key. The last write of a key in a batch wins."""

Row = tuple[bytes, bytes]


class EngineError(Exception):
    """The engine could not do what was asked: the disk failed, the engine is closed."""

    kind = "io"
    """What it is, in a word: a label of the metrics."""


class EngineFull(EngineError):
    """There is no room for the batch. Reads go on, and so do writes once there is room."""

    kind = "full"


class EngineDamaged(EngineError):
    """What was read is not what was written, or cannot be read any more. Other rows may be well."""

    kind = "damaged"


class EngineLost(EngineError):
    """Whether the last writes are there cannot be told, or another process has taken the data over.

    Nobody may be told that they failed. Whoever owns the engine ends, as after a crash.
    """

    kind = "lost"


class EngineInUse(EngineError):
    """Another process owns the data."""


@dataclass(frozen=True, slots=True)
class ScanRange:
    """One range to scan, `start` inclusive, `end` exclusive.

    At most `rows_max` rows are answered, and soon after `bytes_max` bytes of keys and values none
    any more; at least one row is, where there is one. With `keys_only` values come as empty, and
    damage to them is nobody's concern: for whoever removes what is there.
    """

    start: bytes
    end: bytes
    rows_max: int
    bytes_max: int
    reverse: bool = False
    keys_only: bool = False


class Page(NamedTuple):
    """Rows of a range; `exhausted` where the range holds no more."""

    rows: list[Row]
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Measure:
    """How much a range holds: keys, and bytes of keys and values."""

    keys: int
    bytes: int


class Upkeep(Protocol):
    """Hears when batches of earlier make work on the disk once more, beside those of now."""

    def copying(self) -> None:
        """What was written since this was said last is copied to its place."""
        ...

    def copied(self, seconds: float) -> None:
        """That has ended, well or not, and took so long."""
        ...


class Engine(Protocol):
    """See the module. Every method may raise EngineError."""

    @property
    def turn_bytes(self) -> int:
        """What one batch may write so that others that come meanwhile hardly notice."""
        ...

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order, all of one state; None where there is none."""
        ...

    def get_now(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """What `get` would answer, for a few keys, without leaving the caller's thread.

        None where that could take longer than some tens of microseconds; then `get` must be asked.
        """
        ...

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        """The first rows of each range, in key order (against it where `reverse`)."""
        ...

    async def apply(self, batch: Collection[Write]) -> None:
        """Apply `batch` as one atomic durable write. It may be read on another thread."""
        ...

    def join(self, batch: Collection[Write]) -> bool:
        """Make a small batch a part of the one that was brought last, if that is on its way still
        and has some way to go: durable with it, visible behind it, failed with it."""
        ...

    async def room(self) -> int | None:
        """Bytes by which the data may grow before there is no room for them, about; None: nobody
        knows of a bound."""
        ...

    async def measure(self, start: bytes, end: bytes) -> Measure:
        """Count a range. Costs a walk over it."""
        ...

    async def backup(self, target: Path) -> None:
        """Write a consistent copy that the same engine can open to `target`, while in use."""
        ...

    def tell(self, upkeep: Upkeep) -> None:
        """Let `upkeep` hear from now on; an engine that has no such work says nothing."""
        ...

    async def lost(self) -> EngineLost:
        """Wait until the engine is lost, and answer why. A file on a disk never is."""
        ...

    async def close(self) -> None:
        """Finish running calls and give up ownership. Later calls raise EngineError."""
        ...
