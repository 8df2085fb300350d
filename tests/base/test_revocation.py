"""Pods that are revoked: their calls are refused and their streams cut, in servers as in files."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.authority import Authority
from dormouse.base.clock import SystemClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.revocation import FILE, Revocations, read_text, write_text
from dormouse.base.rpc import Access, make_channel, make_server
from dormouse.base.tls import Credentials, Identity, Role
from proto.control_pb2 import SpendLeave, UsageAck, UsageReport, WatchSpendingRequest
from proto.control_pb2_grpc import ControlServicer, ControlStub, add_ControlServicer_to_server
from tests.support.waiting import until

TENANT, POD = TenantId(17), PodId(2**64 - 2)
_TENANTS = Access(tenant_field="tenant_id")
ACCESS = {
    f"/dormouse.control.v1.Control/{method}": _TENANTS
    for method in ("ReportUsage", "WatchSpending")
}


class _Control(ControlServicer):
    """Acknowledges, and streams without an end."""

    def __init__(self) -> None:
        self.streams = 0

    async def ResolveTenant(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    IssuePod = RenewPod = ReportStatements = ResolveTenant
    WatchTenants: Any = ResolveTenant

    async def ReportUsage(self, request: UsageReport, context: Any) -> UsageAck:  # noqa: N802
        return UsageAck(sequence=1)

    async def WatchSpending(  # noqa: N802
        self, request: WatchSpendingRequest, context: Any
    ) -> AsyncIterator[SpendLeave]:
        self.streams += 1
        try:
            while True:
                yield SpendLeave(ceiling_micro_units=1)
                await asyncio.sleep(0.01)
        finally:
            self.streams -= 1


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[_Control, str, Revocations, Authority]]:
    authority = Authority.open(folder / "authority", SystemClock())
    authority.ensure_role(folder, Role.CONTROL)
    revocations = Revocations(folder)
    control, server = _Control(), make_server(ACCESS, revocations)
    add_ControlServicer_to_server(control, server)
    credentials = Credentials.read(folder, "control").for_grpc_server()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield control, f"127.0.0.1:{port}", revocations, authority
    finally:
        await server.stop(None)


@asynccontextmanager
async def _calling(
    address: str, authority: Authority, pod: PodId, tenant: TenantId = TENANT
) -> AsyncIterator[Any]:
    key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = authority.issue_pod(tenant, public, days=1, pod=pod)
    credentials = Credentials(private, certificate, authority.certificate_pem)
    async with make_channel(address, credentials, Identity(role=Role.CONTROL)) as channel:
        yield ControlStub(channel)


def _revoke(folder: Path, *pods: tuple[TenantId, PodId]) -> None:
    (folder / "next").write_text(write_text(list(pods)))
    (folder / "next").rename(folder / FILE)


async def _code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


def test_a_revoked_pod_is_refused_and_cut_and_the_others_are_not(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            _served(tmp_path) as (control, address, revocations, authority),
            _calling(address, authority, POD) as bad,
            _calling(address, authority, PodId(3)) as good,
        ):
            report = UsageReport(tenant_id=TENANT)
            watch = WatchSpendingRequest(tenant_id=TENANT)
            cut, kept = bad.WatchSpending(watch), good.WatchSpending(watch)
            for stream in (cut, kept):
                assert (await stream.read()).ceiling_micro_units == 1
            assert (await bad.ReportUsage(report)).sequence == 1
            _revoke(tmp_path, (TENANT, POD))
            revocations.look()
            assert await _code(bad.ReportUsage(report)) is grpc.StatusCode.PERMISSION_DENIED
            assert await _code(_to_the_end(cut)) is grpc.StatusCode.PERMISSION_DENIED
            assert await _code(bad.WatchSpending(watch).read()) is grpc.StatusCode.PERMISSION_DENIED
            assert (await good.ReportUsage(report)).sequence == 1
            assert (await kept.read()).ceiling_micro_units == 1
            await until(lambda: control.streams == 1)
            kept.cancel()

    uvloop.run(body())


async def _to_the_end(stream: Any) -> None:
    while isinstance(await stream.read(), SpendLeave):
        pass


def test_another_tenants_pod_of_the_same_number_is_not_meant(tmp_path: Path) -> None:
    async def body() -> None:
        _revoke(tmp_path, (TenantId(18), POD))
        async with (
            _served(tmp_path) as (_, address, revocations, authority),
            _calling(address, authority, POD) as pod,
        ):
            assert len(revocations) == 1
            assert (await pod.ReportUsage(UsageReport(tenant_id=TENANT))).sequence == 1

    uvloop.run(body())


def test_a_role_that_starts_knows_the_list_before_it_answers(tmp_path: Path) -> None:
    assert not Revocations(tmp_path).has(TENANT, POD)
    _revoke(tmp_path, (TENANT, POD))
    revocations = Revocations(tmp_path)
    assert revocations.has(TENANT, POD)
    assert not revocations.has(TENANT, None)
    _revoke(tmp_path)
    revocations.look()
    assert not revocations.has(TENANT, POD)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pods": ["x"]}', '{"pods": ["1/zz"]}'])
def test_a_list_that_cannot_be_read_lets_no_role_start_and_changes_none(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    _revoke(tmp_path, (TENANT, POD))
    revocations = Revocations(tmp_path)
    (tmp_path / "next").write_text(text)
    (tmp_path / "next").rename(tmp_path / FILE)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever json says
        Revocations(tmp_path)
    for _ in range(2):
        revocations.look()
    assert revocations.has(TENANT, POD)
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1


def test_the_list_reads_back() -> None:
    pods = [(TenantId(2), PodId(5)), (TENANT, POD)]
    assert read_text(write_text(pods)) == frozenset(pods)


def test_who_is_watched_is_forgotten_with_its_stream(tmp_path: Path) -> None:
    revocations = Revocations(tmp_path)
    told: list[int] = []
    with revocations.cutting(TENANT, POD, lambda: told.append(1)):
        assert repr(revocations) == "<Revocations pods=0 watched=1>"
        _revoke(tmp_path, (TENANT, POD))
        revocations.look()
        assert told == [1]
    assert repr(revocations) == "<Revocations pods=1 watched=0>"
    with revocations.cutting(TENANT, POD, lambda: told.append(2)):
        assert told == [1, 2]
