"""`dormouse up`: the whole gateway on this machine, in the foreground."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.keys import generate_key
from dormouse.base import config, tasks
from dormouse.base.clock import Clock, SystemClock
from dormouse.base.logs import JsonFormatter
from dormouse.cli import demo
from dormouse.cli.apilisten import ApiOptions
from dormouse.cli.billing import check_billing
from dormouse.cli.door import Door
from dormouse.cli.eventflags import WebhookOptions
from dormouse.cli.folder import CommandError, DataFolder, Lock, write_private
from dormouse.cli.objectstore import remember_place
from dormouse.cli.roles import (
    SQL_HOST,
    Wiring,
    internal_ports,
    prepare_certificates,
    role_specs,
    write_settings,
)
from dormouse.cli.rolling import ORDER, Upgrade
from dormouse.cli.sockets import LOOPBACK, listen
from dormouse.cli.spec import RoleStatus, State
from dormouse.cli.supervisor import Supervisor
from sqlnode.cgroups import KernelFiles, Limits, Unusable, delegate, own_group
from storage.config import ObjectStorage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The flags of `dormouse up`."""

    data: Path
    sql_port: int
    api: ApiOptions
    ready_file: Path | None
    idle_timeout_seconds: float
    warm_pods: int
    pod_limits: Limits
    demo: bool
    webhooks: WebhookOptions
    billing: Path | None = None
    objects: ObjectStorage | None = None


class Up:
    """One run of the gateway: what is written for scripts, and what a person sees."""

    def __init__(self, options: UpOptions, wiring: Wiring, clock: Clock) -> None:
        self._options = options
        self._wiring = wiring
        self._folder = wiring.folder
        self._clock = clock
        self._started = clock.monotonic()
        self._is_ready = False
        self._shown: dict[str, int | None] = {}
        self._supervisor = Supervisor(
            role_specs(wiring),
            logs=self._folder.logs,
            cwd=self._folder.root,
            clock=clock,
            on_change=self._on_change,
        )
        self._door = Door(Upgrade(self._supervisor, self._folder.wiring, clock))

    async def run(self) -> None:
        """Start everything, serve until a signal, end everything. Raises CommandError."""
        stop = self._stop_on_signals()
        starting = tasks.spawn(self._start(), name="start")
        waiting = tasks.spawn(stop.wait(), name="wait for a signal")
        try:
            async with self._door.serve(self._folder.control_socket):
                await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    if (failure := starting.result()) is not None:
                        raise failure
                    await waiting
            _say("Stopping …")
        finally:
            await tasks.cancel(starting, waiting)
            for file in self._ready_files():
                file.unlink(missing_ok=True)
            await self._supervisor.stop()
        _say("Stopped.")

    async def _start(self) -> CommandError | None:
        """Start and say so; a start that fails is an answer, not a defect to be logged."""
        _say(f"Dormouse starts; its data is in {self._folder.root}")
        try:
            await self._supervisor.start()
        except CommandError as failure:
            return failure
        self._is_ready = True
        self._write_ready()
        took = self._clock.monotonic() - self._started
        _say(
            f"Ready after {took:.1f} s.\n\n"
            f"  SQL  {SQL_HOST}:{self._wiring.sql_port} (TLS; certificates of "
            f"{self._folder.client_ca})\n"
            f"  API  {self._api} (docs at {self._api}/docs; key in {self._folder.admin_key})\n"
            f"  Web  {self._api}/ (the console; sign in with that key)\n"
        )
        if self._options.demo:
            _say(
                await demo.introduce(
                    self._folder, self._api, _admin_key(self._folder), ca_file=self._api_ca_file
                )
            )
        _say("Ctrl-C stops it.")
        return None

    @property
    def _api(self) -> str:
        return self._options.api.url(self._wiring.api_port)

    @property
    def _api_ca_file(self) -> Path | None:
        """What commands on this machine verify the API with; its own certificate is as good as
        whoever has issued it."""
        if not self._api.startswith("https://"):
            return None
        return self._options.api.certificate or self._folder.client_ca

    def _stop_on_signals(self) -> asyncio.Event:
        """Set at the first signal; a second one kills what has not ended by then."""
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                self._supervisor.kill()
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            had_terminal = _has_terminal()
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup, had_terminal, on_signal)
        return stop

    def _on_hangup(self, had_terminal: bool, stop: Callable[[], None]) -> None:
        """Roll everything as `dormouse upgrade` does; but a terminal that was closed means end."""
        if had_terminal and not _has_terminal():
            stop()
        else:
            self._door.roll(ORDER[1:])

    def _on_change(self, name: str, status: RoleStatus) -> None:
        took = self._clock.monotonic() - self._started
        if status.state is State.RUNNING and self._shown.get(name) != status.pid:
            self._shown[name] = status.pid  # once for each life
            _log.info("role %s runs", name, extra={"pid": status.pid})
            _say(f"  {name:<11}ready  {took:5.1f} s")
        elif status.state is State.BACKOFF:
            _say(f"  {name:<11}died; it is started again (see {self._folder.logs}/{name}.log)")
        roles = {each: one.document() for each, one in self._supervisor.statuses.items()}
        _write(self._folder.status, {"roles": roles})
        if self._is_ready and status.state is State.RUNNING:
            self._write_ready()

    def _ready_files(self) -> list[Path]:
        given = self._options.ready_file
        return [self._folder.ready, *([given] if given is not None else [])]

    def _write_ready(self) -> None:
        document: dict[str, Any] = {
            "sql": {"host": SQL_HOST, "port": self._wiring.sql_port},
            "api": self._api,
            "api_ca_file": str(self._api_ca_file) if self._api_ca_file is not None else None,
            "admin_key": _admin_key(self._folder),
            "ca_file": str(self._folder.client_ca),
            "roles": {
                name: {"pid": status.pid} for name, status in self._supervisor.statuses.items()
            },
        }
        for file in self._ready_files():
            _write(file, document)


