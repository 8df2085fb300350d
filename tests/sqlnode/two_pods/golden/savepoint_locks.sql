-- rolling back to a savepoint frees the rows locked since
a: CREATE TABLE t (id int PRIMARY KEY, n int, u int UNIQUE)
a: INSERT INTO t VALUES (1, 0, 1), (2, 0, 2), (3, 0, 3)
a: BEGIN
a: UPDATE t SET n = 1 WHERE id = 1
a: SAVEPOINT s
a: UPDATE t SET n = 2 WHERE id = 2
a: SELECT n FROM t WHERE id = 3 FOR UPDATE
b: SELECT id FROM t FOR UPDATE SKIP LOCKED
a: ROLLBACK TO s
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
b: UPDATE t SET n = 20 WHERE id = 2
-- who waits goes on
a: UPDATE t SET n = 3 WHERE id = 3
b& UPDATE t SET n = n + 30 WHERE id = 3
a: ROLLBACK TO s
b.
a: SELECT * FROM t ORDER BY id
-- what was locked before stays, and in the mode it had
a: SELECT id FROM t WHERE id = 2 FOR SHARE
a: SAVEPOINT k
a: SELECT id FROM t WHERE id = 2 FOR UPDATE
b: SELECT id FROM t WHERE id = 2 FOR SHARE SKIP LOCKED
a: ROLLBACK TO k
b: SELECT id FROM t WHERE id = 2 FOR SHARE SKIP LOCKED
b: SELECT id FROM t WHERE id = 2 FOR NO KEY UPDATE SKIP LOCKED
-- levels inside each other, and released ones
a: SAVEPOINT l
a: SELECT id FROM t WHERE id = 2 FOR UPDATE
a: SAVEPOINT m
a: SELECT id FROM t WHERE id = 3 FOR UPDATE
a: RELEASE m
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
a: SAVEPOINT o
a: ROLLBACK TO o
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
a: ROLLBACK TO l
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
a: COMMIT
b: SELECT * FROM t ORDER BY id
-- a unique key that was inserted and taken back
a: BEGIN
a: SAVEPOINT s
a: INSERT INTO t VALUES (4, 4, 4)
b& INSERT INTO t VALUES (4, 40, 40)
a: ROLLBACK TO s
b.
a: INSERT INTO t VALUES (4, 4, 4)
a: ROLLBACK TO s
a: INSERT INTO t VALUES (5, 5, 5)
a: COMMIT
b: SELECT * FROM t ORDER BY id
-- a row that was changed meanwhile is looked at again
a: BEGIN
a: SAVEPOINT s
a: UPDATE t SET n = n + 1 WHERE id = 1
a: ROLLBACK TO s
b: UPDATE t SET n = 100 WHERE id = 1
a: UPDATE t SET n = n + 1 WHERE id = 1
a: COMMIT
b: SELECT n FROM t WHERE id = 1
-- out of a failed statement
a: BEGIN
a: SELECT id FROM t WHERE id = 1 FOR UPDATE
a: SAVEPOINT s
a: SELECT id FROM t WHERE id = 2 FOR UPDATE
a: SELECT 1/0
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
a: ROLLBACK TO s
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED
a: ROLLBACK
-- a deadlock, out of which a savepoint leads
a: BEGIN
b: BEGIN
b: SELECT id FROM t WHERE id = 2 FOR UPDATE
a: SELECT id FROM t WHERE id = 3 FOR UPDATE
a: SAVEPOINT s
a: SELECT id FROM t WHERE id = 1 FOR UPDATE
b& SELECT id FROM t WHERE id = 1 FOR UPDATE
a: ROLLBACK TO s
b.
b: COMMIT
a: COMMIT
-- the shape of a table
a: BEGIN
a: SAVEPOINT s
a: ALTER TABLE t ADD COLUMN extra int
a: ROLLBACK TO s
a: INSERT INTO t VALUES (6, 6, 6)
a: SELECT count(*) FROM t
a: COMMIT
b: SELECT * FROM t ORDER BY id
