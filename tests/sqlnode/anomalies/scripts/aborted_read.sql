-- Aborted read (G1a): what is rolled back was never there.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = 101 WHERE id = 1;
b: SELECT * FROM t ORDER BY id;
a: ROLLBACK;
b: SELECT * FROM t ORDER BY id;
b: COMMIT;
