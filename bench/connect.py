"""One connection by libpq, with the time of every phase that the client can see."""

import select
import time
from dataclasses import dataclass

from psycopg import pq
from psycopg.pq.abc import PGconn

_SECONDS_MAX = 60.0
PHASES = ("tcp", "tls", "wake and password", "session start", "first row")
_PHASE_AT = {
    pq.ConnStatus.STARTED: 0,
    pq.ConnStatus.NEEDED: 0,
    pq.ConnStatus.MADE: 1,
    pq.ConnStatus.SSL_STARTUP: 1,
    pq.ConnStatus.AWAITING_RESPONSE: 2,
    pq.ConnStatus.AUTH_OK: 3,
}

_EVENTS = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


class ConnectFailed(Exception):
    """The connection was refused, or took too long."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds, in all and by phase."""

    total_ms: float
    phases_ms: dict[str, float]


def connected(url: str) -> PGconn:
    """A connection that takes queries. Raises ConnectFailed."""
    connection = pq.PGconn.connect_start(url.encode())
    try:
        _establish(connection, [0.0] * len(PHASES), time.perf_counter())
    except BaseException:
        connection.finish()
        raise
    return connection


def connect_and_select(url: str) -> Timing:
    """Connect, `SELECT 1`, read its row, disconnect. Raises ConnectFailed."""
    marks = [0.0] * len(PHASES)
    started = time.perf_counter()
    connection = pq.PGconn.connect_start(url.encode())
    try:
        last = _establish(connection, marks, started)
        result = connection.exec_(b"SELECT 1")
        if result.status != pq.ExecStatus.TUPLES_OK or result.get_value(0, 0) != b"1":
            raise ConnectFailed(result.error_message.decode(errors="replace"))
        marks[-1] = time.perf_counter() - last
        total = time.perf_counter() - started
    finally:
        connection.finish()
    phases = {name: mark * 1000 for name, mark in zip(PHASES, marks, strict=True)}
    return Timing(total * 1000, phases)


def _establish(connection: PGconn, marks: list[float], started: float) -> float:
    """Take the connection through its phases, adding their seconds to `marks`; when it was done."""
    phase, polling, last = 0, pq.PollingStatus.WRITING, started
    while polling is not pq.PollingStatus.OK:
        _wait(connection, polling, started)
        phase = max(phase, _PHASE_AT.get(pq.ConnStatus(connection.status), phase))
        polling = pq.PollingStatus(connection.connect_poll())
        now = time.perf_counter()
        marks[phase] += now - last
        last = now
    return last


def _wait(connection: PGconn, polling: pq.PollingStatus, started: float) -> None:
    if polling is pq.PollingStatus.FAILED:
        raise ConnectFailed(connection.error_message.decode(errors="replace"))
    left = _SECONDS_MAX - (time.perf_counter() - started)
    if left <= 0:
        raise ConnectFailed(f"no answer in {_SECONDS_MAX:g} s")
    poll = select.poll()  # select() knows no descriptor beyond 1023
    poll.register(connection.socket, _EVENTS[polling])
    poll.poll(left * 1000)
