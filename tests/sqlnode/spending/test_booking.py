"""What is used while a pod is stopped is the system's, to the last unit."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.clock import ManualClock
from dormouse.base.units import units_of
from proto.pod_pb2 import Usage
from sqlnode.accounts import Accounts
from sqlnode.kv.usage import KvUsage
from sqlnode.spending.scale import LOOK_SECONDS, Scale

_KV = (
    "read_batches",
    "read_requests",
    "read_bytes",
    "write_batches",
    "write_requests",
    "write_bytes",
)


@dataclass
class Counters:
    """A pod's, turned by hand."""

    kv: KvUsage = field(default_factory=KvUsage)
    system_kv: KvUsage = field(default_factory=KvUsage)
    egress_bytes: int = 0
    is_active: bool = True
    cpu_ns: int = 0
    clock: ManualClock = field(default_factory=ManualClock)

    def accounts(self) -> Accounts:
        return Accounts(self, self.clock, cpu_ns=lambda: self.cpu_ns)

    def use(self, name: str, amount: int) -> None:
        if name in _KV:
            setattr(self.kv, name, getattr(self.kv, name) + amount)
        elif name == "system":
            self.system_kv.read_bytes += amount
        else:
            setattr(self, name, getattr(self, name) + amount)


_USES = st.tuples(
    st.sampled_from([*_KV, "system", "egress_bytes", "cpu_ns"]), st.integers(0, 1 << 30)
)
_STEPS = st.lists(_USES | st.booleans() | st.just("look"), max_size=80)


@given(_STEPS)
def test_each_unit_is_on_one_side(steps: list[tuple[str, int] | bool | str]) -> None:
    counters = Counters()
    accounts = counters.accounts()
    scale = Scale(accounts, counters.kv, counters.clock)
    billed = dict.fromkeys((*_KV, "egress_bytes", "cpu_ns"), 0)
    apart = dict(billed)
    owner = billed
    before = accounts.usage()
    for step in steps:
        if isinstance(step, bool):
            scale.bill(step)
            owner = billed if step else apart
        elif isinstance(step, tuple):
            counters.use(*step)
            if step[0] != "system":
                owner[step[0]] += step[1]
        else:
            now = accounts.usage()
            assert all(getattr(now, f.name) >= v for f, v in before.ListFields())
            before = now
    usage = accounts.usage()
    for name in _KV:
        assert getattr(usage, name) == billed[name]
        extra = counters.system_kv.read_bytes if name == "read_bytes" else 0
        assert getattr(usage, f"system_{name}") == apart[name] + extra
    assert usage.sql_cpu_micros == billed["cpu_ns"] // 1000
    assert usage.system_cpu_micros == apart["cpu_ns"] // 1000
    assert usage.egress_bytes == billed["egress_bytes"]


@given(_STEPS)
def test_the_scale_weighs_what_is_reported(steps: list[tuple[str, int] | bool | str]) -> None:
    counters = Counters()
    accounts = counters.accounts()
    scale = Scale(accounts, counters.kv, counters.clock)
    turns = 1
    for step in steps:
        if isinstance(step, bool):
            scale.bill(step)
            turns += 1
        elif isinstance(step, tuple):
            counters.use(*step)
    counters.clock.advance(LOOK_SECONDS)
    # CPU is reported in whole microseconds, 333 millionths of a unit each.
    assert abs(scale.billed() - units_of(accounts.usage()).total) <= 340 * turns


def test_time_while_stopped_is_not_billed() -> None:
    counters = Counters()
    accounts = counters.accounts()
    counters.clock.advance(2)
    accounts.bill(False)
    counters.clock.advance(5)
    assert accounts.usage().pod_millis == 2000
    accounts.bill(False)
    accounts.bill(True)
    counters.clock.advance(1)
    assert accounts.usage().pod_millis == 3000


def test_cpu_of_a_pod_that_nobody_uses_stays_the_systems() -> None:
    counters = Counters(is_active=False)
    accounts = counters.accounts()
    accounts.bill(False)
    counters.cpu_ns += 7_000_000
    accounts.bill(True)
    usage: Usage = accounts.usage()
    assert (usage.sql_cpu_micros, usage.system_cpu_micros) == (0, 7000)
    assert accounts.usage().sequence == usage.sequence + 1


def test_cpu_and_egress_are_read_now_and_then() -> None:
    counters = Counters()
    scale = Scale(counters.accounts(), counters.kv, counters.clock)
    assert scale.used() == 0
    counters.egress_bytes += 1024
    counters.kv.read_batches += 1
    assert scale.used() == 500_000
    counters.clock.advance(LOOK_SECONDS)
    assert scale.used() == 1_500_000
