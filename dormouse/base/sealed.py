"""Files that only who has the key can read, or could have written: AES-256-GCM over pieces.

    file  = MAGIC salt:32 check:16 piece…        every piece is 1 MiB and its tag, the last one may
    piece = AES-256-GCM of the plain bytes       be shorter; there is always one
            key    HKDF-SHA256(the key, salt)    of this file alone
            nonce  number:88 is-last:8           (big endian)
            also   MAGIC, salt, check            are authenticated with every piece

A piece that changed, is missing, doubled, moved or of another file has another nonce or key, and a
file that ends early lacks the piece that says it is the last: all are refused (the STREAM
construction: Hoang, Reyhanitabar, Rogaway, Vizár, 2015). `check` tells another key from damage.

Nobody sees how much is inside a piece, but everybody how long the file is.
"""

import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dormouse.base.archive import Damaged

MAGIC: Final = b"DORMOUSE-SEALED 1\n"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
_CHECK_BYTES = 16
_PIECE_BYTES = 1 << 20
_TAG_BYTES = 16


class WrongKey(Exception):
    """The file was sealed with another key."""


class Sealer:
    """Seals one file, front to back."""

    def __init__(self, key: bytes, *, salt: bytes) -> None:
        """`salt`: SALT_BYTES that are random, new for every file."""
        self._cipher, self._head = _prepared(key, salt)
        self._filling = bytearray(self._head)
        self._plain = bytearray()
        self._number = 0

    def add(self, data: bytes) -> bytes:
        """What is to be written for more of the plain file; perhaps nothing yet."""
        self._plain += data
        while len(self._plain) > _PIECE_BYTES:  # one byte at least is left for the last piece
            self._seal(_PIECE_BYTES, is_last=False)
        return self._taken()

    def finish(self) -> bytes:
        """The last bytes of it."""
        self._seal(len(self._plain), is_last=True)
        return self._taken()

    def _seal(self, size: int, *, is_last: bool) -> None:
        nonce = _nonce(self._number, is_last=is_last)
        self._filling += self._cipher.encrypt(nonce, bytes(self._plain[:size]), self._head)
        del self._plain[:size]
        self._number += 1

    def _taken(self) -> bytes:
        taken = bytes(self._filling)
        self._filling.clear()
        return taken


class Opener:
    """Reads a sealed file as if it were the plain one, from behind its MAGIC on."""

    def __init__(self, read: Callable[[int], bytes], key: bytes) -> None:
        """`read(n)` answers n bytes, fewer at the end. Raises Damaged and WrongKey."""
        self._read = read
        salt, check = read(SALT_BYTES), read(_CHECK_BYTES)
        self._next = read(_PIECE_BYTES + _TAG_BYTES)
        if not self._next:
            raise Damaged("it ends before its first piece: it was cut off")
        self._cipher, self._head = _prepared(key, salt)
        if not hmac.compare_digest(self._head[-_CHECK_BYTES:], check):
            raise WrongKey
        self._plain = bytearray()
        self._number = 0

    def read(self, size: int) -> bytes:
        """So many plain bytes, fewer at the end. Raises Damaged."""
        while len(self._plain) < size and self._next:
            self._open()
        found = bytes(self._plain[:size])
        del self._plain[:size]
        return found

    def _open(self) -> None:
        piece, self._next = self._next, self._read(_PIECE_BYTES + _TAG_BYTES)
        nonce = _nonce(self._number, is_last=not self._next)
        try:
            self._plain += self._cipher.decrypt(nonce, piece, self._head)
        except InvalidTag:
            where = f"sealed piece {self._number}"
            raise Damaged(f"{where} is not what was written, or it ends there early") from None
        self._number += 1


def _prepared(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of one file, and its first bytes. Raises ValueError."""
    if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
        raise ValueError("a key and a salt of another length")
    hkdf = HKDF(hashes.SHA256(), KEY_BYTES + _CHECK_BYTES, salt=salt, info=MAGIC)
    derived = hkdf.derive(key)
    return AESGCM(derived[:KEY_BYTES]), MAGIC + salt + derived[KEY_BYTES:]


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
