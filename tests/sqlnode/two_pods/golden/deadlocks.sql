-- A circle has one victim, whatever it is made of.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: CREATE TABLE u (id int PRIMARY KEY, n int);
a: INSERT INTO t VALUES (1, 1), (2, 2);
a: INSERT INTO u VALUES (1, 1);
-- Rows, over two pods.
a: BEGIN;
a: UPDATE t SET n = 11 WHERE id = 1;
b: BEGIN;
b: UPDATE t SET n = 22 WHERE id = 2;
a& UPDATE t SET n = 12 WHERE id = 2;
b: UPDATE t SET n = 21 WHERE id = 1;
b: ROLLBACK;
a.
a: COMMIT;
-- A table and a row.
a: BEGIN;
a: UPDATE u SET n = 2;
b: BEGIN;
b: UPDATE t SET n = 0 WHERE id = 1;
a& ALTER TABLE t ADD COLUMN x int;
b: UPDATE u SET n = 3;
b: ROLLBACK;
a.
a: COMMIT;
b: SELECT * FROM t ORDER BY id;
-- Two that write to a table and then build an index on it.
a: BEGIN;
a: INSERT INTO t VALUES (3, 3);
b: BEGIN;
b: INSERT INTO t VALUES (4, 4);
a& CREATE INDEX ta ON t (n);
b: CREATE INDEX tb ON t (n);
b: ROLLBACK;
a.
a: COMMIT;
b: SELECT id FROM t WHERE n > 2 ORDER BY id;
