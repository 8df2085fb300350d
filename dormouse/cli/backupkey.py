"""`--key-file`: backups that are encrypted where they lie.

The key never leaves the machine of who types the command: neither gateway nor bucket has it.
"""

import argparse
import base64
import binascii
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from dormouse.base import archive, sealed
from dormouse.cli.folder import CommandError
from dormouse.cli.places import Sink

_SIZE_MAX = 1024
_HEX = re.compile(rb"[0-9a-fA-F]{64}")


def add_key_flag(parser: argparse.ArgumentParser, text: str) -> None:
    """`--key-file`."""
    parser.add_argument("--key-file", type=Path, metavar="FILE", help=text)


def key_of(options: argparse.Namespace) -> bytes | None:
    """The key that was named; None: there is to be none. Raises CommandError."""
    file: Path | None = options.key_file
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            text = opened.read(_SIZE_MAX).strip()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    key = _decoded(text)
    if len(key) != sealed.KEY_BYTES:
        raise CommandError(
            f"{file} holds no key of 32 bytes, in hexadecimal or base64",
            hint=f"make one with `openssl rand -hex 32 > {file}`, and keep a copy elsewhere",
        )
    return key


def _decoded(text: bytes) -> bytes:
    """Empty where it is neither."""
    try:
        if _HEX.fullmatch(text):
            return bytes.fromhex(text.decode())
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


class SealedSink:
    """A sink that encrypts what goes into another one."""

    def __init__(self, sink: Sink, key: bytes) -> None:
        self._sink = sink
        self._sealer = sealed.Sealer(key, salt=secrets.token_bytes(sealed.SALT_BYTES))

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        if some := self._sealer.add(data):
            self._sink.write(some)

    def finish(self, manifest: bytes) -> int:
        """See `Sink.finish`."""
        some = self._sealer.add(manifest)
        return self._sink.finish(some + self._sealer.finish())


def unsealed(read: Callable[[int], bytes], key: bytes | None, file: str) -> Callable[[int], bytes]:
    """Reads the plain file. With a key only what was encrypted with it is taken: who could put a
    file there might put one that is not. Raises CommandError, archive.Damaged."""
    magic = read(len(sealed.MAGIC))
    if magic == sealed.MAGIC:
        if key is None:
            raise CommandError(f"{file} is encrypted", hint="give its key with --key-file")
        try:
            return sealed.Opener(read, key).read
        except sealed.WrongKey:
            raise CommandError(
                f"{file} was encrypted with another key, or its first bytes are damaged"
            ) from None
    if key is not None and magic == archive.MAGIC:
        raise CommandError(
            f"{file} is not encrypted", hint="leave out --key-file to take it as it is"
        )
    return _again(magic, read)


def _again(first: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Reads `first` once more, then the rest."""
    pushed = bytearray(first)

    def read_some(size: int) -> bytes:
        found = bytes(pushed[:size])
        del pushed[:size]
        return found + read(size - len(found)) if len(found) < size else found

    return read_some
