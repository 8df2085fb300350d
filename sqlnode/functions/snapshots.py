"""pg_export_snapshot."""

from sqlnode.bridge import wait
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family

FAMILY = Family()


@FAMILY.function("pg_export_snapshot", needs_context=True, waits=True)
def export_snapshot(context: FunctionContext) -> str:
    """pg_export_snapshot(); 25001, 54000."""
    return str(wait(context.export_snapshot()))
