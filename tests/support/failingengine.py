"""An engine whose writes fail for as long as a test says so."""

from collections.abc import Collection

from storage.engines.interface import EngineError, Write
from storage.engines.memory import MemoryEngine


class FailingEngine(MemoryEngine):
    """Reads go on; a write that has failed has done nothing."""

    failing = False

    async def apply(self, batch: Collection[Write]) -> None:
        if self.failing:
            raise EngineError("no")
        await super().apply(batch)
