"""Tenants whose rows are on their way from a backup: tombstones until all are there."""

STEP: tuple[str, ...] = (
    """
    CREATE TABLE restores (
        tenant_id INTEGER PRIMARY KEY,
        rows INTEGER NOT NULL,
        counters INTEGER NOT NULL,
        has_catalog INTEGER NOT NULL CHECK (has_catalog IN (0, 1))
    ) STRICT
    """,
)
