"""A process that holds client connections: `python -m bench.holders`.

The first line it reads is JSON: `{"url": …, "count": …, "at_a_time": …}`. It connects, writes
`held N`, and goes on by the line: `ask N` has that many connections, spread over all, ask for a row
and writes `asked N SLOWEST_MS`. At the end of its input it closes all and ends.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from psycopg import pq
from psycopg.pq.abc import PGconn

from bench.connect import ConnectFailed, connected


def main() -> int:
    """Hold connections until the end of input; the exit code."""
    order = json.loads(sys.stdin.readline())
    held: list[PGconn] = []
    try:
        with ThreadPoolExecutor(order["at_a_time"]) as pool:
            held.extend(pool.map(connected, [order["url"]] * order["count"]))
        print(f"held {len(held)}", flush=True)
        for line in sys.stdin:
            count = int(line.split()[1])
            chosen = held[:: max(len(held) // count, 1)][:count]
            slowest = max(map(_ask, chosen))
            print(f"asked {len(chosen)} {slowest:.1f}", flush=True)
    except ConnectFailed as error:
        print(f"failed {error}", flush=True)
        return 1
    finally:
        for connection in held:
            connection.finish()
    return 0


def _ask(connection: PGconn) -> float:
    started = time.perf_counter()
    result = connection.exec_(b"SELECT 1")
    if result.status != pq.ExecStatus.TUPLES_OK or result.get_value(0, 0) != b"1":
        raise ConnectFailed(result.error_message.decode(errors="replace"))
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
