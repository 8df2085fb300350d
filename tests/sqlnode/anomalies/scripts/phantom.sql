-- Phantom (P3): a condition is looked at twice, and a row is counted.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT count(*) FROM t WHERE n > 5;
b: INSERT INTO t VALUES (3, 30);
a: SELECT count(*) FROM t WHERE n > 5;
a: INSERT INTO t SELECT 100, count(*) FROM t;
a: COMMIT;
c: SELECT * FROM t ORDER BY id;
