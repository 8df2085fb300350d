"""What statement a text is, whatever its constants: its number and its text without them.

    SELECT * FROM a WHERE id = 7       ┐            as it came first
    select * from a where id = $1      ┴─▶ 6372…  "SELECT * FROM a WHERE id = $1"
    SELECT * FROM a WHERE id IN (1,2)  ──▶ another

The number is libpg_query's fingerprint: the same on every pod and after every restart. Taking it
and the constants out costs some 15 µs, once for a text: who runs a cached plan finds the answer by
a look into a dictionary.

No password is ever in what is kept: a constant leaves its place empty, in CREATE and ALTER ROLE
too. A text that libpg_query might recurse on too deep is known by its beginning, token by token.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import postgast
from google.protobuf.message import DecodeError

from sqlnode.parse import TOKENS, UNCHECKED_TEXT_CHARS_MAX

TEXT_BYTES_MAX = 2048
KEPT_MAX = 2000
KEPT_CHARS_MAX = UNCHECKED_TEXT_CHARS_MAX
"""A longer text (a bulk INSERT) is no second time the same."""
_SIGN = 1 << 63
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """A statement without its constants."""

    query_id: int
    """64 bits, never 0."""
    text: str
    """TEXT_BYTES_MAX in UTF-8 at the most."""

    @property
    def signed(self) -> int:
        """The number as a bigint."""
        return self.query_id - (1 << 64) if self.query_id >= _SIGN else self.query_id


class Identities:
    """The identities of texts; the oldest go first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Identity] = OrderedDict()
        self.get = self._known.get
        """What is known of a text; None: ask `find`."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, text: str) -> Identity:
        """The identity of one statement that has been parsed."""
        found = self._known.get(text)
        if found is None:
            found = identify(text)
            if len(text) <= KEPT_CHARS_MAX:
                self._known[text] = found
                if len(self._known) > KEPT_MAX:
                    self._known.popitem(last=False)
        return found


def identify(text: str) -> Identity:
    """Work out the identity of one statement."""
    if len(text) <= UNCHECKED_TEXT_CHARS_MAX:
        try:
            number = postgast.fingerprint(text).fingerprint & _MASK
            return Identity(number or 1, cut(postgast.normalize(text)))
        except (postgast.PgQueryError, DecodeError, UnicodeError):
            pass  # its beginning will do
    shown = _beginning(text)
    digest = hashlib.blake2b(shown.encode(), digest_size=8).digest()
    return Identity(int.from_bytes(digest, "big") or 1, shown)


def cut(text: str) -> str:
    """As much of a text as may be kept, whole characters."""
    encoded = text.encode(errors="replace")
    return encoded[:TEXT_BYTES_MAX].decode(errors="ignore")


def _beginning(text: str) -> str:
    """The first tokens of a text, each constant replaced by a number of its own."""
    pieces: list[str] = []
    size = constants = 0
    for match in TOKENS.finditer(text):
        token = match[0]
        if _is_constant(token) and (not pieces or pieces[-1] != "$"):
            constants += 1
            token = f"${constants}"
        elif token.isspace():
            token = " "
        elif token.startswith(("--", "/*")):
            continue
        size += len(token)
        if size > TEXT_BYTES_MAX:
            break
        pieces.append(token)
    return cut("".join(pieces))


def _is_constant(token: str) -> bool:
    quoted = token[0] == "'" or (token[0] in "eE$" and token[-1] in "'$" and len(token) > 1)
    return quoted or token[0].isdigit()
