-- one sequence for all pods; nobody's rollback gives a number back
a: CREATE SEQUENCE s
a: SELECT nextval('s')
b: SELECT nextval('s')
c: SELECT nextval('s')
d: SELECT currval('s')
d: SELECT nextval('s'), currval('s'), lastval()
a: SELECT currval('s'), lastval()
a: BEGIN
a: SELECT nextval('s')
b: SELECT nextval('s')
a: ROLLBACK
a: SELECT nextval('s')
b: SELECT setval('s', 100)
a: SELECT currval('s')
a: SELECT nextval('s')
b: SELECT last_value, is_called FROM s
-- a statement that used many leaves no gap, and takes nobody's
a: SELECT count(nextval('s')) FROM generate_series(1, 5000)
b: SELECT nextval('s')
a: SELECT nextval('s') FROM generate_series(1, 100) LIMIT 3
b: SELECT nextval('s')
-- CACHE is a session's own
a: CREATE SEQUENCE c CACHE 3
a: SELECT nextval('c')
b: SELECT nextval('c')
a: SELECT nextval('c'), nextval('c'), nextval('c')
b: SELECT nextval('c'), nextval('c'), nextval('c')
a: ALTER SEQUENCE c RESTART
b: SELECT nextval('c')
a: SELECT nextval('c')
-- what one pod changes the others know at once
a: ALTER SEQUENCE s INCREMENT 10
b: SELECT nextval('s')
a: ALTER SEQUENCE s RESTART WITH 7 INCREMENT 1
b: SELECT nextval('s')
d: SELECT nextval('s')
a: ALTER SEQUENCE s RENAME TO r
b: SELECT nextval('s')
b: SELECT nextval('r'), currval('r')
a: DROP SEQUENCE r
b: SELECT nextval('r')
b: SELECT lastval()
a: CREATE SEQUENCE r
b: SELECT currval('r')
b: SELECT nextval('r')
-- snapshots are not for sequences
a: CREATE TABLE t (id serial PRIMARY KEY, v text)
b: BEGIN ISOLATION LEVEL REPEATABLE READ
b: SELECT count(*) FROM t
a: INSERT INTO t (v) VALUES ('a'), ('b') RETURNING id
b: SELECT last_value FROM t_id_seq
b: INSERT INTO t (v) VALUES ('c') RETURNING id
b: COMMIT
a: SELECT * FROM t ORDER BY id
-- a truncation that is rolled back leaves the numbers as they were
a: BEGIN
a: TRUNCATE t RESTART IDENTITY
a: INSERT INTO t (v) VALUES ('again') RETURNING id
a: ROLLBACK
b: INSERT INTO t (v) VALUES ('d') RETURNING id
a: BEGIN
a: TRUNCATE t RESTART IDENTITY
a: INSERT INTO t (v) VALUES ('again') RETURNING id
a: COMMIT
b: INSERT INTO t (v) VALUES ('e') RETURNING id
c: SELECT * FROM t ORDER BY id
