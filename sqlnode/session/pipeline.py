"""From text to something that runs: parse, analyse, plan, compile, and the cache of the outcome.

One cache serves all sessions of the pod, for prepared statements and for repeated simple ones. What
an entry depends on is its key: the text, the parameter types the client declared, and the search
path. The catalog is compared by identity: a new one makes every entry stale, and the next use
replaces it. A statement with a literal that was read under the session's settings or clock
(`'now'::timestamptz`) is not shared.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlnode import tree
from sqlnode.analyse.statement import analyse
from sqlnode.compile.statement import compile_plan
from sqlnode.execute.api import Executable, ResultColumn
from sqlnode.parse import RawStatement
from sqlnode.plan.planner import plan
from sqlnode.session.context import SessionContext

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog

CACHED_TEXT_CHARACTERS_MAX = 16 << 10
"""Longer texts (bulk INSERTs) are not worth a place."""

SESSION_KINDS = frozenset(
    {
        "transaction_stmt",
        "variable_set_stmt",
        "variable_show_stmt",
        "discard_stmt",
        "prepare_stmt",
        "execute_stmt",
        "deallocate_stmt",
        "declare_cursor_stmt",
        "fetch_stmt",
        "close_portal_stmt",
        "explain_stmt",
        "copy_stmt",
        "listen_stmt",
        "unlisten_stmt",
        "notify_stmt",
        "lock_stmt",
        "check_point_stmt",
        "constraints_set_stmt",
        "do_stmt",
        "call_stmt",
        "load_stmt",
    }
)
"""Statements the session answers itself, by their name in the grammar's union."""


def names_objects(raw: RawStatement) -> bool:
    """Whether a statement, or a query inside, means objects of the catalog."""
    return raw.kind not in SESSION_KINDS or raw.kind in _WITH_QUERY or raw.kind == "copy_stmt"


_SNAPSHOT_KINDS = frozenset(
    {
        "select_stmt",
        "insert_stmt",
        "update_stmt",
        "delete_stmt",
        "copy_stmt",
        "explain_stmt",
        "deallocate_stmt",
    }
)


def takes_snapshot(raw: RawStatement) -> bool:
    """Whether a transaction that keeps its snapshot has one from this statement on, if not from a
    query inside. LOCK TABLE can come before it. DDL takes it with its locks, for it must see what
    was changed before them."""
    return raw.kind in _SNAPSHOT_KINDS


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """One statement, ready to run. `executable` is None for a utility statement."""

    raw: RawStatement
    catalog: "Catalog"
    statement: tree.Query | tree.Utility | None
    executable: Executable | None
    param_types: tuple[int, ...]
    shared: bool = False
    """Whether other sessions may use it."""
    inner: "Planned | None" = None
    """The query inside DECLARE or EXPLAIN, which the parameters are of."""

    @property
    def columns(self) -> tuple[ResultColumn, ...] | None:
        """What a query returns; None for utilities (the session knows better)."""
        return self.executable.columns if self.executable is not None else None


class PlanCache:
    """The pod's plans, least recently used out first."""

    def __init__(self, plans_max: int) -> None:
        self._plans_max = plans_max
        self._entries: OrderedDict[tuple[object, ...], Planned] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(
        self, text: str, context: SessionContext, declared: Sequence[int] = ()
    ) -> Planned | None:
        """The plan of a text that is one statement, if it is there and fresh."""
        key = (text, tuple(declared), context.analysis_key())
        entry = self._entries.get(key)
        if entry is None or entry.catalog is not context.catalog:
            return None
        self._entries.move_to_end(key)
        return entry

    def add(
        self, text: str, context: SessionContext, planned: Planned, declared: Sequence[int] = ()
    ) -> None:
        """Keep a plan, if its text allows."""
        if not planned.shared or len(text) > CACHED_TEXT_CHARACTERS_MAX:
            return
        self._entries[text, tuple(declared), context.analysis_key()] = planned
        if len(self._entries) > self._plans_max:
            self._entries.popitem(last=False)


_WITH_QUERY = frozenset({"declare_cursor_stmt", "explain_stmt"})


def inner(raw: RawStatement, wrapper: Any) -> RawStatement:
    """A statement inside another (EXPLAIN's, COPY's), with the positions of the whole."""
    kind = wrapper.WhichOneof("node")
    return RawStatement(getattr(wrapper, kind), kind, raw.text, raw.location, raw.source)


def make_plan(raw: RawStatement, context: SessionContext, declared: Sequence[int] = ()) -> Planned:
    """Analyse, plan and compile one statement. Raises SqlError."""
    catalog = context.catalog
    if raw.kind in _WITH_QUERY:
        query = make_plan(inner(raw, raw.node.query), context, declared)
        return Planned(raw, catalog, None, None, query.param_types, inner=query)
    if raw.kind in SESSION_KINDS:
        return Planned(raw, catalog, None, None, tuple(declared))
    analysed = analyse(
        raw,
        catalog=catalog,
        search_path=context.search_path(),
        param_types=declared,
        context=context,
    )
    if isinstance(analysed.statement, tree.Utility):
        return Planned(raw, catalog, analysed.statement, None, analysed.param_types)
    executable = compile_plan(plan(analysed.statement, catalog=catalog), analysed.param_types)
    shared = not analysed.session_dependent
    return Planned(raw, catalog, analysed.statement, executable, analysed.param_types, shared)


def plan_one(
    cache: PlanCache, raw: RawStatement, context: SessionContext, declared: Sequence[int] = ()
) -> Planned:
    """The plan of a statement that is the only one of its text. Raises SqlError."""
    planned = cache.find(raw.source, context, declared)
    if planned is None:
        planned = make_plan(raw, context, declared)
        cache.add(raw.source, context, planned, declared)
    return planned
