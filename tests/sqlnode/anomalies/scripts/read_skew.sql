-- Read skew (G-single): two rows, a commit in between.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id = 1;
b: SELECT * FROM t ORDER BY id;
b: UPDATE t SET n = 12 WHERE id = 1;
b: UPDATE t SET n = 18 WHERE id = 2;
b: COMMIT;
a: SELECT * FROM t WHERE id = 2;
a: COMMIT;
