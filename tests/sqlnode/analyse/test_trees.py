"""Shapes of trees that columns and types alone do not show."""

import pytest

from sqlnode import tree
from sqlnode.analyse.state import NESTING_MAX
from sqlnode.errors import SqlError
from sqlnode.types import oids
from tests.sqlnode.analyse.support import analysed, query


def only_target(sql: str, *param_types: int) -> tree.Expr:
    (target,) = query(sql, *param_types).targets
    return target.expr


def test_given_parameter_types_are_kept() -> None:
    assert analysed("SELECT $1 + 1", oids.INT8).param_types == (oids.INT8,)
    found = only_target("SELECT $1 + 1", oids.INT8)
    assert isinstance(found, tree.Call)
    assert found.function.name == "int84pl"


def test_an_unused_given_parameter_is_still_there() -> None:
    assert analysed("SELECT 1", oids.TEXT, oids.INT4).param_types == (oids.TEXT, oids.INT4)


def test_parameters_are_refused_where_none_can_be_bound() -> None:
    with pytest.raises(SqlError) as raised:
        analysed("SELECT $1", params_allowed=False)
    assert (raised.value.sqlstate, raised.value.position) == ("42P02", 7)


def test_literals_are_read_at_analysis() -> None:
    found = query("SELECT i4 FROM mixed WHERE i4 = '7'").where
    assert isinstance(found, tree.Call)
    assert found.args[1] == tree.Const(7, oids.INT4)


@pytest.mark.parametrize(
    ("sql", "dependent"),
    [
        ("SELECT 'now'::timestamptz", True),
        ("SELECT 'accounts'::regclass", False),
        ("SELECT '5'::int, now()", False),
        ("INSERT INTO uniq (id) VALUES (1)", False),
    ],
)
def test_trees_that_read_the_session_say_so(sql: str, dependent: bool) -> None:
    assert analysed(sql).session_dependent is dependent


def test_the_columns_an_insert_leaves_out_have_their_defaults() -> None:
    found = query("INSERT INTO uniq (email, id) VALUES ('a', 1)")
    assert found.insert_columns == (1, 0)
    defaults = dict(found.defaults)
    assert sorted(defaults) == [2, 3]
    assert defaults[3] == tree.Const(True, oids.BOOL)
    assert isinstance(defaults[2], tree.Call)
    assert defaults[2].function.name == "now"


def test_a_column_without_default_gets_the_default_node() -> None:
    found = query("INSERT INTO history (tid) VALUES (DEFAULT)")
    assert found.source is not None
    assert found.source.targets[0].expr == tree.Default(oids.INT4)


def test_values_take_the_columns_types_row_by_row() -> None:
    found = query("INSERT INTO branches (bid, name) VALUES (1, 'a'), (2.5, 7)").source
    assert found is not None
    source = found.rtable[0].source
    assert isinstance(source, tree.ValuesSource)
    assert all(row[0].type == oids.INT4 and row[1].type == oids.VARCHAR for row in source.rows)


def test_using_columns_are_base_columns_but_coalesced_in_full_joins() -> None:
    left = query("SELECT bid FROM accounts LEFT JOIN branches USING (bid)").targets[0].expr
    assert left == tree.Var(0, 1, oids.INT4)
    right = query("SELECT bid FROM accounts RIGHT JOIN branches USING (bid)").targets[0].expr
    assert right == tree.Var(1, 0, oids.INT4)
    full = query("SELECT bid FROM accounts FULL JOIN branches USING (bid)").targets[0].expr
    assert isinstance(full, tree.Coalesce)


def test_correlated_names_count_their_levels() -> None:
    found = only_target("SELECT (SELECT a.bid FROM accounts a WHERE a.aid = b.bid) FROM branches b")
    assert isinstance(found, tree.SubLink)
    where = found.query.where
    assert isinstance(where, tree.Call)
    assert where.args == (tree.Var(0, 0, oids.INT4), tree.Var(0, 0, oids.INT4, levels_up=1))


def test_an_outer_aggregate_belongs_to_the_outer_query() -> None:
    found = query("SELECT (SELECT max(b.bid) FROM accounts) FROM branches b")
    assert found.has_aggregates
    link = found.targets[0].expr
    assert isinstance(link, tree.SubLink)
    assert not link.query.has_aggregates
    aggregate = link.query.targets[0].expr
    assert isinstance(aggregate, tree.AggregateCall)
    assert aggregate.levels_up == 1


def test_a_wrapped_side_of_a_union_keeps_its_outer_references() -> None:
    found = only_target(
        "SELECT ARRAY(SELECT a.bid FROM accounts a WHERE a.aid = b.bid GROUP BY 1 UNION SELECT 1.5)"
        " FROM branches b"
    )
    assert isinstance(found, tree.SubLink)
    operation = found.query.set_operation
    assert operation is not None
    wrapped = operation.left.rtable[0].source
    assert isinstance(wrapped, tree.SubquerySource)
    where = wrapped.query.where
    assert isinstance(where, tree.Call)
    # the sub-select, its UNION's side and the wrapping are three levels
    assert where.args[1] == tree.Var(0, 0, oids.INT4, levels_up=3)


