"""Errors of the SQL layer: what PostgreSQL would send, field by field.

Every error a client can see carries PostgreSQL 15's SQLSTATE and, where it has a stable text, its
message. The codes are constants in `sqlnode.sqlstate`, generated from PostgreSQL's own list.
"""

from dormouse.base.errors import Blame, DormouseError


class SqlError(DormouseError):
    """An error a client receives as ErrorResponse.

    `position` is a 0-based character offset into the statement's text (the protocol sends it
    1-based); the names are the object an integrity error is about.
    """

    blame = Blame.USER

    def __init__(
        self,
        sqlstate: str,
        message: str,
        *,
        detail: str | None = None,
        hint: str | None = None,
        position: int | None = None,
        schema: str | None = None,
        table: str | None = None,
        column: str | None = None,
        datatype: str | None = None,
        constraint: str | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(message, sqlstate=sqlstate, detail=detail, hint=hint)
        self.position = position
        self.schema = schema
        self.table = table
        self.column = column
        self.datatype = datatype
        self.constraint = constraint
        self.where = where


def unsupported(feature: str, *, position: int | None = None) -> SqlError:
    """The answer to valid PostgreSQL that Dormouse does not do: 0A000, naming the feature."""
    return SqlError("0A000", f"{feature} is not supported", position=position)
