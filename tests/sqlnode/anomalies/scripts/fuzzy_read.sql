-- Fuzzy read (P2): a row is read twice.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id = 1;
b: UPDATE t SET n = 11 WHERE id = 1;
b: DELETE FROM t WHERE id = 2;
a: SELECT * FROM t ORDER BY id;
a: COMMIT;
