-- Rows of a table without any key: their writers have asked storage nothing yet.
a: CREATE TABLE t (n int, s text);
a: INSERT INTO t VALUES (1, 'one');
b: BEGIN;
b: INSERT INTO t VALUES (2, 'two');
~
a& CREATE INDEX t_n ON t (n);
b: INSERT INTO t VALUES (2, 'zwei');
b: COMMIT;
a.
c: SELECT * FROM t WHERE n = 2 ORDER BY s;
-- One that comes while the table is being changed waits, and then writes what the table is now.
a: BEGIN;
a: ALTER TABLE t ADD COLUMN extra int DEFAULT 5;
b& INSERT INTO t VALUES (3, 'three');
c& INSERT INTO t SELECT 4, 'four';
a: COMMIT;
b.
c.
d: SELECT * FROM t ORDER BY n, s;
a: BEGIN;
a: CREATE UNIQUE INDEX t_s ON t (s);
b& INSERT INTO t VALUES (5, 'five');
c& INSERT INTO t VALUES (6, 'one');
a: COMMIT;
b.
c.
d: SELECT n, s FROM t WHERE s IN ('five', 'one') ORDER BY n;
a: BEGIN;
a: TRUNCATE t;
b& INSERT INTO t VALUES (7, 'seven') RETURNING n, s;
a: COMMIT;
b.
d: SELECT * FROM t;
