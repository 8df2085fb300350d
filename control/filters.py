"""Which tenants a list is of, and the query that reads a page of it. Pure.

Every query begins at an index that holds what is asked for in the order of ids, so that a page
costs what is on it, however many tenants there are and however many there were:

    a label        tenant_labels (name, value, tenant_id), or (name, tenant_id) for any value
    organisation   tenants_of_organisation (organisation_id, id, name), of the living
    deleted        tenants_restorable (id, name), of those whose data is still there
    nothing        tenants_alive (id, name), of the living

Of several conditions the first of these leads, and the others are looked up for each row. A search
in names reads the index, which has the names in it, from its beginning to the page's end.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from control.actor import OrganisationId
from dormouse.base.ids import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which tenants are meant; None and empty: no matter."""

    name: str | None = None
    search: str | None = None
    """A part of the name, or the id, or `<name>-<id>` as in addresses."""

    organisation: OrganisationId | None = None
    tenant: TenantId | None = None
    labels: Sequence[tuple[str, str | None]] = ()
    """All of these, each with this value or (None) any."""

    among: Collection[TenantId] | None = None
    apart_from: Collection[TenantId] = ()
    deleted: bool = False
    """The restorable ones instead of the living."""


_Part = tuple[str, list[Any]]
"""SQL and its parameters."""


def page_query(columns: str, where: Filter, *, after: int, limit: int) -> tuple[str, list[Any]]:
    """The query for tenants by id, those above `after`, at most `limit`; and its parameters."""
    source, order = _source(where, after)
    terms = [*_living(where), *_named(where), *_owned(where), *_labelled(where), *_among(where)]
    terms.append((f"{order} > ?", [after]))
    condition = " AND ".join(text for text, _ in terms)
    sql = f"SELECT {columns} FROM {source[0]} WHERE {condition} ORDER BY {order} LIMIT ?"
    return sql, [*source[1], *(value for _, values in terms for value in values), limit]


def _source(where: Filter, after: int) -> tuple[_Part, str]:
    """Where to begin, and the column that has its order."""
    if where.labels:
        name, value = where.labels[0]
        of_value = ("", []) if value is None else (" AND value = ?", [value])
        begin = "(SELECT tenant_id FROM tenant_labels WHERE name = ?"
        text = f"{begin}{of_value[0]} AND tenant_id > ?) CROSS JOIN tenants ON id = tenant_id"
        return (text, [name, *of_value[1], after]), "tenant_id"
    if where.tenant is not None or where.among is not None:
        return ("tenants", []), "id"
    if where.deleted:
        return ("tenants INDEXED BY tenants_restorable", []), "id"
    if where.name is not None:
        return ("tenants INDEXED BY tenants_by_name", []), "id"
    if where.organisation is not None:
        return ("tenants INDEXED BY tenants_of_organisation", []), "id"
    return ("tenants INDEXED BY tenants_alive", []), "id"


def _living(where: Filter) -> list[_Part]:
    if where.deleted:
        return [("deleted_ns IS NOT NULL AND purged_ns IS NULL", [])]
    return [("deleted_ns IS NULL", [])]


def _named(where: Filter) -> list[_Part]:
    terms: list[_Part] = []
    if where.name is not None:
        terms.append(("name = ?", [where.name]))
    if where.search is not None:
        found = "(instr(name, ?) > 0 OR CAST(id AS TEXT) = ? OR name || '-' || id = ?)"
        terms.append((found, [where.search] * 3))
    return terms


def _owned(where: Filter) -> list[_Part]:
    terms: list[_Part] = []
    if where.organisation is not None:
        terms.append(("organisation_id = ?", [where.organisation]))
    if where.tenant is not None:
        terms.append(("id = ?", [where.tenant]))
    return terms


def _labelled(where: Filter) -> list[_Part]:
    terms: list[_Part] = []
    for name, value in where.labels[1:]:
        having = "EXISTS (SELECT 1 FROM tenant_labels AS other WHERE other.tenant_id = id"
        having += " AND other.name = ?"
        if value is None:
            terms.append((f"{having})", [name]))
        else:
            terms.append((f"{having} AND other.value = ?)", [name, value]))
    return terms


def _among(where: Filter) -> list[_Part]:
    terms: list[_Part] = []
    if where.among is not None:
        terms.append(("id IN (SELECT value FROM json_each(?))", [json.dumps(list(where.among))]))
    if where.apart_from:
        numbers = json.dumps(list(where.apart_from))
        terms.append(("id NOT IN (SELECT value FROM json_each(?))", [numbers]))
    return terms
