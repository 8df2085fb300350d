-- Observed transaction vanishes (OTV): what was seen of a transaction does not go away.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
c: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = 11 WHERE id = 1;
a: UPDATE t SET n = 19 WHERE id = 2;
b& UPDATE t SET n = 12 WHERE id = 1;
a: COMMIT;
b.
c: SELECT * FROM t WHERE id = 1;
b: UPDATE t SET n = 18 WHERE id = 2;
c: SELECT * FROM t WHERE id = 2;
b: COMMIT;
c: SELECT * FROM t WHERE id = 2;
c: SELECT * FROM t WHERE id = 1;
c: COMMIT;
