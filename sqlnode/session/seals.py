"""Sealed bytes: what only the pods of one tenant can read, and nobody else can make or change.

    sealed = version:u8  salt:16  nonce:12  AES-256-GCM(plain)  tag:16
    key    = HMAC-SHA256(the tenant's session key, label ‖ salt)
    AAD    = label ‖ version ‖ tenant id

Salt and nonce are random. A key of its own for every seal lifts GCM's bound on random nonces under
one key (2**32), which a tenant that is sealed for at every change would reach in its lifetime.
"""

import hmac
import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dormouse.base.ids import TenantId

KEY_BYTES = 32
VERSION = 1
_LABEL = b"dormouse session"
_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
_HEAD_BYTES = 1 + _SALT_BYTES + _NONCE_BYTES
OVERHEAD_BYTES = _HEAD_BYTES + _TAG_BYTES
"""By which sealed bytes are longer than what is in them."""


class SealBroken(Exception):
    """Sealed bytes that are not to be trusted; the text says why, for the log only."""


class Seals:
    """Seals and opens for one tenant under its session key."""

    def __init__(self, key: bytes, tenant: TenantId) -> None:
        """Raises ValueError where the key has not KEY_BYTES."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a session key has {KEY_BYTES} bytes")
        self._key = key
        self._context = _LABEL + struct.pack(">BQ", VERSION, tenant)

    def seal(self, plain: bytes) -> bytes:
        """`plain`, sealed."""
        random = secrets.token_bytes(_SALT_BYTES + _NONCE_BYTES)
        salt, nonce = random[:_SALT_BYTES], random[_SALT_BYTES:]
        sealed = self._cipher(salt).encrypt(nonce, plain, self._context)
        return bytes((VERSION,)) + random + sealed

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises SealBroken."""
        if len(sealed) < OVERHEAD_BYTES:
            raise SealBroken("too short")
        if sealed[0] != VERSION:
            raise SealBroken(f"unknown version {sealed[0]}")
        salt, nonce = sealed[1 : 1 + _SALT_BYTES], sealed[1 + _SALT_BYTES : _HEAD_BYTES]
        try:
            return self._cipher(salt).decrypt(nonce, sealed[_HEAD_BYTES:], self._context)
        except InvalidTag:
            raise SealBroken("changed, or sealed under another key or for another tenant") from None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._key, _LABEL + salt, "sha256"))
