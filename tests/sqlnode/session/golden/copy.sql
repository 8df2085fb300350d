-- COPY both ways, its options and its complaints
CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'none', c numeric(6,2));
COPY t FROM STDIN;
1	one	1.5
2	\N	\N
3	tab\there	3
\.
COPY t (a, c) FROM STDIN;
4	4.444
\.
COPY t FROM STDIN WITH (FORMAT csv, HEADER true);
a,b,c
5,"five, ""quoted""",
6,,6
7,"",7
\.
SELECT * FROM t ORDER BY a;
COPY t TO STDOUT;
COPY t (b, a) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (b));
COPY (SELECT a, b FROM t WHERE a < 3 ORDER BY a) TO STDOUT WITH (DELIMITER '|', NULL 'nil');
COPY t FROM STDIN;
8	eight
\.
COPY t FROM STDIN;
8	eight	8	extra
\.
COPY t FROM STDIN;
8	eight	8
nine	nine	9
\.
COPY t FROM STDIN;
8	eight	8
1	dup	1
\.
COPY t FROM STDIN;
8	eight	123456
\.
COPY t FROM STDIN;
\N	null	1
\.
COPY t (a, a) FROM STDIN;
COPY t (x) FROM STDIN;
COPY nowhere FROM STDIN;
COPY t FROM STDIN (FORMAT csv, DELIMITER ',,');
COPY t FROM STDIN (NONSENSE);
COPY t FROM STDIN (FORMAT csv, HEADER match);
a,b,x
1,2,3
\.
SELECT count(*) FROM t;
