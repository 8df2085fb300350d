-- Read-only anomaly: one that only reads makes the circle (Fekete, O'Neil, O'Neil 2004).
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t ORDER BY id;
b: BEGIN ISOLATION LEVEL $LEVEL;
b: UPDATE t SET n = n + 5 WHERE id = 2;
b: COMMIT;
c: BEGIN ISOLATION LEVEL $LEVEL;
c: SELECT * FROM t ORDER BY id;
c: COMMIT;
a: UPDATE t SET n = 0 WHERE id = 1;
a: COMMIT;
c: SELECT * FROM t ORDER BY id;
