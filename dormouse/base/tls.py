"""Certificates as credentials: who a peer is, for gRPC channels and for TLS sockets.

Every role and every tenant's pods hold a certificate of the installation's one authority. The
common name says who they are: a decimal tenant id for a tenant's pods, a role's name otherwise.
Nothing else in a certificate grants anything.
"""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import grpc

from dormouse.base.ids import TENANT_ID_MAX, PodId, TenantId

DOMAIN = "dormouse.internal"
"""Server names inside an installation are `<common name>.dormouse.internal`; they need no DNS."""


_POD_DOMAIN = f".pod.{DOMAIN}"


class Role(StrEnum):
    """The roles of an installation, as their certificates name them."""

    STORAGE = "storage"
    CONTROL = "control"
    AUTOSCALER = "autoscaler"
    PROXY = "proxy"
    POD = "pod"
    """A SQL pod that no tenant owns yet: it may be stamped, and may call nothing."""
    OPERATOR = "operator"
    """The command line on the operator's machine."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who holds a certificate: a role, or the pods of one tenant. Exactly one of the two is set."""

    role: Role | None = None
    tenant: TenantId | None = None

    @classmethod
    def parse(cls, common_name: str) -> Self | None:
        """The identity a common name stands for, or None where it stands for nobody."""
        if common_name.isascii() and common_name.isdecimal() and common_name[0] != "0":
            number = int(common_name) if len(common_name) <= 19 else TENANT_ID_MAX + 1
            return cls(tenant=TenantId(number)) if number <= TENANT_ID_MAX else None
        try:
            return cls(role=Role(common_name))
        except ValueError:
            return None

    @property
    def common_name(self) -> str:
        """The common name of this identity's certificates."""
        return str(self.role) if self.role is not None else str(self.tenant)

    @property
    def server_name(self) -> str:
        """The name this identity's servers present and their clients check."""
        return f"{self.common_name}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A private key with its certificate chain and the authority to trust, all PEM."""

    key: bytes
    certificate: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Credentials(***)"

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """Read `<name>.key`, `<name>.crt` and `ca.crt` from `folder`."""
        return cls(
            key=(folder / f"{name}.key").read_bytes(),
            certificate=(folder / f"{name}.crt").read_bytes(),
            authority=(folder / "ca.crt").read_bytes(),
        )

    def for_grpc_client(self) -> grpc.ChannelCredentials:
        """Credentials of a gRPC channel that shows this certificate."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)

    def grpc_configuration(self) -> grpc.ServerCertificateConfiguration:
        """What a gRPC server presents and trusts, for credentials that may change."""
        pair = [(self.key, self.certificate)]
        return grpc.ssl_server_certificate_configuration(pair, self.authority)

    def for_grpc_server(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC server that demands a certificate of the same authority."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority, require_client_auth=True
        )

    def for_tls_client(self) -> ssl.SSLContext:
        """A context for connections to other roles; the caller passes the `server_hostname`."""
        # Given an authority of its own, the context does not trust those of the system as well.
        authority = self.authority.decode("ascii")
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._load_chain(context)
        return context

    def for_tls_server(self, *, mutual: bool) -> ssl.SSLContext:
        """A server context; `mutual` demands a client certificate of the same authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if mutual else ssl.TLSVersion.TLSv1_2
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.authority.decode("ascii"))
        self._load_chain(context)
        return context

    def _load_chain(self, context: ssl.SSLContext) -> None:
        # The ssl module reads chains from files only. This one is memory without a name: wherever
        # the process is killed, no key stays behind.
        with os.fdopen(os.memfd_create("dormouse"), "wb") as file:
            file.write(self.key + b"\n" + self.certificate)
            file.flush()
            # A password, or OpenSSL would ask the terminal for one where the key is encrypted.
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def pod_name(pod: PodId) -> str:
    """What a pod's certificate calls the pod, besides its tenant."""
    return f"{pod:016x}{_POD_DOMAIN}"


def pod_of(names: Iterable[str]) -> PodId | None:
    """The pod that is among the names of a certificate."""
    for name in names:
        number = name.removesuffix(_POD_DOMAIN)
        if number != name and len(number) == 16:
            with contextlib.suppress(ValueError):
                return PodId(int(number, 16))
    return None


def peer_pod(certificate: Callable[[], object]) -> PodId | None:
    """Which pod the peer of a TLS socket is, from `SSLObject.getpeercert`."""
    document = certificate()
    names = document.get("subjectAltName", ()) if isinstance(document, dict) else ()
    return pod_of(value for kind, value in names if kind == "DNS")


def peer_identity(certificate: Callable[[], object]) -> Identity | None:
    """Who the peer of a TLS socket is, from `SSLObject.getpeercert`; None for a stranger."""
    document = certificate()
    if not isinstance(document, dict):
        return None
    for group in document.get("subject", ()):
        for name, value in group:
            if name == "commonName":
                return Identity.parse(value)
    return None
