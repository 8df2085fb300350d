-- what others make and drop meanwhile is nothing to a statement whose own tables stay as they are:
-- it has written when it waits for the key of another
a: CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE)
a: BEGIN
a: INSERT INTO t VALUES (1, 1)
b: BEGIN
b: INSERT INTO t VALUES (2, 2)
a& UPDATE t SET u = 2 WHERE id = 1
c: CREATE TABLE other (id int)
b: ROLLBACK
a.
a: SELECT * FROM t
-- also where it has had answers before
b: BEGIN
b: INSERT INTO t VALUES (1090, 1090)
a& INSERT INTO t SELECT n, n FROM generate_series(3, 1100) n
d: DROP TABLE other
b: ROLLBACK
a.
a: COMMIT
c: SELECT count(*), max(u) FROM t
-- and where it writes to two tables
a: CREATE TABLE log (n int)
a: BEGIN
b: BEGIN
b: INSERT INTO t VALUES (5000, 5000)
a& WITH w AS (INSERT INTO log VALUES (5000) RETURNING n) INSERT INTO t SELECT n, n FROM w
c: CREATE TABLE other (id int)
b: ROLLBACK
a.
a: COMMIT
c: SELECT u, (SELECT count(*) FROM log) FROM t WHERE id = 5000
-- a change of its own table comes before it, or after it
a: BEGIN
a: UPDATE t SET u = 0 WHERE id = 1
b& ALTER TABLE t ADD COLUMN c int DEFAULT 7
c& UPDATE t SET u = -5 WHERE id = 1 RETURNING *
a: COMMIT
b.
c.