def test_group_by_matches_whatever_the_place_in_the_text() -> None:
    assert query("SELECT bid + 1 FROM accounts GROUP BY bid+1").group_by == (0,)


def test_distinct_order_by_uses_the_target_itself() -> None:
    found = query("SELECT DISTINCT bid + 1 FROM accounts ORDER BY bid + 1 DESC")
    assert found.order_by == (tree.SortKey(0, descending=True, nulls_first=True),)
    assert found.distinct_on == ()


def test_set_returning_functions_move_to_from() -> None:
    found = query("SELECT aid, unnest(ARRAY[bid]) FROM accounts")
    assert found.from_items == (tree.Leaf(0), tree.Leaf(1))
    source = found.rtable[1].source
    assert isinstance(source, tree.FunctionSource)
    assert source.lateral


def test_locks_are_marked_on_tables_inside_sub_selects_too() -> None:
    found = query("SELECT * FROM accounts a, (SELECT * FROM branches) b FOR UPDATE NOWAIT")
    lock = tree.RowLock("update", "nowait")
    first, second = (entry.source for entry in found.rtable)
    assert isinstance(first, tree.RelationSource)
    assert first.locked == lock
    assert isinstance(second, tree.SubquerySource)
    inner = second.query.rtable[0].source
    assert isinstance(inner, tree.RelationSource)
    assert inner.locked == lock


def test_row_comparison_orders_by_the_first_difference() -> None:
    found = only_target("SELECT (1, 2) < (1, 3)")
    assert isinstance(found, tree.Case)


@pytest.mark.parametrize("piece", ["{}+1", "not ({})", "({}) is null", "(select {})", "abs({})"])
def test_deep_nesting_is_an_error_of_its_own(piece: str) -> None:
    sql = "true" if "not" in piece else "1"
    for _ in range(3 * NESTING_MAX):
        sql = piece.format(sql)
    with pytest.raises(SqlError) as raised:
        analysed(f"SELECT {sql}")
    assert raised.value.sqlstate == "54001"


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("BEGIN", "BEGIN"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("COMMIT", "COMMIT"),
        ("END", "COMMIT"),
        ("ABORT", "ROLLBACK"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("RELEASE a", "RELEASE"),
        ("SET x = 1", "SET"),
        ("RESET ALL", "RESET"),
        ("SHOW x", "SHOW"),
        ("DROP TABLE a, b", "DROP TABLE"),
        ("DROP MATERIALIZED VIEW a", "DROP MATERIALIZED VIEW"),
        ("ALTER TABLE a ADD COLUMN b int", "ALTER TABLE"),
        ("ALTER TABLE a RENAME COLUMN b TO c", "ALTER TABLE"),
        ("ALTER INDEX a RENAME TO c", "ALTER INDEX"),
        ("CREATE TABLE a (b int)", "CREATE TABLE"),
        ("CREATE TABLE a AS SELECT 1", "CREATE TABLE AS"),
        ("CREATE UNIQUE INDEX ON a (b)", "CREATE INDEX"),
        ("TRUNCATE a", "TRUNCATE TABLE"),
        ("VACUUM ANALYZE a", "VACUUM"),
        ("ANALYZE a", "ANALYZE"),
        ("COPY a FROM STDIN", "COPY"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("CLOSE a", "CLOSE CURSOR"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("GRANT SELECT ON a TO b", "GRANT"),
        ("COMMENT ON TABLE a IS 'x'", "COMMENT"),
        ("LOCK TABLE a", "LOCK TABLE"),
        ("REINDEX TABLE a", "REINDEX"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        ("ALTER SEQUENCE s RESTART", "ALTER SEQUENCE"),
        ("CREATE TYPE t AS ENUM ('a')", "CREATE TYPE"),
    ],
)
def test_utility_statements_have_postgresqls_tag(sql: str, tag: str) -> None:
    found = analysed(sql).statement
    assert isinstance(found, tree.Utility)
    assert found.tag == tag


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO t",
        "SELECT aid FROM accounts TABLESAMPLE system (10)",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY aid) FROM accounts",
        "SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) x",
        "SELECT ctid FROM accounts",
        "SELECT aid, sum(bid) OVER w FROM accounts WINDOW w AS (ORDER BY aid)",
        "DELETE FROM accounts WHERE CURRENT OF c",
        "SELECT xmlelement(name a)",
    ],
)
def test_what_is_not_done_is_refused(sql: str) -> None:
    with pytest.raises(SqlError) as raised:
        analysed(sql)
    assert raised.value.sqlstate == "0A000"
