"""Secrets at rest: what the registry keeps of them is sealed under a key that lies elsewhere.

    secrets.keys  (0600, beside the authority)      one key a line, the newest first
    ┌──────────────────────────────┐
    │ 9c41d2e0 <256 bits, base64>  │──▶ seals, and opens what it has sealed
    │ 03b7aa51 <256 bits, base64>  │──▶ opens what is left of the time before; goes when nothing is
    └──────────────────────────────┘

    sealed  =  1 │ key id (4) │ nonce (12) │ AES-256-GCM(secret) │ tag (16)
    associated data  =  all before the nonce, and the purpose

So a copy of the registry (a backup, say) opens nothing by itself, and what was sealed for one
purpose is refused under another. Keys go through this module's hands and into no log: a `repr`
shows their ids alone.
"""

import base64
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_ID_BYTES = 4
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD_BYTES = len(_VERSION) + _ID_BYTES
OVERHEAD_BYTES = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES
"""By so much a sealed secret is longer."""
KEYS_MAX = 8
"""In one file; more of them mean that something keeps failing after each rotation."""


class VaultError(Exception):
    """The key file is missing or damaged, or something sealed does not open with its keys."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: bytes
    cipher: AESGCM = field(repr=False)
    text: str = field(repr=False)
    """Its line in the file."""


class Vault:
    """Seals and opens secrets with the keys of one file; `Vault.at` reads or makes it."""

    def __init__(self, file: Path, keys: Sequence[_Key]) -> None:
        self._file = file
        self._keys = list(keys)

    @classmethod
    def at(cls, file: Path) -> "Vault":
        """The keys in `file`, which is made with a first one where there is none.

        Raises VaultError where the file is there and is none of ours.
        """
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            vault = cls(file, [_make_key()])
            vault._write(vault._keys)
            return vault
        lines = file.read_text(encoding="ascii", errors="replace").split("\n")
        keys = [_read_key(line, file) for line in lines if line.strip()]
        if not keys or len(keys) > KEYS_MAX or len({key.id for key in keys}) < len(keys):
            raise VaultError(f"{file}: not a file of secret keys")
        return cls(file, keys)

    def __repr__(self) -> str:
        return f"<Vault {self._file} keys={[key.id.hex() for key in self._keys]}>"

    @property
    def key_ids(self) -> list[str]:
        """The keys' names, the one that seals first."""
        return [key.id.hex() for key in self._keys]

    def seal(self, purpose: str, secret: bytes) -> bytes:
        """The secret, sealed for one purpose under the newest key."""
        key, nonce = self._keys[0], secrets.token_bytes(_NONCE_BYTES)
        head = _VERSION + key.id
        return head + nonce + key.cipher.encrypt(nonce, secret, _bound(head, purpose))

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for this purpose. Raises VaultError."""
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        if len(sealed) < OVERHEAD_BYTES or not head.startswith(_VERSION):
            raise VaultError(f"not a sealed secret ({purpose})")
        key = next((each for each in self._keys if each.id == head[1:]), None)
        if key is None:
            raise VaultError(
                f"a secret of the registry ({purpose}) is sealed under the key {head[1:].hex()},"
                f" which {self._file} does not have: put back the file that belongs to the registry"
            )
        nonce, text = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return key.cipher.decrypt(nonce, text, _bound(head, purpose))
        except InvalidTag:
            raise VaultError(
                f"a sealed secret ({purpose}) does not open under its key {key.id.hex()}:"
                " it was changed, or sealed for something else"
            ) from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key has sealed it."""
        return sealed[:_HEAD_BYTES] == _VERSION + self._keys[0].id

    # A new key: written before it seals anything, and the old ones go after all was sealed anew.

    def add_key(self) -> None:
        """From now on seal under a new key; the file has it when this returns.

        Raises VaultError where there are too many old ones.
        """
        if len(self._keys) >= KEYS_MAX:
            raise VaultError(f"{self._file} has {KEYS_MAX} keys; old ones must go first")
        keys = [_make_key(), *self._keys]
        self._write(keys)
        self._keys = keys

    def forget_old_keys(self) -> None:
        """Keep the newest key alone; for when nothing is sealed under the others any more."""
        self._write(self._keys[:1])
        self._keys = self._keys[:1]

    def _write(self, keys: Sequence[_Key]) -> None:
        """Replace the file atomically and durably; nobody else may ever read it."""
        temporary = self._file.with_name(self._file.name + ".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.writelines(key.text + "\n" for key in keys)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _bound(head: bytes, purpose: str) -> bytes:
    return b"dormouse vault " + head + purpose.encode()


def _make_key() -> _Key:
    number, bits = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_KEY_BYTES)
    return _Key(number, AESGCM(bits), f"{number.hex()} {base64.b64encode(bits).decode('ascii')}")


def _read_key(line: str, file: Path) -> _Key:
    try:
        name, text = line.split()
        number, bits = bytes.fromhex(name), base64.b64decode(text, validate=True)
    except ValueError:
        raise VaultError(f"{file}: not a file of secret keys") from None
    if (len(number), len(bits)) != (_ID_BYTES, _KEY_BYTES):
        raise VaultError(f"{file}: not a file of secret keys")
    return _Key(number, AESGCM(bits), line.strip())
