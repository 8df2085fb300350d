"""What every role of a one-machine installation is told: one settings file each.

All of it follows from one small document, the *wiring*, which is kept beside the settings. So an
upgrade can have the settings written anew by the code that is going to read them, which may know
more of them, or others:

    python -m dormouse.cli.roles WIRING
"""

import argparse
import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.config import AutoscalerSettings
from control.authority import Authority
from control.config import ControlSettings
from dormouse.base import config
from dormouse.base.clock import Clock, SystemClock
from dormouse.base.tls import Role
from dormouse.cli.billing import with_billing
from dormouse.cli.folder import DataFolder, write_private
from dormouse.cli.sockets import LOOPBACK, free_ports
from dormouse.cli.spec import Handover, RoleSpec
from proxy.config import ProxySettings
from sqlnode.config import PodSettings
from sqlnode.podhost_config import PodHostSettings
from storage.config import ObjectStorage, StorageSettings

SQL_HOST = "localhost"
SQL_DOMAIN = "dormouse.localhost"
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the person asked for, what the supervisor has opened, and who answers where.

    A later version may add fields that have a default, and must go on taking these.
    """

    data: Path
    """The data folder."""
    sql_fds: tuple[int, ...]
    """Listening sockets that the roles inherit."""
    sql_port: int
    api_fds: tuple[int, ...]
    api_port: int
    internal_ports: dict[str, int]
    """Ports of this machine: `storage`, `control`, `autoscaler`, and `<role>.metrics` of each."""
    idle_timeout_seconds: float
    warm_pods: int
    pods_cgroup: Path | None = None
    """As `PodHostSettings.pods_cgroup`, and what follows it."""
    pod_cpu_max_cores: float | None = None
    pod_memory_max_bytes: int | None = None
    api_certificate: Path | None = None
    """As `ControlSettings.api_certificate`, and what follows it."""
    api_private_key: Path | None = None
    api_insecure: bool = False
    signup_open: bool = False
    api_names: tuple[str, ...] = ("localhost",)
    """Names in the API's certificate, where the authority issues it."""
    api_addresses: tuple[str, ...] = LOOPBACK
    """Likewise, addresses."""
    webhook_networks: tuple[str, ...] = ()
    """As `ControlSettings.webhook_networks_allowed`, and what follows it."""
    webhook_http: bool = False
    webhook_ca_file: Path | None = None
    billing: Path | None = None
    """Control's settings about money (dormouse/cli/billing.py)."""
    objects: ObjectStorage | None = None
    """Where the rows are, if not in the data folder."""

    @property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(self.data)

    def at(self, name: str) -> str:
        """host:port of a role."""
        return f"{_HOST}:{self.internal_ports[name]}"


def internal_ports() -> dict[str, int]:
    """Ports for `Wiring.internal_ports`, chosen once for a life of the installation."""
    roles = ("storage", "control", "autoscaler")
    ports = free_ports()
    return {name: next(ports) for role in roles for name in (role, f"{role}.metrics")}


def prepare_certificates(
    folder: DataFolder,
    clock: Clock,
    *,
    api_names: Sequence[str] = ("localhost",),
    api_addresses: Sequence[str] = LOOPBACK,
) -> None:
    """Make the authority on the first start; make or renew every certificate of this machine."""
    authority = Authority.open(folder.authority, clock)
    for role in Role:
        authority.ensure_role(folder.certificates, role)
    names = ("localhost", SQL_DOMAIN, f"*.{SQL_DOMAIN}", *_own_name())
    authority.ensure_sql(folder.certificates, names, LOOPBACK)
    own = [name for name in _own_name() if name not in api_names]
    authority.ensure_api(folder.certificates, [*api_names, *own], api_addresses)
    write_private(folder.client_ca, authority.client_certificate_pem.decode("ascii"))
    folder.client_ca.chmod(0o644)  # not a secret, and other users' clients may need it


def write_settings(wiring: Wiring) -> None:
    """Write every role's settings file."""
    settings: dict[str, object] = {
        "storage": _storage(wiring),
        "control": _control(wiring),
        "podhost": _podhost(wiring),
        "autoscaler": _autoscaler(wiring),
        "proxy": _proxy(wiring),
    }
    for name, each in settings.items():
        config.dump(each, _file(wiring, name))


