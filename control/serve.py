"""Brings control up: registry, authority, gRPC service, HTTP API, in this order, and down again."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.types import ASGIApp

from control.api.app import make_app
from control.api.routes import make_router
from control.api.server import Limits, serve_http
from control.api.tls import ApiTls, refuse_exposed
from control.authority import Authority
from control.config import ControlSettings
from control.database import Database, open_database
from control.housekeeping import compact_forever
from control.invoices.closing import Closing, Terms
from control.invoices.drafts import Drafts
from control.invoices.seller import Seller
from control.ledger import Ledger
from control.peers import Peers
from control.prices import read_book
from control.rpc import ACCESS, ControlService
from control.services import Services, Stores
from control.spending.service import Spending
from control.statements import StatementLedger
from control.status import StatusFile
from control.storage_sampling import StorageLevels, sample_forever
from control.urls import Endpoint
from control.usage import UsageReader
from control.watchers import Watchers
from control.webhooks.run import sending
from dormouse.base import metrics, rpc, tasks
from dormouse.base.clock import SystemClock
from dormouse.base.renewal import CertificateFiles, LiveCredentials
from dormouse.base.revocation import Revocations
from dormouse.base.role import Service
from dormouse.base.tls import Identity, Role
from proto import control_pb2_grpc

_GRACE_SECONDS = 5
_RESOLVE_SECONDS = 1.0
_BACKLOG = 1024


@contextlib.asynccontextmanager
async def serve(settings: ControlSettings) -> AsyncIterator[Service]:
    """Run control; yields where it answers."""
    _take_all_descriptors()
    clock = SystemClock()
    files, credentials = CertificateFiles.of(settings.certs, str(Role.CONTROL))
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(settings.registry, settings.authority / "secrets.keys")
        )
        stores = Stores.over(database, clock)
        levels = StorageLevels(database, clock)
        usage = UsageReader(database, levels, read_book(settings.price_book), clock)
        spending = Spending.over(stores, usage, clock)
        await spending.start()
        ledger = Ledger(database, clock, spending.booked)
        statements = StatementLedger(database, clock)
        await _take_admin_key(settings, stores)
        watchers = Watchers()
        authority = Authority.open(settings.authority, clock)
        revocations = Revocations(settings.certs)
        service = ControlService(
            registry=stores.registry,
            ledger=ledger,
            authority=authority,
            watchers=watchers,
            spending=spending,
            statements=statements,
            pod_certificate_days=settings.pod_certificate_days,
            revocations=revocations,
        )
        watching = tasks.spawn(files.watch(), name="watch certificates")
        refusing = tasks.spawn(revocations.watch(), name="watch revocations")
        stack.push_async_callback(tasks.cancel, watching, refusing)
        await stack.enter_async_context(_grpc(settings, credentials, service, revocations))
        # Before the server ends: it would wait for streams that have no end of their own.
        stack.callback(watchers.close)
        await stack.enter_async_context(spending.working())
        peers = await stack.enter_async_context(_peers(settings, credentials))
        services = Services.over(
            stores,
            peers=peers,
            watchers=watchers,
            settings=settings,
            clock=clock,
            authority=authority,
        )
        services.revoking.own = revocations
        await stack.enter_async_context(_background(services))
        await stack.enter_async_context(_invoicing(settings, stores, usage))
        await stack.enter_async_context(sending(database, stores, settings, clock))
        pause = settings.storage_sample_seconds
        stack.push_async_callback(
            tasks.cancel,
            tasks.spawn(sample_forever(levels, peers, pause), name="storage samples"),
            tasks.spawn(_compact_forever(settings, ledger, statements), name="compact the ledger"),
            tasks.spawn(services.quotas.tell_forever(pause), name="storage limits"),
        )
        router = make_router(
            services=services,
            settings=settings,
            endpoint=await _endpoint(settings),
            status_file=StatusFile(settings.status_file),
            clock=clock,
            usage=usage,
            spending=spending,
            statements=statements,
        )
        yield await stack.enter_async_context(_front(settings, router, stores, files))


@contextlib.asynccontextmanager
async def _front(
    settings: ControlSettings, router: APIRouter, stores: Stores, files: CertificateFiles
) -> AsyncIterator[Service]:
    """The HTTP API, and the page of metrics."""
    clock = SystemClock()

    async def is_ready() -> bool:
        return await _answers(stores.database)

    app = make_app(settings, router=router, stores=stores, clock=clock, is_ready=is_ready)
    tls = _api_tls(settings)
    sockets = _listeners(settings, has_tls=tls is not None)
    api_port = int(sockets[0].getsockname()[1])
    async with _http(settings, app, sockets, tls):
        metrics_port, _ = metrics.serve(settings.metrics_host, settings.metrics_port)
        ready = {
            "api": f"{'http' if tls is None else 'https'}://{settings.api_host}:{api_port}",
            "rpc": settings.rpc_address,
            "metrics": f"http://{settings.metrics_host}:{metrics_port}/metrics",
        }
        yield Service(ready=ready, reload=lambda: _look(files, tls))


async def _take_admin_key(settings: ControlSettings, stores: Stores) -> None:
    if settings.admin_key_hash:
        key_hash = bytes.fromhex(settings.admin_key_hash)
        await stores.keys.add_admin_hash(key_hash, label="operator")


async def _compact_forever(
    settings: ControlSettings, ledger: Ledger, statements: StatementLedger
) -> None:
    await compact_forever(
        ledger,
        statements,
        entries_days=settings.usage_entries_days,
        hours_days=settings.usage_hours_days,
    )


@contextlib.asynccontextmanager
async def _background(services: Services) -> AsyncIterator[None]:
    """What goes on without being asked; uses of keys are written down at the end."""
    await services.stores.operations.fail_interrupted()
    deleting = tasks.spawn(services.deletion.work_forever(), name="delete and purge tenants")
    tidying = tasks.spawn(services.upkeep.tidy_forever(), name="upkeep")
    telling = tasks.spawn(services.owner_news.work_forever(), name="tell owners' news")
    sealing = tasks.spawn(services.sealing.look_forever(), name="seal anew")
    revoking = tasks.spawn(services.revoking.work_forever(), name="revoked pods")
    keeping = tasks.spawn(services.steward.work_forever(), name="keep certificates")
    try:
        yield
    finally:
        await tasks.cancel(deleting)
        await tasks.cancel(tidying, telling, sealing, keeping, revoking)
        await services.stores.keys.write_uses()


@contextlib.asynccontextmanager
async def _invoicing(
    settings: ControlSettings, stores: Stores, usage: UsageReader
) -> AsyncIterator[None]:
    """Months are closed while control runs."""
    closing = Closing(
        Drafts(stores.database, usage.clock, book=usage.book, seller=Seller.of(settings)),
        journal=stores.journal,
        events=stores.events,
        terms=Terms(
            settle_seconds=int(settings.invoice_settle_hours * 3600),
            number_prefix=settings.invoice_number_prefix,
        ),
    )
    task = tasks.spawn(closing.close_forever(settings.invoice_check_seconds), name="close invoices")
    try:
        yield
    finally:
        await tasks.cancel(task)


@contextlib.asynccontextmanager
async def _grpc(
    settings: ControlSettings,
    credentials: LiveCredentials,
    service: ControlService,
    revocations: Revocations,
) -> AsyncIterator[None]:
    server = rpc.make_server(ACCESS, revocations)
    control_pb2_grpc.add_ControlServicer_to_server(service, server)
    server.add_secure_port(settings.rpc_address, credentials.for_grpc_server())
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)


@contextlib.asynccontextmanager
async def _peers(settings: ControlSettings, credentials: LiveCredentials) -> AsyncIterator[Peers]:
    async with (
        rpc.make_channel(
            settings.autoscaler_address, credentials, Identity(role=Role.AUTOSCALER)
        ) as autoscaler,
        rpc.make_channel(
            settings.storage_address, credentials, Identity(role=Role.STORAGE)
        ) as storage,
    ):
        yield Peers(
            autoscaler=autoscaler,
            storage=storage,
            picture_timeout_seconds=settings.peer_timeout_seconds,
        )


@contextlib.asynccontextmanager
async def _http(
    settings: ControlSettings, app: ASGIApp, sockets: list[socket.socket], tls: ApiTls | None
) -> AsyncIterator[None]:
    limits = Limits(
        connections_max=settings.connections_max,
        connections_per_address=settings.connections_per_address,
        handshake_seconds=settings.handshake_seconds,
        head_seconds=settings.head_seconds,
        unread_seconds=settings.unread_seconds,
    )
    watching = tasks.spawn(tls.watch(), name="API certificate") if tls is not None else None
    try:
        async with serve_http(app, sockets, limits=limits, tls=tls):
            yield
    finally:
        await tasks.cancel(watching)


async def _look(files: CertificateFiles, tls: ApiTls | None) -> None:
    """Use certificates that were replaced, at once."""
    await asyncio.to_thread(files.look)
    if tls is not None:
        await tls.reload()


def _api_tls(settings: ControlSettings) -> ApiTls | None:
    if settings.api_certificate is None or settings.api_private_key is None:
        return None
    return ApiTls(settings.certs, settings.api_certificate, settings.api_private_key, SystemClock())


def _listeners(settings: ControlSettings, *, has_tls: bool) -> list[socket.socket]:
    sockets = [socket.socket(fileno=number) for number in settings.api_fds]
    if not sockets:
        family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
        address = (settings.api_host, settings.api_port)
        sockets = [socket.create_server(address, family=family, backlog=_BACKLOG)]
    addresses = [str(each.getsockname()[0]) for each in sockets]
    refuse_exposed(addresses, has_tls=has_tls, is_insecure=settings.api_insecure)
    return sockets


def _take_all_descriptors() -> None:
    """A connection is one: the system's usual limit is for programs that need few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _endpoint(settings: ControlSettings) -> Endpoint:
    unresolved = settings.sql_domain.endswith("localhost") and not await _resolves(
        f"any.{settings.sql_domain}"
    )
    return Endpoint(
        host=settings.sql_host,
        port=settings.sql_port,
        domain=settings.sql_domain,
        ca_file=settings.ca_file,
        host_address="127.0.0.1" if unresolved else None,
    )


async def _resolves(host: str) -> bool:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            return bool(await loop.getaddrinfo(host, None))
    except (OSError, TimeoutError):
        return False


async def _answers(database: Database) -> bool:
    return await database.read_one("SELECT 1") is not None
