"""Passwords of tenants that were made from this machine.

The gateway keeps no password, so whoever creates a tenant has it for good or never again. For the
operator at his own machine the command keeps it in the data folder, in a file that only this user
can read; it goes when the tenant is deleted from here. Whoever can read it could also make new
tenants with the key beside it. With `--api` nothing is kept.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from dormouse.cli.folder import DataFolder, write_private


def _file(folder: DataFolder, tenant: dict[str, Any]) -> Path:
    return folder.credentials / f"{tenant['name']}-{tenant['id']}"


def keep(folder: DataFolder, tenant: dict[str, Any]) -> None:
    """Keep the password of a tenant just created."""
    folder.credentials.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(_file(folder, tenant), tenant["password"] + "\n")


def find(folder: DataFolder, tenant: dict[str, Any]) -> str | None:
    """The password of a tenant, if it is kept here."""
    try:
        return _file(folder, tenant).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def forget(folder: DataFolder, tenant: dict[str, Any]) -> None:
    """Remove the password of a tenant that is gone."""
    _file(folder, tenant).unlink(missing_ok=True)


def move(folder: DataFolder, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Keep the password of a tenant that has another name now, if it was kept."""
    if _file(folder, before).exists():
        _file(folder, before).replace(_file(folder, after))


def with_password(url: str, password: str) -> str:
    """A connection URL that came without its password, with it."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}:{quote(password, safe='')}@{host}"))
