-- What a person types into psql on a first day. Recorded on PostgreSQL 15 as role `owner`.
\d
CREATE TABLE authors (id int PRIMARY KEY, name varchar(40) NOT NULL UNIQUE);
CREATE TABLE books (
  id bigint PRIMARY KEY,
  author int NOT NULL,
  title text NOT NULL,
  price numeric(8,2) DEFAULT 9.90,
  code char(5),
  printed date,
  added timestamptz DEFAULT now(),
  in_stock boolean DEFAULT true
);
CREATE INDEX books_author ON books (author, title DESC);
\d
\dt
\d authors
\d books
\d books_author
\di
\dt bo*
\d nothing
INSERT INTO authors VALUES (1, 'Le Guin'), (2, 'Lem');
INSERT INTO books (id, author, title, price, printed) VALUES
  (1, 1, 'The Dispossessed', 12.5, '1974-05-01'),
  (2, 2, 'Solaris', DEFAULT, '1961-01-01'),
  (3, 2, 'The Cyberiad', NULL, NULL)
RETURNING id, title, price, in_stock;
SELECT a.name, count(*), sum(b.price), min(b.printed)
FROM authors a JOIN books b ON b.author = a.id GROUP BY a.name ORDER BY a.name;
SELECT title FROM books WHERE title LIKE 'The %' ORDER BY title;
\x
SELECT id, title, price, code FROM books WHERE id = 3;
\x
\pset null '(null)'
SELECT id, price, code FROM books ORDER BY id;
INSERT INTO authors VALUES (2, 'Again');
INSERT INTO authors VALUES (3, 'Lem');
INSERT INTO authors (id) VALUES (4);
UPDATE books SET price = price * 2 WHERE author = 2;
DELETE FROM books WHERE id = 99;
BEGIN;
DELETE FROM books;
SELECT count(*) FROM books;
ROLLBACK;
SELECT count(*) FROM books;
SELECT 1/0;
SELECT no_such_column FROM books;
SELEC 1;
SELECT * FROM books WHERE title = 7;
\echo :SQLSTATE :LAST_ERROR_MESSAGE
COPY authors FROM STDIN;
10	Tarkovsky
11	Dick
\.
COPY authors TO STDOUT;
SHOW server_encoding;
SET TIME ZONE 'Asia/Tokyo';
SELECT '2024-01-01 00:00:00+00'::timestamptz;
RESET TIME ZONE;
EXPLAIN (COSTS OFF) SELECT * FROM books WHERE id = 1;
TRUNCATE books;
VACUUM books;
ANALYZE books;
ALTER TABLE books ADD COLUMN pages int;
ALTER TABLE books DROP COLUMN code;
\d books
DROP TABLE authors, books;
\dt
