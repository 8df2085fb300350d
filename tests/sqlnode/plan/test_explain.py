"""Which plans are chosen, in EXPLAIN's words."""

import pytest

from tests.sqlnode.execute.schema import TABLES
from tests.support.sqlrig import Rig

PLANS = {
    "SELECT * FROM emp WHERE id = 1": """
Index Scan using emp_pkey on emp
  Index Cond: (id = 1)""",
    "SELECT * FROM emp WHERE id IN (1, 2) AND name = 'x'": """
Index Scan using emp_pkey on emp
  Index Cond: (id = ANY ('{1,2}'::integer[]))
  Filter: (name = 'x'::text)""",
    "SELECT * FROM emp WHERE dept = 4": """
Index Scan using emp_dept on emp
  Index Cond: (dept = 4)""",
    "SELECT * FROM pair WHERE a = 1 AND b > 2 AND b <= 5": """
Index Scan using pair_pkey on pair
  Index Cond: ((a = 1) AND (b > 2) AND (b <= 5))""",
    "SELECT * FROM emp ORDER BY id DESC": """
Index Scan Backward using emp_pkey on emp""",
    "SELECT * FROM emp ORDER BY name LIMIT 2": """
Limit
  ->  Sort
        Sort Key: name
        ->  Seq Scan on emp""",
    "SELECT * FROM emp ORDER BY dept LIMIT 2": """
Limit
  ->  Index Scan using emp_dept on emp""",
    "SELECT 1 FROM emp e JOIN dept d ON d.id = e.dept WHERE e.id = 3": """
Nested Loop
  ->  Index Scan using emp_pkey on emp e
        Index Cond: (id = 3)
  ->  Index Scan using dept_pkey on dept d
        Index Cond: (id = e.dept)""",
    "SELECT 1 FROM emp e JOIN emp b ON b.name = e.name": """
Hash Join
  Hash Cond: (e.name = b.name)
  ->  Seq Scan on emp e
  ->  Hash
        ->  Seq Scan on emp b""",
    "SELECT dept, count(*) FROM emp WHERE salary > 5 GROUP BY dept HAVING count(*) > 1": """
HashAggregate
  Group Key: dept
  Filter: (count(*) > 1)
  ->  Seq Scan on emp
        Filter: (salary > '5'::numeric)""",
    "SELECT s.id FROM (SELECT id, name FROM emp WHERE salary > 1) s WHERE s.id = 7": """
Index Scan using emp_pkey on emp
  Index Cond: (id = 7)
  Filter: (salary > '1'::numeric)""",
    "UPDATE emp SET name = 'x' WHERE id = 1": """
Update on emp
  ->  Index Scan using emp_pkey on emp
        Index Cond: (id = 1)""",
}


@pytest.mark.parametrize("sql", PLANS)
def test_plan(sql: str) -> None:
    lines = Rig(TABLES).prepare(sql).explain()
    assert "\n".join(lines) == PLANS[sql].strip("\n")


def test_exists_becomes_a_semi_join() -> None:
    sql = "SELECT id FROM dept d WHERE EXISTS (SELECT FROM emp e WHERE e.name = d.name)"
    assert Rig(TABLES).prepare(sql).explain()[0] == "Hash Semi Join"


def test_an_outer_join_that_where_makes_inner_is_inner() -> None:
    sql = "SELECT e.id FROM emp e LEFT JOIN dept d ON d.id = e.boss WHERE d.floor = 1"
    assert "Left" not in Rig(TABLES).prepare(sql).explain()[0]
