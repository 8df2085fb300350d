-- Anti-dependency cycle (G2): each inserts what the other has looked for.
a: CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL);
a: INSERT INTO t VALUES (1, 10), (2, 20);
a: BEGIN ISOLATION LEVEL $LEVEL;
b: BEGIN ISOLATION LEVEL $LEVEL;
a: SELECT * FROM t WHERE n % 3 = 0;
b: SELECT * FROM t WHERE n % 3 = 0;
a: INSERT INTO t VALUES (3, 30);
b: INSERT INTO t VALUES (4, 42);
a: COMMIT;
b: COMMIT;
c: SELECT * FROM t WHERE n % 3 = 0 ORDER BY id;
