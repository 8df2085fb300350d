"""`dormouse login` and `dormouse logout`: the gateway that commands talk to where none is named.

Kept in `$XDG_CONFIG_HOME/dormouse/login.json` (`~/.config` without it), for this user alone.
"""

import argparse
import getpass
import json
import os
import sys
from pathlib import Path

from dormouse.cli.folder import CommandError, write_private
from dormouse.cli.output import fields, print_json


def login_file() -> Path:
    """Where URL and key are kept."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "dormouse" / "login.json"


def read_login() -> tuple[str, str] | None:
    """URL and key, if they are kept."""
    try:
        document = json.loads(login_file().read_bytes())
        return str(document["api"]), str(document["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run(options: argparse.Namespace) -> int:
    """Run `dormouse login`."""
    from dormouse.cli.client import Client, Target

    api = options.api or os.environ.get("DORMOUSE_API") or ""
    if not api.startswith(("http://", "https://")):
        raise CommandError("login wants the URL of an API", hint="give --api https://…")
    key = options.api_key or os.environ.get("DORMOUSE_API_KEY") or _ask()
    me = Client(Target(api.rstrip("/"), key, None)).me()
    file = login_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, json.dumps({"api": api.rstrip("/"), "key": key}) + "\n")
    if options.json:
        print_json(me)
    else:
        shown = ("label", "scope", "access", "organisation", "tenant", "expires_at")
        print(fields([(name, me[name]) for name in shown if me[name] is not None]))
    return 0


def forget(_options: argparse.Namespace) -> int:
    """Run `dormouse logout`; the key itself stays valid until it is revoked."""
    login_file().unlink(missing_ok=True)
    return 0


def _ask() -> str:
    """The key, typed unseen, or the first line of what is piped in."""
    key = getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not key.strip():
        raise CommandError("an API key is needed", hint="give --api-key or $DORMOUSE_API_KEY")
    return key.strip()
