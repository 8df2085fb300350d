"""The tenant `demo` of a first start."""

import asyncio
from pathlib import Path

from dormouse.cli import credentials
from dormouse.cli.client import Client, Target
from dormouse.cli.folder import DataFolder

_NAME = "demo"


async def introduce(folder: DataFolder, api: str, key: str, *, ca_file: Path | None) -> str:
    """What to tell a newcomer. Makes the tenant if the installation never had one."""
    return await asyncio.to_thread(_introduce, folder, Target(api, key, folder, ca_file))


def _introduce(folder: DataFolder, target: Target) -> str:
    client = Client(target)
    if client.status()["tenants"]["ever"] == 0:
        tenant = client.create(_NAME)
        credentials.keep(folder, tenant)
        return _lines(tenant["connection_url"])
    found = client.named(_NAME)
    password = credentials.find(folder, found) if found is not None else None
    if found is not None and password is not None:
        return _lines(credentials.with_password(found["connection_url"], password))
    return f"Make a tenant:  dormouse tenant create NAME --data {folder.root}\n"


def _lines(url: str) -> str:
    return f'The tenant `{_NAME}` sleeps; this wakes it:\n\n  psql "{url}"\n'
