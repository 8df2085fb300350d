"""The flags that say where and how `dormouse up` answers HTTP."""

import argparse
import ipaddress
from pathlib import Path

LOCALHOST = "localhost"


def add_api_flags(up: argparse.ArgumentParser) -> None:
    """The flags."""
    group = up.add_argument_group("HTTP API")
    group.add_argument(
        "--api-host",
        dest="api_hosts",
        type=_address,
        action="append",
        metavar="ADDRESS",
        help="answer on this address, as 0.0.0.0; may be repeated (default: loopback alone); "
        "others than loopback want --api-tls",
    )
    group.add_argument(
        "--api-tls",
        action="store_true",
        help="over TLS, with a certificate of this installation's authority (DATA/ca.crt)",
    )
    group.add_argument(
        "--api-name",
        dest="api_names",
        type=_name,
        action="append",
        metavar="NAME",
        help="a name or address that clients use, for that certificate; may be repeated",
    )
    group.add_argument(
        "--api-certificate",
        type=Path,
        metavar="FILE",
        help="over TLS, with this chain (PEM); read again when it changes",
    )
    group.add_argument("--api-private-key", type=Path, metavar="FILE", help="its key (PEM)")
    group.add_argument(
        "--signup-open",
        action="store_true",
        help="strangers may make an organisation of their own (POST /v1/signup)",
    )
    group.add_argument(
        "--api-insecure",
        action="store_true",
        help="answer on --api-host without TLS: keys and passwords can be read on the way",
    )


def _address(text: str) -> str:
    if text == LOCALHOST:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no IP address; names that clients use go to --api-name"
        ) from None


def _name(text: str) -> str:
    if not text.isascii() or not text or any(char in text for char in "/: \t"):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no host name") from None
    return text.lower()
