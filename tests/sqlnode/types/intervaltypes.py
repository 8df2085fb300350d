"""Interval types with fields: what the grammar makes of them."""

from sqlnode.types import oids

_FULL = 0xFFFF
INTERVAL_TYPMODS = {
    "interval day": (oids.INTERVAL, (8 << 16) | _FULL),
    "interval year": (oids.INTERVAL, (4 << 16) | _FULL),
    "interval hour to minute": (oids.INTERVAL, (3072 << 16) | _FULL),
    "interval second(2)": (oids.INTERVAL, (4096 << 16) | 2),
}
