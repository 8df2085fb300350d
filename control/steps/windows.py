"""How far back each tenant's rows can be read as they were."""

STEP: tuple[str, ...] = (
    # NULL: the installation's default; 0: not at all.
    "ALTER TABLE tenants ADD COLUMN recovery_window_seconds INTEGER",
    "DROP INDEX tenants_with_quota",
    # Storage is told of all of them every so often.
    """
    CREATE INDEX tenants_with_quota
    ON tenants (id, storage_max_bytes, recovery_window_seconds)
    WHERE (storage_max_bytes > 0 OR recovery_window_seconds IS NOT NULL) AND purged_ns IS NULL
    """,
)
