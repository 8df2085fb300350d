"""Which key may call what: one table, deny by default. Pure.

    an endpoint  ×  the key's scope  →  whether it may be called at all (403 if not)
                 ×  read or write    →  whether this key may do it (403 `read_only_key` if not)
                 ×  what its path names → whether the key reaches that (404, as if it were not)

An endpoint without an entry here is not served: the application refuses to start with it. What
lists things shows those within the key's reach.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from control.actor import Access, Reach, Scope


class Target(Enum):
    """What the `{id}` of a path names, and so whose it is."""

    NOTHING = auto()
    TENANT = auto()
    ORGANISATION = auto()
    KEY = auto()
    OPERATION = auto()
    INVOICE = auto()
    WEBHOOK = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call an endpoint."""

    scopes: frozenset[Scope]
    access: Access
    target: Target = Target.NOTHING


class Verdict(Enum):
    """What the table says before anything is looked up."""

    ALLOWED = auto()
    FORBIDDEN = auto()
    READ_ONLY = auto()


_ADMIN = frozenset({Scope.ADMIN})
_OWNERS = _ADMIN | {Scope.ORGANISATION}
_ALL = _OWNERS | {Scope.TENANT}
_READ, _WRITE = Access.READ, Access.WRITE
_TENANT = "/v1/tenants/{id}"
_WEBHOOK = "/v1/webhooks/{id}"
_RESTORE = "/v1/restores/{id}"
"""Its id is that of the tenant to be."""

