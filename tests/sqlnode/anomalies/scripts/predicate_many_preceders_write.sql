-- Predicate-many-preceders when writing: a condition meets rows that have just changed.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = n + 10;
b: SELECT * FROM t WHERE n = 20;
b& DELETE FROM t WHERE n = 20;
a: COMMIT;
b.
b: SELECT * FROM t ORDER BY id;
b: COMMIT;
c: SELECT * FROM t ORDER BY id;
