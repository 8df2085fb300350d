"""Tenants as they are now, for a watcher that begins: those it asks for, and those kept awake."""

from collections.abc import AsyncIterator, Sequence

from control.registry import Registry
from control.watchers import Change
from dormouse.base.ids import TenantId

ASKED_MAX = 100_000
"""A watcher may ask for so many tenants by id."""

_PAGE = 500


async def current_tenants(
    registry: Registry, asked: Sequence[TenantId], *, kept_awake: bool
) -> AsyncIterator[Change]:
    """Those `asked` for, one that does not live as deleted; then those with a least number of pods.

    Read a page at a time, when the one before has been taken.
    """
    for start in range(0, len(asked), _PAGE):
        page = asked[start : start + _PAGE]
        found = await registry.find(page)
        for tenant_id in page:
            tenant = found.get(tenant_id)
            if tenant is None:
                yield Change.of_deleted(tenant_id)
            elif tenant.deleted_ns is not None:
                yield Change.of_deleted(tenant_id, tenant.name, tenant.version)
            else:
                yield Change.of(tenant)
    after = 0
    while kept_awake and (more := await registry.kept_awake(after=after, limit=_PAGE)):
        for tenant in more:
            yield Change.of(tenant)
        after = more[-1].id
