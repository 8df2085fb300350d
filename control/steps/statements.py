"""What statements and roles cost, and how much a tenant may store."""

STEP: tuple[str, ...] = (
    # The newest report of every pod that told what its statements cost.
    """
    CREATE TABLE statement_pods (
        tenant_id INTEGER NOT NULL,
        pod_id INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        heard_ms INTEGER NOT NULL,
        ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
        PRIMARY KEY (tenant_id, pod_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX statement_pods_by_age ON statement_pods (heard_ms)",
    # What is known of a pod's sums, by statement; under the query id 0 those of its roles.
    """
    CREATE TABLE statement_known (
        tenant_id INTEGER NOT NULL,
        pod_id INTEGER NOT NULL,
        role TEXT NOT NULL,
        query_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        calls INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        elapsed_micros INTEGER NOT NULL,
        micro_units INTEGER NOT NULL,
        heard_ms INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, pod_id, role, query_id)
    ) STRICT, WITHOUT ROWID
    """,
    # Sums by day of the organisation; query id 0 stands for all that are not told apart.
    """
    CREATE TABLE statement_days (
        tenant_id INTEGER NOT NULL,
        day INTEGER NOT NULL,
        role TEXT NOT NULL,
        query_id INTEGER NOT NULL,
        calls INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        elapsed_micros INTEGER NOT NULL,
        micro_units INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, day, role, query_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX statement_days_by_time ON statement_days (day)",
    """
    CREATE TABLE role_days (
        tenant_id INTEGER NOT NULL,
        day INTEGER NOT NULL,
        role TEXT NOT NULL,
        calls INTEGER NOT NULL,
        micro_units INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, day, role)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX role_days_by_time ON role_days (day)",
    """
    CREATE TABLE statement_texts (
        tenant_id INTEGER NOT NULL,
        query_id INTEGER NOT NULL,
        query TEXT NOT NULL,
        last_day INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, query_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX statement_texts_by_time ON statement_texts (last_day)",
    "ALTER TABLE tenants ADD COLUMN storage_max_bytes INTEGER NOT NULL DEFAULT 0",
)
