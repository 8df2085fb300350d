-- Dirty write (G0): nobody writes over what is not committed.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: UPDATE t SET n = 11 WHERE id = 1;
b& UPDATE t SET n = 12 WHERE id = 1;
a: UPDATE t SET n = 21 WHERE id = 2;
a: COMMIT;
b.
c: SELECT * FROM t ORDER BY id;
b: UPDATE t SET n = 22 WHERE id = 2;
b: COMMIT;
c: SELECT * FROM t ORDER BY id;
