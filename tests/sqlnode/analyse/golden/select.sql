SELECT balance FROM accounts WHERE aid = $1
SELECT balance FROM accounts WHERE aid = 1
SELECT count(*) FROM branches
SELECT * FROM accounts
SELECT a.*, b.name FROM accounts a, branches b WHERE a.bid = b.bid
SELECT * FROM accounts JOIN branches USING (bid)
SELECT * FROM accounts NATURAL JOIN branches
SELECT bid FROM accounts FULL JOIN branches USING (bid)
SELECT j.bid FROM (accounts JOIN branches USING (bid)) AS j
SELECT bid FROM accounts, branches
SELECT aid, count(*) FROM accounts
SELECT aid, balance FROM accounts GROUP BY aid
SELECT bid, balance FROM accounts GROUP BY bid
SELECT bid + 1 FROM accounts GROUP BY bid + 1
SELECT bid % 10 AS r, sum(balance), avg(balance), min(filler), max(aid) FROM accounts GROUP BY 1 HAVING count(*) > 1 ORDER BY r
SELECT sum(i8), sum(n), sum(f8), avg(f8), sum(i2), avg(i8), sum(iv), max(ts) FROM mixed
SELECT i2 + i4, i4 + i8, i8 + n, n + f8, i4 / 2, i4 * 1.5, i4 || 'x', t || i4, t || v, c || t, d + 1, d - d, ts - ts, ts + iv, tz - ts, -i4, @ i4, f8 ^ 2, i4 % i2 FROM mixed
SELECT 1, 2147483648, 9223372036854775808, 1.5, 1e10, 'x', NULL, true, -1, -2147483648
SELECT '1' + 1, 1 + '1', '1' || '2', 'a' = 'b', '5' > 4, current_date, now() - '1 day', now() - interval '1 day', date '2020-01-01' - 7
SELECT 'abc'::int
SELECT 1 + 'abc'
SELECT i4 = 'x' FROM mixed
SELECT '2020-13-01'::date
SELECT 1 + true
SELECT t + 1 FROM mixed
SELECT NOT 1
SELECT 1 WHERE 1
SELECT 1 WHERE 'x'
SELECT 1 WHERE 't'
SELECT case when i4 > 1 then 1 else 2.5 end, case i4 when 1 then 'a' when 2 then 'b' end, case when b then t else v end, case when b then v end FROM mixed
SELECT case when b then 1 else t end FROM mixed
SELECT case when 1 then 2 end
SELECT coalesce(i4, 1.5), coalesce(v, 'x'), coalesce(NULL, NULL), coalesce(i2, i8), greatest(1, 2.5), least('a', t), nullif(i4, 2), nullif(t, 'x') FROM mixed
SELECT coalesce(i4, t) FROM mixed
SELECT i4 IN (1, 2, 3), i4 IN (1, 2.5), t IN ('a', 'b'), i4 NOT IN (1, i2), i4 BETWEEN 1 AND 2, i4 NOT BETWEEN SYMMETRIC 3 AND 1 FROM mixed
SELECT i4 IN ('a', 'b') FROM mixed
SELECT t LIKE 'a%', t ILIKE v, t NOT LIKE '%', t SIMILAR TO 'a', t ~ 'x', c LIKE 'a', i4 IS DISTINCT FROM 1, t IS NOT DISTINCT FROM NULL FROM mixed
SELECT i4 LIKE 'a' FROM mixed
SELECT i4 = ANY (ia), i4 = ANY ('{1,2}'), t <> ALL (ta), i4 = ANY (ARRAY[1,2]), 1 = ANY ($1) FROM mixed
SELECT i4 = ANY (i4) FROM mixed
SELECT i4 = ANY (SELECT aid FROM accounts), EXISTS (SELECT 1), (SELECT max(aid) FROM accounts), ARRAY(SELECT aid FROM accounts) FROM mixed
SELECT i4 IN (SELECT t FROM mixed) FROM mixed
SELECT (i4, t) IN (SELECT i4, t FROM mixed), (1, 2) < (2, 3), (i4, i8) = (1, 2) FROM mixed
SELECT (SELECT 1, 2)
SELECT 1 IN (SELECT 1, 2)
SELECT (1, 2) = (1, 2, 3)
SELECT (SELECT a.balance FROM accounts a WHERE a.aid = b.bid) FROM branches b
SELECT (SELECT max(b.bid) FROM accounts) FROM branches b
SELECT (SELECT max(b.bid + aid) FROM accounts) FROM branches b
SELECT b.bid, (SELECT b.name) FROM branches b GROUP BY b.bid
SELECT b.name, (SELECT b.balance) FROM branches b GROUP BY b.name
SELECT sum(count(*)) FROM accounts
SELECT aid FROM accounts WHERE count(*) > 1
SELECT aid FROM accounts GROUP BY count(*)
SELECT a.aid FROM accounts a JOIN branches b ON sum(a.aid) = 1
SELECT x FROM accounts
SELECT balanc FROM accounts
SELECT a.balanc FROM accounts a
SELECT accounts.aid FROM accounts a
SELECT z.aid FROM accounts a
SELECT a.aid FROM accounts a, (SELECT a.bid) s
SELECT 1 FROM nothing
SELECT 1 FROM public.nothing
SELECT 1 FROM accounts, accounts
SELECT nofunc(1, 'x', i4) FROM mixed
SELECT lower(1)
SELECT lower('A'), upper(v), length(t), substr(t, 1), substring(t from 2 for 3), trim(t), trim(both 'x' from t), position('a' in t), abs(-1), abs(n), round(n, 1), round(f8), extract(year from ts), date_part('year', d), to_char(ts, 'YYYY'), now(), md5(t), concat(t, 1, NULL), concat_ws(',', 'a', 1), format('%s', 1) FROM mixed
SELECT text(i4), int4(f8), float8('1'), date(ts), int4('x') FROM mixed
SELECT i4::text, i4::numeric(5,1), t::varchar(3), t::int, b::int, i4::bool, ts::date, d::timestamp, tz::timestamp, '{1,2}'::int[], ia::text[], 'x'::char(3), '1'::"char", '1.5'::numeric(3,1), 5::oid, i8::oid, 'accounts'::regclass, '1 day'::interval FROM mixed
SELECT b::date FROM mixed
SELECT 1::nosuchtype
SELECT CAST(1 AS public.foo)
SELECT ia[1], ia[1:2], ARRAY[1,2], ARRAY[[1,2],[3,4]], ARRAY['a', t], ARRAY[1, 2.5], ia || 1, 1 || ia, array_append(ia, 1), array_length(ia, 1), cardinality(ta), unnest(ia) FROM mixed
SELECT i4[1] FROM mixed
SELECT ARRAY[]
SELECT ARRAY[]::int[]
SELECT ARRAY[1, 'x']
SELECT array_append(ia, 'x') FROM mixed
SELECT array_append(ia, t) FROM mixed
SELECT ROW(1, 'a', t), ROW(1, 2) IS NULL FROM mixed
SELECT ts AT TIME ZONE 'UTC', tz AT TIME ZONE 'UTC', t COLLATE "C" FROM mixed
SELECT t COLLATE "xx" FROM mixed
SELECT i4 COLLATE "C" FROM mixed
SELECT i4 OPERATOR(pg_catalog.+) 1, current_user, current_timestamp(2), localtime, session_user, current_catalog, current_schema FROM mixed
SELECT b IS TRUE, b IS NOT UNKNOWN, b IS NULL, i4 IS NOT NULL FROM mixed
SELECT i4 IS TRUE FROM mixed
SELECT DISTINCT bid FROM accounts ORDER BY bid
SELECT DISTINCT bid FROM accounts ORDER BY aid
SELECT DISTINCT ON (bid) bid, aid FROM accounts ORDER BY bid, aid
SELECT DISTINCT ON (bid) bid, aid FROM accounts ORDER BY aid
SELECT aid AS x, bid AS x FROM accounts ORDER BY x
SELECT aid FROM accounts ORDER BY 2
SELECT aid FROM accounts ORDER BY 'x'
SELECT aid FROM accounts ORDER BY balance DESC NULLS LAST, aid USING >
SELECT aid FROM accounts ORDER BY nothing
SELECT aid FROM accounts LIMIT 10 OFFSET $1
SELECT aid FROM accounts LIMIT 'x'
SELECT aid FROM accounts LIMIT aid
SELECT aid FROM accounts LIMIT 1.5
SELECT aid FROM accounts FETCH FIRST 3 ROWS ONLY
SELECT aid FROM accounts ORDER BY aid FETCH FIRST 3 ROWS WITH TIES
SELECT 1 UNION SELECT 2.5
SELECT 1 UNION ALL SELECT 'x'
SELECT 'a' UNION SELECT 'b' ORDER BY 1
SELECT aid, filler FROM accounts UNION SELECT bid, name FROM branches ORDER BY aid
SELECT 1 UNION SELECT 1, 2
SELECT 1 UNION SELECT true
SELECT aid FROM accounts UNION SELECT bid FROM branches ORDER BY aid + 1
SELECT NULL UNION SELECT NULL UNION SELECT 1
SELECT 1 INTERSECT SELECT 2 EXCEPT SELECT 3
(SELECT aid FROM accounts ORDER BY balance LIMIT 1) UNION ALL (SELECT balance FROM branches)
VALUES (1, 'a'), (2, 'b')
VALUES (1, 'a'), (2.5, NULL)
VALUES (1), (2, 3)
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(x, y)
SELECT * FROM (VALUES (1)) AS v(x, y)
WITH x AS (SELECT aid, balance FROM accounts) SELECT x.aid, sum(balance) FROM x GROUP BY 1
WITH x(a, b) AS (SELECT 1, 'z') SELECT * FROM x, x AS y
WITH x AS (SELECT 1), x AS (SELECT 2) SELECT 1
WITH y AS (SELECT * FROM z), z AS (SELECT 1) SELECT * FROM y
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT n FROM r
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1.5 FROM r) SELECT n FROM r
SELECT * FROM generate_series(1, 3) g
SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(a, b)
SELECT * FROM generate_series(1, 3) AS g(a, b)
SELECT * FROM unnest(ARRAY['a','b']) AS u
SELECT a.aid, g FROM accounts a, generate_series(1, a.bid) g
SELECT a.aid, s.x FROM accounts a, LATERAL (SELECT a.bid AS x) s
SELECT a.aid FROM accounts a RIGHT JOIN LATERAL (SELECT a.bid AS x) s ON true
SELECT g.* FROM accounts a LEFT JOIN generate_series(1, a.bid) g ON true
SELECT a.aid FROM accounts a LEFT JOIN branches b ON b.bid
SELECT aid FROM accounts JOIN branches USING (nope)
SELECT aid FROM accounts a JOIN history h USING (aid, bid)
SELECT aid FROM accounts FOR UPDATE
SELECT a.aid FROM accounts a FOR UPDATE OF b
SELECT a.aid FROM accounts a FOR SHARE OF a SKIP LOCKED
SELECT DISTINCT aid FROM accounts FOR UPDATE
SELECT count(*) FROM accounts FOR UPDATE
SELECT count(DISTINCT bid), string_agg(filler, ',' ORDER BY aid DESC), count(*) FILTER (WHERE bid > 1), array_agg(aid) FROM accounts
SELECT string_agg(DISTINCT filler, ',' ORDER BY aid) FROM accounts
SELECT count() FROM accounts
SELECT lower(DISTINCT 'x')
SELECT lower(*) FROM accounts
SELECT count(*) FILTER (WHERE 1) FROM accounts
SELECT $1
SELECT $1::int
SELECT $1 + 1, $2 || 'x', $3 = now(), $4 = 1.5
SELECT $1 + $2
SELECT $1 = $2
SELECT $1, $1::int
SELECT $1::int, $1::text
SELECT $2::int
SELECT coalesce($1, 1), case when $2 then $3 else 'x' end
SELECT aid FROM accounts WHERE aid IN ($1, $2, $3) AND filler LIKE $4
SELECT upper($1), length($2), $3 IS NULL
SELECT lower($1), abs($2)
SELECT * FROM accounts WHERE (aid, bid) = ($1, $2)
SELECT round($1), $2 BETWEEN 1 AND i4, $3 LIKE t FROM mixed
SELECT *
SELECT count(a), a.* FROM accounts a GROUP BY a.aid
SELECT accounts FROM accounts
SELECT (a).balance FROM accounts a
SELECT (a).nope FROM accounts a
SELECT a.aid.b.c.d.e FROM accounts a
SELECT pg_catalog.lower('X'), public.lower('x')
SELECT nosuch.lower('x')
SELECT make_interval(days => 3), make_interval(1, 2), make_date(2020, 1, day => 2)
SELECT make_interval(nope => 3)
SELECT t = 1 FROM mixed
SELECT v = t, c = t, c = v, nm = t, nm = 'x', o = 1, c = 'x  ', by = 'x', u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' FROM mixed
SELECT u = 'x' FROM mixed
SELECT d = ts, ts = tz, d < now(), i4 = f8, n = 1, n = f8, i2 = 1, i8 = 1, i8 = 2147483648 FROM mixed
SELECT sum(t) FROM mixed
SELECT max(b) FROM mixed
SELECT 1 AS a, a + 1
SELECT aid a, sum(aid) FROM accounts GROUP BY a HAVING a > 1
SELECT rank() OVER () FROM accounts
SELECT 'a' < 1
SELECT E'\\x41'::bytea, b'101', x'1F'
SELECT 1 FROM accounts WHERE aid = 'é' AND nope = 1
SELECT 'é', nope
SELECT 1 # 2, 1 !! 2
SELECT 1.5 # 2
SELECT ts - '2020-01-01', ts > '2020-01-01', d + '1', ts + '1 day', '1 day' + ts FROM mixed
SELECT d - '2020-01-01', d + interval '1 day', tz::date, date_trunc('day', tz), date_trunc('day', d), age(ts), extract(epoch from tz - tz) FROM mixed
SELECT jsonb '{"a":1}' -> 'a', '{"a":1}'::json ->> 'a', to_json(t) FROM mixed
SELECT power(2, 3), sqrt(2), mod(i8, i4), mod(5, 2.5), div(7, 2), floor(n), ceil(f8), trunc(n, 1), sign(-1), random() FROM mixed
SELECT repeat('x', 3), left(t, 2), right('abc', 1), lpad(t, 5), replace(t, 'a', 'b'), split_part(t, ',', 1), strpos(t, 'a'), reverse(t), initcap(t), char_length(c), octet_length(t), ascii(t), chr(65), quote_ident(t), quote_literal(i4), to_hex(i4), regexp_replace(t, 'a', 'b') FROM mixed
SELECT nextval('s')
SELECT o::regclass, o::int, 1::oid = o, 'int4'::regtype FROM mixed
SELECT bool_and(b), every(b), stddev(i4), variance(n), count(t), array_agg(ia), json_agg(t), bit_or(i4), corr(f8, f8) FROM mixed
SELECT width_bucket(5.3, 0.2, 10.6, 5), setseed(0.5), pg_typeof(1), pg_typeof('a'), version(), pg_backend_pid()
SELECT aid, unnest(ARRAY[1, 2]) AS u FROM accounts ORDER BY u
SELECT generate_series(1, $1) + 1
SELECT generate_series(1, 2) FROM accounts WHERE generate_series(1, 2) = 1
SELECT count(*), bid FROM accounts GROUP BY ROLLUP (bid)
SELECT a.aid, b.bid FROM accounts a CROSS JOIN branches b WHERE a.aid = ANY ($1::int[]) AND b.name = $2
SELECT relname FROM accounts WHERE aid IS NULL OR NOT (bid > 1 AND balance < $1 * 2)
SELECT t FROM mixed WHERE tz >= $1 AND tz < $2 AND v = $3 AND c = $4 AND n > $5 AND b = $6 AND d = $7 AND i8 = $8
SELECT * FROM accounts a LEFT JOIN branches b ON a.bid = b.bid LEFT JOIN history h ON h.aid = a.aid AND h.bid = b.bid WHERE h.delta IS NULL
SELECT sum(case when bid = 1 then balance else 0 end) FROM accounts
SELECT aid FROM accounts WHERE (SELECT count(*) FROM history h WHERE h.aid = accounts.aid) > 1
SELECT aid FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM history h WHERE h.aid = a.aid AND h.bid = nope)
SELECT x.n FROM (SELECT count(*) AS n, bid FROM accounts GROUP BY bid) x WHERE x.n > 1
SELECT max(x.s) FROM (SELECT sum(balance) s FROM accounts GROUP BY bid) AS x(s)
SELECT * FROM (SELECT 1 AS a, 'b' AS b UNION ALL SELECT 2, 'c') AS q ORDER BY q.b
SELECT to_timestamp(1), to_date('2020', 'YYYY'), timezone('UTC', now()), current_setting('x'), set_config('a', 'b', false), coalesce(current_setting('x', true), '')
SELECT pg_table_is_visible(1), pg_get_expr(NULL, 1), format_type(23, NULL), obj_description(1, 'pg_class'), has_table_privilege('accounts', 'SELECT'), pg_encoding_to_char(6)
SELECT sum(balance) FILTER (WHERE bid = $1) FROM accounts HAVING sum(balance) > $2
SELECT 1 = ALL (SELECT bid FROM accounts), (1, 2) = ANY (SELECT aid, bid FROM accounts)
SELECT accounts.* FROM accounts ORDER BY balance + 1
SELECT aid FROM accounts GROUP BY aid ORDER BY balance
SELECT bid FROM accounts GROUP BY bid ORDER BY balance
SELECT filler || $1, $2 || aid FROM accounts
SELECT i8 / i4, i8 * i2, n * i4, f8 + i4, i4 & 1, i4 << 2, ~i4, i4 <> 2, i4 != 2 FROM mixed
SELECT 10 / 0.5, 7 % 2, 2 ^ 3, |/ 4, 5!
SELECT DATE '2020-01-01', TIMESTAMP '2020-01-01 10:00', INTERVAL '1' DAY, TIME '10:00', TIMESTAMPTZ '2020-01-01 00:00+00', NUMERIC '1.5', BOOL 'yes'
SELECT overlay('abc' placing 'x' from 1), 'a' || NULL, NULL || 'a', NULL + 1, -NULL
SELECT case when true then unnest(ARRAY[1]) end
SELECT coalesce(generate_series(1, 2), 1)
SELECT sum(generate_series(1, 2))
SELECT a.aid FROM accounts a WHERE a.bid = (SELECT b.bid FROM branches b WHERE b.name = a.filler LIMIT 1)
SELECT CASE $1 WHEN 1 THEN 'a' END
SELECT n::int, f8::numeric(10,2), (i4 + 1)::text || 'x', v::text, c::text, t::char(4) FROM mixed
SELECT substring(t from '[a-z]+'), substring(t, 2), ltrim(t), btrim(t, 'x'), t ~* 'a', t !~ 'a', t ^@ 'a' FROM mixed
SELECT 1::int2 + 1::int2, 1::int2 * 1::int8, 1::float4 + 1::float8, 1::numeric / 3, 2::int8 % 2
SELECT b AND t FROM mixed
SELECT b OR 't', NOT b, b = true, b > false FROM mixed
SELECT count(*) AS total, bid FROM accounts WHERE balance > (SELECT avg(balance) FROM accounts) GROUP BY bid HAVING sum(balance) > 0 ORDER BY total DESC, 2 LIMIT 5
SELECT aid FROM accounts GROUP BY 1, 2
SELECT aid AS bid FROM accounts GROUP BY bid
SELECT a.bid FROM accounts a INNER JOIN branches b ON a.bid = b.bid AND b.name IN ('x', $1) ORDER BY b.name
SELECT 1 ORDER BY 1 + 'x'
SELECT t FROM mixed ORDER BY t COLLATE "C"
SELECT json_build_object('a', 1), row_to_json(mixed) FROM mixed
SELECT json_build_object('a', 1) = json_build_object('a', 1)
SELECT DISTINCT '{}'::json
SELECT '{}'::json ORDER BY 1
SELECT 'x'::json
SELECT interval '1 month' * 2, interval '1 day' / 2, now()::date - 1, date '2020-01-01' + time '10:00'
SELECT isfinite(d), justify_days(iv), date_part('dow', ts), to_char(n, '999'), to_char(i4, '9'), to_number('1', '9') FROM mixed
SELECT "AID" FROM accounts
SELECT filer FROM accounts, branches
SELECT bids FROM accounts, branches
SELECT a.fillr FROM accounts a, branches b
SELECT $1 BETWEEN $2 AND 5
SELECT i4 NOT BETWEEN 1 AND $1 FROM mixed
SELECT i4 BETWEEN SYMMETRIC $1 AND $2 FROM mixed
SELECT 1 UNION SELECT 2 ORDER BY nope
SELECT aid FROM accounts WHERE filler = ANY($1)
SELECT aid FROM accounts ORDER BY CASE WHEN $1 THEN aid ELSE bid END
DELETE FROM history WHERE mtime < now() - $1 * interval '1 day'
SELECT $1::timestamptz - $2, $3::date + $4
SELECT DISTINCT a.bid, b.name FROM accounts a JOIN branches b ON true ORDER BY b.name
SELECT FROM accounts
SELECT (SELECT aid FROM accounts GROUP BY bid)
SELECT concat_ws($1, $2, 'x')
SELECT nullif($1, ''), nullif(1, $2)
SELECT t.* FROM accounts
