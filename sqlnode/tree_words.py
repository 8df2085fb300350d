"""The closed sets of words that nodes of the typed tree are labelled with."""

from enum import Enum


class CallForm(Enum):
    """How a call was written; matters for display only."""

    FUNCTION = "function"
    OPERATOR = "operator"
    EXPLICIT_CAST = "explicit"
    IMPLICIT_CAST = "implicit"


class BoolOp(Enum):
    """Connectives."""

    AND = "and"
    OR = "or"
    NOT = "not"


class SubLinkKind(Enum):
    """How a sub-select stands in an expression."""

    EXISTS = "exists"
    SCALAR = "scalar"
    ARRAY = "array"
    ANY = "any"
    ALL = "all"


class JoinKind(Enum):
    """Joins; RIGHT stays RIGHT."""

    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"


class SetOp(Enum):
    """UNION, INTERSECT, EXCEPT."""

    UNION = "union"
    INTERSECT = "intersect"
    EXCEPT = "except"


class Command(Enum):
    """What a Query does."""

    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
