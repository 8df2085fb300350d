"""The registry's tables, as the steps that made them.

A step, once released, never changes; a new one is added at the end. `PRAGMA user_version` counts
the steps a file has been through. A step may call `secret_bytes(n)`, random bytes of the system's,
and `sealed(purpose, secret)`, which needs the keys of the vault.

Tenant ids are AUTOINCREMENT: SQLite keeps the highest one ever given apart from the rows, so an id
never comes back, and a deleted tenant's row stays as a tombstone besides. Ids count up from 1
instead of being random: an id alone opens nothing (the proxy wants the name with it, and then the
password), while a short one keeps host names short and is exact in every JSON parser.
"""

from control.steps import (
    events,
    invoices,
    listing,
    restores,
    spending,
    statements,
    trust,
    windows,
)

_USAGE_NAMES = (
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
"""Of the third step: as immutable as the step."""
_USAGE_AMOUNTS = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _USAGE_NAMES)
_USAGE_SUMMED = ", ".join((*_USAGE_NAMES, "storage_kib_seconds"))
_USAGE_SUMS = ", ".join(f"sum({name})" for name in (*_USAGE_NAMES, "storage_kib_seconds"))

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
    (
        # Organisations; the tenants of before belong to `default`.
        """
        CREATE TABLE organisations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            time_zone TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            deleted_ns INTEGER,
            version INTEGER NOT NULL DEFAULT 1
        ) STRICT
        """,
        """
        CREATE UNIQUE INDEX organisations_by_name ON organisations (name)
        WHERE deleted_ns IS NULL
        """,
        """
        INSERT INTO organisations (id, name, time_zone, created_ns)
        VALUES (1, 'default', 'UTC', CAST(strftime('%s', 'now') AS INTEGER) * 1000000000)
        """,
        "ALTER TABLE tenants ADD COLUMN organisation_id INTEGER NOT NULL DEFAULT 1",
        """
        ALTER TABLE tenants ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'
        CHECK (json_type(labels) = 'object')
        """,
        # From then on a deleted tenant's data may go; until then it can be restored.
        "ALTER TABLE tenants ADD COLUMN purge_after_ns INTEGER",
        "UPDATE tenants SET purge_after_ns = deleted_ns WHERE deleted_ns IS NOT NULL",
        "CREATE INDEX tenants_by_organisation ON tenants (organisation_id, id)",
        "DROP INDEX tenants_to_purge",
        """
        CREATE INDEX tenants_to_purge ON tenants (purge_after_ns)
        WHERE deleted_ns IS NOT NULL AND purged_ns IS NULL
        """,
        # What is in tenants.labels, to be found by.
        """
        CREATE TABLE tenant_labels (
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            tenant_id INTEGER NOT NULL,
            PRIMARY KEY (name, value, tenant_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX tenant_labels_by_tenant ON tenant_labels (tenant_id)",
        """
        CREATE TABLE keys (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            hash BLOB NOT NULL UNIQUE,
            scope TEXT NOT NULL CHECK (scope IN ('admin', 'organisation', 'tenant')),
            access TEXT NOT NULL CHECK (access IN ('read', 'write')),
            organisation_id INTEGER,
            tenant_id INTEGER,
            label TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            created_by INTEGER,
            expires_ns INTEGER,
            last_used_ns INTEGER,
            revoked_ns INTEGER,
            CHECK ((organisation_id IS NULL) = (scope = 'admin')),
            CHECK ((tenant_id IS NULL) = (scope <> 'tenant'))
        ) STRICT
        """,
        """
        INSERT INTO keys (hash, scope, access, label, created_ns, revoked_ns)
        SELECT hash, scope, 'write', label, created_ns, revoked_ns FROM api_keys ORDER BY created_ns
        """,
        "DROP TABLE api_keys",
        "CREATE INDEX keys_by_organisation ON keys (organisation_id, id)",
        "CREATE INDEX keys_by_tenant ON keys (tenant_id) WHERE tenant_id IS NOT NULL",
        """
        CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at_ns INTEGER NOT NULL,
            key_id INTEGER,
            key_label TEXT NOT NULL,
            address TEXT NOT NULL,
            request_id TEXT NOT NULL,
            action TEXT NOT NULL,
            resource TEXT NOT NULL,
            organisation_id INTEGER,
            tenant_id INTEGER,
            changes TEXT NOT NULL CHECK (json_type(changes) = 'object')
        ) STRICT
        """,
        "CREATE INDEX audit_by_time ON audit (at_ns)",
        "CREATE INDEX audit_by_organisation ON audit (organisation_id, id)",
        "CREATE INDEX audit_by_tenant ON audit (tenant_id, id)",
        """
        CREATE TABLE operations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('suspend', 'delete', 'purge', 'restore')),
            tenant_id INTEGER NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'failed')),
            started_ns INTEGER NOT NULL,
            ended_ns INTEGER,
            error TEXT,
            CHECK ((ended_ns IS NULL) = (status = 'running')),
            CHECK ((error IS NOT NULL) = (status = 'failed'))
        ) STRICT
        """,
        "CREATE INDEX operations_by_tenant ON operations (tenant_id, id)",
        "CREATE INDEX operations_running ON operations (kind, id) WHERE status = 'running'",
        "CREATE INDEX operations_ended ON operations (ended_ns) WHERE ended_ns IS NOT NULL",
        """
        CREATE TABLE idempotency (
            key_id INTEGER NOT NULL,
            name TEXT NOT NULL,
            request_hash BLOB NOT NULL,
            made_ns INTEGER NOT NULL,
            resource TEXT NOT NULL,
            status INTEGER,
            answer BLOB,
            PRIMARY KEY (key_id, name)
        ) STRICT
        """,
        "CREATE INDEX idempotency_by_time ON idempotency (made_ns)",
    ),
    (
        # Sums over organisations, under their numbers below zero; sums are only read by them.
        f"""
        INSERT INTO usage_rollups (tenant_id, span, start, {_USAGE_SUMMED})
        SELECT -organisation_id, span, start, {_USAGE_SUMS}
        FROM usage_rollups JOIN tenants ON tenants.id = tenant_id
        GROUP BY organisation_id, span, start
        """,
    ),
    spending.STEP,
    events.STEP,
    invoices.STEP,
    statements.STEP,
    trust.STEP,
    listing.STEP,
    restores.STEP,
    windows.STEP,
)
