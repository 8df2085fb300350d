"""Certificates that change while servers and channels are open."""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from dormouse.base import channels, renewal
from dormouse.base.clock import ManualClock
from dormouse.base.renewal import CertificateFiles, LiveCredentials, switching
from dormouse.base.rpc import Access, caller, make_channel, make_server
from dormouse.base.tls import Credentials, Identity, Role
from proto.pod_pb2 import StatusReply, StatusRequest
from proto.pod_pb2_grpc import PodServicer, PodStub, add_PodServicer_to_server
from tests.support.certificates import Authority

POD, CALLER = Identity(role=Role.POD), Identity(role=Role.AUTOSCALER)
ACCESS = {"/dormouse.pod.v1.Pod/Status": Access(frozenset({Role.AUTOSCALER, Role.CONTROL}))}


class _Pod(PodServicer):
    """Has a Status, which may take its time, and nothing else."""

    async def Stamp(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    Drain = TakeBack = SetOwner = Renew = Stamp

    def __init__(self) -> None:
        self.callers: list[Identity | None] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def Status(self, request: StatusRequest, context: Any) -> StatusReply:  # noqa: N802
        self.callers.append(caller(context))
        await self.may_answer.wait()
        return StatusReply(protocol_version=1)


@asynccontextmanager
async def _served(live: LiveCredentials) -> AsyncIterator[tuple[_Pod, str]]:
    pod, server = _Pod(), make_server(ACCESS)
    add_PodServicer_to_server(pod, server)
    port = server.add_secure_port("127.0.0.1:0", live.for_grpc_server())
    await server.start()
    try:
        yield pod, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def _calls(address: str, credentials: Credentials) -> bool:
    async with make_channel(address, credentials, POD) as channel:
        try:
            await PodStub(channel).Status(StatusRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True


async def _heard(pod: _Pod, calls: int) -> None:
    for _ in range(1000):
        if len(pod.callers) >= calls:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never called")


def _both(one: Authority, other: Authority, identity: Identity) -> Credentials:
    """A certificate of `one`; both are trusted."""
    own = one.credentials(identity)
    return Credentials(own.key, own.certificate, one.pem + other.pem)


def test_a_server_changes_its_certificate_and_whom_it_trusts() -> None:
    async def body() -> None:
        old, new = Authority("old"), Authority("new")
        live = LiveCredentials(old.credentials(POD))
        async with _served(live) as (_, address):
            before, after = old.credentials(CALLER), new.credentials(CALLER)
            trusts_both = _both(new, old, CALLER)
            assert await _calls(address, before)
            assert not await _calls(address, trusts_both)
            live.replace(_both(old, new, POD))
            assert await _calls(address, trusts_both)
            assert await _calls(address, before)
            live.replace(new.credentials(POD))
            assert await _calls(address, after)
            assert not await _calls(address, _both(old, new, CALLER)), "the old one is refused"

    uvloop.run(body())


def test_a_channel_changes_its_certificate_and_open_calls_go_on() -> None:
    async def body() -> None:
        authority = Authority()
        async with _served(LiveCredentials(authority.credentials(POD))) as (pod, address):
            live = LiveCredentials(authority.credentials(CALLER))
            async with make_channel(address, live, POD) as channel:
                stub = PodStub(channel)
                await stub.Status(StatusRequest())
                pod.may_answer.clear()
                slow = stub.Status(StatusRequest())
                await _heard(pod, 2)
                live.replace(authority.credentials(Identity(role=Role.CONTROL)))
                quick = stub.Status(StatusRequest())
                await _heard(pod, 3)
                assert repr(channel) == "<LiveChannel version=1 retired=1>"
                pod.may_answer.set()
                assert (await slow).protocol_version == 1
                assert (await quick).protocol_version == 1
            assert [each and each.role for each in pod.callers] == [
                Role.AUTOSCALER,
                Role.AUTOSCALER,
                Role.CONTROL,
            ]

    uvloop.run(body())


def test_older_channels_are_bounded() -> None:
    async def body() -> None:
        authority = Authority()
        async with _served(LiveCredentials(authority.credentials(POD))) as (pod, address):
            live = LiveCredentials(authority.credentials(CALLER))
            pod.may_answer.clear()
            async with make_channel(address, live, POD) as channel:
                stub = PodStub(channel)
                calls = []
                for _ in range(channels.RETIRED_MAX + 2):
                    calls.append(stub.Status(StatusRequest()))
                    await _heard(pod, len(calls))
                    live.replace(authority.credentials(CALLER))
                last = stub.Status(StatusRequest())
                with pytest.raises(asyncio.CancelledError):
                    await calls[0]
                pod.may_answer.set()
                await asyncio.gather(last, *calls[-channels.RETIRED_MAX :])

    uvloop.run(body())


def test_a_listener_that_keeps_its_context_still_changes() -> None:
    async def body() -> None:
        old, new = Authority("old"), Authority("new")
        live = LiveCredentials(old.credentials(POD))

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"!")
            writer.close()

        context = switching(live.tls_server, lambda: live.tls_server)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]

        async def talks(credentials: Credentials) -> bool:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    port,
                    ssl=credentials.for_tls_client(),
                    server_hostname=POD.server_name,
                )
                try:
                    return await reader.read(1) == b"!"
                finally:
                    writer.close()
            except (ssl.SSLError, ConnectionError):
                return False

        async with server:
            assert await talks(old.credentials(CALLER))
            assert not await talks(_both(new, old, CALLER))
            live.replace(_both(new, old, POD))
            assert await talks(_both(new, old, CALLER))
            assert await talks(_both(old, new, CALLER))
            live.replace(new.credentials(POD))
            assert await talks(new.credentials(CALLER))
            assert not await talks(_both(old, new, CALLER)), "the old one is refused"

    uvloop.run(body())


def _file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # two writes within one tick of the clock


def test_files_are_used_when_they_fit_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    authority.write(tmp_path, CALLER)
    files, live = CertificateFiles.of(tmp_path, "autoscaler", ManualClock())
    files.look()
    assert live.version == 1  # its first reading
    before = live.current
    other = authority.credentials(CALLER)
    _file(tmp_path / "autoscaler.key", other.key)
    files.look()
    files.look()
    assert live.current == before
    refusals = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(refusals) == 1
    _file(tmp_path / "autoscaler.crt", other.certificate)
    files.look()
    assert live.current.certificate == other.certificate
    (tmp_path / "ca.crt").unlink()
    files.look()
    assert live.current.certificate == other.certificate


def test_an_end_that_nobody_seems_to_prevent_is_warned_of_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Authority().write(tmp_path, CALLER)  # it lives for a day
    clock = ManualClock()
    files, _ = CertificateFiles.of(tmp_path, "autoscaler", clock)
    end = files.expiry.timestamp()
    clock.advance(end - clock.wall_ns() / 1e9 - (renewal.WARN_DAYS + 1) * 86_400)
    files.look()
    assert not caplog.records
    clock.advance(2 * 86_400)
    for _ in range(3):
        files.look()
    assert [each.message for each in caplog.records] == ["a certificate ends soon"]
    clock.advance(86_400)
    files.look()
    assert len(caplog.records) == 2
