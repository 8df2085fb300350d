"""Walking and rewriting analysed trees without knowing each node's shape."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from sqlnode import tree

_SCALARS = frozenset(
    {"type", "typmod", "location", "function", "equals", "less", "operator", "form", "value"}
    | {"name", "names", "table", "columns", "alias", "command", "kind", "origin", "number"}
)

_QUERY_LEAVES = (tree.RelationSource, tree.CteSource)


_known_parts: dict[type, tuple[str, ...]] = {}


def _parts(cls: type[Any]) -> tuple[str, ...]:
    found = _known_parts.get(cls)
    if found is None:
        found = tuple(f.name for f in fields(cls) if f.name not in _SCALARS)
        _known_parts[cls] = found
    return found


def children(node: Any) -> Iterator[Any]:
    """The nodes directly below `node`; a sub-select's Query counts as one."""
    for name in _parts(type(node)):
        yield from _nodes(getattr(node, name))


def _nodes(part: Any) -> Iterator[Any]:
    if isinstance(part, tuple):
        for item in part:
            yield from _nodes(item)
    elif is_dataclass(part) and not isinstance(part, _QUERY_LEAVES):
        yield part


def references(node: Any, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """Every Var and AggregateCall below, with the level it belongs to counted from `node`:
    0 is the query `node` stands in, negative ones lie inside its own sub-selects."""
    if isinstance(node, tree.Var):
        yield node, node.levels_up - depth
        return
    if isinstance(node, tree.AggregateCall):
        yield node, node.levels_up - depth
    inner = depth + 1 if isinstance(node, tree.Query) else depth
    for child in children(node):
        yield from references(child, inner)


def contains(node: Any, test: Callable[[Any], bool]) -> bool:
    """Whether `node` or something below it passes; sub-selects are not entered."""
    if test(node):
        return True
    if isinstance(node, tree.Query):
        return False
    return any(contains(child, test) for child in children(node))


def rebuild(node: Any, change: Callable[[Any, int], Any], depth: int = 0) -> Any:
    """A copy in which `change` replaced what it returned something else for than None.

    `change` gets each node with the number of sub-selects around it.
    """
    changed = change(node, depth)
    if changed is not None:
        return changed
    inner = depth + 1 if isinstance(node, tree.Query) else depth
    new: dict[str, Any] = {}
    for name in _parts(type(node)):
        part = getattr(node, name)
        rebuilt = _rebuild_part(part, change, inner)
        if rebuilt is not part:
            new[name] = rebuilt
    return replace(node, **new) if new else node


def _rebuild_part(part: Any, change: Callable[[Any, int], Any], depth: int) -> Any:
    if isinstance(part, tuple):
        items = tuple(_rebuild_part(item, change, depth) for item in part)
        same = all(a is b for a, b in zip(items, part, strict=True))
        return part if same else items
    if is_dataclass(part) and not isinstance(part, _QUERY_LEAVES):
        return rebuild(part, change, depth)
    return part


def raise_levels(expr: Any, levels: int) -> Any:
    """`expr` as it reads `levels` sub-selects further in."""

    def change(node: Any, depth: int) -> Any:
        if isinstance(node, tree.Var | tree.AggregateCall) and node.levels_up >= depth:
            below = node
            if isinstance(node, tree.AggregateCall):
                args = tuple(raise_levels(arg, levels) for arg in node.args)
                below = replace(node, args=args)
            return replace(below, levels_up=node.levels_up + levels)
        if isinstance(node, tree.RangeEntry) and isinstance(node.source, tree.CteSource):
            source = node.source
            if source.levels_up >= depth:
                raised = tree.CteSource(source.index, source.levels_up + levels)
                return replace(node, source=raised)
        return None

    return rebuild(expr, change)
