-- Two sessions change the schema at once.
a: CREATE TABLE t (id int PRIMARY KEY);
b: CREATE TABLE t (id int PRIMARY KEY);
a: BEGIN;
a: CREATE TABLE u (id int);
b& CREATE TABLE u (other int);
a: ROLLBACK;
b.
a: INSERT INTO u (other) VALUES (1);
a: BEGIN;
a: ALTER TABLE t ADD COLUMN x int;
b& ALTER TABLE t ADD COLUMN x text;
a: COMMIT;
b.
a: BEGIN;
a: ALTER TABLE t ADD COLUMN y int;
b& ALTER TABLE t ADD COLUMN z text;
a: COMMIT;
b.
a: SELECT * FROM t;
a: BEGIN;
a: DROP TABLE t;
b& ALTER TABLE t ADD COLUMN w int;
a: COMMIT;
b.
