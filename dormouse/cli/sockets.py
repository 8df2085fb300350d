"""Ports of a one-machine installation.

The public sockets belong to the supervisor, which hands them down: while a role is restarted,
clients wait in the kernel's queue and none is refused. Internal ports are chosen once and stay, so
that nobody has to be told where a restarted role is.
"""

import contextlib
import errno
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from dormouse.cli.folder import CommandError

LOOPBACK = ("127.0.0.1", "::1")
_BACKLOG = 1024
_TRIES_MAX = 200
_INTERNAL_PORT_MIN = 16_384
_EPHEMERAL_PORT_MIN = 32_768


class NoAddress(CommandError):
    """An address to listen on is not this machine's."""


def listen(port: int, flag: str, hosts: Sequence[str] = LOOPBACK) -> list[socket.socket]:
    """Listening sockets on the addresses `hosts`, with one port; 0 takes a free one.

    Both loopback addresses by default, for `localhost` means either; the second is left out where
    this machine does not have it (without IPv6). Raises CommandError that names `flag` where the
    port is taken, and for another address that is not this machine's.
    """
    for _ in range(_TRIES_MAX if port == 0 else 1):
        with contextlib.ExitStack() as stack:
            try:
                opened = _listen_on_all(hosts, port, flag, stack)
            except CommandError as error:
                if port != 0 or isinstance(error, NoAddress):
                    raise
                continue
            stack.pop_all()
            return opened
    raise CommandError(f"no port is free on all of {', '.join(hosts)}")


def _listen_on_all(
    hosts: Sequence[str], port: int, flag: str, stack: contextlib.ExitStack
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    for host in hosts:
        try:
            each = _listen(host, port, flag)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            if opened and host in LOOPBACK:
                continue
            raise NoAddress(f"this machine does not have the address {host}") from None
        opened.append(stack.enter_context(each))
        port = int(each.getsockname()[1])
    return opened


def _listen(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            why = "is in use" if error.errno == errno.EADDRINUSE else "may not be used by this user"
            raise CommandError(
                f"port {port} on {host} {why}", hint=f"choose another port with {flag}"
            ) from None
        raise


def free_ports() -> Iterator[int]:
    """Free ports, never the same twice, below those that outgoing connections are given.

    So a port stays free while its role is restarting, whatever else the machine dials.
    """
    ports = list(range(_INTERNAL_PORT_MIN, _first_ephemeral_port()))
    random.shuffle(ports)
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise CommandError("no internal port is free")


def _first_ephemeral_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        return max(int(text.split()[0]), _INTERNAL_PORT_MIN + 1_000)
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_PORT_MIN
