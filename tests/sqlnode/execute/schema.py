"""The tables of tests/sqlnode/golden/statements/schema.sql as descriptors."""

from tests.support.sqlrig import table

TABLES = (
    table(
        17000,
        "emp",
        [
            ("id", "int4"),
            ("name", "text"),
            ("dept", "int4"),
            ("salary", "numeric", 655366),
            ("boss", "int4"),
            ("hired", "date"),
        ],
        key=["id"],
        secondary=[("emp_dept", ["dept"], False)],
    ),
    table(
        17100,
        "dept",
        [("id", "int4"), ("name", "varchar", 24), ("floor", "int4")],
        key=["id"],
        not_null=["name"],
        secondary=[("dept_name", ["name"], True)],
    ),
    table(
        17200,
        "pair",
        [("a", "int4"), ("b", "int4"), ("c", "text")],
        key=["a", "b"],
        defaults={"c": "'none'"},
    ),
    table(17300, "loose", [("x", "int4"), ("y", "text"), ("ok", "bool")]),
)
