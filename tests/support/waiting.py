"""Waiting for what tells nobody: a test goes on when it is there, however slow the machine."""

import asyncio
from collections.abc import Callable

GUARD_SECONDS = 60.0
"""So long is waited for what never comes."""
_LOOK_SECONDS = 0.01


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds; AssertionError if it never does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GUARD_SECONDS
    while not condition():
        if loop.time() > deadline:
            raise AssertionError("it never came to be")
        await asyncio.sleep(_LOOK_SECONDS)
