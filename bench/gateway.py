"""A gateway of one's own: `dormouse up` in a temporary folder, on free ports, ended for sure."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

T = TypeVar("T")

_START_SECONDS = 90.0
_STOP_SECONDS = 90.0
_CALL_SECONDS = 60.0
_POLL_SECONDS = 0.02


class GatewayError(Exception):
    """The gateway did not come up, did not end, or refused a call."""


class Gateway:
    """A running gateway, reached as anybody reaches it: through its ready file."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.ready = ready
        self.sql_host = str(ready["sql"]["host"])
        self.sql_port = int(ready["sql"]["port"])
        self.ca_file = Path(ready["ca_file"])
        self.api = str(ready["api"])
        self._http = httpx.Client(
            base_url=self.api,
            headers={"Authorization": f"Bearer {ready['admin_key']}"},
            timeout=_CALL_SECONDS,
            # A kept connection would break with a role that a test kills.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca_file)
            if (ca_file := ready.get("api_ca_file"))
            else True,
        )

    def __repr__(self) -> str:
        return f"Gateway({self.api}, sql {self.sql_host}:{self.sql_port})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API with the operator's key; the answer, whatever its status."""
        return self._http.request(method, path, **options)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the API; the decoded answer. Raises GatewayError for a refusal."""
        response = self.request(method, path, **options)
        if not response.is_success:
            raise GatewayError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def create_tenant(self, name: str) -> dict[str, Any]:
        """A new tenant, with its password and connection URLs."""
        tenant: dict[str, Any] = self.call("POST", "/v1/tenants", json={"name": name})
        return tenant

    def tenant(self, tenant_id: int) -> dict[str, Any]:
        """How a tenant is just now."""
        tenant: dict[str, Any] = self.call("GET", f"/v1/tenants/{tenant_id}")
        return tenant

    def change(self, tenant_id: int, **settings: Any) -> None:
        """Change settings of a tenant."""
        self.call("PATCH", f"/v1/tenants/{tenant_id}/settings", json=settings)

    def suspend(self, tenant_id: int) -> None:
        """Put a tenant to sleep."""
        self.call("POST", f"/v1/tenants/{tenant_id}/suspend")

    def delete(self, tenant_id: int) -> None:
        """Delete a tenant, and its data at once."""
        self.call("DELETE", f"/v1/tenants/{tenant_id}?purge=true")

    def roles(self) -> dict[str, dict[str, Any]]:
        """Every role with its pid and state."""
        roles: dict[str, dict[str, Any]] = self.call("GET", "/v1/status")["roles"]
        return roles


class OwnGateway(Gateway):
    """A gateway that this process started; it also knows its folder and process."""

    def __init__(
        self, ready: Mapping[str, Any], folder: Path, process: subprocess.Popen[bytes]
    ) -> None:
        super().__init__(ready)
        self.folder = folder
        self.process = process

    def pid(self, role: str) -> int:
        """The process of a role; 0 while it does not run."""
        entry = self._roles_on_disk()[role]
        return int(entry["pid"]) if entry["state"] == "running" else 0

    def metrics(self, role: str) -> str:
        """The address of a role's metrics page, the last one while it does not run."""
        return str(self._roles_on_disk()[role]["metrics"])

    def kill_role(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a role and wait until it answers under a new pid, which is returned."""
        before = int(self._roles_on_disk()[name]["pid"])
        os.kill(before, number)

        def came_back() -> int | None:
            role = self._roles_on_disk()[name]
            fresh = role["state"] == "running" and role["pid"] != before
            return int(role["pid"]) if fresh else None

        return wait_for(came_back, seconds=_START_SECONDS, what=f"{name} to come back")

    def upgrade(self, *roles: str, timeout: float = 300.0) -> dict[str, Any]:
        """`dormouse upgrade` of these roles, or of those it takes by itself; what it reports.

        Raises GatewayError if it fails.
        """
        command = [
            *(sys.executable, "-m", "dormouse.cli.main", "upgrade", "--json"),
            *("--data", str(self.folder), "--timeout", f"{timeout:g}"),
            *(word for role in roles for word in ("--role", role)),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout + 30
        )
        if done.returncode != 0:
            raise GatewayError(f"dormouse upgrade: {done.stdout}{done.stderr}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def stop(self) -> int:
        """End the gateway as Ctrl-C would; its exit code. Raises GatewayError if it hangs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise GatewayError(f"the gateway did not end in {_STOP_SECONDS:g} s") from error

    def _roles_on_disk(self) -> dict[str, dict[str, Any]]:
        # Not through the API: its role may be the one that was killed.
        text = (self.folder / "run" / "status.json").read_text(encoding="utf-8")
        roles: dict[str, dict[str, Any]] = json.loads(text)["roles"]
        return roles


def wait_for(probe: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """The first truthy answer of `probe`; GatewayError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(_POLL_SECONDS)
    raise GatewayError(f"waited {seconds:g} s for {what}")


@contextmanager
def own_gateway(
    folder: Path,
    *,
    idle_timeout: float = 300.0,
    warm_pods: int = 2,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[OwnGateway]:
    """Start a gateway with its data in `folder`; it has ended when the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    ready_file, output = folder / "ready-file.json", folder / "up.log"
    ready_file.unlink(missing_ok=True)  # of a gateway that was killed here
    command = [
        *(sys.executable, "-m", "dormouse.cli.main", "up"),
        *("--data", str(folder), "--ready-file", str(ready_file)),
        *("--sql-port", "0", "--api-port", "0"),
        *("--idle-timeout", f"{idle_timeout:g}", "--warm-pods", str(warm_pods)),
        *arguments,
    ]
    with output.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(environment or {})},
        )

    def answered() -> bool:
        if process.poll() is not None:
            raise GatewayError(f"`dormouse up` ended at once:\n{output.read_text()}")
        return ready_file.exists()

    try:
        wait_for(answered, seconds=_START_SECONDS, what=f"the gateway, see {output}")
        ready = json.loads(ready_file.read_text(encoding="utf-8"))
        with OwnGateway(ready, folder, process) as gateway:
            yield gateway
            gateway.stop()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
