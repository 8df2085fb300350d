"""Invoices and what they are made of."""

STEP: tuple[str, ...] = (
    # The time zones an organisation's months have been in (control/months.py); [] is one for all
    # time. Sums so far are over UTC's days and months: so those stay, this month included, and an
    # organisation's own zone counts from the next one on.
    """
    ALTER TABLE organisations ADD COLUMN zones TEXT NOT NULL DEFAULT '[]'
    CHECK (json_type(zones) = 'array')
    """,
    """
    UPDATE organisations SET zones = json_array(
        json_array(0, 'UTC'),
        json_array(
            CAST(strftime('%Y', 'now') AS INTEGER) * 12 + CAST(strftime('%m', 'now') AS INTEGER),
            time_zone
        )
    ) WHERE time_zone <> 'UTC'
    """,
)
