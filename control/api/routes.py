"""The routes under /v1."""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Security
from fastapi.security import HTTPBearer

from control.api.actions import (
    add_action_routes,
    add_delete_route,
    add_login_routes,
    add_wake_route,
)
from control.api.authorise import Authoriser
from control.api.authority import add_authority_routes
from control.api.backups import add_backup_route, add_restore_routes
from control.api.events import add_event_route
from control.api.history import add_audit_route, add_operation_routes
from control.api.inside import add_inside_routes
from control.api.invoices import add_invoice_list_routes, add_invoice_routes
from control.api.keys import ReachReader, add_key_routes, add_one_key_routes
from control.api.live import add_explain_route, add_live_route
from control.api.models import StatusView, TenantTotals
from control.api.organisations import (
    add_organisation_changes,
    add_organisation_routes,
    add_signup_route,
)
from control.api.pods import add_pod_routes
from control.api.problems import documented
from control.api.route import OnceRoute
from control.api.settings import add_settings_routes
from control.api.spending import add_organisation_spend_limit_routes, add_spend_limit_routes
from control.api.statements import add_statement_routes
from control.api.tenants import add_create_route, add_list_route, add_tenant_routes
from control.api.usage import add_usage_routes, add_usage_together_routes
from control.api.webhooks import (
    add_delivery_routes,
    add_webhook_changes,
    add_webhook_routes,
)
from control.buckets import Allowance, Buckets
from control.config import ControlSettings
from control.invoices.drafts import Drafts
from control.invoices.printer import Printer
from control.invoices.seller import Seller
from control.services import Services, Stores
from control.signup import Signup
from control.spending.service import Spending
from control.statements import StatementLedger
from control.status import StatusFile
from control.urls import Endpoint
from control.usage import UsageReader
from control.webhooks.run import url_policy
from control.webhooks.urls import UrlPolicy
from dormouse.base.clock import Clock

_ANYWHERE = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_HOUR_SECONDS = 3600


def make_router(
    *,
    services: Services,
    settings: ControlSettings,
    endpoint: Endpoint,
    status_file: StatusFile,
    clock: Clock,
    usage: UsageReader,
    spending: Spending,
    statements: StatementLedger,
) -> APIRouter:
    """The routes, over what they need."""
    stores, tenants = services.stores, services.tenants
    authorise = Authoriser(
        registry=stores.registry,
        keys=stores.keys,
        operations=stores.operations,
        webhooks=stores.webhooks,
        invoices=stores.invoices,
    )
    bearer = HTTPBearer(auto_error=False, description="The gate checks it; this documents it.")
    router = APIRouter(
        prefix="/v1",
        route_class=OnceRoute,
        dependencies=[Security(bearer), Depends(authorise)],
        responses=documented(*_ANYWHERE),
    )
    add_create_route(router, tenants, endpoint)
    add_list_route(router, tenants, endpoint)
    add_tenant_routes(router, tenants, endpoint)
    add_delete_route(router, services.deletion)
    add_action_routes(router, tenants=tenants, deletion=services.deletion, endpoint=endpoint)
    add_backup_route(router, services.backups, tenants, spending, clock)
    add_restore_routes(router, services.backups, spending, endpoint)
    add_wake_route(router, tenants, endpoint)
    add_login_routes(router, tenants, endpoint)
    add_inside_routes(router, tenants)
    add_settings_routes(router, tenants)
    add_explain_route(router, tenants, endpoint)
    add_operation_routes(router, stores.operations)
    add_organisation_routes(router, stores.organisations)
    add_organisation_changes(router, stores.organisations)
    reader = ReachReader(stores.registry, stores.organisations)
    add_key_routes(router, keys=stores.keys, reader=reader, clock=clock)
    add_one_key_routes(router, stores.keys)
    add_signup_route(
        router,
        signup=Signup(stores.database, stores.organisations, stores.keys),
        signups=_signups(settings),
        clock=clock,
    )
    add_audit_route(router, stores.journal)
    add_event_route(router, stores.events)
    _add_webhooks(router, stores, url_policy(settings))
    add_live_route(router, tenants=tenants, registry=stores.registry, clock=clock)
    add_usage_routes(router, usage=usage, registry=stores.registry, statements=statements)
    add_usage_together_routes(router, usage=usage, registry=stores.registry)
    add_statement_routes(router, statements=statements, usage=usage, registry=stores.registry)
    add_spend_limit_routes(router, spending=spending, registry=stores.registry)
    add_organisation_spend_limit_routes(
        router, spending=spending, organisations=stores.organisations
    )
    drafts = Drafts(stores.database, clock, book=usage.book, seller=Seller.of(settings))
    add_invoice_list_routes(router, drafts)
    add_invoice_routes(router, drafts, Printer(settings.invoice_font))
    add_pod_routes(router, tenants, services.revoking)
    add_authority_routes(router, services.steward, services.sealing, clock)
    _add_status_route(router, services, status_file)
    return router


def _add_webhooks(router: APIRouter, stores: Stores, policy: UrlPolicy) -> None:
    add_webhook_routes(
        router, webhooks=stores.webhooks, organisations=stores.organisations, policy=policy
    )
    add_webhook_changes(router, stores.webhooks, policy)
    add_delivery_routes(router, stores.webhooks, stores.deliveries)


def _add_status_route(router: APIRouter, services: Services, status_file: StatusFile) -> None:
    @router.get("/status", tags=["installation"])
    async def read_status() -> StatusView:
        """Every role with its pid and state."""
        counts = await services.stores.registry.counts()
        totals = TenantTotals(registered=counts.registered, ever=counts.ever)
        view = status_file.view(totals)
        warnings = services.steward.warnings() + await services.peers.storage_warnings()
        return view.model_copy(update={"warnings": warnings})


def _signups(settings: ControlSettings) -> Buckets | None:
    if not settings.signup_open:
        return None
    per_hour = settings.signups_per_hour
    return Buckets(Allowance(rate=per_hour / _HOUR_SECONDS, burst=max(per_hour, 1.0)))
