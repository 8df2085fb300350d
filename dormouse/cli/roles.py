"""What every role of a one-machine installation is told: one settings file each."""

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoscaler.config import AutoscalerSettings
from control.authority import Authority
from control.config import ControlSettings
from dormouse.base import config
from dormouse.base.clock import Clock
from dormouse.base.tls import Role
from dormouse.cli.folder import DataFolder, write_private
from dormouse.cli.sockets import LOOPBACK, free_ports
from dormouse.cli.spec import Handover, RoleSpec
from proxy.config import ProxySettings
from sqlnode.config import PodSettings
from sqlnode.podhost_config import PodHostSettings
from storage.config import StorageSettings

SQL_HOST = "localhost"
SQL_DOMAIN = "dormouse.localhost"
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the person asked for, and what the supervisor has opened."""

    folder: DataFolder
    admin_key: str
    sql_sockets: Sequence[socket.socket]
    api_sockets: Sequence[socket.socket]
    idle_timeout_seconds: float
    warm_pods: int

    @property
    def sql_port(self) -> int:
        """The public SQL port."""
        return int(self.sql_sockets[0].getsockname()[1])

    @property
    def api_port(self) -> int:
        """The public API port."""
        return int(self.api_sockets[0].getsockname()[1])


def prepare_certificates(folder: DataFolder, clock: Clock) -> None:
    """Make the authority on the first start; make or renew every certificate of this machine."""
    authority = Authority.open(folder.authority, clock)
    for role in Role:
        authority.ensure_role(folder.certificates, role)
    names = ("localhost", SQL_DOMAIN, f"*.{SQL_DOMAIN}", *_own_name())
    authority.ensure_sql(folder.certificates, names, LOOPBACK)
    write_private(folder.client_ca, authority.certificate_pem.decode("ascii"))
    folder.client_ca.chmod(0o644)  # not a secret, and other users' clients may need it


def write_settings(plan: Plan) -> list[RoleSpec]:
    """Write every role's settings file; how to run the roles, each after those it uses."""
    ports = free_ports()
    wiring = _Wiring(
        folder=plan.folder,
        storage=next(ports),
        control=next(ports),
        autoscaler=next(ports),
        podhost_sockets=plan.folder.run,
    )
    sql_fds = tuple(each.fileno() for each in plan.sql_sockets)
    api_fds = tuple(each.fileno() for each in plan.api_sockets)
    settings: dict[str, object] = {
        "storage": _storage(wiring, metrics_port=next(ports)),
        "control": _control(wiring, plan, metrics_port=next(ports)),
        "podhost": PodHostSettings(
            sockets=wiring.podhost_sockets, pod=PodSettings(certs=plan.folder.certificates)
        ),
        "autoscaler": _autoscaler(wiring, plan, metrics_port=next(ports)),
        "proxy": _proxy(wiring, plan),
    }
    files = {name: plan.folder.run / f"{name}.json" for name in settings}
    for name, each in settings.items():
        config.dump(each, files[name])
    return [
        RoleSpec("storage", "storage", files["storage"]),
        RoleSpec("control", "control", files["control"], fds=api_fds),
        RoleSpec(
            "podhost",
            "sqlnode.podhost",
            files["podhost"],
            handover=Handover.RETIRING,
            is_numbered=True,
        ),
        RoleSpec("autoscaler", "autoscaler", files["autoscaler"], ("control", "podhost")),
        RoleSpec(
            "proxy",
            "proxy",
            files["proxy"],
            ("control", "autoscaler"),
            sql_fds,
            handover=Handover.DRAINING,
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wiring:
    """Who answers where inside the installation: ports of this machine."""

    folder: DataFolder
    storage: int
    control: int
    autoscaler: int
    podhost_sockets: Path


def _storage(wiring: _Wiring, *, metrics_port: int) -> StorageSettings:
    return StorageSettings(
        data=wiring.folder.root / "storage",
        certs=wiring.folder.certificates,
        host=_HOST,
        port=wiring.storage,
        metrics_port=metrics_port,
    )


def _control(wiring: _Wiring, plan: Plan, *, metrics_port: int) -> ControlSettings:
    folder = wiring.folder
    return ControlSettings(
        registry=folder.root / "control" / "registry.sqlite",
        authority=folder.authority,
        certs=folder.certificates,
        rpc_address=f"{_HOST}:{wiring.control}",
        autoscaler_address=f"{_HOST}:{wiring.autoscaler}",
        storage_address=f"{_HOST}:{wiring.storage}",
        api_fds=[each.fileno() for each in plan.api_sockets],
        admin_key_hash=hashlib.sha256(plan.admin_key.encode()).hexdigest(),
        sql_host=SQL_HOST,
        sql_port=plan.sql_port,
        sql_domain=SQL_DOMAIN,
        ca_file=folder.client_ca,
        status_file=folder.run / "status.json",
        metrics_port=metrics_port,
    )


def _autoscaler(wiring: _Wiring, plan: Plan, *, metrics_port: int) -> AutoscalerSettings:
    return AutoscalerSettings(
        certs=wiring.folder.certificates,
        podhost_sockets=wiring.podhost_sockets,
        control_address=f"{_HOST}:{wiring.control}",
        storage_address=f"{_HOST}:{wiring.storage}",
        listen_host=_HOST,
        listen_port=wiring.autoscaler,
        metrics_port=metrics_port,
        warm_pods=plan.warm_pods,
        idle_timeout_seconds=plan.idle_timeout_seconds,
    )


def _proxy(wiring: _Wiring, plan: Plan) -> ProxySettings:
    return ProxySettings(
        certs=wiring.folder.certificates,
        control_address=f"{_HOST}:{wiring.control}",
        autoscaler_address=f"{_HOST}:{wiring.autoscaler}",
        listen_fds=tuple(each.fileno() for each in plan.sql_sockets),
        # Each proxy takes a free one: while one succeeds another, both have their page.
        metrics_port=0,
    )


def _own_name() -> list[str]:
    """The machine's name, if a certificate can say it."""
    name = socket.gethostname().lower()
    fits = 0 < len(name) <= 253 and all(part.isalnum() or part in "-." for part in name)
    return [name] if fits and name.isascii() and name != "localhost" else []
