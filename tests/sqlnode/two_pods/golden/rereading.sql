-- READ COMMITTED over two pods: who waited for a row looks at it again.
a: CREATE TABLE t (id int PRIMARY KEY, n int, s text);
a: INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c');
a: CREATE INDEX t_n ON t (n);
a: BEGIN;
a: UPDATE t SET n = n + 1 WHERE id = 1;
b& UPDATE t SET n = n * 2 WHERE n = 10;
c& UPDATE t SET n = n + 100 WHERE id = 1 RETURNING n;
a: COMMIT;
b.
c.
a: BEGIN;
a: DELETE FROM t WHERE id = 2;
b& UPDATE t SET s = 'gone' WHERE id = 2;
c& SELECT * FROM t WHERE id = 2 FOR SHARE;
a: COMMIT;
b.
c.
a: BEGIN;
a: SELECT * FROM t WHERE id = 3 FOR UPDATE;
b: SELECT * FROM t WHERE id = 3 FOR UPDATE NOWAIT;
b: SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED;
b: SELECT id FROM t WHERE id = 3;
b& SELECT n FROM t WHERE id = 3 FOR SHARE;
a: UPDATE t SET n = 31 WHERE id = 3;
a: COMMIT;
b.
b: SELECT * FROM t ORDER BY id;
-- REPEATABLE READ has the one snapshot, and says so.
a: BEGIN ISOLATION LEVEL REPEATABLE READ;
a: SELECT n FROM t WHERE id = 3;
b: UPDATE t SET n = 32 WHERE id = 3;
b: INSERT INTO t VALUES (4, 40, 'd');
a: SELECT * FROM t ORDER BY id;
a: UPDATE t SET n = 0 WHERE id = 3;
a: ROLLBACK;
-- An index that is younger than the snapshot does not hide rows from it.
a: BEGIN ISOLATION LEVEL REPEATABLE READ;
a: SELECT count(*) FROM t;
b: UPDATE t SET s = 'new' WHERE id = 1;
b: CREATE INDEX t_s ON t (s);
a: SELECT id, s FROM t WHERE s = 'a';
a: SELECT id, s FROM t WHERE s = 'new';
a: COMMIT;
a: SELECT id, s FROM t WHERE s = 'new';
