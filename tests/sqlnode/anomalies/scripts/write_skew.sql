-- Write skew (G2-item): each reads what the other writes.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id IN (1, 2) ORDER BY id;
b: SELECT * FROM t WHERE id IN (1, 2) ORDER BY id;
a: UPDATE t SET n = 11 WHERE id = 1;
b: UPDATE t SET n = 21 WHERE id = 2;
a: COMMIT;
b: COMMIT;
c: SELECT * FROM t ORDER BY id;
