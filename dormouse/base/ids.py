"""The identifiers that cross role borders, one type each, so that they cannot be swapped."""

import re
from dataclasses import dataclass
from typing import NewType, Self

TenantId = NewType("TenantId", int)
"""A tenant's number: positive, below 2**63, never given twice in an installation."""

PodId = NewType("PodId", int)
"""A random 64-bit number a pod gives itself when it is stamped; names its transactions for good."""

TENANT_ID_MAX = 2**63 - 1
TENANT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""Lower-case letters, digits, inner dashes; 1 to 40 characters: with its id still a DNS label."""


@dataclass(frozen=True, slots=True)
class TenantAddress:
    """How a client names a tenant: `<name>-<id>`.

    The name must match the id's registered one before anything is woken, so that walking through
    ids wakes nobody.
    """

    name: str
    id: TenantId

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The address in `text`, or None where it has not the form `<name>-<id>`."""
        name, dash, digits = text.rpartition("-")
        if not dash or not TENANT_NAME.fullmatch(name):
            return None
        if not digits.isascii() or not digits.isdecimal() or digits[0] == "0" or len(digits) > 19:
            return None
        number = int(digits)
        return cls(name, TenantId(number)) if number <= TENANT_ID_MAX else None

    def __str__(self) -> str:
        return f"{self.name}-{self.id}"
