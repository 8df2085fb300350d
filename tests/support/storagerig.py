"""A storage process on a disk that fails on demand."""

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from dormouse.base.ids import TenantId
from tests.support.certificates import Authority
from tests.support.diskfaults import BadDisk
from tests.support.kv import KvClient
from tests.support.storageprocess import Child, prepare

SHOP = TenantId(7)
POD = 77


@dataclass
class Rig:
    """A folder, the disk under it, and one storage process at a time."""

    folder: Path
    disk: BadDisk
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.authority = prepare(
            self.folder, history_seconds=0.0, collect_seconds=0.1, recovery_window_seconds=0
        )
        self.child = self.start()

    @property
    def file(self) -> Path:
        return self.folder / "data" / "storage.sqlite"

    def start(self) -> Child:
        self.child = Child(self.folder, self.disk.environment)
        return self.child

    def kill(self) -> None:
        self.child.end(signal.SIGKILL)
        self.start()

    def run(self, body: Callable[[KvClient], Awaitable[None]], tenant: TenantId = SHOP) -> None:
        async def whole() -> None:
            async with self.child.storage(self.authority).session(tenant, pod=POD) as client:
                await body(client)

        uvloop.run(whole())

    def metric(self, name: str) -> float:
        """See `StorageForTest.metric`."""
        return self.child.storage(self.authority).metric(name)

    def end(self) -> str:
        """End it in order; what it has logged."""
        code, log = self.child.end(signal.SIGTERM)
        assert code == 0, log
        return log
