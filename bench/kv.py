"""Storage by itself: a process of its own, and a plain client that speaks proto/kv.proto to it.

`python -m bench.kv` reads what to do as one JSON line and loads storage until it is killed: that is
the noisy neighbour.
"""

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.kvstream import KvStream
from bench.priority import giving_way
from control.authority import Authority
from dormouse.base import config
from dormouse.base.clock import SystemClock
from dormouse.base.ids import TenantId
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Credentials, Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.config import Limits, StorageSettings

_END_SECONDS = 20
_pods = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a tenant's client needs; fits into a line of JSON."""

    number: int
    address: str
    key: str
    certificate: str
    authority: str

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Client"]:
        """A stream of this tenant's."""
        credentials = Credentials(
            key=self.key.encode(),
            certificate=self.certificate.encode(),
            authority=self.authority.encode(),
        )
        storage = Identity(role=Role.STORAGE)
        async with make_channel(self.address, credentials, storage) as channel:
            pod = os.getpid() << 20 | next(_pods)
            client = await Client(kv_pb2_grpc.KvStub(channel), TenantId(self.number), pod).open()
            try:
                yield client
            finally:
                await client.close()


@dataclass(frozen=True, slots=True)
class Storage:
    """A running storage process."""

    address: str
    issuer: Authority

    def tenant(self, number: int) -> Tenant:
        """A tenant with a fresh certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificate = self.issuer.issue_pod(TenantId(number), public, days=1)
        return Tenant(
            number,
            self.address,
            private.decode(),
            certificate.decode(),
            self.issuer.certificate_pem.decode(),
        )


@contextmanager
def storage_process(folder: Path, *, fair: bool = True) -> Iterator[Storage]:
    """Storage on an empty SQLite file below `folder`."""
    certs = folder / "certs"
    certs.mkdir(parents=True)
    issuer = Authority.open(folder / "authority", SystemClock())
    issuer.ensure_role(certs, Role.STORAGE)
    settings = StorageSettings(data=folder / "data", certs=certs, limits=Limits(fair=fair))
    config.dump(settings, folder / "storage.json")
    read_fd, write_fd = os.pipe()
    with (folder / "storage.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "storage", "--config", str(folder / "storage.json")),
                *("--ready-fd", str(write_fd)),
            ],
            pass_fds=[write_fd],
            stderr=log,
        )
    os.close(write_fd)
    try:
        with os.fdopen(read_fd) as pipe:
            ready = json.loads(pipe.readline())
        yield Storage(ready["address"], issuer)
    finally:
        process.terminate()
        process.wait(_END_SECONDS)


class Client(KvStream):
    """A stream that asks for what is measured."""

    async def get(self, keys: Sequence[bytes]) -> None:
        """Read keys."""
        await self.send(get=kv.Get(keys=self.keys(keys)))

    async def put(self, rows: Mapping[bytes, bytes]) -> None:
        """Commit rows."""
        await self.send(txn=next(self._ids), commit=kv.Commit(writes=self.writes(rows)))

    async def scan(self, start: bytes, end: bytes, *, rows: int = 0) -> int:
        """Read a range, all of it or its first rows; bytes of keys and values."""
        low, high, size = self.prefix + start, self.prefix + end, 0
        while True:
            scan = kv.Scan(start=low, end=high, rows_max=rows, strip=len(self.prefix))
            page = await self.send(scan=scan)
            size += len(page.keys) + len(page.values)
            if rows or not page.resume:
                return size
            low = page.resume


NOISES = ("commits", "reads", "scans")
LITTLE = "little"
"""No noise: a read now and then, of somebody whom noise has to give way to."""
_STREAMS, _EACH, _NOISY_ROWS = 4, 16, 20_000
_PAUSE_SECONDS = 0.02


@contextmanager
def noise(tenant: Tenant, kind: str) -> Iterator[None]:
    """A process that keeps 64 requests of one kind (NOISES) on their way, or is LITTLE.

    It gives way to all others on this machine (bench/priority.py): its pods would be on another
    one, and what is looked for is how storage shares itself out, not how the kernel shares cores.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.kv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise TypeError("no pipes")
    try:
        fields = {name: getattr(tenant, name) for name in Tenant.__slots__}
        process.stdin.write(json.dumps({"kind": kind, "tenant": fields}).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def _make_noise(kind: str, tenant: Tenant) -> None:
    def some(count: int) -> list[bytes]:
        # In order, or two commits would each wait for the other's locks.
        return sorted(b"n%06d" % random.randrange(_NOISY_ROWS) for _ in range(count))

    async def go_on(client: Client) -> None:
        while True:
            if kind == "commits":
                await client.put(dict.fromkeys(some(20), b"z" * 1000))
            elif kind == "reads":
                await client.get(some(100))
            else:
                await client.scan(b"n", b"o")

    async def now_and_then(client: Client) -> None:
        while True:
            await client.get(some(1))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def stream() -> None:
        async with tenant.session() as client:
            await asyncio.gather(*[go_on(client) for _ in range(_EACH)])

    async with tenant.session() as client:
        rows = [b"n%06d" % number for number in range(_NOISY_ROWS)]
        for at in range(0, len(rows), 1000):
            await client.put(dict.fromkeys(rows[at : at + 1000], b"z" * 200))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if kind == LITTLE:
        async with tenant.session() as client:
            await now_and_then(client)
    else:
        await asyncio.gather(*[stream() for _ in range(_STREAMS)])


if __name__ == "__main__":
    giving_way()
    wanted = json.loads(sys.stdin.readline())
    uvloop.run(_make_noise(wanted["kind"], Tenant(**wanted["tenant"])))
