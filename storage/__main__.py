"""`python -m storage --config FILE`: runs the storage role."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dormouse.base import scheduling
from dormouse.base.role import Service, run
from storage.config import StorageSettings
from storage.server import serve

SWITCH_SECONDS = 0.0002
"""How long a busy event loop keeps a reading thread waiting: SQLite asks for the interpreter after
every row, and Python's 5 ms each time made a quiet tenant's scan of 20 rows take 100 ms."""


@asynccontextmanager
async def _serve(settings: StorageSettings) -> AsyncIterator[Service]:
    # What slatedb works in are threads of its own making, which would all be on that core too.
    if settings.own_core and settings.engine == "sqlite":
        scheduling.reserve_core()
    async with serve(settings) as service:
        scheduling.stay()
        yield service


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    run("storage", StorageSettings, _serve)
