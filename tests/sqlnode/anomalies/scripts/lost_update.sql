-- Lost update (P4): two read, then both write.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE id = 1;
b: SELECT * FROM t WHERE id = 1;
a: UPDATE t SET n = 11 WHERE id = 1;
b& UPDATE t SET n = 11 WHERE id = 1;
a: COMMIT;
b.
b: COMMIT;
c: SELECT * FROM t ORDER BY id;
