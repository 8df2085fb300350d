-- A key belongs to one row, whoever writes it and whenever the index came.
a: CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE);
b: INSERT INTO t VALUES (1, 'x');
a: INSERT INTO t VALUES (2, 'x');
a: BEGIN;
a: INSERT INTO t VALUES (2, 'y');
b& INSERT INTO t VALUES (3, 'y');
a: COMMIT;
b.
a: BEGIN;
a: INSERT INTO t VALUES (4, 'z');
b& INSERT INTO t VALUES (5, 'z');
a: ROLLBACK;
b.
a: BEGIN;
a: UPDATE t SET email = 'w' WHERE id = 1;
b& UPDATE t SET email = 'w' WHERE id = 2;
a: COMMIT;
b.
a: SELECT * FROM t ORDER BY id;
-- ON CONFLICT sees what another pod has just committed.
a: BEGIN;
a: INSERT INTO t VALUES (6, 'v');
b& INSERT INTO t VALUES (7, 'v') ON CONFLICT (email) DO UPDATE SET email = 'v2' RETURNING id, email;
a: COMMIT;
b.
-- A unique index over rows that are being written elsewhere.
a: CREATE TABLE plain (n int);
a: INSERT INTO plain VALUES (1), (2);
b: BEGIN;
b: INSERT INTO plain VALUES (1);
~
a& CREATE UNIQUE INDEX plain_n ON plain (n);
b: COMMIT;
a.
b: DELETE FROM plain WHERE n = 1;
a: ALTER TABLE plain ADD CONSTRAINT plain_key UNIQUE (n);
b: INSERT INTO plain VALUES (2);
b: INSERT INTO plain VALUES (1);
a: ALTER TABLE plain DROP CONSTRAINT plain_key;
b: INSERT INTO plain VALUES (1);
a: SELECT * FROM plain ORDER BY n;
-- A primary key moves the rows; who waited writes to where they are now.
a: CREATE TABLE heap (id int, n int);
b: INSERT INTO heap SELECT i, i FROM generate_series(1, 5) i;
a: BEGIN;
a: ALTER TABLE heap ADD PRIMARY KEY (id);
b& UPDATE heap SET n = n * 10 WHERE n = 3;
c& INSERT INTO heap VALUES (3, 30);
d& INSERT INTO heap VALUES (6, 6);
a: COMMIT;
b.
c.
d.
a: SELECT * FROM heap ORDER BY id;
