-- Dirty read: what is not committed is not seen.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = 101 WHERE id = 1;
a: INSERT INTO t VALUES (3, 30);
a: DELETE FROM t WHERE id = 2;
b: SELECT * FROM t ORDER BY id;
a: COMMIT;
b: SELECT * FROM t ORDER BY id;
b: COMMIT;