TABLE: Mapping[str, Rule] = {
    "GET /v1/tenants": Rule(_ALL, _READ),
    "POST /v1/tenants": Rule(_OWNERS, _WRITE),
    f"GET {_TENANT}": Rule(_ALL, _READ, Target.TENANT),
    f"PATCH {_TENANT}": Rule(_ALL, _WRITE, Target.TENANT),
    f"DELETE {_TENANT}": Rule(_OWNERS, _WRITE, Target.TENANT),
    f"POST {_TENANT}/restore": Rule(_OWNERS, _WRITE, Target.TENANT),
    f"POST {_TENANT}/suspend": Rule(_ALL, _WRITE, Target.TENANT),
    f"POST {_TENANT}/wake": Rule(_ALL, _WRITE, Target.TENANT),
    f"GET {_TENANT}/settings": Rule(_ALL, _READ, Target.TENANT),
    f"PATCH {_TENANT}/settings": Rule(_ALL, _WRITE, Target.TENANT),
    f"GET {_TENANT}/explain": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/pods": Rule(_ALL, _READ, Target.TENANT),
    f"POST {_TENANT}/pods/{{pod}}/revoke": Rule(_OWNERS, _WRITE, Target.TENANT),
    f"GET {_TENANT}/operations": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/connection-urls": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/roles": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/databases": Rule(_ALL, _READ, Target.TENANT),
    f"POST {_TENANT}/roles/owner/password": Rule(_ALL, _WRITE, Target.TENANT),
    f"GET {_TENANT}/usage": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/statements": Rule(_ALL, _READ, Target.TENANT),
    f"GET {_TENANT}/spend-limit": Rule(_ALL, _READ, Target.TENANT),
    f"PUT {_TENANT}/spend-limit": Rule(_OWNERS, _WRITE, Target.TENANT),
    # Whoever may only read sees no tenant's rows.
    f"GET {_TENANT}/backup": Rule(_ALL, _WRITE, Target.TENANT),
    "POST /v1/restores": Rule(_OWNERS, _WRITE),
    f"PUT {_RESTORE}/pieces/{{piece}}": Rule(_OWNERS, _WRITE, Target.TENANT),
    f"POST {_RESTORE}/finish": Rule(_OWNERS, _WRITE, Target.TENANT),
    f"DELETE {_RESTORE}": Rule(_OWNERS, _WRITE, Target.TENANT),
    "GET /v1/operations/{id}": Rule(_ALL, _READ, Target.OPERATION),
    "GET /v1/organisations": Rule(_OWNERS, _READ),
    "POST /v1/organisations": Rule(_ADMIN, _WRITE),
    "GET /v1/organisations/{id}": Rule(_OWNERS, _READ, Target.ORGANISATION),
    "PATCH /v1/organisations/{id}": Rule(_OWNERS, _WRITE, Target.ORGANISATION),
    "DELETE /v1/organisations/{id}": Rule(_ADMIN, _WRITE, Target.ORGANISATION),
    "GET /v1/keys": Rule(_ALL, _READ),
    "POST /v1/keys": Rule(_ALL, _WRITE),
    "GET /v1/keys/{id}": Rule(_ALL, _READ, Target.KEY),
    "DELETE /v1/keys/{id}": Rule(_ALL, _WRITE, Target.KEY),
    "GET /v1/me": Rule(_ALL, _READ),
    "GET /v1/audit": Rule(_ALL, _READ),
    "GET /v1/organisations/{id}/usage": Rule(_OWNERS, _READ, Target.ORGANISATION),
    "GET /v1/organisations/{id}/spend-limit": Rule(_OWNERS, _READ, Target.ORGANISATION),
    "PUT /v1/organisations/{id}/spend-limit": Rule(_OWNERS, _WRITE, Target.ORGANISATION),
    "GET /v1/organisations/{id}/invoices": Rule(_OWNERS, _READ, Target.ORGANISATION),
    "GET /v1/organisations/{id}/invoices/draft": Rule(_OWNERS, _READ, Target.ORGANISATION),
    "GET /v1/invoices/{id}": Rule(_OWNERS, _READ, Target.INVOICE),
    "GET /v1/invoices/{id}/csv": Rule(_OWNERS, _READ, Target.INVOICE),
    "GET /v1/invoices/{id}/pdf": Rule(_OWNERS, _READ, Target.INVOICE),
    "GET /v1/usage": Rule(_ADMIN, _READ),
    "GET /v1/events": Rule(_ALL, _READ),
    "GET /v1/webhooks": Rule(_OWNERS, _READ),
    "POST /v1/webhooks": Rule(_OWNERS, _WRITE),
    f"GET {_WEBHOOK}": Rule(_OWNERS, _READ, Target.WEBHOOK),
    f"PATCH {_WEBHOOK}": Rule(_OWNERS, _WRITE, Target.WEBHOOK),
    f"DELETE {_WEBHOOK}": Rule(_OWNERS, _WRITE, Target.WEBHOOK),
    f"POST {_WEBHOOK}/secret": Rule(_OWNERS, _WRITE, Target.WEBHOOK),
    f"POST {_WEBHOOK}/test": Rule(_OWNERS, _WRITE, Target.WEBHOOK),
    f"GET {_WEBHOOK}/deliveries": Rule(_OWNERS, _READ, Target.WEBHOOK),
    f"POST {_WEBHOOK}/deliveries/{{delivery}}/redeliver": Rule(_OWNERS, _WRITE, Target.WEBHOOK),
    "GET /v1/live": Rule(_ADMIN, _READ),
    "GET /v1/status": Rule(_ADMIN, _READ),
    "GET /v1/authority": Rule(_ADMIN, _READ),
    "POST /v1/authority/rotate": Rule(_ADMIN, _WRITE),
    "POST /v1/authority/rotate-secrets": Rule(_ADMIN, _WRITE),
}
"""By method and path as the routes have it."""

PUBLIC = frozenset({"POST /v1/signup"})
"""What needs no key."""


def judge(rule: Rule, reach: Reach) -> Verdict:
    """Whether a key of this reach may call the endpoint at all."""
    if reach.scope not in rule.scopes:
        return Verdict.FORBIDDEN
    if rule.access is Access.WRITE and reach.access is Access.READ:
        return Verdict.READ_ONLY
    return Verdict.ALLOWED


def check_complete(endpoints: Collection[str]) -> None:
    """Raises LookupError unless table and endpoints are the same."""
    known = TABLE.keys() | PUBLIC
    if open_ones := sorted(set(endpoints) - known):
        raise LookupError(f"endpoints without an entry in the table of access: {open_ones}")
    if idle := sorted(known - set(endpoints)):
        raise LookupError(f"entries in the table of access without an endpoint: {idle}")
