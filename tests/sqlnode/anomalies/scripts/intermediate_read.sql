-- Intermediate read (G1b): only the last value of a transaction is ever seen.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = 101 WHERE id = 1;
b: SELECT * FROM t ORDER BY id;
a: UPDATE t SET n = 11 WHERE id = 1;
a: COMMIT;
b: SELECT * FROM t ORDER BY id;
b: COMMIT;
