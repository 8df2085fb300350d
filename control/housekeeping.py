"""What control does by the clock for its ledger: deletes what is old."""

import asyncio
import logging
import sqlite3

from control.ledger import Ledger
from control.metrics import USAGE_COMPACTED
from control.statements import StatementLedger

COMPACT_SECONDS = 600.0
_log = logging.getLogger(__name__)


async def compact_forever(
    ledger: Ledger, statements: StatementLedger, *, entries_days: float, hours_days: float
) -> None:
    """Keep the ledger small, and what statements cost; a failure is tried again next time."""
    while True:
        try:
            removed = await ledger.compact(entries_days=entries_days, hours_days=hours_days)
            removed += await statements.compact(days=hours_days)
        except sqlite3.Error:
            _log.exception("the usage ledger could not be compacted")
        else:
            USAGE_COMPACTED.inc(removed)
        await asyncio.sleep(COMPACT_SECONDS)
