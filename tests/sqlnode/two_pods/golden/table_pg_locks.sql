-- Locks of tables as pg_locks shows them, on either pod once somebody wants a strong one.
a: CREATE TABLE t (id int PRIMARY KEY);
a: BEGIN;
a: SELECT * FROM t;
a: INSERT INTO t VALUES (1);
a: SELECT mode, granted, pid = pg_backend_pid() AS mine FROM pg_locks WHERE relation = 't'::regclass ORDER BY mode;
b& CREATE INDEX t_id ON t (id);
d: SELECT mode, granted, fastpath FROM pg_locks WHERE relation = 't'::regclass ORDER BY mode;
c& ALTER TABLE t ADD COLUMN x int;
d: SELECT mode, granted FROM pg_locks WHERE relation = 't'::regclass AND NOT granted ORDER BY mode;
d: SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 't'::regclass;
d: SELECT locktype, database = (SELECT oid FROM pg_database WHERE datname = current_database()) AS here, page, tuple, transactionid, classid FROM pg_locks WHERE relation = 't'::regclass AND NOT granted AND mode = 'ShareLock';
a: COMMIT;
b.
c.
d: SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass;
a: BEGIN;
a: LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE;
a: LOCK TABLE t IN ACCESS SHARE MODE;
b: SELECT mode, granted FROM pg_locks WHERE relation = 't'::regclass AND mode LIKE '%Exclusive%';
a: COMMIT;
