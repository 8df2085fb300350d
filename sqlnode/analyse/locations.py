"""Where an expression starts in the text: the position PostgreSQL's errors point at."""

from sqlnode import tree
from sqlnode.analyse.state import Node


def leftmost(*locations: int) -> int:
    """The smallest known location, -1 if none is known."""
    known = [location for location in locations if location >= 0]
    return min(known, default=-1)


def node_location(node: Node) -> int:
    """Start of an expression of the grammar (a Node or what it wraps)."""
    kind = node.WhichOneof("node") if node.DESCRIPTOR.name == "Node" else None
    inner = getattr(node, kind) if kind else node
    name = inner.DESCRIPTOR.name
    if name in ("A_Expr", "SubLink"):
        left = inner.lexpr if name == "A_Expr" else inner.testexpr
        inside = node_location(left) if left.WhichOneof("node") else -1
        return leftmost(inner.location, inside)
    if name in ("TypeCast", "NullTest", "BooleanTest", "CollateClause", "A_Indirection"):
        return leftmost(getattr(inner, "location", -1), node_location(inner.arg))
    if name == "BoolExpr":
        return leftmost(inner.location, node_location(inner.args[0]))
    if name == "List":
        return leftmost(*(node_location(item) for item in inner.items))
    if name == "ResTarget" and inner.val.WhichOneof("node"):
        return node_location(inner.val)
    return int(getattr(inner, "location", -1))


def expr_location(expr: tree.Expr) -> int:
    """Start of an analysed expression, -1 where it is not known."""
    own = int(getattr(expr, "location", -1))
    match expr:
        case tree.Call() | tree.BoolExpr() | tree.Case():
            args = expr.args if not isinstance(expr, tree.Case) else ()
            return leftmost(own, *(expr_location(arg) for arg in args))
        case (
            tree.Relabel()
            | tree.CoerceViaIO()
            | tree.CoerceArray()
            | tree.ApplyTypmod()
            | tree.NullTest()
            | tree.BooleanTest()
        ):
            return leftmost(own, expr_location(expr.arg))
        case tree.DistinctFrom() | tree.NullIf() | tree.ScalarArrayOp():
            return expr_location(expr.left)
        case tree.Subscript():
            return expr_location(expr.array)
        case tree.CaseSubject():
            return expr_location(expr.body)
        case _:
            return own


def position(location: int) -> int | None:
    """A location as SqlError takes it."""
    return location if location >= 0 else None
