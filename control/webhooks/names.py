"""Names to addresses, on threads that nobody waits for.

The system's resolver blocks its thread, for half a minute where a name server hangs; and whose name
server is asked is up to whoever wrote the URL. So a lookup has a daemon thread: it holds up neither
others (a time-out ends the waiting, the thread may stay) nor the end of the process; their number
has a bound, beyond which a lookup fails at once and its delivery is tried again later.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading

from control.webhooks.addresses import Address

LOOKUPS_MAX = 32


class NoSuchName(Exception):
    """The name does not resolve."""


class Names:
    """Looks names up."""

    def __init__(self) -> None:
        self._looking = 0

    async def resolve(self, host: str) -> list[Address]:
        """Its addresses, at least one, in the system's order. Raises NoSuchName."""
        if self._looking >= LOOKUPS_MAX:
            raise NoSuchName("too many names are being looked up")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()

        def end(addresses: list[Address], reason: str) -> None:
            self._looking -= 1
            if found.done():
                return  # nobody waits any more
            if addresses:
                found.set_result(addresses)
            else:
                found.set_exception(NoSuchName(reason))

        def look() -> None:
            addresses, reason = _look(host)
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(end, addresses, reason)

        self._looking += 1
        threading.Thread(target=look, name="webhook name", daemon=True).start()
        return await found


def _look(host: str) -> tuple[list[Address], str]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return [], f"its name does not resolve ({error.strerror})"
    except UnicodeError:
        return [], "its name does not resolve (it cannot be one)"
    # A zone (`fe80::1%eth0`) is no part of the address, and none of those is allowed.
    texts = [str(entry[4][0]).partition("%")[0] for entry in entries]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)], "it has no address"
