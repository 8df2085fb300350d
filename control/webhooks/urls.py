"""What may be a webhook's URL. Pure; where its name leads is checked at every connection."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from control.webhooks.addresses import Address, AddressPolicy

URL_CHARACTERS_MAX = 2000
_PORTS = {"https": 443, "http": 80}
_VISIBLE = re.compile(r"[!-~]+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """What the operator lets webhooks be."""

    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    http: bool = False
    """Whether without TLS, too."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a URL leads, without what it says there (which may be a secret)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _PORTS.get(self.scheme) == self.port
        return f"{self.scheme}://{host}" if default else f"{self.scheme}://{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Where it leads. Raises ValueError for what is not a URL with a host."""
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else _PORTS.get(parts.scheme, 0)
    if not parts.hostname or not port:
        raise ValueError("not a URL with a host")
    return Origin(parts.scheme, parts.hostname, port)


def check_url(url: str, policy: UrlPolicy) -> None:
    """Raises ValueError, with a sentence for whoever wrote it, for what cannot be a webhook."""
    if len(url) > URL_CHARACTERS_MAX or not _VISIBLE.fullmatch(url):
        raise ValueError(f"use at most {URL_CHARACTERS_MAX} visible ASCII characters")
    try:
        parts, origin = urlsplit(url), origin_of(url)
    except ValueError:
        raise ValueError("this is not a URL such as https://example.com/hook") from None
    if parts.scheme != "https" and not (policy.http and parts.scheme == "http"):
        raise ValueError("use https" if not policy.http else "use https or http")
    if "@" in parts.netloc:
        raise ValueError("leave user name and password out: the signature proves who sends")
    if "#" in url:
        raise ValueError("leave the fragment (#…) out: it is never sent")
    address = _literal(origin.host)
    if address is None and not _HOST.fullmatch(origin.host):
        raise ValueError("this host cannot be")
    if address is not None and not policy.addresses.allows(address):
        raise ValueError("this gateway does not send to that address")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
