"""What keeps answers as small as what is asked, with very many tenants: indexes that tenants are
listed by (control/filters.py) and found by at every start, and sums of what an organisation's
tenants store (control/storage_sampling.py), which triggers keep true of the levels.
"""

_OWNER = "coalesce((SELECT organisation_id FROM tenants WHERE id = {}.tenant_id), 0)"
"""0: of a tenant that the registry does not know, which counts for the sum over everyone alone."""

_ADD = f"""
    INSERT INTO storage_sums (organisation_id, booked, bytes, kib)
    SELECT {_OWNER.format("new")}, new.booked, new.bytes, (new.bytes + 1023) / 1024
    WHERE new.bytes > 0
    ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, kib = kib + excluded.kib;
"""
_TAKE = f"""
    UPDATE storage_sums SET bytes = bytes - old.bytes, kib = kib - (old.bytes + 1023) / 1024
    WHERE organisation_id = {_OWNER.format("old")} AND booked = old.booked;
    DELETE FROM storage_sums
    WHERE organisation_id = {_OWNER.format("old")} AND booked = old.booked AND bytes = 0;
"""

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
    # Levels of an organisation's tenants that are booked up to the same moment count as one.
    """
    CREATE TABLE storage_sums (
        organisation_id INTEGER NOT NULL,
        booked INTEGER NOT NULL,
        bytes INTEGER NOT NULL CHECK (bytes >= 0),
        kib INTEGER NOT NULL,
        PRIMARY KEY (organisation_id, booked)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO storage_sums (organisation_id, booked, bytes, kib)
    SELECT coalesce(organisation_id, 0), booked, sum(bytes), sum((bytes + 1023) / 1024)
    FROM storage_levels LEFT JOIN tenants ON id = tenant_id WHERE bytes > 0 GROUP BY 1, 2
    """,
    f"CREATE TRIGGER storage_level_added AFTER INSERT ON storage_levels BEGIN {_ADD} END",
    f"CREATE TRIGGER storage_level_changed AFTER UPDATE ON storage_levels BEGIN {_TAKE} {_ADD} END",
    f"CREATE TRIGGER storage_level_gone AFTER DELETE ON storage_levels BEGIN {_TAKE} END",
)
