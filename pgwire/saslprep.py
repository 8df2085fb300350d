"""SASLprep (RFC 4013): how a password is normalised before it is hashed.

PostgreSQL uses a password as it is where SASLprep refuses it or it is not UTF-8 (its
`pg_saslprep` callers do), so that any password that can be set can be used.
"""

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: str) -> str:
    """The prepared form, or the password itself where the profile does not allow it."""
    if password.isascii() and password.isprintable():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(table(c) for c in prepared for table in _PROHIBITED):
        return password
    return prepared if _bidirectional_allowed(prepared) else password


def _bidirectional_allowed(text: str) -> bool:
    right_to_left = [stringprep.in_table_d1(character) for character in text]
    if not any(right_to_left):
        return True
    mixed = any(stringprep.in_table_d2(character) for character in text)
    return right_to_left[0] and right_to_left[-1] and not mixed
