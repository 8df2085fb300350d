"""has_…_privilege() for every way of naming the role and the object.

The C functions are named has_<kind>_privilege_<role>_<object>, where the role part is `name`, `id`
or missing (the current user) and the object part `name` or `id`.
"""

from collections.abc import Callable
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.base import CatalogFunctions, FunctionContext
from sqlnode.functions.family import Family
from sqlnode.types.objects import find_relation, find_schema

FAMILY = Family()
_KINDS = ("table", "schema", "database", "sequence", "function", "type", "language", "tablespace")
_PUBLIC_KINDS = {"function", "type", "language"}
"""What everyone may use: these objects are all built in."""


def _role(context: FunctionContext, role: str | int | None) -> int:
    catalog: CatalogFunctions = context.catalog
    if isinstance(role, int):
        return role
    name = context.current_user if role is None else role
    found = catalog.role_oid(name)
    if found is None:
        raise SqlError(sqlstate.UNDEFINED_OBJECT, f'role "{name}" does not exist')
    return found


def _object(context: FunctionContext, kind: str, target: str | int) -> int | None:
    if isinstance(target, int):
        return target
    if kind in {"table", "sequence"}:
        found = find_relation(target, context)
        if found is None:
            raise SqlError(sqlstate.UNDEFINED_TABLE, f'relation "{target}" does not exist')
        return found
    if kind == "schema":
        found = find_schema(target, context)
        if found is None:
            raise SqlError(sqlstate.INVALID_SCHEMA_NAME, f'schema "{target}" does not exist')
        return found
    if kind == "database" and target != context.current_database:
        raise SqlError(sqlstate.UNDEFINED_DATABASE, f'database "{target}" does not exist')
    return 0


def _exists(context: FunctionContext, kind: str, oid: int) -> bool:
    catalog: CatalogFunctions = context.catalog
    if kind in {"table", "sequence"}:
        return catalog.relation_name(oid) is not None
    return kind != "schema" or catalog.schema_name(oid) is not None


def _has(
    context: FunctionContext, kind: str, role: str | int | None, target: str | int, words: str
) -> bool | None:
    role_oid = _role(context, role)
    oid = _object(context, kind, target)
    if oid is None or not _exists(context, kind, oid):
        return None
    if kind in _PUBLIC_KINDS:
        return True
    catalog: CatalogFunctions = context.catalog
    privileges = [
        word.strip().upper().removesuffix(" WITH GRANT OPTION") for word in words.split(",")
    ]
    return any(catalog.has_privilege(role_oid, kind, oid, privilege) for privilege in privileges)


def _with_role(kind: str) -> Callable[..., bool | None]:
    def check(context: FunctionContext, role: Any, target: Any, words: str) -> bool | None:
        return _has(context, kind, role, target, words)

    return check


def _without_role(kind: str) -> Callable[..., bool | None]:
    def check(context: FunctionContext, target: Any, words: str) -> bool | None:
        return _has(context, kind, None, target, words)

    return check


for _kind in _KINDS:
    FAMILY.call(
        _without_role(_kind),
        f"has_{_kind}_privilege_name",
        f"has_{_kind}_privilege_id",
        needs_context=True,
    )
    FAMILY.call(
        _with_role(_kind),
        *(f"has_{_kind}_privilege_{r}_{o}" for r in ("name", "id") for o in ("name", "id")),
        needs_context=True,
    )
FAMILY.call(
    _without_role("table"),
    "has_any_column_privilege_name",
    "has_any_column_privilege_id",
    needs_context=True,
)
FAMILY.call(
    _with_role("table"),
    *(f"has_any_column_privilege_{r}_{o}" for r in ("name", "id") for o in ("name", "id")),
    needs_context=True,
)


@FAMILY.function(
    *(f"has_column_privilege_{o}_{c}" for o in ("name", "id") for c in ("name", "attnum")),
    needs_context=True,
)
def has_column_privilege(
    context: FunctionContext, target: str | int, column: str | int, words: str
) -> bool | None:
    """Privileges are granted on whole tables."""
    return _has(context, "table", None, target, words)


@FAMILY.function(
    *(
        f"has_column_privilege_{r}_{o}_{c}"
        for r in ("name", "id")
        for o in ("name", "id")
        for c in ("name", "attnum")
    ),
    needs_context=True,
)
def role_has_column_privilege(
    context: FunctionContext, role: str | int, target: str | int, column: str | int, words: str
) -> bool | None:
    """Likewise for a given role."""
    return _has(context, "table", role, target, words)


@FAMILY.function("pg_has_role_name", "pg_has_role_id", needs_context=True)
def has_role(context: FunctionContext, target: str | int, words: str) -> bool:
    """pg_has_role(role, privilege): roles have no members but themselves."""
    return _role(context, None) == _role(context, target)


@FAMILY.function(
    *(f"pg_has_role_{r}_{o}" for r in ("name", "id") for o in ("name", "id")), needs_context=True
)
def role_has_role(context: FunctionContext, role: str | int, target: str | int, words: str) -> bool:
    """pg_has_role(user, role, privilege)."""
    return _role(context, role) == _role(context, target)
