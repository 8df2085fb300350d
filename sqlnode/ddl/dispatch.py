"""Which utility statement goes where."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlnode.ddl.alter_table import alter_table
from sqlnode.ddl.create_index import create_index
from sqlnode.ddl.create_table import create_table
from sqlnode.ddl.drop import drop
from sqlnode.ddl.extensions import create_extension
from sqlnode.ddl.maintenance import comment, vacuum
from sqlnode.ddl.rename import rename
from sqlnode.ddl.schemas import create_schema, set_schema
from sqlnode.ddl.sequences import alter_sequence, create_sequence
from sqlnode.ddl.truncate import truncate
from sqlnode.errors import unsupported
from sqlnode.execute.api import Execution
from sqlnode.tree import Utility

_HANDLERS: dict[str, Callable[[Execution, Any], Awaitable[str]]] = {
    "AlterObjectSchemaStmt": set_schema,
    "AlterSeqStmt": alter_sequence,
    "AlterTableStmt": alter_table,
    "CommentStmt": comment,
    "CreateExtensionStmt": create_extension,
    "CreateSchemaStmt": create_schema,
    "CreateSeqStmt": create_sequence,
    "CreateStmt": create_table,
    "DropStmt": drop,
    "IndexStmt": create_index,
    "RenameStmt": rename,
    "TruncateStmt": truncate,
    "VacuumStmt": vacuum,
}


async def run_utility(utility: Utility, execution: Execution) -> str:
    """Run a utility statement: its command tag. What it changes in the catalog is
    `execution.catalog` afterwards; notices are in `execution.notices`.

    Raises SqlError (0A000 for what is not supported) and CatalogStale.
    """
    handler = _HANDLERS.get(utility.node.DESCRIPTOR.name)
    if handler is None:
        raise unsupported(utility.tag)
    return await handler(execution, utility.node)
