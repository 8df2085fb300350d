"""CREATE EXTENSION: the one there is, pg_stat_statements, is there from the beginning."""

from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.execute.api import Execution

EXTENSIONS = frozenset({"pg_stat_statements"})


async def create_extension(execution: Execution, node: Any) -> str:
    """CREATE EXTENSION: the command tag. Raises SqlError 42710, 0A000."""
    name = node.extname
    if name not in EXTENSIONS:
        raise SqlError(
            sqlstate.FEATURE_NOT_SUPPORTED,
            f'extension "{name}" is not available',
            hint="Extensions cannot be added; pg_stat_statements is always there.",
        )
    text = f'extension "{name}" already exists'
    if not node.if_not_exists:
        raise SqlError(sqlstate.DUPLICATE_OBJECT, text)
    execution.notices.append(("NOTICE", sqlstate.DUPLICATE_OBJECT, f"{text}, skipping"))
    return "CREATE EXTENSION"
