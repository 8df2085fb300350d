"""Spend limits and the notices that were given."""

STEP: tuple[str, ...] = (
    # By account: a tenant's id, or an organisation's below zero. A limit that was taken away stays
    # as a row without amounts, so that a version never comes back.
    """
    CREATE TABLE spend_limits (
        account INTEGER PRIMARY KEY,
        monthly_cents INTEGER CHECK (monthly_cents >= 0),
        monthly_units INTEGER CHECK (monthly_units >= 0),
        policy TEXT NOT NULL CHECK (policy IN ('stop', 'throttle', 'notify')),
        version INTEGER NOT NULL,
        changed_ns INTEGER NOT NULL,
        held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1))
    ) STRICT
    """,
    # Percentages of a limit that were reached in the month that began at `month` (unix seconds).
    # A limit that was raised ends those that are not reached any more.
    """
    CREATE TABLE spend_notices (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL,
        month INTEGER NOT NULL,
        percent INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        ended_ns INTEGER
    ) STRICT
    """,
    """
    CREATE UNIQUE INDEX spend_notices_once ON spend_notices (account, month, percent)
    WHERE ended_ns IS NULL
    """,
    "CREATE INDEX spend_notices_by_age ON spend_notices (at_ns)",
    # How far pods may spend, kept before they are told: micro request units since their stamp.
    """
    CREATE TABLE spend_leaves (
        tenant_id INTEGER NOT NULL,
        pod_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        ceiling INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, pod_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX spend_leaves_by_age ON spend_leaves (at_ns)",
)
