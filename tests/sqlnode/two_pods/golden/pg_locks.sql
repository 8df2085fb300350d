-- advisory locks of everybody, held and waited for
a: SELECT pg_advisory_lock(987654321012), pg_advisory_lock(-77, 78), pg_advisory_lock_shared(77, -79)
b: SELECT pg_advisory_lock_shared(77, -79)
c& SELECT pg_advisory_lock(-77, 78)
d: SELECT classid, objid, objsubid, mode, granted, fastpath, relation, transactionid FROM pg_locks WHERE locktype = 'advisory' ORDER BY objsubid, classid, objid, granted
d: SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory'
a: SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
c!
b: SELECT pg_advisory_unlock_all()
a: BEGIN
a: SELECT pg_advisory_xact_lock(78)
b: SELECT classid, objid, objsubid, mode, granted FROM pg_locks WHERE locktype = 'advisory' ORDER BY objsubid, classid, objid
a: COMMIT
a: SELECT pg_advisory_unlock_all()
b: SELECT * FROM pg_locks WHERE locktype = 'advisory'
b: SELECT pg_typeof(virtualtransaction), pg_typeof(pid), pg_typeof(transactionid) FROM pg_locks WHERE false
-- rows that are waited for
a: CREATE TABLE t (id int PRIMARY KEY)
a: INSERT INTO t VALUES (1)
a: BEGIN
a: SELECT * FROM t FOR UPDATE
b& DELETE FROM t
d: SELECT w.mode, w.granted, h.mode, h.granted, w.pid <> h.pid AS apart FROM pg_locks w JOIN pg_locks h ON h.transactionid::text = w.transactionid::text AND h.granted WHERE NOT w.granted AND w.locktype = 'transactionid'
a: COMMIT
b.
d: SELECT * FROM pg_locks WHERE NOT granted
