-- NOWAIT, time limits, cancelling, deadlocks, savepoints.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: CREATE TABLE u (id int PRIMARY KEY, n int);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: INSERT INTO u VALUES (1, 10), (2, 20);
a: BEGIN;
a: INSERT INTO t VALUES (3, 30);
b: BEGIN;
b: LOCK TABLE u, t IN SHARE MODE NOWAIT;
b: ROLLBACK;
b: SET lock_timeout = '100ms';
b: CREATE INDEX t_n ON t (n);
b: ALTER TABLE t ADD COLUMN x int;
b: BEGIN;
b: LOCK TABLE t;
b: ROLLBACK;
b: RESET lock_timeout;
b& DROP TABLE t;
b!
c: SELECT count(*) FROM t;
a: ROLLBACK;
-- What gives up waiting leaves the way free.
a: BEGIN;
a: LOCK TABLE t IN SHARE MODE;
b: SET lock_timeout = '100ms';
b: INSERT INTO t VALUES (4, 40);
b: SELECT id FROM t WHERE id = 1;
b: RESET lock_timeout;
b& INSERT INTO t VALUES (4, 40);
b!
a: COMMIT;
b: INSERT INTO t VALUES (4, 40);
-- A circle of two tables.
a: BEGIN;
b: BEGIN;
a: LOCK TABLE t IN EXCLUSIVE MODE;
b: LOCK TABLE u IN EXCLUSIVE MODE;
a& LOCK TABLE u IN EXCLUSIVE MODE;
b: LOCK TABLE t IN EXCLUSIVE MODE;
b: ROLLBACK;
a.
a: ROLLBACK;
-- A circle of a table and a row.
a: BEGIN;
b: BEGIN;
b: SELECT id FROM u WHERE id = 1;
a: UPDATE t SET n = 11 WHERE id = 1;
a& ALTER TABLE u ADD COLUMN x int;
b: UPDATE t SET n = 12 WHERE id = 1;
b: ROLLBACK;
a.
a: ROLLBACK;
-- Two readers that want to write alone.
a: BEGIN;
b: BEGIN;
a: LOCK TABLE t IN SHARE MODE;
b: LOCK TABLE t IN SHARE MODE;
a& UPDATE t SET n = 13 WHERE id = 1;
b: UPDATE t SET n = 14 WHERE id = 2;
b: ROLLBACK;
a.
a: COMMIT;
-- A circle of a table and an advisory lock.
a: BEGIN;
a: LOCK TABLE t;
b: SELECT pg_advisory_lock(4711);
a& SELECT pg_advisory_xact_lock(4711);
b: SELECT count(*) FROM t;
b: SELECT pg_advisory_unlock(4711);
a.
a: COMMIT;
-- Back at a savepoint, what was locked since is free; what was locked before is not.
a: BEGIN;
a: LOCK TABLE u IN SHARE MODE;
a: SAVEPOINT s;
a: LOCK TABLE t;
b& SELECT count(*) FROM t;
c& INSERT INTO u VALUES (3, 30);
a: ROLLBACK TO s;
b.
a: COMMIT;
c.
a: BEGIN;
a: SAVEPOINT s;
a: INSERT INTO t VALUES (5, 50);
b& CREATE INDEX t_n ON t (n);
a: ROLLBACK TO s;
b.
a: INSERT INTO t VALUES (6, 60);
a: COMMIT;
b: SELECT id FROM t WHERE n >= 50;
-- An error in a block without a savepoint frees all.
a: BEGIN;
a: LOCK TABLE t;
b& SELECT count(*) FROM t;
a: SELECT 1 / 0;
b.
a: ROLLBACK;
-- A stronger mode of one's own table is waited for ahead of those who wait for oneself.
a: BEGIN;
a: SELECT count(*) FROM t;
b: BEGIN;
b& LOCK TABLE t;
c: BEGIN;
a: LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE;
a: COMMIT;
b.
b: COMMIT;
c: ROLLBACK;
