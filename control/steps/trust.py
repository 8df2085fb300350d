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
    # Operations may be on the whole installation; their kinds are the code's to know.
    """
    CREATE TABLE operations_of_any (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        tenant_id INTEGER,
        status TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'failed')),
        started_ns INTEGER NOT NULL,
        ended_ns INTEGER,
        error TEXT,
        CHECK ((ended_ns IS NULL) = (status = 'running')),
        CHECK ((error IS NOT NULL) = (status = 'failed'))
    ) STRICT
    """,
    "INSERT INTO operations_of_any SELECT * FROM operations",
    # Ids go on where they were, also after the newest rows were forgotten.
    "DELETE FROM sqlite_sequence WHERE name = 'operations_of_any'",
    """
    INSERT INTO sqlite_sequence (name, seq)
    SELECT 'operations_of_any', seq FROM sqlite_sequence WHERE name = 'operations'
    """,
    "DROP TABLE operations",
    "ALTER TABLE operations_of_any RENAME TO operations",
    "CREATE INDEX operations_by_tenant ON operations (tenant_id, id)",
    "CREATE INDEX operations_running ON operations (kind, id) WHERE status = 'running'",
    "CREATE INDEX operations_ended ON operations (ended_ns) WHERE ended_ns IS NOT NULL",
    # Warnings of ends that were given, so that each is given once.
    """
    CREATE TABLE certificate_warnings (
        name TEXT NOT NULL,
        serial TEXT NOT NULL,
        days INTEGER NOT NULL,
        PRIMARY KEY (name, serial, days)
    ) STRICT, WITHOUT ROWID
    """,
    # Pods whose certificates are refused, until the last of them has ended anyway.
    """
    CREATE TABLE revoked_pods (
        tenant_id INTEGER NOT NULL,
        pod_id TEXT NOT NULL,
        revoked_ns INTEGER NOT NULL,
        until_ns INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, pod_id)
    ) STRICT, WITHOUT ROWID
    """,
)
