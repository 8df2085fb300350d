"""Events, webhooks and deliveries."""

STEP: tuple[str, ...] = (
    # What happened; of an organisation, mostly of a tenant, or (neither) of the installation.
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,
        organisation_id INTEGER,
        tenant_id INTEGER,
        data TEXT NOT NULL CHECK (json_type(data) = 'object'),
        CHECK (tenant_id IS NULL OR organisation_id IS NOT NULL)
    ) STRICT
    """,
    "CREATE INDEX events_by_time ON events (at_ns)",
    "CREATE INDEX events_by_organisation ON events (organisation_id, id)",
    "CREATE INDEX events_by_tenant ON events (tenant_id, id) WHERE tenant_id IS NOT NULL",
    # Whom to tell; without an organisation: the operator, of everything. `events` are patterns
    # (control/webhooks/patterns.py); of the secrets the previous one is valid until its moment.
    """
    CREATE TABLE webhooks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        organisation_id INTEGER,
        url TEXT NOT NULL,
        events TEXT NOT NULL CHECK (json_type(events) = 'array'),
        description TEXT NOT NULL,
        enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
        disabled_reason TEXT,
        created_ns INTEGER NOT NULL,
        version INTEGER NOT NULL DEFAULT 1,
        sealed_secret BLOB NOT NULL,
        sealed_previous_secret BLOB NOT NULL DEFAULT x'',
        previous_until_ns INTEGER,
        failures INTEGER NOT NULL DEFAULT 0,
        failing_since_ns INTEGER,
        paused_until_ns INTEGER NOT NULL DEFAULT 0,
        CHECK ((enabled = 1) = (disabled_reason IS NULL)),
        CHECK ((failures = 0) = (failing_since_ns IS NULL))
    ) STRICT
    """,
    "CREATE INDEX webhooks_by_organisation ON webhooks (organisation_id, id)",
    # One for each event and each webhook that wanted it when it happened.
    """
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id INTEGER NOT NULL,
        webhook_id INTEGER NOT NULL,
        status TEXT NOT NULL DEFAULT 'waiting'
            CHECK (status IN ('waiting', 'delivered', 'dead')),
        attempts INTEGER NOT NULL DEFAULT 0,
        due_ns INTEGER,
        give_up_ns INTEGER NOT NULL,
        attempted_ns INTEGER,
        response_status INTEGER,
        error TEXT,
        UNIQUE (event_id, webhook_id),
        CHECK ((due_ns IS NULL) = (status <> 'waiting'))
    ) STRICT
    """,
    "CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id)",
    """
    CREATE INDEX deliveries_waiting ON deliveries (webhook_id, due_ns)
    WHERE status = 'waiting'
    """,
    "CREATE INDEX deliveries_to_give_up ON deliveries (give_up_ns) WHERE status = 'waiting'",
)
