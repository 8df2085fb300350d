"""`dormouse sql NAME`: psql on a tenant, or a simple prompt."""

import argparse
import getpass
import os
import shutil
import sys

from dormouse.cli import credentials
from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.tenants import target_of


def run(options: argparse.Namespace) -> int:
    """Open psql, which then has this process; without psql, the prompt. The exit code."""
    target = target_of(options)
    client = Client(target)
    tenant = client.find(options.name)
    password = credentials.find(target.folder, tenant) if target.folder is not None else None
    url = str(tenant["connection_url"])
    psql = shutil.which("psql")
    if psql is not None:
        # In the environment, for arguments can be seen by every user of the machine.
        environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
        sys.stdout.flush()
        os.execve(psql, [psql, url, *options.psql], environment)
    if options.psql:
        raise CommandError("psql is not installed, so its arguments mean nothing")
    from dormouse.cli import prompt

    password = password or os.environ.get("PGPASSWORD") or getpass.getpass("Password: ")
    return prompt.run(url, password)
