"""The storage role: brings a shard and its gRPC server up, and down in order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from dormouse.base import metrics
from dormouse.base.clock import SystemClock
from dormouse.base.renewal import CertificateFiles
from dormouse.base.revocation import Revocations
from dormouse.base.role import Ready, Service
from dormouse.base.rpc import make_server
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.config import StorageSettings
from storage.engines.interface import Engine
from storage.engines.memory import MemoryEngine
from storage.engines.sqlite import SqliteEngine
from storage.handshakes import Handshakes
from storage.metrics import LOG_BYTES
from storage.service import ACCESS, AdminService, KvService
from storage.shard import Retention, Shard

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serve(settings: StorageSettings) -> AsyncIterator[Service]:
    """Run storage; its ready line has `address` (host:port), `metrics` (a URL) and `kv_protocol`,
    the version that it speaks with pods.

    At the end commits that are on their way are made durable and answered, then the streams end.
    Where the engine is lost they end without an answer.
    """
    engine = await open_engine(settings)
    try:
        shard = await Shard.open(
            engine,
            clock=SystemClock(),
            limits=settings.limits,
            readers=settings.readers,
            retention=Retention(
                history_seconds=settings.history_seconds,
                window_seconds=settings.recovery_window_seconds,
                hold_seconds=settings.hold_seconds,
                record_seconds=settings.record_seconds,
                collect_seconds=settings.collect_seconds,
                measure_seconds=settings.measure_seconds,
            ),
        )
        try:
            async with _serving(shard, settings) as ready:
                yield Service(ready=ready, failed=engine.lost)
        finally:
            await shard.close()
    finally:
        await engine.close()


@asynccontextmanager
async def _serving(shard: Shard, settings: StorageSettings) -> AsyncIterator[Ready]:
    revocations = Revocations(settings.certs)
    server = make_server(ACCESS, revocations)
    handshakes = Handshakes(SystemClock(), patience_seconds=settings.handshake_seconds)
    kv_pb2_grpc.add_KvServicer_to_server(KvService(shard, handshakes), server)
    kv_pb2_grpc.add_StorageAdminServicer_to_server(AdminService(shard, handshakes), server)
    files, credentials = CertificateFiles.of(settings.certs, "storage")
    port = server.add_secure_port(
        f"{settings.host}:{settings.port}", handshakes.credentials(credentials)
    )
    metrics_port, metrics_server = metrics.serve(settings.host, settings.metrics_port)
    await server.start()
    expiring = spawn(_expire(handshakes, settings.handshake_seconds / 2), name="handshakes")
    watching = spawn(files.watch(), name="watch-certificates")
    refusing = spawn(revocations.watch(), name="watch-revocations")
    try:
        yield {
            "address": f"{settings.host}:{port}",
            "metrics": f"http://{settings.host}:{metrics_port}/metrics",
            "kv_protocol": int(kv.PROTOCOL_VERSION),
        }
    finally:
        await cancel(expiring, watching, refusing)
        shard.end_sessions("storage is ending")
        await server.stop(settings.grace_seconds)
        metrics.stop(metrics_server)


async def _expire(handshakes: Handshakes, pause_seconds: float) -> None:
    while True:
        await asyncio.sleep(pause_seconds)
        handshakes.expire()


async def open_engine(settings: StorageSettings) -> Engine:
    """The engine the settings name. Raises EngineError."""
    if settings.engine == "memory":
        return MemoryEngine()
    if settings.engine == "slatedb":
        from storage.engines.slatedb import SlateEngine  # 18 MB that only its users need

        return await SlateEngine.open(settings.objects)
    _make_folder(settings.data)
    LOG_BYTES.set_function(partial(_size_of, settings.data / "storage.sqlite-wal"))
    return await SqliteEngine.open(
        settings.data / "storage.sqlite",
        readers=settings.readers,
        cache_bytes=settings.page_cache_bytes,
        mmap_bytes=settings.mmap_bytes,
    )


def _size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
