"""Many sessions that each ask something every now and then, and notice everything.

They stand for an application's connection pool: asyncpg, TLS, prepared statements. Every answer is
checked, a session that ends is *dropped* and stays so: nothing here reconnects.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any, Self

import asyncpg

from bench.stats import percentile
from dormouse.base.tasks import cancel, spawn

_CONNECTING_MAX = 16
"""Logins under way at once."""
_QUERY = "SELECT $1::int + 1"
_TIMEOUT_SECONDS = 60.0
_ENDS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that is cut at the wrong moment
    OSError,
    TimeoutError,
)
"""How a session ends that nobody here has ended."""


@dataclass(slots=True)
class Window:
    """What the sessions saw for a while."""

    sessions: int
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    worst_ms: dict[int, float] = field(default_factory=dict)
    """The longest wait of each session."""
    dropped: list[str] = field(default_factory=list)
    """How the sessions ended that did."""
    wrong: int = 0
    """Answers that were not right."""

    def summary(self) -> dict[str, Any]:
        """Figures for a report."""
        waits = self.latencies_ms or [0.0]
        worst = list(self.worst_ms.values()) or [0.0]
        return {
            "sessions": self.sessions,
            "seconds": round(self.seconds, 1),
            "queries": len(self.latencies_ms),
            "dropped": len(self.dropped),
            "wrong": self.wrong,
            "p50_ms": round(percentile(waits, 50), 2),
            "p99_ms": round(percentile(waits, 99), 2),
            "max_ms": round(max(waits), 2),
            "worst_of_a_session_p99_ms": round(percentile(worst, 99), 2),
            "errors": sorted(set(self.dropped))[:5],
        }


class Steady:
    """The sessions; use it as a context, and `watch` to see what happens to them."""

    def __init__(self, url: str, sessions: int, interval: float) -> None:
        self._url = url
        self._count = sessions
        self._interval = interval
        self._window = Window(sessions)
        self._tasks: list[asyncio.Task[None]] = []
        self._gate = asyncio.Semaphore(_CONNECTING_MAX)

    def __repr__(self) -> str:
        return f"<Steady {self.alive}/{self._count}>"

    @property
    def alive(self) -> int:
        """Sessions that have not been dropped."""
        return sum(not task.done() for task in self._tasks)

    async def __aenter__(self) -> Self:
        async with asyncio.TaskGroup() as logins:
            connecting = [logins.create_task(self._connect()) for _ in range(self._count)]
        self._tasks = [
            spawn(self._ask(number, task.result()), name=f"steady-{number}")
            for number, task in enumerate(connecting)
        ]
        self.begin()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await cancel(*self._tasks)

    async def _connect(self) -> "asyncpg.Connection[Any]":
        async with self._gate:
            return await asyncpg.connect(self._url, timeout=_TIMEOUT_SECONDS)

    def begin(self) -> Window:
        """What is seen from now on goes into this window, until the next begins."""
        self._window = Window(self.alive)
        return self._window

    async def _ask(self, number: int, connection: "asyncpg.Connection[Any]") -> None:
        dice = random.Random(number)
        try:
            await asyncio.sleep(dice.uniform(0, self._interval))
            while True:
                question = dice.randrange(1_000_000)
                started = time.perf_counter()
                answer = await connection.fetchval(_QUERY, question, timeout=_TIMEOUT_SECONDS)
                self._note(number, (time.perf_counter() - started) * 1000, answer == question + 1)
                await asyncio.sleep(self._interval * dice.uniform(0.9, 1.1))
        except _ENDS as error:
            self._window.dropped.append(f"{type(error).__name__}: {error}")
        finally:
            connection.terminate()

    def _note(self, number: int, waited_ms: float, right: bool) -> None:
        window = self._window
        window.latencies_ms.append(waited_ms)
        window.worst_ms[number] = max(window.worst_ms.get(number, 0.0), waited_ms)
        window.wrong += not right
