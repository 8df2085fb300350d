"""Invoices and what they are made of."""

_THIS_MONTH = (
    "CAST(strftime('%Y', 'now') AS INTEGER) * 12 + CAST(strftime('%m', 'now') AS INTEGER) - 1"
)
"""Its number (control/months.py), in UTC."""

STEP: tuple[str, ...] = (
    # The time zones an organisation's months have been in (control/months.py); [] is one for all
    # time. Sums so far are over UTC's days and months: so those stay, this month included, and an
    # organisation's own zone counts from the next one on.
    """
    ALTER TABLE organisations ADD COLUMN zones TEXT NOT NULL DEFAULT '[]'
    CHECK (json_type(zones) = 'array')
    """,
    f"""
    UPDATE organisations
    SET zones = json_array(json_array(0, 'UTC'), json_array({_THIS_MONTH} + 1, time_zone))
    WHERE time_zone <> 'UTC'
    """,
    "ALTER TABLE organisations ADD COLUMN billing_address TEXT NOT NULL DEFAULT ''",
    # A closed invoice; ids count up without a gap, for nothing ever goes.
    """
    CREATE TABLE invoices (
        id INTEGER PRIMARY KEY,
        number TEXT NOT NULL UNIQUE,
        organisation_id INTEGER NOT NULL,
        month INTEGER NOT NULL,
        period_start INTEGER NOT NULL,
        period_end INTEGER NOT NULL,
        closed_ns INTEGER NOT NULL,
        currency TEXT NOT NULL,
        total_micros INTEGER NOT NULL,
        payable INTEGER NOT NULL,
        format INTEGER NOT NULL,
        document BLOB NOT NULL,
        UNIQUE (organisation_id, month)
    ) STRICT
    """,
    """
    CREATE TRIGGER invoices_stay_as_they_are BEFORE UPDATE ON invoices
    BEGIN SELECT RAISE(ABORT, 'a closed invoice does not change'); END
    """,
    """
    CREATE TRIGGER invoices_stay BEFORE DELETE ON invoices
    BEGIN SELECT RAISE(ABORT, 'a closed invoice does not go'); END
    """,
    # What has been invoiced of a month, as JSON of the sums' columns in their order: where the
    # sums say more, something was used that the next invoice is to have.
    """
    CREATE TABLE invoice_months (
        organisation_id INTEGER NOT NULL,
        start INTEGER NOT NULL,
        used TEXT NOT NULL,
        PRIMARY KEY (organisation_id, start)
    ) STRICT, WITHOUT ROWID
    """,
    # The month that is closed next, and when it is over; months that begin before `since`, in unix
    # seconds, are not invoiced.
    """
    CREATE TABLE invoice_states (
        organisation_id INTEGER PRIMARY KEY,
        since INTEGER NOT NULL,
        month INTEGER NOT NULL,
        due INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX invoice_states_by_due ON invoice_states (due)",
    # There were no invoices before: the first is that of this month.
    f"""
    INSERT INTO invoice_states (organisation_id, since, month, due)
    SELECT id, CAST(strftime('%s', 'now', 'start of month') AS INTEGER), {_THIS_MONTH}, 0
    FROM organisations
    """,
)