async def up(options: UpOptions) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises CommandError where it cannot start."""
    os.umask(0o077)  # the roles', too: whatever they write is this user's alone
    clock = SystemClock()
    options.api.check()
    check_billing(options.billing)
    folder = DataFolder.at(options.data)
    folder.make()
    with contextlib.ExitStack() as stack:
        lock = Lock(folder)
        stack.callback(lock.release)
        _log_to(folder)
        for stale in (folder.ready, options.ready_file):
            if stale is not None:
                stale.unlink(missing_ok=True)
        api = options.api
        sql_sockets = stack.enter_context(_closing(options.sql_port, "--sql-port"))
        api_sockets = stack.enter_context(_closing(api.port, "--api-port", api.addresses))
        names, addresses = api.names_in_certificate()
        prepare_certificates(folder, clock, api_names=names, api_addresses=addresses)
        certificate, private_key = api.certificate_files(folder) or (None, None)
        _admin_key(folder)
        remember_place(folder.root, options.objects)
        wiring = Wiring(
            data=folder.root,
            sql_fds=tuple(each.fileno() for each in sql_sockets),
            sql_port=int(sql_sockets[0].getsockname()[1]),
            api_fds=tuple(each.fileno() for each in api_sockets),
            api_port=int(api_sockets[0].getsockname()[1]),
            internal_ports=internal_ports(),
            idle_timeout_seconds=options.idle_timeout_seconds,
            warm_pods=options.warm_pods,
            pods_cgroup=_pods_cgroup(options.pod_limits),
            pod_cpu_max_cores=options.pod_limits.cpu_cores,
            pod_memory_max_bytes=options.pod_limits.memory_bytes,
            api_certificate=certificate,
            api_private_key=private_key,
            api_insecure=api.is_insecure,
            signup_open=api.is_signup_open,
            api_names=names,
            api_addresses=addresses,
            webhook_networks=options.webhooks.networks,
            webhook_http=options.webhooks.http,
            webhook_ca_file=options.webhooks.ca_file,
            billing=options.billing.resolve() if options.billing is not None else None,
            objects=options.objects,
        )
        config.dump(wiring, folder.wiring)
        write_settings(wiring)
        await Up(options, wiring, clock).run()


@contextlib.contextmanager
def _closing(
    port: int, flag: str, hosts: Sequence[str] = LOOPBACK
) -> Iterator[list[socket.socket]]:
    sockets = listen(port, flag, hosts)
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _pods_cgroup(limits: Limits) -> Path | None:
    """Where groups of pods can be made; None where no limit is wanted, or none is possible."""
    if not limits.controllers():
        return None
    try:
        files, proc = KernelFiles(), Path("/proc/self")
        own = own_group(files.read(proc / "cgroup"), files.read(proc / "mountinfo"))
        return delegate(files, own, limits.controllers(), os.getpid())
    except (Unusable, OSError) as error:
        _log.warning("pods are not limited", extra={"reason": str(error)})
        _say(f"Pods are NOT limited: {error}")
        return None


def _has_terminal() -> bool:
    """Whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _admin_key(folder: DataFolder) -> str:
    """The operator's key, made on the first start."""
    if not folder.admin_key.exists():
        made = generate_key()
        write_private(folder.admin_key, made + "\n")
        _say(f"The operator's API key, shown this once: {made}")
    key = folder.admin_key.read_text(encoding="ascii").strip()
    if not key:
        raise CommandError(f"{folder.admin_key} is empty", hint="remove it to get a new key")
    return key


def _log_to(folder: DataFolder) -> None:
    """The supervisor's own log goes to a file; the terminal is for the person."""
    handler = logging.FileHandler(folder.logs / "supervisor.log", encoding="utf-8")
    handler.setFormatter(JsonFormatter("supervisor"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _write(file: Path, document: dict[str, Any]) -> None:
    """Replace a file for others to read; a full disk is no reason to leave the roles alone."""
    try:
        write_private(file, json.dumps(document) + "\n")
    except OSError:
        _log.exception("cannot be written", extra={"file": str(file)})


def _say(text: str) -> None:
    # A terminal that is gone is no reason to end the gateway.
    with contextlib.suppress(OSError):
        print(text, flush=True)
