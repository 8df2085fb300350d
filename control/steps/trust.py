"""Certificates that were issued and revoked, and what secrets are sealed with."""

STEP: tuple[str, ...] = ()
