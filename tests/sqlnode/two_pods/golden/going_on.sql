-- A transaction goes on while others change tables it has nothing to do with, and with those too.
a: CREATE TABLE t (id int PRIMARY KEY, n int);
a: INSERT INTO t VALUES (1, 10);
b: BEGIN;
b: INSERT INTO t VALUES (2, 20);
a: CREATE TABLE elsewhere (id int);
b: SELECT * FROM t ORDER BY id;
b: UPDATE t SET n = 21 WHERE id = 2;
a: ALTER TABLE elsewhere ADD COLUMN x int;
b: INSERT INTO elsewhere VALUES (1, 2);
b: SAVEPOINT s;
a: ANALYZE t;
b: DELETE FROM t WHERE id = 1;
b: ROLLBACK TO s;
b: COMMIT;
a: SELECT * FROM t ORDER BY id;
a: SELECT * FROM elsewhere;
-- Savepoints, and a schema change of its own after others'.
b: BEGIN;
b: UPDATE t SET n = 22 WHERE id = 2;
a: CREATE TABLE more (id int);
b: CREATE TABLE mine (id int);
b: INSERT INTO mine SELECT n FROM t;
b: ALTER TABLE t ADD COLUMN extra int;
b: COMMIT;
a: SELECT * FROM mine ORDER BY id;
a: SELECT * FROM t ORDER BY id;
-- A cursor shows what it was opened over.
b: BEGIN;
b: DECLARE c CURSOR FOR SELECT id, n FROM t ORDER BY id;
b: FETCH 1 FROM c;
a: CREATE INDEX t_n ON t (n);
a: INSERT INTO t VALUES (3, 30);
b: FETCH ALL FROM c;
b: COMMIT;
