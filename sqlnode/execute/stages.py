"""What happens to a batch between the node that made it and the one that takes it."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from sqlnode.execute.api import Batch
from sqlnode.execute.runtime import Runtime
from sqlnode.execute.subplans import Preparation


@dataclass(frozen=True, slots=True)
class Stage:
    """Sub-selects to compute, then a generated comprehension (None: rows stay as they are)."""

    preparation: Preparation | None
    function: Callable[[Batch, Runtime], Batch] | None


class Pipeline:
    """Stages in a row."""

    __slots__ = ("_one_by_one", "_waits", "stages", "sync")

    def __init__(
        self, stages: tuple[Stage, ...], *, waits: bool = False, drained: bool = False
    ) -> None:
        """`waits`: its code asks storage, where looking at a row leaves something behind: a lock, a
        number that is taken. So rows are not looked at before somebody wants them, unless all of
        them are wanted anyway (`drained`)."""
        self.stages = stages
        self._one_by_one = waits and not drained
        self._waits = waits
        only = stages[0] if len(stages) == 1 else None
        self.sync = only.function if only is not None and only.preparation is None else None
        """The whole pipeline as one plain function, where it is no more than that."""

    @property
    def is_identity(self) -> bool:
        """Whether rows pass unchanged."""
        return not self.stages

    def parts(self, batch: Batch) -> Iterable[Batch]:
        """The batch in the pieces that are to be applied one after the other."""
        return ([row] for row in batch) if self._one_by_one else (batch,)

    async def flow(self, batch: Batch, runtime: Runtime) -> AsyncIterator[Batch]:
        """What is left of the batch after all stages, in pieces that are not empty."""
        for part in self.parts(batch):
            rows = await self.apply(part, runtime)
            if rows:
                yield rows

    async def apply(self, batch: Batch, runtime: Runtime) -> Batch:
        """The batch after all stages; may be empty."""
        sequences = runtime.context.sequences if self._waits else None
        if sequences is not None and not self._one_by_one:
            sequences.expect(len(batch))
        if self.sync is not None:
            return self.sync(batch, runtime)
        for stage in self.stages:
            if not batch:
                break
            if stage.preparation is not None:
                batch = await stage.preparation.prepare(batch, runtime)
            if stage.function is not None:
                batch = stage.function(batch, runtime)
        return batch
