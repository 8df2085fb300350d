"""When what has failed is tried again. Pure; randomness comes in as a number from 0 up to 1.

    attempt   1    2     3     4      5       6       7     8, 9 …
    pause     5 s  15 s  45 s  2 min  7 min  20 min  1 h    3 h, then every 6 h, for three days

Each pause is a quarter shorter to a quarter longer, so that what failed together does not come
back together.
"""

_FIRST_SECONDS = 5.0
_FACTOR = 3.0
PAUSE_SECONDS_MAX = 6 * 3600.0
JITTER = 0.25
_ENDPOINT_SECONDS_MAX = 60.0
RETRY_AFTER_SECONDS_MAX = 3600.0


def pause_seconds(attempts: int, random: float, *, retry_after: float = 0.0) -> float:
    """How long to wait after the `attempts`-th failure of a delivery.

    `retry_after` is what the receiver asked for: never sooner than that, up to an hour.
    """
    # Powers of ten thousand attempts would overflow; the cap is reached long before.
    steps = min(max(attempts, 1) - 1, 20)
    pause = min(_FIRST_SECONDS * _FACTOR**steps, PAUSE_SECONDS_MAX)
    jittered = pause * (1 - JITTER + 2 * JITTER * random)
    return max(jittered, min(retry_after, RETRY_AFTER_SECONDS_MAX))


def endpoint_pause_seconds(failures: int) -> float:
    """How long an endpoint is left alone altogether after so many failures in a row; a success
    ends that.

    Without it a receiver that is down would be asked once for each delivery that waits.
    """
    return min(2.0 ** min(failures, 10), _ENDPOINT_SECONDS_MAX)
