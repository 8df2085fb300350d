"""Which PostgreSQL a pod says it is, in one place: clients read it to know what they may ask."""

from importlib import metadata

POSTGRESQL = "15.18"
"""The release whose behaviour is the oracle."""
POSTGRESQL_NUMBER = 150018
SERVER_VERSION = f"{POSTGRESQL} (Dormouse {metadata.version('dormouse')})"
"""The setting server_version: drivers parse what stands before the blank."""
