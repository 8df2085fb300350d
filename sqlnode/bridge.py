"""Awaiting from inside expressions, which are plain functions: pg_advisory_lock() has to wait.

    task ──await──▶ Bridged ──switch──▶ greenlet: executor ─▶ generated code ─▶ the function
      ▲                                                                           │ wait(…)
      └────────────── what is to be awaited ◀──────────switch─────────────────────┘

The whole run of such a statement happens in a greenlet, a second stack of the same thread. When the
function waits, the greenlet hands what it awaits to the task, which awaits it for it; when that is
done, or the task is cancelled, the function goes on where it was. Statements without such a
function run without all this (`sqlnode.functions.base.Function.waits`).
"""

from collections.abc import AsyncIterator, Awaitable, Generator
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from sqlnode.errors import unsupported

_T = TypeVar("_T")


class Bridged(Awaitable[_T]):
    """Awaits something in whose sync parts `wait` may be called."""

    def __init__(self, inner: Awaitable[_T]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, _T]:
        """See `Awaitable`."""
        inside = greenlet(_await_inside)
        inside.gr_context = getcurrent().gr_context
        step = inside.switch(self._inner)
        while not inside.dead:
            try:
                sent = yield step
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits inside
                step = inside.throw(error)
            else:
                step = inside.switch(sent)
        result: _T = step
        return result


def wait(awaitable: Awaitable[_T]) -> _T:
    """Await something from a plain function that runs under `Bridged`. Raises SqlError 0A000 in an
    expression that is computed elsewhere."""
    if getcurrent().parent is None:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise unsupported("a function that waits in this place")
    result: _T = _await_inside(awaitable)
    return result


def _await_inside(awaitable: Awaitable[Any]) -> Any:
    steps = awaitable.__await__()
    outside = getcurrent().parent
    if outside is None:
        raise RuntimeError("not in a greenlet")
    try:
        step = next(steps)
        while True:
            try:
                sent = outside.switch(step)
            except BaseException as error:  # noqa: BLE001 - the task was interrupted, or its wait failed
                step = steps.throw(error)
            else:
                step = steps.send(sent)
    except StopIteration as done:
        return done.value


async def bridged(items: AsyncIterator[_T]) -> AsyncIterator[_T]:
    """The same items; what makes them may call `wait`."""
    try:
        while True:
            try:
                item = await Bridged(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await Bridged(close())
