"""The internal service over real mutual TLS: who may ask what, and what they are told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.actor import DEFAULT_ORGANISATION
from control.authority import Authority
from control.current import ASKED_MAX
from control.database import open_database
from control.ledger import Ledger
from control.prices import PriceBook
from control.registry import Draft, Registry
from control.rpc import ACCESS, ControlService
from control.services import Stores
from control.spending.limits import Limit
from control.spending.service import Spending
from control.statements import StatementLedger
from control.storage_sampling import StorageLevels
from control.usage import UsageReader
from control.watchers import Watchers
from dormouse.base import rpc
from dormouse.base.clock import SystemClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.revocation import FILE, Revocations, write_text
from dormouse.base.tls import Credentials, Identity, Role
from proto import control_pb2, control_pb2_grpc
from proto.control_pb2_grpc import ControlStub

_WATCH = control_pb2.WatchTenantsRequest(protocol_version=1)


@dataclass(frozen=True)
class _Service:
    registry: Registry
    authority: Authority
    folder: Path
    port: int
    watchers: Watchers
    spending: Spending

    @asynccontextmanager
    async def as_(self, who: Role | TenantId) -> AsyncIterator["control_pb2_grpc.ControlAsyncStub"]:
        """A stub that calls as a role or as a tenant's pod."""
        if isinstance(who, Role):
            self.authority.ensure_role(self.folder, who)
            credentials = Credentials.read(self.folder, str(who))
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            credentials = Credentials(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
                self.authority.issue_pod(who, _public(key), days=1),
                self.authority.certificate_pem,
            )
        address = f"127.0.0.1:{self.port}"
        async with rpc.make_channel(address, credentials, Identity(role=Role.CONTROL)) as channel:
            yield ControlStub(channel)


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _with_service(folder: Path, body: Callable[[_Service], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = SystemClock()
        authority = Authority.open(folder / "authority", clock)
        authority.ensure_role(folder, Role.CONTROL)
        async with open_database(folder / "registry.sqlite") as database:
            stores = Stores.over(database, clock)
            registry = stores.registry
            watchers = Watchers()
            usage = UsageReader(database, StorageLevels(database, clock), PriceBook(), clock)
            spending = Spending.over(stores, usage, clock)
            await spending.start()
            server = rpc.make_server(ACCESS)
            control_pb2_grpc.add_ControlServicer_to_server(
                ControlService(
                    registry=registry,
                    ledger=Ledger(database, clock, spending.booked),
                    authority=authority,
                    watchers=watchers,
                    spending=spending,
                    statements=StatementLedger(database, clock),
                    pod_certificate_days=7,
                    revocations=Revocations(folder),
                ),
                server,
            )
            credentials = Credentials.read(folder, "control")
            port = server.add_secure_port("127.0.0.1:0", credentials.for_grpc_server())
            await server.start()
            try:
                async with spending.working():
                    await body(_Service(registry, authority, folder, port, watchers, spending))
            finally:
                await server.stop(None)

    asyncio.run(run())


async def _code(call: Awaitable[object]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def _add(registry: Registry) -> TenantId:
    tenant = await registry.add(
        name="shop", owner="owner", database="shop", scram_verifier="v", connections_max=9
    )
    return tenant.id


def test_only_the_right_name_resolves(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)

        def ask(number: int, name: str, version: int = 1) -> control_pb2.ResolveTenantRequest:
            return control_pb2.ResolveTenantRequest(
                protocol_version=version, tenant_id=number, name=name
            )

        async with service.as_(Role.PROXY) as proxy:
            found = await proxy.ResolveTenant(ask(tenant, "shop"))
            assert (found.tenant_id, found.name, found.settings.connections_max) == (
                tenant,
                "shop",
                9,
            )
            for other in (
                ask(tenant, "shopp"),
                ask(tenant, ""),
                ask(0, "shop"),
                ask(2**64 - 1, ""),
            ):
                assert await _code(proxy.ResolveTenant(other)) is grpc.StatusCode.NOT_FOUND
            stale = await _code(proxy.ResolveTenant(ask(tenant, "shop", version=2)))
            assert stale is grpc.StatusCode.FAILED_PRECONDITION
            await service.registry.mark_deleted(tenant)
            gone = await _code(proxy.ResolveTenant(ask(tenant, "shop")))
            assert gone is grpc.StatusCode.NOT_FOUND

    _with_service(tmp_path, body)


def test_a_pod_is_renewed_unless_it_is_revoked(tmp_path: Path) -> None:
    # Of the first tenant there will be.
    (tmp_path / FILE).write_text(write_text([(TenantId(1), PodId(5))]))

    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)
        key = _public(ec.generate_private_key(ec.SECP256R1()))

        def request(pod: int) -> control_pb2.RenewPodRequest:
            return control_pb2.RenewPodRequest(tenant_id=tenant, public_key=key, pod_id=pod)

        async with service.as_(Role.AUTOSCALER) as autoscaler:
            reply = await autoscaler.RenewPod(request(6))
            certificate = x509.load_pem_x509_certificate(reply.certificate)
            assert certificate.subject.rfc4514_string() == f"CN={tenant}"
            assert reply.authority == service.authority.certificate_pem
            revoked = await _code(autoscaler.RenewPod(request(5)))
            assert revoked is grpc.StatusCode.FAILED_PRECONDITION
        async with service.as_(Role.PROXY) as proxy:
            refused = await _code(proxy.RenewPod(request(6)))
            assert refused is grpc.StatusCode.PERMISSION_DENIED

    _with_service(tmp_path, body)


def test_a_pod_is_issued_its_tenants_certificate(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)
        key = ec.generate_private_key(ec.SECP256R1())
        request = control_pb2.IssuePodRequest(
            protocol_version=1, tenant_id=tenant, public_key=_public(key)
        )
        async with service.as_(Role.AUTOSCALER) as autoscaler:
            reply = await autoscaler.IssuePod(request)
            certificate = x509.load_pem_x509_certificate(reply.certificate)
            assert certificate.public_key() == key.public_key()
            assert certificate.subject.rfc4514_string() == f"CN={tenant}"
            assert reply.authority == service.authority.certificate_pem
            assert (reply.owner, reply.scram_verifier, reply.database) == ("owner", "v", "shop")
            registered = await service.registry.get(tenant)
            assert registered is not None
            assert len(reply.session_key) == 32
            assert reply.session_key == service.registry.session_key_of(registered)
            bad = control_pb2.IssuePodRequest(protocol_version=1, tenant_id=tenant, public_key=b"x")
            assert await _code(autoscaler.IssuePod(bad)) is grpc.StatusCode.INVALID_ARGUMENT
            await service.registry.mark_deleted(tenant)
            assert await _code(autoscaler.IssuePod(request)) is grpc.StatusCode.NOT_FOUND

    _with_service(tmp_path, body)


def test_settings_are_resolved_and_every_change_is_heard(tmp_path: Path) -> None:
    def change(draft: Draft) -> Draft:
        settings = replace(
            draft.settings,
            idle_timeout_seconds=60,
            pods_min=1,
            pods_max=2,
            allowed_networks=("10.0.0.0/8",),
        )
        return replace(draft, settings=settings)

    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)
        async with service.as_(Role.PROXY) as proxy:
            stream = proxy.WatchTenants(_WATCH)
            assert await stream.read() == control_pb2.TenantChange()
            changed = await service.registry.change(tenant, change, action="test")
            assert changed is not None
            service.watchers.changed(changed.tenant)
            heard = await stream.read()
            assert isinstance(heard, control_pb2.TenantChange)
            request = control_pb2.ResolveTenantRequest(
                protocol_version=1, tenant_id=tenant, name="shop"
            )
            assert heard.tenant == await proxy.ResolveTenant(request)
            assert heard.tenant.settings == control_pb2.TenantSettings(
                connections_max=9,
                idle_timeout_seconds=60,
                pods_min=1,
                pods_max=2,
                allowed_networks=["10.0.0.0/8"],
                version=2,
            )
            gone = TenantId(987)
            anew = proxy.WatchTenants(
                control_pb2.WatchTenantsRequest(
                    protocol_version=1, tenant_ids=[gone, tenant], with_pods_min=True
                )
            )
            assert await anew.read() == control_pb2.TenantChange()
            deleted, asked, kept = [await anew.read() for _ in range(3)]
            assert asked == kept == heard, "it was asked for, and it is never to sleep"
            assert deleted == control_pb2.TenantChange(
                tenant=control_pb2.Tenant(
                    tenant_id=gone, settings=control_pb2.TenantSettings(version=0)
                ),
                deleted=True,
            )
            stale = proxy.WatchTenants(control_pb2.WatchTenantsRequest(protocol_version=2))
            assert await _code(stale.read()) is grpc.StatusCode.FAILED_PRECONDITION
            greedy = control_pb2.WatchTenantsRequest(
                protocol_version=1, tenant_ids=range(ASKED_MAX + 1)
            )
            too_many = await _code(proxy.WatchTenants(greedy).read())
            assert too_many is grpc.StatusCode.INVALID_ARGUMENT
            service.watchers.close()
            assert await _code(stream.read()) is grpc.StatusCode.UNAVAILABLE

    _with_service(tmp_path, body)


@pytest.mark.parametrize("who", [*Role, TenantId(1)], ids=str)
def test_everybody_else_is_refused(tmp_path: Path, who: Role | TenantId) -> None:
    async def body(service: _Service) -> None:
        async with service.as_(who) as stub:
            resolve = await _code(stub.ResolveTenant(control_pb2.ResolveTenantRequest()))
            issue = await _code(stub.IssuePod(control_pb2.IssuePodRequest()))
            report = await _code(stub.ReportUsage(control_pb2.UsageReport(tenant_id=2)))
            watch = await _code(stub.WatchTenants(_WATCH).read())
            spend = control_pb2.WatchSpendingRequest(tenant_id=2, pod_id=1)
            listen = await _code(stub.WatchSpending(spend).read())
            costs = await _code(stub.ReportStatements(control_pb2.StatementReport(tenant_id=2)))
        denied = grpc.StatusCode.PERMISSION_DENIED
        assert (resolve is not denied) == (who in (Role.PROXY, Role.AUTOSCALER))
        assert (issue is not denied) == (who is Role.AUTOSCALER)
        assert (report is not denied) == (who is Role.AUTOSCALER)
        assert (watch is not denied) == (who in (Role.PROXY, Role.AUTOSCALER))
        assert listen is denied, "a pod of tenant 2 alone"
        assert costs is denied, "a pod of tenant 2 alone"

    _with_service(tmp_path, body)


def test_pods_report_for_their_own_tenant(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        async with service.as_(TenantId(7)) as pod:
            report = control_pb2.UsageReport(
                tenant_id=7, pod_id=2**64 - 1, sequence=3, read_bytes=5
            )
            for _ in range(2):
                assert (await pod.ReportUsage(report)).sequence == 3
            wild = control_pb2.UsageReport(tenant_id=7, pod_id=1, sequence=1, read_bytes=2**63)
            assert await _code(pod.ReportUsage(wild)) is grpc.StatusCode.INVALID_ARGUMENT

    _with_service(tmp_path, body)


def test_pods_tell_what_their_statements_cost(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        async with service.as_(TenantId(7)) as pod:
            statement = control_pb2.StatementCost(query_id=1, query="COMMIT", calls=1)
            report = control_pb2.StatementReport(
                tenant_id=7, pod_id=2**64 - 1, sequence=3, statements=[statement]
            )
            for _ in range(2):
                assert (await pod.ReportStatements(report)).sequence == 3
            wild = control_pb2.StatementReport(tenant_id=7, pod_id=1, sequence=2**63)
            assert await _code(pod.ReportStatements(wild)) is grpc.StatusCode.INVALID_ARGUMENT

    _with_service(tmp_path, body)


def test_a_pod_hears_what_it_may_spend(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)
        put, million = service.spending.put, 1_000_000
        request = control_pb2.WatchSpendingRequest(tenant_id=tenant, pod_id=2**64 - 1)
        async with service.as_(tenant) as pod:
            stream = pod.WatchSpending(request)
            free = await stream.read()
            assert isinstance(free, control_pb2.SpendLeave)
            assert (free.state, free.percent) == (control_pb2.SpendLeave.FREE, 0)
            await put(tenant, Limit(monthly_units=50_000), organisation=DEFAULT_ORGANISATION)
            leave = await stream.read()
            assert isinstance(leave, control_pb2.SpendLeave)
            assert leave.number > free.number
            assert leave.state == control_pb2.SpendLeave.OPEN
            assert leave.limit == "50000 request units a month"
            assert 0 < leave.ceiling_micro_units <= 50_000 * million
            assert leave.rate_micro_units > 0
            report = control_pb2.UsageReport(
                tenant_id=tenant,
                pod_id=2**64 - 1,
                sequence=1,
                write_batches=50_000,
                leave=leave.number,
            )
            await pod.ReportUsage(report)
            stopped = await stream.read()
            assert isinstance(stopped, control_pb2.SpendLeave)
            assert (stopped.state, stopped.percent) == (control_pb2.SpendLeave.STOPPED, 100)
            await put(tenant, Limit(), organisation=DEFAULT_ORGANISATION)
            freed = await stream.read()
            assert isinstance(freed, control_pb2.SpendLeave)
            assert freed.state == control_pb2.SpendLeave.FREE
            assert await _code(pod.WatchSpending(request).read()) is grpc.StatusCode.OK
            assert await _code(stream.read()) is grpc.StatusCode.ABORTED, "it listens elsewhere"
            nobody = control_pb2.WatchSpendingRequest(tenant_id=tenant)
            refused = await _code(pod.WatchSpending(nobody).read())
            assert refused is grpc.StatusCode.INVALID_ARGUMENT

    _with_service(tmp_path, body)


def test_a_pod_is_stamped_with_its_leave(tmp_path: Path) -> None:
    async def body(service: _Service) -> None:
        tenant = await _add(service.registry)
        key = _public(ec.generate_private_key(ec.SECP256R1()))

        def ask(pod: int) -> control_pb2.IssuePodRequest:
            return control_pb2.IssuePodRequest(
                protocol_version=1, tenant_id=tenant, public_key=key, pod_id=pod
            )

        async with service.as_(Role.AUTOSCALER) as autoscaler:
            assert (await autoscaler.IssuePod(ask(7))).spending.state == 0
            limit = Limit(monthly_units=1000)
            await service.spending.put(tenant, limit, organisation=DEFAULT_ORGANISATION)
            first = (await autoscaler.IssuePod(ask(8))).spending
            assert (first.state, first.ceiling_micro_units) == (1, 500_000_000)
            second = (await autoscaler.IssuePod(ask(9))).spending
            assert second.ceiling_micro_units <= 500_000_000
            stopped = Limit(monthly_units=0)
            await service.spending.put(tenant, stopped, organisation=DEFAULT_ORGANISATION)
            assert (await autoscaler.IssuePod(ask(10))).spending.state == 3
            assert not (await autoscaler.IssuePod(ask(0))).HasField("spending")

    _with_service(tmp_path, body)
