-- Changes of a table wait for those who have written to it or locked rows of it.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: INSERT INTO t VALUES (1, 10), (2, 20);
b: BEGIN;
b: SELECT * FROM t WHERE id = 1 FOR UPDATE;
a& ALTER TABLE t ADD COLUMN extra int DEFAULT 1;
b: UPDATE t SET n = 11 WHERE id = 1;
b: COMMIT;
a.
b: SELECT * FROM t ORDER BY id;
-- Building an index does not wait for row locks.
b: BEGIN;
b: SELECT * FROM t WHERE id = 1 FOR UPDATE;
a: CREATE INDEX t_n ON t (n);
b: ROLLBACK;
a: BEGIN;
a: ALTER TABLE t DROP COLUMN extra;
b& UPDATE t SET n = n + 1 WHERE n > 0;
c& SELECT id FROM t WHERE id = 2 FOR UPDATE;
a: COMMIT;
b.
c.
a: SELECT * FROM t ORDER BY id;
a: BEGIN;
a: ALTER TABLE t ALTER COLUMN n SET NOT NULL;
b& INSERT INTO t VALUES (3, NULL);
a: COMMIT;
b.
b: BEGIN;
b: DELETE FROM t WHERE id = 2;
a& TRUNCATE t;
b: COMMIT;
a.
a: SELECT count(*) FROM t;
b: INSERT INTO t VALUES (4, 40);
b: BEGIN;
b: UPDATE t SET n = 41;
a& DROP TABLE t;
b: COMMIT;
a.
b: SELECT * FROM t;
-- What waited for a table that goes away finds it gone.
a: CREATE TABLE u (id int PRIMARY KEY);
a: BEGIN;
a: DROP TABLE u;
b& INSERT INTO u VALUES (1);
a: COMMIT;
b.
-- One that was replaced meanwhile is another one.
a: CREATE TABLE v (id int PRIMARY KEY);
a: BEGIN;
a: DROP TABLE v;
a: CREATE TABLE v (name text);
b& INSERT INTO v VALUES (1);
a: COMMIT;
b.
a: SELECT * FROM v;
