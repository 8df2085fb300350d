"""`dormouse sql NAME`: psql on a tenant."""

import argparse
import os
import shutil
from typing import Any
from urllib.parse import quote

from dormouse.cli import credentials
from dormouse.cli.client import Client, Target
from dormouse.cli.folder import CommandError
from dormouse.cli.tenants import target_of


def run(options: argparse.Namespace) -> int:
    """Open psql; replaces this process, so it returns only by raising CommandError."""
    target = target_of(options)
    with Client(target) as client:
        tenant = client.find(options.name)
    url = _url(target, tenant)
    psql = shutil.which("psql")
    if psql is None:
        raise CommandError("psql is not installed")
    os.execv(psql, [psql, url, *options.psql])


def _url(target: Target, tenant: dict[str, Any]) -> str:
    kept = credentials.find(target.folder, tenant) if target.folder is not None else None
    return kept or quote("")
