"""The registry's tables, as the steps that made them.

A step, once released, never changes; a new one is added at the end. `PRAGMA user_version` counts
the steps a file has been through. A step may call `secret_bytes(n)`, random bytes of the system's.

Tenant ids are AUTOINCREMENT: SQLite keeps the highest one ever given apart from the rows, so an id
never comes back, and a deleted tenant's row stays as a tombstone besides. Ids count up from 1
instead of being random: an id alone opens nothing (the proxy wants the name with it, and then the
password), while a short one keeps host names short and is exact in every JSON parser.
"""

_USAGE_AMOUNTS = ", ".join(
    f"{name} INTEGER NOT NULL DEFAULT 0"
    for name in (
        "sql_cpu_micros",
        "read_batches",
        "read_requests",
        "read_bytes",
        "write_batches",
        "write_requests",
        "write_bytes",
        "egress_bytes",
        "pod_millis",
        "system_cpu_micros",
        "system_read_batches",
        "system_read_requests",
        "system_read_bytes",
        "system_write_batches",
        "system_write_requests",
        "system_write_bytes",
    )
)
"""Of the third step: as immutable as the step."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE tenants (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            owner TEXT NOT NULL,
            database TEXT NOT NULL,
            scram_verifier TEXT NOT NULL,
            connections_max INTEGER NOT NULL,
            idle_timeout_seconds INTEGER NOT NULL DEFAULT 0,
            created_ns INTEGER NOT NULL,
            deleted_ns INTEGER,
            purged_ns INTEGER,
            CHECK (purged_ns IS NULL OR deleted_ns IS NOT NULL)
        ) STRICT
        """,
        "CREATE UNIQUE INDEX tenants_by_name ON tenants (name) WHERE deleted_ns IS NULL",
        """
        CREATE INDEX tenants_to_purge ON tenants (id)
        WHERE deleted_ns IS NOT NULL AND purged_ns IS NULL
        """,
        """
        CREATE TABLE api_keys (
            hash BLOB PRIMARY KEY,
            scope TEXT NOT NULL CHECK (scope IN ('admin')),
            label TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            revoked_ns INTEGER
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE usage (
            tenant_id INTEGER NOT NULL,
            pod_id INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            received_ns INTEGER NOT NULL,
            sql_cpu_micros INTEGER NOT NULL,
            read_batches INTEGER NOT NULL,
            read_requests INTEGER NOT NULL,
            read_bytes INTEGER NOT NULL,
            write_batches INTEGER NOT NULL,
            write_requests INTEGER NOT NULL,
            write_bytes INTEGER NOT NULL,
            egress_bytes INTEGER NOT NULL,
            pod_millis INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, pod_id, sequence)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        # Seals the sessions that move between the tenant's pods; empty in a tombstone.
        """
        ALTER TABLE tenants ADD COLUMN session_key BLOB NOT NULL DEFAULT x''
        CHECK (length(session_key) IN (0, 32))
        """,
        "UPDATE tenants SET session_key = secret_bytes(32) WHERE deleted_ns IS NULL",
        """
        ALTER TABLE tenants ADD COLUMN never_sleeps INTEGER NOT NULL DEFAULT 0
        CHECK (never_sleeps IN (0, 1))
        """,
        "ALTER TABLE tenants ADD COLUMN pods_min INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE tenants ADD COLUMN pods_max INTEGER NOT NULL DEFAULT 0",
        """
        ALTER TABLE tenants ADD COLUMN allowed_networks TEXT NOT NULL DEFAULT '[]'
        CHECK (json_type(allowed_networks) = 'array')
        """,
        # Counts the changes of a tenant's settings, for those who change what they have read.
        "ALTER TABLE tenants ADD COLUMN settings_version INTEGER NOT NULL DEFAULT 1",
        # Those that the autoscaler keeps awake, which it asks for whenever it starts.
        """
        CREATE INDEX tenants_kept_awake ON tenants (id)
        WHERE deleted_ns IS NULL AND pods_min > 0
        """,
        "CREATE INDEX tenants_deleted ON tenants (deleted_ns) WHERE deleted_ns IS NOT NULL",
    ),
    (
        # Nothing has ever been reported in the old form, which held differences.
        "DROP TABLE usage",
        # The newest report of every pod: what the next one is compared with.
        f"""
        CREATE TABLE usage_pods (
            tenant_id INTEGER NOT NULL,
            pod_id INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            at_ms INTEGER NOT NULL,
            heard_ms INTEGER NOT NULL,
            {_USAGE_AMOUNTS},
            PRIMARY KEY (tenant_id, pod_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX usage_pods_by_age ON usage_pods (heard_ms)",
        # What each report added to the one before it.
        f"""
        CREATE TABLE usage_entries (
            id INTEGER PRIMARY KEY,
            tenant_id INTEGER NOT NULL,
            pod_id INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            at_ms INTEGER NOT NULL,
            heard_ms INTEGER NOT NULL,
            {_USAGE_AMOUNTS}
        ) STRICT
        """,
        # Sums of the entries, and of storage, by UTC hour, day and month; `start` in unix seconds.
        f"""
        CREATE TABLE usage_rollups (
            tenant_id INTEGER NOT NULL,
            span TEXT NOT NULL CHECK (span IN ('hour', 'day', 'month')),
            start INTEGER NOT NULL,
            {_USAGE_AMOUNTS},
            storage_kib_seconds INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (tenant_id, span, start)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX usage_rollups_by_time ON usage_rollups (span, start)",
        # What a tenant has stored, for as long as it has not changed; booked up to `booked`.
        """
        CREATE TABLE storage_levels (
            tenant_id INTEGER PRIMARY KEY,
            bytes INTEGER NOT NULL,
            booked INTEGER NOT NULL
        ) STRICT
        """,
    ),
)
