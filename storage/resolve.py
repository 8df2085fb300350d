"""What became of a transaction: the answer after a broken stream.

    unknown outcome ─▶ fence in memory ─▶ look for the durable record ─▶ found: its commit time
                                                                    └─▶ none: durable fence, 0

The fence comes first. From then on a commit of that transaction, still on its way on the old
stream, is refused; and one that got through before has left its record. So the answer cannot be
overtaken. A commit that is on its way to the disk is waited for.
"""

from dormouse.base.ids import PodId
from proto import kv_pb2 as kv
from storage.layout import TIME, fence_key, record_key
from storage.refusals import Refusal
from storage.shard import Shard
from storage.tenants import Tenant


class Resolver:
    """Decides undecided transactions."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    async def resolve(self, tenant: Tenant, pod: PodId, number: int) -> int:
        """The commit time of the transaction; 0 if it did not commit and never will.

        Raises Refusal (BUSY) where a tenant resolves too many in a short time, EngineError.
        """
        name = (pod, number)
        transaction = tenant.transactions.get(name)
        if transaction is not None and transaction.committing:
            time = await transaction.outcome()
            if time:
                return time
        self._fence(tenant, name)
        transaction = tenant.transactions.get(name)
        if transaction is not None:
            self._shard.end(transaction)
        [value] = await self._shard.engine.get([record_key(tenant.id, pod, number)])
        if value is not None:
            return int(TIME.unpack(value)[0])
        since = TIME.pack(tenant.fenced[name])
        await self._shard.committer.write([(fence_key(tenant.id, pod, number), since)])
        return 0

    def _fence(self, tenant: Tenant, name: tuple[PodId, int]) -> None:
        if name in tenant.fenced:
            return
        if len(tenant.fenced) >= self._shard.limits.fences_max:
            raise Refusal(kv.Error.BUSY, "too many transactions were resolved")
        tenant.fenced[name] = self._shard.clock.ago(0)
        self._shard.tenants.fences[tenant.id] = tenant.fenced
