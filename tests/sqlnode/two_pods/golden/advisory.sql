-- exclusive and shared, of both kinds of keys, over pods
a: SELECT pg_advisory_lock(1)
b: SELECT pg_try_advisory_lock(1), pg_try_advisory_lock_shared(1), pg_try_advisory_lock(2)
c: SELECT pg_try_advisory_lock(1)
b: SELECT pg_try_advisory_lock(0, 1), pg_try_advisory_lock(0, 2)
a: SELECT pg_try_advisory_lock(0, 1), pg_try_advisory_lock(0, 3)
a: SELECT pg_advisory_unlock(1), pg_advisory_unlock(1)
b: SELECT pg_try_advisory_lock(1)
b: SELECT pg_advisory_unlock(1)
a: SELECT pg_advisory_lock_shared(1)
b: SELECT pg_try_advisory_lock_shared(1), pg_try_advisory_lock(1)
b: SELECT pg_advisory_unlock(1)
b: SELECT pg_advisory_unlock_shared(1)
a: SELECT pg_advisory_unlock(2, 3), pg_advisory_unlock_shared(1)
a: SELECT pg_advisory_unlock_all()
b: SELECT pg_advisory_unlock_all()
-- counted, and both modes at once
a: SELECT pg_advisory_lock(1), pg_advisory_lock(1), pg_advisory_lock_shared(1)
a: SELECT pg_advisory_unlock(1)
b: SELECT pg_try_advisory_lock_shared(1)
a: SELECT pg_advisory_unlock(1)
b: SELECT pg_try_advisory_lock_shared(1)
b: SELECT pg_try_advisory_lock(1)
a: SELECT pg_advisory_unlock_shared(1)
b: SELECT pg_try_advisory_lock(1)
b: SELECT pg_advisory_unlock_all()
-- waiting
a: SELECT pg_advisory_lock(7)
b& SELECT pg_advisory_lock(7)
d& SELECT pg_advisory_lock(7)
a: SELECT pg_advisory_unlock(7)
b.
d!
b: SELECT pg_advisory_unlock(7), pg_advisory_unlock(7)
d: SELECT pg_try_advisory_lock(7)
d: SELECT pg_advisory_unlock(7)
-- beyond the transaction, whatever becomes of it
a: BEGIN
a: SELECT pg_advisory_lock(8)
a: ROLLBACK
b: SELECT pg_try_advisory_lock(8)
a: BEGIN
a: SELECT pg_advisory_unlock(8)
b: SELECT pg_try_advisory_lock(8)
a: ROLLBACK
b: SELECT pg_advisory_unlock(8)
-- to the end of the transaction
a: BEGIN
a: SELECT pg_advisory_xact_lock(9), pg_advisory_xact_lock_shared(10)
b: SELECT pg_try_advisory_lock(9), pg_try_advisory_xact_lock_shared(10), pg_try_advisory_xact_lock(10)
a: SELECT pg_advisory_unlock(9)
a: SELECT pg_advisory_lock(9)
a: COMMIT
b: SELECT pg_try_advisory_lock(9), pg_try_advisory_lock(10)
a: SELECT pg_advisory_unlock(9)
b: SELECT pg_try_advisory_lock(9)
b: SELECT pg_advisory_unlock_all()
a: SELECT pg_advisory_xact_lock(11)
b: SELECT pg_try_advisory_lock(11)
b: SELECT pg_advisory_unlock_all()
a: BEGIN
a: SELECT pg_try_advisory_xact_lock(12)
b& SELECT pg_advisory_xact_lock(12)
a: SELECT 1/0
b.
a: ROLLBACK
-- savepoints
a: BEGIN
a: SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock_shared(2)
a: SAVEPOINT s
a: SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock(2), pg_advisory_xact_lock(3)
a: SELECT pg_advisory_lock(4)
b: SELECT pg_try_advisory_xact_lock_shared(2), pg_try_advisory_xact_lock(3)
a: ROLLBACK TO s
b: SELECT pg_try_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2), pg_try_advisory_xact_lock(3), pg_try_advisory_xact_lock(4)
a: SAVEPOINT t
a: SELECT pg_advisory_xact_lock(5)
a: SELECT 1/0
b: SELECT pg_try_advisory_xact_lock(5)
a: ROLLBACK TO t
a: SELECT pg_advisory_xact_lock(5)
a: RELEASE t
b: SELECT pg_try_advisory_xact_lock(5)
a: COMMIT
b: SELECT pg_try_advisory_xact_lock(1), pg_try_advisory_xact_lock(5), pg_try_advisory_xact_lock(4)
a: SELECT pg_advisory_unlock_all()
-- lock_timeout and statement_timeout
a: SELECT pg_advisory_lock(1)
b: SET lock_timeout = '30ms'
b: SELECT pg_advisory_lock(1)
b: SET lock_timeout = 0
b: SET statement_timeout = '30ms'
b: SELECT pg_advisory_lock_shared(1)
b: RESET statement_timeout
a: DISCARD ALL
b: SELECT pg_try_advisory_lock(1)
b: SELECT pg_advisory_unlock_all()
-- one row after the other
a: CREATE TABLE jobs (id int PRIMARY KEY, done bool NOT NULL DEFAULT false)
a: INSERT INTO jobs SELECT i FROM generate_series(1, 5) i
a: SELECT id FROM jobs WHERE NOT done AND pg_try_advisory_lock(id) ORDER BY id LIMIT 2
b: SELECT count(*) FROM jobs WHERE pg_try_advisory_xact_lock(id)
a: SELECT pg_advisory_unlock_all()
b: SELECT id, pg_try_advisory_lock(id) FROM jobs WHERE id = 3
a: SELECT id, CASE WHEN pg_try_advisory_lock(id) THEN 'mine' ELSE 'taken' END FROM jobs ORDER BY id
a: SELECT pg_advisory_unlock(id) FROM jobs ORDER BY id
a: SELECT * FROM pg_try_advisory_lock(3)
a: UPDATE jobs SET done = pg_try_advisory_xact_lock(id) WHERE id > 2
a: SELECT * FROM jobs ORDER BY id
a: SELECT (SELECT pg_try_advisory_lock(3)), EXISTS (SELECT 1 FROM jobs WHERE pg_try_advisory_lock(id))
a: SELECT pg_advisory_unlock_all()
b: SELECT pg_advisory_unlock_all()
a: SELECT pg_advisory_lock(NULL), pg_try_advisory_lock(NULL, 1), pg_advisory_unlock(NULL)
-- large and negative keys
a: SELECT pg_advisory_lock(-1), pg_advisory_lock(9223372036854775807), pg_advisory_lock(-1, 2147483647)
b: SELECT pg_try_advisory_lock(-1), pg_try_advisory_lock(9223372036854775807), pg_try_advisory_lock(-1, 2147483647)
b: SELECT pg_try_advisory_lock(-1, -1)
a: SELECT pg_advisory_unlock_all()
b: SELECT pg_advisory_unlock_all()
-- deadlocks: of advisory locks, of upgrades, and together with rows
a: SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_lock(2)
a& SELECT pg_advisory_lock(2)
b: SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_unlock(2)
a.
a: SELECT pg_advisory_unlock_all()
a: SELECT pg_advisory_lock_shared(1)
b: SELECT pg_advisory_lock_shared(1)
a& SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_unlock_shared(1)
a.
a: SELECT pg_advisory_unlock_all()
a: SELECT pg_advisory_lock(1)
b: BEGIN
b: SELECT id FROM jobs WHERE id = 1 FOR UPDATE
a& UPDATE jobs SET done = true WHERE id = 1
b: SELECT pg_advisory_lock(1)
a.
b: ROLLBACK
a: SELECT pg_advisory_unlock_all()
a: BEGIN
a: SELECT id FROM jobs WHERE id = 2 FOR UPDATE
b: BEGIN
b: SELECT pg_advisory_xact_lock(2)
a& SELECT pg_advisory_xact_lock(2)
b: SELECT id FROM jobs WHERE id = 2 FOR UPDATE
a.
a: COMMIT
b: ROLLBACK
-- read only
a: BEGIN READ ONLY
a: SELECT pg_advisory_xact_lock(1), pg_try_advisory_lock(2)
b: SELECT pg_try_advisory_xact_lock(1)
a: COMMIT
b: SELECT pg_try_advisory_xact_lock(1)
a: SELECT pg_advisory_unlock(2)
a: SELECT pg_typeof(pg_advisory_lock(3))
a: SELECT pg_advisory_unlock(3)
