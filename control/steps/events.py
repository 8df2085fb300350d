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
)
