-- Statements take their tables' locks, and wait for those of others.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN;
a: LOCK TABLE t IN ACCESS EXCLUSIVE MODE;
b& SELECT id, n > 10 AS changed FROM t ORDER BY id;
c& UPDATE t SET n = n + 1 WHERE id = 1;
a: UPDATE t SET n = 11 WHERE id = 1;
a: COMMIT;
b.
c.
b: SELECT * FROM t ORDER BY id;
-- Readers go on beside EXCLUSIVE, who locks rows does not.
a: BEGIN;
a: LOCK TABLE t IN EXCLUSIVE MODE;
b: SELECT count(*) FROM t;
b& SELECT id FROM t WHERE id = 2 FOR UPDATE;
c& INSERT INTO t VALUES (3, 30);
a: ROLLBACK;
b.
c.
-- SHARE lets others read and lock rows, and share.
a: BEGIN;
a: LOCK TABLE t IN SHARE MODE;
b: BEGIN;
b: LOCK TABLE t IN SHARE MODE;
d: SELECT id FROM t WHERE id = 2 FOR UPDATE;
c& DELETE FROM t WHERE id = 3;
a: COMMIT;
b: COMMIT;
c.
-- First come, first served: a reader does not pass who waits for the table.
a: BEGIN;
a: SELECT count(*) FROM t;
b: BEGIN;
b& LOCK TABLE t IN ACCESS EXCLUSIVE MODE;
c& SELECT count(*) FROM t;
a: SELECT count(*) FROM t;
a: UPDATE t SET n = 12 WHERE id = 1;
a: COMMIT;
b.
b: COMMIT;
c.
-- Who has read in a transaction block is waited for, and sees the table as it was.
a: BEGIN;
a: SELECT * FROM t ORDER BY id;
b& ALTER TABLE t ADD COLUMN extra int DEFAULT 7;
c& SELECT * FROM t ORDER BY id;
a: SELECT * FROM t ORDER BY id;
a: COMMIT;
b.
c.
-- A block that has only read is no hindrance to an index.
a: BEGIN;
a: SELECT count(*) FROM t;
b: CREATE INDEX t_n ON t (n);
a: SELECT id FROM t WHERE n = 20;
a: COMMIT;
-- Building an index waits for who has inserted and said nothing since.
a: BEGIN;
a: INSERT INTO t VALUES (4, 40);
b& CREATE INDEX t_extra ON t (extra);
a: INSERT INTO t VALUES (5, 40);
a: COMMIT;
b.
b: SELECT id FROM t WHERE n = 40 ORDER BY id;
-- A change of one table does not hold up what is done to others, nor who makes some.
a: CREATE TABLE u (id int);
a: BEGIN;
a: SELECT count(*) FROM t;
b& TRUNCATE t;
c: ALTER TABLE u ADD COLUMN x int;
a: CREATE TABLE made (id int);
a: COMMIT;
b.
d: SELECT count(*) FROM t;
-- What waits for a table that goes away finds it gone.
a: BEGIN;
a: DROP TABLE u;
b& SELECT * FROM u;
c: BEGIN;
c& LOCK TABLE u IN SHARE MODE;
a: COMMIT;
b.
c.
c: ROLLBACK;
-- REPEATABLE READ goes on with its snapshot where a table it has not read was only locked.
a: BEGIN ISOLATION LEVEL REPEATABLE READ;
a: SELECT count(*) FROM t;
b: BEGIN;
b: LOCK TABLE made;
b: INSERT INTO made VALUES (1);
b: COMMIT;
a: SELECT count(*) FROM made;
a: INSERT INTO made VALUES (2);
a: COMMIT;
b: SELECT count(*) FROM made;
