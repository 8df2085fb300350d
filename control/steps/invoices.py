"""Invoices and what they are made of."""

STEP: tuple[str, ...] = ()
