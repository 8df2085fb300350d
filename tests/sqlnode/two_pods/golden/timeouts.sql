-- Waiting for a table ends as waiting for a row does.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: CREATE TABLE plain (n int);
a: INSERT INTO t VALUES (1, 1);
a: BEGIN;
a: UPDATE t SET n = 2;
a: INSERT INTO plain VALUES (1);
~
b: SET lock_timeout = '50ms';
b: ALTER TABLE t ADD COLUMN x int;
b: CREATE INDEX ON plain (n);
b: TRUNCATE plain;
b: DROP TABLE t;
b: SET lock_timeout = 0;
b: SET statement_timeout = '100ms';
b: ALTER TABLE t ADD COLUMN x int;
b: SET statement_timeout = 0;
b& CREATE INDEX ON t (n);
b!
a: COMMIT;
b: CREATE INDEX t_n ON t (n);
-- The other way round: writers that wait for who changes the table.
a: BEGIN;
a: ALTER TABLE t ADD COLUMN x int;
a: ALTER TABLE plain ADD COLUMN x int;
b: SET lock_timeout = '50ms';
b: UPDATE t SET n = 3;
b: INSERT INTO t VALUES (2, 2);
b: INSERT INTO plain VALUES (2);
b: SET lock_timeout = 0;
b: SET statement_timeout = '100ms';
b: INSERT INTO plain VALUES (3);
b: UPDATE t SET n = 4 WHERE id = 1;
b: SET statement_timeout = 0;
b& INSERT INTO plain VALUES (4);
b!
b& DELETE FROM t;
b!
a: COMMIT;
b: SELECT * FROM t;
b: SELECT * FROM plain;
