"""`dormouse login` and `dormouse logout`: the gateway that commands talk to where none is named.

Kept in `$XDG_CONFIG_HOME/dormouse/login.json` (`~/.config` without it), for this user alone.
"""

import argparse
import getpass
import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dormouse.cli.folder import CommandError, write_private
from dormouse.cli.output import fields, print_json

_EXPOSED = "whoever is on the way can read the key"


def login_file() -> Path:
    """Where URL and key are kept."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "dormouse" / "login.json"


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept."""

    api: str
    key: str
    ca_file: Path | None
    """What the API's certificate is verified with; None: the public authorities."""

    def __repr__(self) -> str:
        return f"Login({self.api})"


def read_login() -> Login | None:
    """The login, if one is kept."""
    try:
        document = json.loads(login_file().read_bytes())
        ca_file = document.get("ca")
        return Login(str(document["api"]), str(document["key"]), Path(ca_file) if ca_file else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def ca_file_from_environment() -> Path | None:
    """`$DORMOUSE_API_CA`."""
    text = os.environ.get("DORMOUSE_API_CA")
    return Path(text) if text else None


def run(options: argparse.Namespace) -> int:
    """Run `dormouse login`."""
    from dormouse.cli.client import Client, Target

    api = options.api or os.environ.get("DORMOUSE_API") or ""
    if not api.startswith(("http://", "https://")):
        raise CommandError("login wants the URL of an API", hint="give --api https://…")
    api = api.rstrip("/")
    if is_exposed(api):
        print(f"dormouse: warning: {api} is not encrypted: {_EXPOSED}", file=sys.stderr)
    given = options.ca or ca_file_from_environment()
    ca_file = given.expanduser().resolve() if given is not None else None
    key = options.api_key or os.environ.get("DORMOUSE_API_KEY") or _ask()
    me = Client(Target(api, key, None, ca_file)).me()
    file = login_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {"api": api, "key": key, "ca": str(ca_file) if ca_file is not None else None}
    write_private(file, json.dumps(document) + "\n")
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


def is_exposed(api: str) -> bool:
    """Whether what is sent to this URL can be read on the way."""
    if api.startswith("https://"):
        return False
    host = urlsplit(api).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _ask() -> str:
    """The key, typed unseen, or the first line of what is piped in."""
    key = getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not key.strip():
        raise CommandError("an API key is needed", hint="give --api-key or $DORMOUSE_API_KEY")
    return key.strip()
