"""Holds every request against the table of access (control/access.py)."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import Request

from control.access import PUBLIC, TABLE, Target, Verdict, judge
from control.actor import OrganisationId, acting
from control.api.paths import missing, parse_id
from control.api.problems import Problem
from control.invoices.store import Invoices
from control.keys import Keys
from control.metrics import REFUSED
from control.operations import Operations
from control.registry import Registry
from control.webhooks.store import Webhooks
from dormouse.base.ids import TenantId

Owners = tuple[OrganisationId | None, TenantId | None]


class Authoriser:
    """The dependency of every route."""

    def __init__(
        self,
        *,
        registry: Registry,
        keys: Keys,
        operations: Operations,
        webhooks: Webhooks,
        invoices: Invoices,
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._operations = operations
        self._webhooks = webhooks
        self._invoices = invoices
        self._finders: dict[Target, Callable[[int], Awaitable[Owners | None]]] = {
            Target.TENANT: self._of_tenant,
            Target.ORGANISATION: self._of_organisation,
            Target.KEY: self._of_key,
            Target.OPERATION: self._of_operation,
            Target.INVOICE: self._of_invoice,
            Target.WEBHOOK: self._of_webhook,
        }

    async def __call__(self, request: Request) -> None:
        """Raises Problem unless the request's key may make it."""
        endpoint = f"{request.method} {request.scope['route'].path}"
        if endpoint in PUBLIC:
            return
        reach = acting().reach
        # A KeyError here cannot be: the application does not start with a gap in the table.
        rule = TABLE[endpoint]
        verdict = judge(rule, reach)
        if verdict is not Verdict.ALLOWED:
            REFUSED.labels("forbidden").inc()
        if verdict is Verdict.FORBIDDEN:
            detail = f"a key of scope `{reach.scope}` may not do this"
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)
        if verdict is Verdict.READ_ONLY:
            raise Problem(HTTPStatus.FORBIDDEN, "read_only_key", "this key may only read")
        if rule.target is not Target.NOTHING:
            await self._check_target(rule.target, request.path_params["id"])

    async def _check_target(self, target: Target, text: str) -> None:
        number = parse_id(text)
        owners = await self._finders[target](number) if number is not None else None
        if owners is None:
            raise missing(target, text)
        if not acting().reach.sees(*owners):
            REFUSED.labels("hidden").inc()
            raise missing(target, text)

    async def _of_tenant(self, number: int) -> Owners | None:
        tenant = TenantId(number)
        organisation = await self._registry.organisation_of(tenant)
        return (organisation, tenant) if organisation is not None else None

    async def _of_organisation(self, number: int) -> Owners | None:
        return OrganisationId(number), None

    async def _of_key(self, number: int) -> Owners | None:
        key = await self._keys.get(number)
        return (key.reach.organisation, key.reach.tenant) if key is not None else None

    async def _of_operation(self, number: int) -> Owners | None:
        operation = await self._operations.get(number)
        if operation is None:
            return None
        if operation.tenant is None:
            return None, None  # the installation's: within the reach of its operator alone
        return await self._of_tenant(operation.tenant)

    async def _of_invoice(self, number: int) -> Owners | None:
        organisation = await self._invoices.organisation_of(number)
        return (OrganisationId(organisation), None) if organisation is not None else None

    async def _of_webhook(self, number: int) -> Owners | None:
        webhook = await self._webhooks.get(number)
        return (webhook.organisation, None) if webhook is not None else None
