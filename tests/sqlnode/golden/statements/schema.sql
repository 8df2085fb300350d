CREATE TABLE emp (id int PRIMARY KEY, name text, dept int, salary numeric(10,2), boss int, hired date);
CREATE INDEX emp_dept ON emp (dept);
CREATE TABLE dept (id int PRIMARY KEY, name varchar(20) NOT NULL, floor int);
CREATE UNIQUE INDEX dept_name ON dept (name);
CREATE TABLE pair (a int, b int, c text DEFAULT 'none', PRIMARY KEY (a, b));
CREATE TABLE loose (x int, y text, ok boolean);
