"""What one tenant may have open, locked, staged and on the way: in all its transactions, on all its
streams.

The bounds of a single transaction or stream do not bound a tenant, which may have thousands of
them; memory and disk are everybody's. Beyond a cap the request is refused and nothing else happens:
whoever has room goes on, and so do other tenants. A tenant is never asked to give back.

    open transactions    counted as they are
    locks                walked only where the shard has more in all than one tenant may have
    staged bytes         a sum, with each piece and each end of a transaction
    requests             a sum, with each request and each reply
"""

from collections.abc import Collection
from itertools import chain

from proto import kv_pb2 as kv
from storage.config import Limits
from storage.locks import LockTable, Owner
from storage.metrics import IN_FLIGHT, STAGED_BYTES
from storage.refusals import Refusal
from storage.tenants import Tenant, Transaction


class Caps:
    """Every check raises Refusal; counting is separate, once a request is let in."""

    def __init__(self, limits: Limits, locks: LockTable) -> None:
        self._limits = limits
        self._locks = locks

    def check_open(self, tenant: Tenant) -> None:
        """Another transaction (TOO_MANY_TXNS)."""
        if len(tenant.transactions) >= self._limits.txns_max:
            raise Refusal(kv.Error.TOO_MANY_TXNS, "too many open transactions")

    def check_locks(self, transaction: Transaction, more: int) -> None:
        """So many more keys (TOO_LARGE for the transaction, TOO_MANY_LOCKS for the tenant)."""
        if self._locks.count(transaction) + more > self._limits.txn_locks_max:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction locks too many keys")
        self.check_tenant_locks(transaction.tenant, more)

    def check_new_locks(self, transaction: Transaction, *keys: Collection[bytes]) -> None:
        """Those of the keys that the transaction does not hold yet; see `check_locks`."""
        mode, limits = self._locks.mode_held, self._limits
        most = sum(map(len, keys))
        bound = min(limits.txn_locks_max, limits.tenant_locks_max)
        if self._locks.total + most <= bound:
            return
        new = sum(1 for key in chain(*keys) if not mode(transaction, key))
        self.check_locks(transaction, new)

    def check_tenant_locks(self, tenant: Tenant, more: int) -> None:
        """So many more keys, whoever of the tenant's asks (TOO_MANY_LOCKS)."""
        bound = self._limits.tenant_locks_max - more
        if self._locks.total > bound and self._held(tenant) > bound:
            raise Refusal(kv.Error.TOO_MANY_LOCKS, "the tenant locks too many keys")

    def _held(self, tenant: Tenant) -> int:
        owners: list[Owner] = [*tenant.transactions.values(), *tenant.parties.values()]
        return sum(map(self._locks.count, owners))

    def check_staged(self, transaction: Transaction, size: int) -> None:
        """So many more bytes (TOO_LARGE for the transaction, TOO_MUCH_STAGED for the tenant)."""
        if transaction.staged_bytes + size > self._limits.txn_bytes_max:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction stages too much")
        if transaction.tenant.staged_bytes + size > self._limits.tenant_staged_bytes_max:
            raise Refusal(kv.Error.TOO_MUCH_STAGED, "the tenant stages too much")

    def check_request(self, tenant: Tenant, size: int) -> None:
        """Another request of so many bytes (BUSY)."""
        limits = self._limits
        if (
            tenant.requests >= limits.tenant_requests_max
            or tenant.request_bytes + size > limits.tenant_request_bytes_max
        ):
            raise Refusal(kv.Error.BUSY, "the tenant has too many requests in flight")


def staged(transaction: Transaction, size: int) -> None:
    """A transaction has staged so many bytes more; negative: it has ended."""
    transaction.staged_bytes += size
    transaction.tenant.staged_bytes += size
    STAGED_BYTES.inc(size)


def in_flight(tenant: Tenant, requests: int, size: int) -> None:
    """So many requests and bytes more are in flight; negative: have been answered."""
    tenant.requests += requests
    tenant.request_bytes += size
    IN_FLIGHT.inc(requests)