def role_specs(wiring: Wiring) -> list[RoleSpec]:
    """How to run the roles, each after those it uses."""
    podhost = _spec(
        wiring,
        "podhost",
        module="sqlnode.podhost",
        handover=Handover.RETIRING,
        is_numbered=True,
    )
    proxy = _spec(
        wiring,
        "proxy",
        after=("control", "autoscaler"),
        fds=wiring.sql_fds,
        handover=Handover.DRAINING,
    )
    return [
        _spec(wiring, "storage"),
        _spec(wiring, "control", fds=wiring.api_fds),
        podhost,
        _spec(wiring, "autoscaler", after=("control", "podhost")),
        proxy,
    ]


def _spec(wiring: Wiring, name: str, *, module: str = "", **options: Any) -> RoleSpec:
    return RoleSpec(name, module or name, _file(wiring, name), **options)


def _file(wiring: Wiring, name: str) -> Path:
    return wiring.folder.run / f"{name}.json"


def _storage(wiring: Wiring) -> StorageSettings:
    return StorageSettings(
        data=wiring.folder.root / "storage",
        engine="sqlite" if wiring.objects is None else "slatedb",
        objects=wiring.objects or ObjectStorage(),
        certs=wiring.folder.certificates,
        host=_HOST,
        port=wiring.internal_ports["storage"],
        metrics_port=wiring.internal_ports["storage.metrics"],
    )


def _control(wiring: Wiring) -> ControlSettings:
    folder = wiring.folder
    admin_key = folder.admin_key.read_text(encoding="ascii").strip()
    settings = ControlSettings(
        registry=folder.root / "control" / "registry.sqlite",
        authority=folder.authority,
        certs=folder.certificates,
        rpc_address=wiring.at("control"),
        autoscaler_address=wiring.at("autoscaler"),
        storage_address=wiring.at("storage"),
        api_fds=list(wiring.api_fds),
        api_certificate=wiring.api_certificate,
        api_private_key=wiring.api_private_key,
        api_insecure=wiring.api_insecure,
        signup_open=wiring.signup_open,
        admin_key_hash=hashlib.sha256(admin_key.encode()).hexdigest(),
        sql_host=SQL_HOST,
        sql_port=wiring.sql_port,
        sql_domain=SQL_DOMAIN,
        ca_file=folder.client_ca,
        manages_certificates=True,
        status_file=folder.status,
        webhook_networks_allowed=list(wiring.webhook_networks),
        webhook_http=wiring.webhook_http,
        webhook_ca_file=wiring.webhook_ca_file,
        metrics_port=wiring.internal_ports["control.metrics"],
    )
    return with_billing(settings, wiring.billing)


def _podhost(wiring: Wiring) -> PodHostSettings:
    return PodHostSettings(
        sockets=wiring.folder.run,
        pod=PodSettings(certs=wiring.folder.certificates),
        pods_cgroup=wiring.pods_cgroup,
        pod_cpu_max_cores=wiring.pod_cpu_max_cores,
        pod_memory_max_bytes=wiring.pod_memory_max_bytes,
    )


def _autoscaler(wiring: Wiring) -> AutoscalerSettings:
    return AutoscalerSettings(
        certs=wiring.folder.certificates,
        podhost_sockets=wiring.folder.run,
        control_address=wiring.at("control"),
        storage_address=wiring.at("storage"),
        listen_host=_HOST,
        listen_port=wiring.internal_ports["autoscaler"],
        metrics_port=wiring.internal_ports["autoscaler.metrics"],
        warm_pods=wiring.warm_pods,
        idle_timeout_seconds=wiring.idle_timeout_seconds,
    )


def _proxy(wiring: Wiring) -> ProxySettings:
    return ProxySettings(
        certs=wiring.folder.certificates,
        control_address=wiring.at("control"),
        autoscaler_address=wiring.at("autoscaler"),
        listen_fds=wiring.sql_fds,
        # Each proxy takes a free one: while one succeeds another, both have their page.
        metrics_port=0,
    )


def _own_name() -> list[str]:
    """The machine's name, if a certificate can say it."""
    name = socket.gethostname().lower()
    fits = 0 < len(name) <= 253 and all(part.isalnum() or part in "-." for part in name)
    return [name] if fits and name.isascii() and name != "localhost" else []


def main() -> None:
    """Write the settings, and renew certificates, as this code wants them."""
    parser = argparse.ArgumentParser(prog="python -m dormouse.cli.roles")
    parser.add_argument("wiring", type=Path, help="what the supervisor has written")
    wiring = config.load(Wiring, parser.parse_args().wiring)
    prepare_certificates(
        wiring.folder,
        SystemClock(),
        api_names=wiring.api_names,
        api_addresses=wiring.api_addresses,
    )
    write_settings(wiring)


if __name__ == "__main__":
    main()
