"""Indexes that tenants are listed by (control/filters.py), and found by at every start."""

STEP: tuple[str, ...] = (
    "CREATE INDEX tenants_alive ON tenants (id, name) WHERE deleted_ns IS NULL",
    """
    CREATE INDEX tenants_of_organisation ON tenants (organisation_id, id, name)
    WHERE deleted_ns IS NULL
    """,
    """
    CREATE INDEX tenants_restorable ON tenants (id, name)
    WHERE deleted_ns IS NOT NULL AND purged_ns IS NULL
    """,
    # Storage is told of all of them every so often.
    """
    CREATE INDEX tenants_with_quota ON tenants (id, storage_max_bytes)
    WHERE storage_max_bytes > 0 AND purged_ns IS NULL
    """,
    "CREATE INDEX tenant_labels_by_name ON tenant_labels (name, tenant_id)",
)
