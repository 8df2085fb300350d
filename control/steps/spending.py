"""Spend limits and the notices that were given."""

STEP: tuple[str, ...] = ()
