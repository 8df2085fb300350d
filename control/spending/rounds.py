"""One round: what the pods of an account may spend now, decided, written down, told.

    ensure   months, ceilings and use of the pods that are not known yet          reads, may wait
    decide   all limits at one moment, nothing awaited                            pure
    keep     ceilings that were raised                                            one fsync
    tell     each pod whose leave has changed
    notices  percentages that were reached, accounts that are held or not         only if new

What is decided together is a *domain*: all tenants of an organisation where that has a limit, else
one tenant by itself.
"""

import json
from collections.abc import Collection, Sequence

from control.actor import OrganisationId
from control.amounts import AMOUNT_NAMES, Amounts
from control.database import Database
from control.metrics import SPEND_LEAVES, SPEND_OVER
from control.spending.leaves import FREE, Leave, leave_under, strictest
from control.spending.limits import Limit, Policy
from control.spending.months import Months
from control.spending.notices import Notices
from control.spending.pods import Pod, PodKey, Pods, Told
from control.spending.room import Stand, stand_of
from control.spending.sharing import SILENT_SECONDS, share
from control.spending.store import Ceilings, Limits
from dormouse.base.clock import Clock
from dormouse.base.units import units_of

_PASSED_MAX = 50_000


class Rounds:
    """Decides and tells; one at a time (control/spending/service.py sees to that)."""

    def __init__(
        self,
        *,
        database: Database,
        limits: Limits,
        notices: Notices,
        ceilings: Ceilings,
        months: Months,
        pods: Pods,
        clock: Clock,
    ) -> None:
        self._database = database
        self._limits = limits
        self._notices = notices
        self._ceilings = ceilings
        self._months = months
        self._pods = pods
        self._clock = clock
        self._restored: set[int] = set()
        self._started = clock.monotonic()
        self._last_life_ms = 0
        self._passed: dict[int, tuple[int, int, int]] = {}

    async def start(self) -> None:
        """To be called before any report is booked: pods that were heard until the last control
        ended may still spend what that one gave them."""
        self._started = self._clock.monotonic()
        self._last_life_ms = await self._ceilings.last_life_ms()

    def domain_of(self, tenant: int, whole: int) -> int | None:
        """The account that a tenant's pods are decided with; None: they are free."""
        if self._limits.of(whole) is not None:
            return whole
        return tenant if self._limits.of(tenant) is not None else None

    async def settle(self, domain: int, touched: Collection[int] = ()) -> None:
        """Decide for a domain; `touched` are tenants in it about whom there may be news besides the
        pods'. Raises sqlite3.Error, and is then to be called again."""
        whole = await self._months.whole_of(domain)
        await self._restore(domain, whole)
        pods = self._pods.of(domain)
        await self._look_up([pod for pod in pods if pod.use is None or not pod.is_restored])
        tenants = {pod.key[0] for pod in pods} | set(touched)
        accounts = {
            account: limit
            for account in (domain, whole, *sorted(tenants))
            if (limit := self._limits.of(account)) is not None
        }
        await self._months.ensure(accounts)
        stands = self._stands(accounts)
        news = self._decide(self._pods.of(domain), stands)
        await self._keep(self._pods.of(domain))
        for pod, told in news:
            pod.tell(told)
            SPEND_LEAVES.labels(told.leave.state.name.lower()).inc()
        for account in accounts:
            await self._note(account, OrganisationId(-whole), stands[account])

    async def lift(self, account: int) -> None:
        """The limit was taken away: its pods are free, unless another one holds them."""
        whole = await self._months.whole_of(account)
        await self._months.ensure([account])
        position = self._months.position(account)
        await self._notices.settle(account, OrganisationId(-whole), position, None)
        for pod in self._pods.of(account):
            told = pod.told.leave if pod.told is not None else None
            if self.domain_of(pod.key[0], whole) is None and FREE.is_news_to(told):
                self.free(pod)

    def free(self, pod: Pod) -> None:
        """Tell a pod that nobody limits it."""
        number = pod.reserve_for(FREE, self._now_ms())
        pod.tell(Told(number, FREE))
        SPEND_LEAVES.labels("free").inc()

    def _stands(self, accounts: dict[int, Limit]) -> dict[int, Stand]:
        stands = {}
        for account, limit in accounts.items():
            stand = stand_of(self._months.position(account), limit)
            if stand is not None:
                stands[account] = stand
        return stands

    def _decide(self, pods: Sequence[Pod], stands: dict[int, Stand]) -> list[tuple[Pod, Told]]:
        """The new leaves of the pods, counted with as told."""
        now = self._clock.monotonic()
        heard = [pod for pod in pods if pod.use is not None and not pod.is_silent(now)]
        leaves: dict[PodKey, list[Leave]] = {pod.key: [] for pod in heard if pod.can_be_told}
        for account, stand in stands.items():
            under = [pod for pod in heard if account in (pod.key[0], pod.whole)]
            asking = [pod for pod in under if pod.can_be_told]
            mute = sum(pod.sharer().reserve for pod in under if not pod.can_be_told)
            shares = share(stand.room - mute, [pod.sharer() for pod in asking])
            for pod, part in zip(asking, shares, strict=True):
                leave = leave_under(
                    account, stand, part, pods=len(asking), currency=self._months.currency
                )
                leaves[pod.key].append(leave)
        news = []
        for pod in heard:
            if not pod.can_be_told:
                continue
            leave = strictest(leaves[pod.key])
            if leave.is_news_to(pod.told.leave if pod.told is not None else None):
                number = pod.reserve_for(leave, self._now_ms())
                news.append((pod, Told(number, leave)))
        return news

    async def _keep(self, pods: Sequence[Pod]) -> None:
        """A ceiling that pods were lowered to is kept as well: were the next control to count with
        the one before, it would find more given away than there is, and give some of it twice."""
        moved = {
            pod.key: (pod.number, pod.may_reach)
            for pod in pods
            if pod.may_reach != pod.kept_ceiling
        }
        if not moved:
            return
        await self._ceilings.keep(moved)
        for pod in pods:
            if pod.key in moved:
                pod.kept_ceiling = moved[pod.key][1]

    async def _note(self, account: int, organisation: OrganisationId, stand: Stand) -> None:
        self._count_passed(account, stand)
        await self._notices.settle(account, organisation, stand.position, stand)

    def _count_passed(self, account: int, stand: Stand) -> None:
        """Overspend that was not counted yet."""
        if stand.limit.policy is not Policy.STOP or not stand.is_reached:
            return
        month, version = stand.position.start, stand.limit.version
        before = self._passed.get(account, (0, 0, 0))
        over = max(-stand.room, 0)
        counted = before[2] if before[:2] == (month, version) else 0
        if over > counted:
            unit = "micro_currency" if stand.by_money else "micro_units"
            SPEND_OVER.labels(unit).inc(over - counted)
        if len(self._passed) >= _PASSED_MAX:
            self._passed.clear()
        self._passed[account] = (month, version, max(over, counted))

    # --- what is not known yet -------------------------------------------------------------------

    async def _restore(self, domain: int, whole: int) -> None:
        """Once: the pods that the control before this one gave leave to."""
        if domain in self._restored:
            return
        is_new_here = self._clock.monotonic() - self._started < SILENT_SECONDS
        last_ms = self._last_life_ms if is_new_here else self._now_ms()
        since_ms = last_ms - int(SILENT_SECONDS * 1000)
        for tenant, number, *rest in await self._ceilings.alive_since(domain, since_ms):
            key = (tenant, number)
            pod = self._pods.get(key)
            if pod is None:
                pod = Pod(key, whole, heard_at=self._clock.monotonic())
                self._pods.add(pod)
            pod.restore(*rest)
            pod.is_restored = True
        self._restored.add(domain)

    async def _look_up(self, pods: Sequence[Pod]) -> None:
        """What pods have used, and how far they may go, that control has not heard of yet."""
        if not pods:
            return
        keys = json.dumps([list(pod.key) for pod in pods])
        among = "(SELECT value ->> 0, value ->> 1 FROM json_each(?))"
        rows = await self._database.read(
            f"SELECT tenant_id, pod_id, {', '.join(AMOUNT_NAMES)} FROM usage_pods"
            f" WHERE (tenant_id, pod_id) IN {among}",
            (keys,),
        )
        use = {(row[0], row[1]): units_of(Amounts.from_row(row[2:])).total for row in rows}
        kept = await self._ceilings.of([pod.key for pod in pods if not pod.is_restored])
        now = self._clock.monotonic()
        for pod in pods:
            if pod.use is None:  # no report came while this was read
                pod.use, pod.use_at = use.get(pod.key, 0), now
            if pod.key in kept and not pod.is_restored:
                pod.restore(*kept[pod.key])
            pod.is_restored = True

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000
