"""Control asked as the other roles ask it: over mutual TLS, with their certificates."""

import asyncio
import json
import time
from collections.abc import Sequence

import grpc.aio

from bench.gateway import OwnGateway
from dormouse.base import rpc
from dormouse.base.tls import Credentials, Identity, Role
from proto import control_pb2, control_pb2_grpc

_PROTOCOL_VERSION = 1
_POD_BASE = 1 << 40
"""Pods that no host has ever started have numbers from here."""


def _channel(gateway: OwnGateway, role: Role) -> grpc.aio.Channel:
    wiring = json.loads((gateway.folder / "run" / "wiring.json").read_text(encoding="utf-8"))
    credentials = Credentials.read(gateway.folder / "certificates", str(role))
    address = f"127.0.0.1:{wiring['internal_ports']['control']}"
    return rpc.make_channel(address, credentials, Identity(role=Role.CONTROL))


def resolve_ms(gateway: OwnGateway, tenants: Sequence[tuple[int, str]]) -> list[float]:
    """How long control takes to tell the proxy a tenant, each of them asked for once."""

    async def ask() -> list[float]:
        found = []
        async with _channel(gateway, Role.PROXY) as channel:
            stub = control_pb2_grpc.ControlStub(channel)
            for number, name in tenants:
                request = control_pb2.ResolveTenantRequest(
                    protocol_version=_PROTOCOL_VERSION, tenant_id=number, name=name
                )
                started = time.perf_counter()
                await stub.ResolveTenant(request)
                found.append((time.perf_counter() - started) * 1000)
        return found

    return asyncio.run(ask())


def reports_per_second(
    gateway: OwnGateway, tenants: Sequence[int], *, pods: int, seconds: float
) -> float:
    """Usage reports that control makes durable a second, of so many pods at a time, each of which
    waits for its answer before it reports again."""

    async def report(stub: "control_pb2_grpc.ControlAsyncStub", index: int, end: float) -> int:
        sent = 0
        while time.perf_counter() < end:
            sent += 1
            request = control_pb2.UsageReport(
                tenant_id=tenants[index % len(tenants)],
                pod_id=_POD_BASE + index,
                sequence=sent,
                sql_cpu_micros=100 * sent,
                read_batches=sent,
                read_requests=3 * sent,
                read_bytes=4096 * sent,
                egress_bytes=512 * sent,
                pod_millis=1000 * sent,
            )
            await stub.ReportUsage(request)
        return sent

    async def all_of_them() -> float:
        async with _channel(gateway, Role.AUTOSCALER) as channel:
            stub: control_pb2_grpc.ControlAsyncStub = control_pb2_grpc.ControlStub(channel)
            started = time.perf_counter()
            counts = await asyncio.gather(
                *(report(stub, index, started + seconds) for index in range(pods))
            )
            return sum(counts) / (time.perf_counter() - started)

    return asyncio.run(all_of_them())
