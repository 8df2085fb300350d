"""The commonest statements on hand-built trees."""

import asyncio
from typing import Any

import pytest

from sqlnode import tree
from sqlnode.errors import SqlError
from tests.support.memory_transaction import MemoryTransaction
from tests.support.trees import (
    BIGINT,
    INT,
    Database,
    aggregate,
    const,
    entry,
    explain,
    make_table,
    op,
    target,
    var,
)

T = make_table()


def select(where: Any = None, *targets: Any, **more: Any) -> tree.Query:
    listed = targets or tuple(var(T, c.name) for c in T.live)
    return tree.Query(
        tree.Command.SELECT,
        rtable=(entry(T),),
        from_items=(tree.Leaf(0),),
        where=where,
        targets=tuple(target(expr) for expr in listed),
        **more,
    )


def run(body: Any) -> Any:
    async def whole() -> Any:
        database = Database(T)
        await database.fill(T, [(i, i * 10 if i % 2 else None, f"r{i}") for i in range(1, 11)])
        return await body(database)

    return asyncio.run(whole())


def test_point_select_is_one_request() -> None:
    query = select(op("=", var(T, "id"), tree.Param(1, INT)), var(T, "b"))

    async def body(database: Database) -> None:
        before = database.store.requests
        assert await database.run(query, 3) == [("r3",)]
        assert database.store.requests == before + 1
        assert await database.run(query, 99) == []
        assert await database.run(query, None) == []

    run(body)
    assert explain(query) == ["Index Scan using t_pkey on t", "  Index Cond: (id = $1)"]


def test_filter_and_projection() -> None:
    query = select(op(">", var(T, "a"), const(30)), op("+", var(T, "a"), var(T, "id"), INT))
    assert run(lambda database: database.run(query)) == [(55,), (77,), (99,)]
    assert explain(query) == ["Seq Scan on t", "  Filter: (a > 30)"]


def test_not_of_unknown_is_unknown() -> None:
    query = select(tree.BoolExpr(tree.BoolOp.NOT, (op(">", var(T, "a"), const(30)),)), var(T, "id"))
    assert run(lambda database: database.run(query)) == [(1,), (3,)]


def test_aggregates() -> None:
    query = select()
    wanted = tree.Query(
        query.command,
        rtable=query.rtable,
        from_items=query.from_items,
        targets=(target(_count()), target(aggregate("sum", var(T, "a")))),
        has_aggregates=True,
    )
    assert run(lambda database: database.run(wanted)) == [(10, 250)]


def _count() -> tree.AggregateCall:
    from sqlnode.functions import registry

    (count,) = [f for f in registry.functions("count") if not f.argument_types]
    return tree.AggregateCall(count, (), BIGINT, star=True)


def update(where: Any, **more: Any) -> tree.Query:
    return tree.Query(
        tree.Command.UPDATE,
        rtable=(entry(T),),
        from_items=(tree.Leaf(0),),
        where=where,
        result=0,
        assignments=((1, op("+", var(T, "a"), tree.Param(1, INT), INT)),),
        **more,
    )


def test_update_by_primary_key_is_one_request() -> None:
    query = update(op("=", var(T, "id"), tree.Param(2, INT)), returning=(target(var(T, "a")),))

    async def body(database: Database) -> None:
        before = database.store.requests
        assert await database.run(query, 5, 3) == [(35,)]
        assert database.store.requests == before + 1
        assert await database.run(select(op("=", var(T, "id"), const(3)))) == [(3, 35, "r3")]
        assert await database.run(query, 5, 33) == []

    run(body)


def test_update_rechecks_a_row_that_changed_meanwhile() -> None:
    query = update(op("<", var(T, "a"), const(40)))

    async def body(database: Database) -> None:
        slow = MemoryTransaction(database.store, frozen=True)
        fast = select(op("=", var(T, "id"), const(1)))
        bump = tree.Query(
            tree.Command.UPDATE,
            rtable=(entry(T),),
            from_items=(tree.Leaf(0),),
            where=fast.where,
            result=0,
            assignments=((1, const(100)),),
        )
        await database.run(bump)
        await database.run(query, 1, transaction=slow)
        slow.commit()
        rows = await database.run(select(op("<=", var(T, "id"), const(3)), var(T, "a")))
        assert rows == [(100,), (None,), (31,)]

    run(body)


def insert(*rows: tuple[Any, ...], **more: Any) -> tree.Query:
    columns = tuple(tree.OutputColumn(c.name, c.type) for c in T.live)
    values = tuple(
        tuple(tree.Const(v, c.type) for v, c in zip(row, T.live, strict=True)) for row in rows
    )
    source = tree.Query(
        tree.Command.SELECT,
        rtable=(tree.RangeEntry("*VALUES*", tree.ValuesSource(values), columns),),
        from_items=(tree.Leaf(0),),
        targets=tuple(target(tree.Var(0, at, c.type)) for at, c in enumerate(T.live)),
    )
    return tree.Query(
        tree.Command.INSERT,
        rtable=(entry(T),),
        result=0,
        source=source,
        insert_columns=(0, 1, 2),
        **more,
    )


def test_insert_and_its_errors() -> None:
    async def body(database: Database) -> None:
        await database.run(insert((20, None, "x"), (21, 5, None)))
        assert await database.run(select(op(">", var(T, "id"), const(19)))) == [
            (20, None, "x"),
            (21, 5, None),
        ]
        with pytest.raises(SqlError, match=r'duplicate key .* "t_pkey"') as duplicate:
            await database.run(insert((20, 1, "y")))
        assert duplicate.value.sqlstate == "23505"
        assert duplicate.value.detail == "Key (id)=(20) already exists."
        with pytest.raises(SqlError) as null:
            await database.run(insert((None, 1, "y")))
        assert null.value.sqlstate == "23502"
        assert null.value.detail == "Failing row contains (null, 1, y)."

    run(body)


def test_delete() -> None:
    query = tree.Query(
        tree.Command.DELETE,
        rtable=(entry(T),),
        from_items=(tree.Leaf(0),),
        where=op(">", var(T, "id"), const(2)),
        result=0,
        returning=(target(var(T, "b")),),
    )

    async def body(database: Database) -> None:
        assert len(await database.run(query)) == 8
        assert await database.run(select(None, var(T, "id"))) == [(1,), (2,)]

    run(body)
