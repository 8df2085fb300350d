"""Random small queries give the same rows with and without the optimizer.

Without: no rewrite rules, no access paths, nested loops in the order of the text.
"""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlnode.errors import SqlError
from tests.support.sqlrig import Rig, table

TABLES = (
    table(
        18000,
        "t",
        [("id", "int4"), ("a", "int4"), ("b", "int4")],
        key=["id"],
        secondary=[("t_a", ["a"], False)],
    ),
    table(18100, "u", [("x", "int4"), ("y", "int4"), ("z", "int4")], key=["x", "y"]),
    table(18200, "v", [("k", "int4"), ("w", "int4")], secondary=[("v_k", ["k"], True)]),
)
COLUMNS = {"t": ("id", "a", "b"), "u": ("x", "y", "z"), "v": ("k", "w")}
ROWS = (
    "INSERT INTO t VALUES (1, 1, 2), (2, NULL, 1), (3, 1, NULL), (4, 2, 2), (5, 3, 0)",
    "INSERT INTO u VALUES (1, 1, 1), (1, 2, NULL), (2, 1, 3), (3, 3, 2), (4, 0, 2)",
    "INSERT INTO v VALUES (1, 1), (2, NULL), (NULL, 3), (NULL, 1), (3, 2)",
)

small = st.integers(0, 4)


@st.composite
def conditions(draw: Any, columns: list[str], depth: int = 2) -> str:
    """A boolean expression over columns."""
    kind = draw(st.sampled_from(["cmp", "cmp", "cmp", "null", "in", "and", "or", "not", "sub"]))
    column = draw(st.sampled_from(columns))
    if depth == 0 or kind == "cmp":
        other = draw(st.one_of(small.map(str), st.sampled_from(columns)))
        operator = draw(st.sampled_from(["=", "=", "<", "<=", ">", ">=", "<>"]))
        return f"{column} {operator} {other}"
    if kind == "null":
        return f"{column} IS {draw(st.sampled_from(['NULL', 'NOT NULL']))}"
    if kind == "in":
        items = draw(st.lists(st.one_of(small.map(str), st.just("NULL")), min_size=1, max_size=3))
        word = draw(st.sampled_from(["IN", "NOT IN"]))
        return f"{column} {word} ({', '.join(items)})"
    if kind == "sub":
        return str(draw(sublinks(columns, depth - 1)))
    one = draw(conditions(columns, depth - 1))
    if kind == "not":
        return f"NOT ({one})"
    return f"({one} {kind.upper()} {draw(conditions(columns, depth - 1))})"


@st.composite
def sublinks(draw: Any, columns: list[str], depth: int) -> str:
    """A sub-select in a condition, correlated or not."""
    name = draw(st.sampled_from(sorted(COLUMNS)))
    alias = f"s{depth}"
    own = [f"{alias}.{column}" for column in COLUMNS[name]]
    where = draw(conditions(own + (columns if draw(st.booleans()) else []), min(depth, 1)))
    column = draw(st.sampled_from(columns))
    inner = draw(st.sampled_from(own))
    kind = draw(st.sampled_from(["EXISTS", "NOT EXISTS", "IN", "NOT IN", "ANY", "scalar"]))
    source = f"FROM {name} {alias} WHERE {where}"
    if kind.endswith("EXISTS"):
        return f"{kind} (SELECT 1 {source})"
    if kind == "ANY":
        return f"{column} < ANY (SELECT {inner} {source})"
    if kind == "scalar":
        return f"{column} >= (SELECT max({inner}) {source})"
    return f"{column} {kind} (SELECT {inner} {source})"


@st.composite
def sources(draw: Any, alias: str) -> tuple[str, list[str]]:
    """A FROM item: (text, its columns)."""
    name = draw(st.sampled_from(sorted(COLUMNS)))
    columns = COLUMNS[name]
    if draw(st.integers(0, 2)):
        return f"{name} {alias}", [f"{alias}.{column}" for column in columns]
    where = draw(conditions(list(columns), 1))
    first, second = columns[0], columns[1]
    form = draw(st.sampled_from(["plain", "group", "distinct", "union", "limit"]))
    text = {
        "plain": f"SELECT {first} AS p, {second} + 1 AS q FROM {name} WHERE {where}",
        "group": f"SELECT {second} AS p, count(*) AS q FROM {name} WHERE {where} GROUP BY {second}",
        "distinct": f"SELECT DISTINCT {second} AS p, 1 AS q FROM {name} WHERE {where}",
        "union": f"SELECT {first} AS p, {second} AS q FROM {name} UNION SELECT k, w FROM v",
        "limit": f"SELECT {first} AS p, {second} AS q FROM {name} ORDER BY 1, 2 LIMIT 3",
    }[form]
    return f"({text}) {alias}", [f"{alias}.p", f"{alias}.q"]


@st.composite
def queries(draw: Any) -> str:
    """A SELECT of up to three sources."""
    text, columns = draw(sources("r0"))
    for number in range(1, 1 + draw(st.integers(0, 2))):
        other, more = draw(sources(f"r{number}"))
        kind = draw(st.sampled_from(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]))
        columns = columns + more
        if kind == "CROSS JOIN":
            text = f"{text} CROSS JOIN {other}"
        else:
            on = f"{draw(st.sampled_from(columns))} = {draw(st.sampled_from(more))}"
            if draw(st.booleans()):
                on += f" AND {draw(conditions(columns, 0))}"
            text = f"{text} {kind} {other} ON {on}"
    where = f" WHERE {draw(conditions(columns))}" if draw(st.booleans()) else ""
    picked = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=3, unique=True))
    shape = draw(st.sampled_from(["rows", "rows", "group", "distinct", "sorted"]))
    listed = ", ".join(picked)
    if shape == "group":
        return f"SELECT {listed}, count(*), sum({columns[0]}) FROM {text}{where} GROUP BY {listed}"
    if shape == "distinct":
        return f"SELECT DISTINCT {listed} FROM {text}{where}"
    if shape == "sorted":
        order = ", ".join(f"{column} {draw(st.sampled_from(['', 'DESC']))}" for column in columns)
        limit = draw(small)
        return f"SELECT {listed} FROM {text}{where} ORDER BY {order} LIMIT {limit}"
    return f"SELECT {listed} FROM {text}{where}"


async def answer(rig: Rig, sql: str, *, optimize: bool) -> Any:
    try:
        return Counter(await rig.run(sql, optimize=optimize))
    except SqlError as error:
        return error.sqlstate


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(queries(), st.sampled_from([64 << 20, 200]))
def test_the_optimizer_changes_no_answer(sql: str, memory: int) -> None:
    async def whole() -> None:
        rig = Rig(TABLES)
        for insert in ROWS:
            await rig.run(insert)
        rig.memory_bytes_max = memory
        plain = await answer(rig, sql, optimize=False)
        assert await answer(rig, sql, optimize=True) == plain

    asyncio.run(whole())
