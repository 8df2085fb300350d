"""Certificates that were issued and revoked, and what secrets are sealed with."""

STEP: tuple[str, ...] = (
    # A word that nobody needs: at every start it tells whether the keys are those of this file.
    """
    CREATE TABLE sealed_probe (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sealed BLOB NOT NULL
    ) STRICT
    """,
    "INSERT INTO sealed_probe (id, sealed) VALUES (1, sealed('probe', secret_bytes(16)))",
    # In the place of the plain one; empty in a tombstone.
    "ALTER TABLE tenants ADD COLUMN sealed_session_key BLOB NOT NULL DEFAULT x''",
    """
    UPDATE tenants SET sealed_session_key = sealed('session key', session_key)
    WHERE session_key <> x''
    """,
    "ALTER TABLE tenants DROP COLUMN session_key",
    # Tenants whose pods are to be told their owner's newest password; `number` counts the resets.
    """
    CREATE TABLE owner_news (
        tenant_id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL
    ) STRICT
    """,
)
