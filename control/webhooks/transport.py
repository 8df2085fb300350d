"""One HTTP POST to somebody else's server, which may be anything.

    name ──resolve──▶ addresses ──policy──▶ an allowed one ──connect──▶ TLS for the name ──▶ POST

The address that is connected to is the one that was checked, so a name that resolves to something
else a moment later gains nothing. No redirect is followed, no proxy and no credentials are taken
from the environment, of the answer no more is read than its head and a few KiB, and all of it ends
after `ATTEMPT_SECONDS`.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore

from control.webhooks.addresses import Address, AddressPolicy
from control.webhooks.lanes import LANES
from control.webhooks.names import Names, NoSuchName
from control.webhooks.urls import origin_of
from control.webhooks.verdict import Outcome
from dormouse.base.clock import Clock

_log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
_BODY_BYTES_MAX = 4096
_SKIM_SECONDS = 1.0
_KEPT_CONNECTIONS = 8
_KEPT_SECONDS = 30.0
_ADDRESSES_MAX = 2
"""Of one name, that are tried."""

_ERROR_CHARACTERS_MAX = 200

Resolve = Callable[[str], Awaitable[Sequence[Address]]]


class NotAllowed(Exception):
    """The name leads to no address that deliveries may go to."""


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `AsyncNetworkBackend.connect_tcp`. Raises NotAllowed."""
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host)
        except TimeoutError:
            raise httpcore.ConnectTimeout("its name was not resolved in time") from None
        except NoSuchName as error:
            raise httpcore.ConnectError(str(error)) from None
        allowed = [each for each in found if self._policy.allows(each)][:_ADDRESSES_MAX]
        failure: Exception = NotAllowed(host)
        for address in allowed:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """See `AsyncNetworkBackend.sleep`."""
        await asyncio.sleep(seconds)


class Transport:
    """Sends deliveries; at most `LANES` at a time."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send it and say what came of it; never raises for what the other side does."""
        began = self._clock.monotonic()
        outcome = await self._attempt(url, headers, body)
        return replace(outcome, seconds=self._clock.monotonic() - began)

    async def _attempt(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._post(url, headers, body)
        except httpcore.ConnectTimeout as error:
            text = str(error) or f"no connection within {_CONNECT_SECONDS:.0f} seconds"
            return Outcome(kind="timeout", error=text)
        except (httpcore.ReadTimeout, httpcore.WriteTimeout):
            text = f"it fell silent for {_SILENCE_SECONDS:.0f} seconds"
            return Outcome(kind="timeout", error=text)
        except (TimeoutError, httpcore.TimeoutException):
            text = f"no answer within {ATTEMPT_SECONDS:.0f} seconds"
            return Outcome(kind="timeout", error=text)
        except NotAllowed:
            text = "its name leads to an address that this gateway does not send to"
            return Outcome(kind="not_allowed", error=text)
        except (httpcore.NetworkError, ssl.SSLError, OSError) as error:
            return Outcome(kind="unreachable", error=_short(f"no connection: {error}"))
        except httpcore.ProtocolError as error:
            return Outcome(kind="refused", error=_short(f"it does not speak HTTP: {error}"))
        except Exception:  # noqa: BLE001 - a stranger's bytes must not end the lane
            _log.exception("an attempt to deliver broke")
            return Outcome(kind="broken", error="something broke on this side")

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        origin = origin_of(url)
        host = str(origin).partition("://")[2]
        timeouts = {
            "connect": _CONNECT_SECONDS,
            "read": _SILENCE_SECONDS,
            "write": _SILENCE_SECONDS,
            "pool": ATTEMPT_SECONDS,
        }
        async with self._pool.stream(
            "POST",
            url,
            headers=[("Host", host), *headers.items()],
            content=body,
            extensions={"timeout": timeouts},
        ) as response:
            await _skim(response)
            return _answered(response)


@contextlib.asynccontextmanager
async def open_transport(
    policy: AddressPolicy,
    clock: Clock,
    *,
    ca_file: Path | None = None,
    resolve: Resolve | None = None,
) -> AsyncIterator[Transport]:
    """A transport; `ca_file` has certificates that are trusted besides the system's."""
    resolve = resolve or Names().resolve
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    async with httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=LANES,
        max_keepalive_connections=_KEPT_CONNECTIONS,
        keepalive_expiry=_KEPT_SECONDS,
        network_backend=_CheckedNetwork(policy, resolve),
    ) as pool:
        yield Transport(pool, clock)


async def _skim(response: httpcore.Response) -> None:
    """Read a short body, so that the connection can be used again; of a long one the beginning.

    The status has decided already, so it does not matter how this ends.
    """
    length = 0
    with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(_SKIM_SECONDS):
            async for chunk in response.aiter_stream():
                length += len(chunk)
                if length > _BODY_BYTES_MAX:
                    return


def _answered(response: httpcore.Response) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        return Outcome(kind="delivered", status=status)
    what = "it redirects, which is not followed" if 300 <= status < 400 else "it answered"
    named = (value for name, value in response.headers if name.lower() == b"retry-after")
    retry_after = next(named, b"")
    seconds = float(retry_after) if retry_after.isdigit() and len(retry_after) < 10 else 0.0
    return Outcome(
        kind="refused",
        status=status,
        error=f"{what} ({status})",
        retry_after_seconds=seconds,
    )


def _short(text: str) -> str:
    """Fit for a table: what a library says may quote the other side."""
    return "".join(each if each.isprintable() else "?" for each in text)[:_ERROR_CHARACTERS_MAX]
