"""The whole of events, webhooks and deliveries against a few sets: whoever wanted an event when it
happened gets it at least once, and nobody else does.

Webhooks come, go, change what they want, are disabled and enabled; receivers fail and recover; time
passes; the process dies in the middle of an attempt and starts anew from the registry.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.actor import OrganisationId
from control.events import DATA, Event, EventKind
from control.webhooks.sender import Sender
from control.webhooks.store import Terms, changed_terms
from control.webhooks.transport import Transport
from control.webhooks.verdict import Outcome, Status
from dormouse.base import tasks
from tests.control.events.support import SenderRig, rig_at, sender_over

_KINDS = (EventKind.TENANT_CREATED, EventKind.TENANT_RENAMED, EventKind.SPEND_NOTICE)
_PATTERNS = ("*", "tenant.*", "spend.*", "tenant.created", "spend.notice")
_OWNERS = (None, 1, 2)


class _Network(Transport):
    """Notes what arrives where; fails as often as it is told to."""

    def __init__(self) -> None:
        self.got: dict[str, list[int]] = {}
        self.failing: set[str] = set()
        self.dice = random.Random(0)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        await asyncio.sleep(0)
        if url in self.failing or self.dice.random() < 0.2:
            if self.dice.random() < 0.5:
                # It arrived, and the answer was lost.
                self._note(url, body)
            return Outcome(kind="timeout", error="no answer")
        self._note(url, body)
        return Outcome(kind="delivered", status=200)

    def _note(self, url: str, body: bytes) -> None:
        number = int(json.loads(body)["id"].split("_")[1])
        self.got.setdefault(url, []).append(number)


@dataclass(slots=True)
class _Hook:
    """A webhook as the model knows it."""

    id: int
    url: str
    owner: int | None
    patterns: tuple[str, ...]
    enabled: bool = True
    wanted: set[int] = field(default_factory=set)
    """Events it has to get."""

    def wants(self, event: Event) -> bool:
        family = f"{event.kind.partition('.')[0]}.*"
        matches = {"*", family, str(event.kind)} & set(self.patterns)
        return self.enabled and bool(matches) and self.owner in (None, event.organisation)


@dataclass(slots=True)
class _World:
    """The real thing and the model."""

    rig: SenderRig
    network: _Network
    hooks: list[_Hook] = field(default_factory=list)
    gone: list[_Hook] = field(default_factory=list)
    sender: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        sender: Sender = sender_over(self.rig, self.network, disable_seconds=10**9)
        self.sender = tasks.spawn(sender.work_forever(), name="webhooks")

    async def crash(self) -> None:
        await tasks.cancel(self.sender)
        self.start()

    async def make(self, dice: random.Random) -> None:
        owner = dice.choice(_OWNERS)
        patterns = tuple(dice.sample(_PATTERNS, dice.randint(1, 2)))
        url = f"https://h{len(self.hooks) + len(self.gone)}.example/"
        organisation = OrganisationId(owner) if owner is not None else None
        made, _ = await self.rig.stores.webhooks.add(organisation, Terms(url, patterns))
        self.hooks.append(_Hook(made.id, url, owner, patterns))

    async def record(self, dice: random.Random) -> None:
        kind, owner = dice.choice(_KINDS), dice.choice((1, 2))
        data = dict.fromkeys(DATA[kind], "x")
        event = Event(kind=kind, organisation=OrganisationId(owner), data=data)
        number = await self.rig.record(event)
        for hook in self.hooks:
            if hook.wants(event):
                hook.wanted.add(number)

    async def change(self, dice: random.Random) -> None:
        if not self.hooks:
            return
        hook = dice.choice(self.hooks)
        webhooks = self.rig.stores.webhooks
        match dice.choice(("events", "enabled", "delete", "secret", "failing", "recovered")):
            case "events":
                hook.patterns = (dice.choice(_PATTERNS),)
                await webhooks.change(hook.id, lambda t: changed_terms(t, events=hook.patterns))
            case "enabled":
                hook.enabled = not hook.enabled
                await webhooks.change(hook.id, lambda t: changed_terms(t, enabled=hook.enabled))
            case "delete":
                await webhooks.delete(hook.id)
                self.hooks.remove(hook)
                self.gone.append(hook)
            case "secret":
                await webhooks.rotate_secret(hook.id)
            case "failing":
                self.network.failing.add(hook.url)
            case _:
                self.network.failing.discard(hook.url)

    async def step(self, dice: random.Random) -> None:
        match dice.choice(("make", "record", "record", "record", "change", "time", "crash", "run")):
            case "make":
                await self.make(dice)
            case "record":
                await self.record(dice)
            case "change":
                await self.change(dice)
            case "time":
                self.rig.advance(dice.choice((1, 60, 3600)))
            case "crash":
                await self.crash()
            case _:
                await asyncio.sleep(0.01)

    async def drain(self) -> None:
        """Every receiver works and every webhook is enabled until nothing waits."""
        self.network.failing.clear()
        for hook in self.hooks:
            hook.enabled = True
            await self.rig.stores.webhooks.change(
                hook.id, lambda terms: changed_terms(terms, enabled=True)
            )
        async with asyncio.timeout(30):
            while (await self.rig.stores.deliveries.backlog()).waiting:
                self.rig.advance(600)
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        for hook in self.hooks:
            got = self.network.got.get(hook.url, [])
            assert set(got) == hook.wanted, hook
            webhook = await self.rig.stores.webhooks.get(hook.id)
            assert webhook is not None
            found = await self.rig.deliveries(webhook)
            # One record for each, whatever happened to the process.
            assert sorted(each.event.id for each in found) == sorted(hook.wanted)
            assert {each.status for each in found} <= {Status.DELIVERED}
        for hook in self.gone:
            assert set(self.network.got.get(hook.url, [])) <= hook.wanted


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_whoever_wanted_an_event_gets_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    async def run(folder: Path) -> None:
        dice = random.Random(seed)
        async with rig_at(folder) as rig:
            network = _Network()
            network.dice = random.Random(seed + 1)
            world = _World(rig, network)
            world.start()
            for _ in range(60):
                await world.step(dice)
            await world.drain()
            await world.check()
            await tasks.cancel(world.sender)

    asyncio.run(run(tmp_path_factory.mktemp("model")))
