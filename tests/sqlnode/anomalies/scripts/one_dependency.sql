-- One reads what another then writes, and nothing more: there is no circle.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id = 1;
b: UPDATE t SET n = 11 WHERE id = 1;
b: COMMIT;
a: UPDATE t SET n = 21 WHERE id = 2;
a: COMMIT;
c: SELECT * FROM t ORDER BY id;
