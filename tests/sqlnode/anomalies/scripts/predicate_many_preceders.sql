-- Predicate-many-preceders (PMP): a condition holds for the same rows all the time.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE n = 30;
b: INSERT INTO t VALUES (3, 30);
b: COMMIT;
a: SELECT * FROM t WHERE n % 3 = 0;
a: COMMIT;
