-- Two look for a key that is not there, and both insert it.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id = 7;
b: SELECT * FROM t WHERE id = 7;
a: INSERT INTO t VALUES (7, 1);
b& INSERT INTO t VALUES (7, 2);
a: COMMIT;
b.
b: COMMIT;
c: SELECT * FROM t ORDER BY id;
