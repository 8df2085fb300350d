"""Connection URLs: what a user pastes into a client.

`connection_url` names the tenant in the user name, which every client sends. `connection_url_sni`
names it in the host name. Both verify the server in full, so nobody is asked to lower a guard.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from control.registry import Tenant
from dormouse.base.ids import TenantAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where clients reach the proxy."""

    host: str
    port: int
    domain: str
    """Tenants are `<name>-<id>.<domain>` in server names."""

    ca_file: Path | None
    """Absolute; None: the public authorities verify the server."""

    host_address: str | None
    """For a domain that this machine does not resolve (`*.localhost` without systemd-resolved):
    the address that libpq is told in `hostaddr`, which other clients do not know."""


def connection_url(endpoint: Endpoint, tenant: Tenant, password: str | None) -> str:
    """Works as it stands in psql, psycopg, asyncpg and node-postgres; None leaves it to ask."""
    user = f"{tenant.owner}.{TenantAddress(tenant.name, tenant.id)}"
    return _url(endpoint, tenant, user=user, password=password, host=endpoint.host)


def connection_url_sni(endpoint: Endpoint, tenant: Tenant, password: str | None) -> str:
    """For clients that send the server name in TLS (libpq 14 and later, asyncpg, node-postgres)."""
    host = f"{TenantAddress(tenant.name, tenant.id)}.{endpoint.domain}"
    url = _url(endpoint, tenant, user=tenant.owner, password=password, host=host)
    return url if endpoint.host_address is None else f"{url}&hostaddr={endpoint.host_address}"


def connection_url_options(endpoint: Endpoint, tenant: Tenant, password: str | None) -> str:
    """For clients that send `options` (libpq and what stands on it, node-postgres)."""
    url = _url(endpoint, tenant, user=tenant.owner, password=password, host=endpoint.host)
    address = TenantAddress(tenant.name, tenant.id)
    return f"{url}&options={quote(f'--tenant={address}', safe='')}"


def connection_url_database(endpoint: Endpoint, tenant: Tenant, password: str | None) -> str:
    """For clients that let nothing but the database be chosen."""
    database = f"{TenantAddress(tenant.name, tenant.id)}.{tenant.database}"
    return _url(
        endpoint,
        tenant,
        user=tenant.owner,
        password=password,
        host=endpoint.host,
        database=database,
    )


def _url(
    endpoint: Endpoint,
    tenant: Tenant,
    *,
    user: str,
    password: str | None,
    host: str,
    database: str | None = None,
) -> str:
    options = {"sslmode": "verify-full"}
    if endpoint.ca_file is not None:
        options["sslrootcert"] = str(endpoint.ca_file)
    query = urlencode(options, safe="/", quote_via=quote)
    login = quote(user, safe="")
    if password is not None:
        login += f":{quote(password, safe='')}"
    path = quote(database or tenant.database, safe="")
    return f"postgresql://{login}@{host}:{endpoint.port}/{path}?{query}"
