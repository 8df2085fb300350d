-- who listens hears what commits later, on whatever pod, in the order of the commits
a: LISTEN news
b: LISTEN news
c: LISTEN other
d: NOTIFY news, 'one'
d: NOTIFY news
a@
b@
c@
d@
b: SELECT pg_notify('news', 'two')
b: SELECT pg_notify('other', 'two')
a@
b@
c@
d@
-- nothing before the commit, nothing after a rollback
d: BEGIN
d: NOTIFY news, 'not yet'
a@
d: COMMIT
a@
b@
d: BEGIN
d: NOTIFY news, 'never'
d: ROLLBACK
a@
-- the same is said once in a transaction, in the order of the first time
d: BEGIN
d: NOTIFY news, 'x'
d: NOTIFY news, 'y'
d: NOTIFY news, 'x'
d: NOTIFY other, 'x'
d: NOTIFY news
d: NOTIFY news, ''
d: COMMIT
a@
c@
-- savepoints
d: BEGIN
d: NOTIFY news, 'kept'
d: SAVEPOINT s
d: NOTIFY news, 'lost'
d: NOTIFY news, 'kept'
d: ROLLBACK TO s
d: NOTIFY news, 'after'
d: SAVEPOINT t
d: NOTIFY news, 'released'
d: NOTIFY news, 'kept'
d: RELEASE t
d: COMMIT
a@
b@
-- a client in a transaction is told at its end
a: BEGIN
a: SELECT 1
d: NOTIFY news, 'meanwhile'
a@
b@
a: COMMIT
a@
a: BEGIN
d: NOTIFY news, 'in a failed one'
a: SELECT 1/0
a@
a: ROLLBACK
a@
-- a transaction hears itself where it listens
c: BEGIN
c: LISTEN mine
c: NOTIFY mine, 'of its own'
c: SELECT * FROM pg_listening_channels()
c: COMMIT
c@
c: SELECT * FROM pg_listening_channels()
c: BEGIN
c: LISTEN mine2
c: ROLLBACK
c: SELECT pg_listening_channels()
d: NOTIFY mine2, 'to nobody'
c@
c: BEGIN
c: SAVEPOINT s
c: LISTEN mine3
c: ROLLBACK TO s
c: LISTEN mine4
c: COMMIT
c: SELECT pg_listening_channels()
-- no more
c: BEGIN
c: UNLISTEN mine
d: NOTIFY mine, 'before the commit'
c: ROLLBACK
c@
c: UNLISTEN mine
d: NOTIFY mine, 'not heard'
c@
c: UNLISTEN *
c: SELECT pg_listening_channels()
d: NOTIFY other, 'not heard'
c@
a: DISCARD ALL
d: NOTIFY news, 'to one pod'
a@
b@
c: UNLISTEN nothing
-- with rows in the same transaction
a: CREATE TABLE t (id int PRIMARY KEY)
a: BEGIN
a: INSERT INTO t VALUES (1)
a: NOTIFY news, 'row 1'
b@
a: COMMIT
b@
b: SELECT * FROM t
a: INSERT INTO t SELECT 1 FROM pg_notify('news', 'never')
b@
a: SELECT pg_notify('news', 'n' || i) FROM generate_series(1, 3) i
b@
-- one that only reads may notify
a: BEGIN READ ONLY
a: SELECT count(*) FROM t
a: NOTIFY news, 'read only'
a: COMMIT
b@
a: BEGIN ISOLATION LEVEL SERIALIZABLE
a: SELECT count(*) FROM t
a: NOTIFY news, 'serializable'
a: COMMIT
b@
-- a failed transaction refuses
a: BEGIN
a: SELECT 1/0
a: NOTIFY news
a: LISTEN news
a: UNLISTEN news
a: COMMIT
-- errors
a: SELECT pg_notify('', 'x')
a: SELECT pg_notify(NULL, 'x')
a: SELECT pg_notify('news', NULL)
b@
a: SELECT pg_notify(repeat('c', 63), 'x')
a: SELECT pg_notify(repeat('c', 64), 'x')
a: SELECT pg_notify(repeat('ä', 32), 'x')
a: SELECT pg_notify('news', repeat('p', 7999)) IS NULL
a: SELECT pg_notify('news', repeat('p', 8000))
a: SELECT pg_notify('news', repeat('ä', 4000))
a: NOTIFY "", 'x'
a: NOTIFY "Mixed Case", 'it''s'
a: LISTEN "Mixed Case"
a: NOTIFY "Mixed Case", 'it''s'
a@
a: NOTIFY "mixed case"
a@
a: SELECT pg_notification_queue_usage()
a: SELECT pg_typeof(pg_notify('news', 'void'))
b: UNLISTEN *
