"""The steward: certificates are renewed, warned of, and rotations come to their end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from control.authority import Authority
from control.operations import Kind
from control.trust import steward as steward_module
from control.trust.rotation import Phase
from control.trust.steward import Steward
from dormouse.base.clock import ManualClock
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Role
from tests.control.support import KEY, FakePeers, Rig, rig_at

START_NS = 1_800_000_000_000_000_000


@dataclass
class World:
    """A control that manages certificates, and its clock."""

    rig: Rig
    clock: ManualClock
    peers: FakePeers
    folder: Path

    @property
    def steward(self) -> Steward:
        return self.rig.services.steward

    async def get(self, path: str) -> Any:
        async with self.rig.client() as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

    async def post(self, path: str, document: object = None) -> Any:
        async with self.rig.client() as client:
            answer = await client.post(path, json=document)
            assert answer.status_code < 300, answer.text
            return answer.json()

    def issuer_of(self, name: str) -> str:
        pem = (self.folder / "certs" / f"{name}.crt").read_bytes()
        return x509.load_pem_x509_certificate(pem).issuer.rfc4514_string()

    def authorities_in(self, file: str) -> int:
        return (self.folder / file).read_bytes().count(b"BEGIN CERTIFICATE")

    async def phase(self) -> str | None:
        rotation = (await self.get("/v1/authority"))["rotation"]
        return rotation["phase"] if rotation else None

    async def ended(self, operation: int) -> str:
        """How it ended; time goes by meanwhile."""
        for _ in range(2000):
            status = str((await self.get(f"/v1/operations/{operation}"))["status"])
            if status != "running":
                return status
            self.clock.advance(1)
            await asyncio.sleep(0.01)
        raise AssertionError("never ended")

    async def settled(self) -> None:
        """The next phase, once roles had their time."""
        await self.steward.step()
        self.clock.advance(11)
        await self.steward.step()


@asynccontextmanager
async def _world(
    folder: Path, peers: FakePeers | None = None, clock: ManualClock | None = None
) -> AsyncIterator[World]:
    clock = clock or ManualClock(wall_ns=START_NS)
    peers = peers or FakePeers()
    authority = Authority.open(folder, clock)
    for role in (Role.CONTROL, Role.PROXY):
        authority.ensure_role(folder / "certs", role)
    authority.ensure_sql(folder / "certs", ["localhost"], [])
    async with rig_at(
        folder,
        peers,
        clock=clock,
        certs=folder / "certs",
        ca_file=folder / "clients.crt",
        manages_certificates=True,
    ) as rig:
        yield World(rig, clock, peers, folder)


def _run(folder: Path, body: Callable[[World], Any]) -> None:
    async def main() -> None:
        async with _world(folder) as world:
            await body(world)

    asyncio.run(main())


def test_a_rotation_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.steward.step()
        old = world.issuer_of("proxy")
        asked = await world.post("/v1/authority/rotate", {"clients_after_seconds": 1000})
        assert (asked["kind"], asked["tenant"], asked["status"]) == ("rotate", None, "running")
        await world.steward.step()
        assert await world.phase() == "introduced"
        assert world.authorities_in("certs/ca.crt") == 2
        assert world.authorities_in("clients.crt") == 2
        assert world.issuer_of("proxy") == old
        await world.settled()
        assert await world.phase() == "reissued"
        assert world.issuer_of("proxy") != old
        assert world.issuer_of("sql") == old
        await world.settled()
        assert await world.phase() == "retired"
        assert world.authorities_in("certs/ca.crt") == 1
        await world.settled()
        assert await world.phase() == "retired", "clients have their time"
        assert world.authorities_in("clients.crt") == 2
        world.clock.advance(1000)
        await world.steward.step()
        assert await world.phase() == "shown"
        assert world.authorities_in("clients.crt") == 2
        assert world.issuer_of("sql") == world.issuer_of("proxy")
        await world.settled()
        assert await world.phase() is None
        assert world.issuer_of("sql") == world.issuer_of("proxy") != old
        assert world.authorities_in("clients.crt") == 1
        done = await world.get(f"/v1/operations/{asked['id']}")
        assert done["status"] == "succeeded"
        (event,) = (await world.get("/v1/events?kind=authority.rotated"))["events"]
        assert len(event["data"]["authority"]) == 64
        (entry,) = [
            each
            for each in (await world.get("/v1/audit"))["entries"]
            if each["action"] == "authority.rotate"
        ]
        assert entry["resource"] == "authority"

    _run(tmp_path, body)


def test_no_phase_is_left_before_every_pod_knows(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.post("/v1/authority/rotate", {"clients_after_seconds": 0})
        world.peers.unrenewed = 1
        await world.settled()
        world.peers.away = True
        await world.settled()
        assert await world.phase() == "introduced"
        world.peers.away, world.peers.unrenewed = False, 0
        told = world.peers.renewals
        await world.steward.step()
        assert await world.phase() == "reissued"
        for _ in range(3):
            await world.steward.step()
        assert world.peers.renewals == told + 2, "each phase is told once"

    _run(tmp_path, body)


@pytest.mark.parametrize("phase", [None, *Phase])
def test_a_control_that_dies_in_a_phase_goes_on_there(
    tmp_path: Path, phase: Phase | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steward_module, "_ROTATING_SECONDS", 0.01)

    async def body() -> None:
        clock = ManualClock(wall_ns=START_NS)
        async with _world(tmp_path, clock=clock) as world:
            asked = await world.post("/v1/authority/rotate", {"clients_after_seconds": 0})
            while phase is not None and await world.phase() != phase:
                await world.settled()
            if phase is None:  # it dies after the last files were written, before anybody was told
                generations = world.steward.authority.generations
                while generations.advance():
                    pass
        async with _world(tmp_path, clock=clock) as world:
            working = spawn(world.steward.work_forever(), name="work")
            status = await world.ended(asked["id"])
            await cancel(working)
            assert status == "succeeded"
            assert len((await world.get("/v1/events?kind=authority.rotated"))["events"]) == 1
            assert world.steward.rotation is None
            assert world.authorities_in("certs/ca.crt") == 1

    asyncio.run(body())


def test_an_operation_that_nothing_came_of_has_failed(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        operations = world.rig.services.stores.operations
        begun = await operations.start(Kind.ROTATE, None)
        working = spawn(world.steward.work_forever(), name="work")
        status = await world.ended(begun.id)
        await cancel(working)
        assert status == "failed"

    _run(tmp_path, body)


def test_asked_again_it_is_the_same_rotation_and_clients_may_be_sooner(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        first = await world.post("/v1/authority/rotate")
        later = (await world.get("/v1/authority"))["rotation"]["clients_at"]
        second = await world.post("/v1/authority/rotate", {"clients_after_seconds": 0})
        assert first == second
        assert (await world.get("/v1/authority"))["rotation"]["clients_at"] < later

    _run(tmp_path, body)


def test_what_ends_soon_is_renewed_and_what_is_not_is_warned_of_once(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.steward.step()
        world.clock.advance(306 * 86_400)
        await world.steward.step()
        certificates = (await world.get("/v1/authority"))["certificates"]
        assert {each["state"] for each in certificates} == {"valid"}
        assert (await world.get("/v1/events?kind=certificate.expiring"))["events"] == []
        # Near the authority's own end nothing can be renewed for longer than that.
        world.clock.advance((3650 - 306 - 20) * 86_400)
        for _ in range(3):
            await world.steward.step()
        shown = await world.get("/v1/authority")
        assert shown["authorities"][0]["state"] == "expiring"
        warned = (await world.get("/v1/status"))["warnings"]
        assert warned[-1].startswith("the certificate ca ends on 2037-01-")
        assert len(warned) == 4
        events = (await world.get("/v1/events?kind=certificate.expiring"))["events"]
        subjects = sorted(each["data"]["subject"] for each in events)
        assert subjects == ["ca", "control", "proxy", "sql"]
        world.clock.advance(15 * 86_400)
        await world.steward.step()
        events = (await world.get("/v1/events?kind=certificate.expiring"))["events"]
        assert len(events) == 8, "once more, a week before the end"

    _run(tmp_path, body)


def test_only_the_operator_sees_and_rotates(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        organisation = await world.post("/v1/organisations", {"name": "acme"})
        key = await world.post(
            "/v1/keys", {"label": "x", "scope": "organisation", "organisation": organisation["id"]}
        )
        rotation = await world.post("/v1/authority/rotate")
        async with world.rig.client(key["key"]) as client:
            assert (await client.get("/v1/authority")).status_code == 403
            assert (await client.post("/v1/authority/rotate")).status_code == 403
            assert (await client.post("/v1/authority/rotate-secrets")).status_code == 403
            assert (await client.get(f"/v1/operations/{rotation['id']}")).status_code == 404
        assert KEY not in str(await world.get("/v1/authority"))

    _run(tmp_path, body)


def test_certificates_of_somebody_else_are_not_rotated(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig_at(tmp_path, FakePeers()) as rig, rig.client() as client:
            answer = await client.post("/v1/authority/rotate")
            assert (answer.status_code, answer.json()["code"]) == (409, "certificates_not_managed")
            assert (await client.get("/v1/authority")).json()["rotation"] is None

    asyncio.run(body())


def test_secrets_are_sealed_under_a_new_key_on_demand(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        before = (await world.get("/v1/authority"))["secrets"]
        after = await world.post("/v1/authority/rotate-secrets")
        assert after["key"] != before["key"]
        assert (before["old_keys"], after["old_keys"]) == (0, 1)
        for _ in range(2):
            await world.rig.services.sealing.look()
        assert (await world.get("/v1/authority"))["secrets"] == {**after, "old_keys": 0}

    _run(tmp_path, body)
