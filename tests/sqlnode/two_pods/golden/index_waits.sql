-- Building an index waits for those who write, and they for it; the index has everything.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 100) i;
b: BEGIN;
b: INSERT INTO t VALUES (1000, 77);
b: UPDATE t SET n = 77 WHERE id = 5;
a& CREATE INDEX t_n ON t (n);
-- Who comes now waits behind.
c& INSERT INTO t VALUES (1001, 77);
d& DELETE FROM t WHERE id = 6;
b: SELECT count(*) FROM t WHERE n = 77;
b: COMMIT;
a.
c.
d.
b: SELECT id FROM t WHERE n = 77 ORDER BY id;
b: SELECT count(*) FROM t;
-- The builder's transaction holds them off to its end.
a: BEGIN;
a: CREATE INDEX t_n2 ON t (n, id);
b& UPDATE t SET n = 78 WHERE id = 1000;
c& INSERT INTO t VALUES (1002, 78);
d: SELECT count(*) FROM t WHERE n = 77;
a: COMMIT;
b.
c.
d: SELECT id, n FROM t WHERE n >= 77 ORDER BY n, id;
-- And when it gives up they go on as if nothing had been.
a: BEGIN;
a: CREATE INDEX t_n3 ON t (id, n);
b& UPDATE t SET n = 79 WHERE id = 1000;
a: ROLLBACK;
b.
d: SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY indexname;
