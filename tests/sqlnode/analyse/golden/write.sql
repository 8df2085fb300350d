INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)
INSERT INTO history (tid, bid, aid, delta, mtime) VALUES (1, 2, '3', 4.6, '2020-01-01')
INSERT INTO history VALUES (1, 2)
INSERT INTO history VALUES (1, 2, 3, 4, now(), 'x', 7)
INSERT INTO history (tid, bid) VALUES (1)
INSERT INTO history (tid) VALUES (1, 2)
INSERT INTO history (tid, tid) VALUES (1, 2)
INSERT INTO history (nope) VALUES (1)
INSERT INTO history (tid) VALUES ('x')
INSERT INTO history (tid) VALUES (true)
INSERT INTO history (mtime) VALUES (1)
INSERT INTO nothing VALUES (1)
INSERT INTO branches DEFAULT VALUES RETURNING *
INSERT INTO branches VALUES (1, DEFAULT, DEFAULT), (2, 3, 'x') RETURNING bid, name AS n, balance + 1
INSERT INTO branches (bid, name) SELECT aid, filler FROM accounts
INSERT INTO branches (bid, name) SELECT aid, 'x' FROM accounts ORDER BY balance
INSERT INTO branches (bid, name) SELECT aid, $1 FROM accounts
INSERT INTO branches SELECT filler FROM accounts
INSERT INTO branches (bid) SELECT 1, 2
INSERT INTO branches (bid) SELECT bid, i FROM accounts, generate_series(1, 10) i
INSERT INTO branches (bid) WITH x AS (SELECT 1 AS q) SELECT q FROM x
INSERT INTO branches (bid) VALUES ((SELECT max(bid) + 1 FROM branches)) RETURNING bid
INSERT INTO branches (bid) VALUES (count(*))
INSERT INTO branches (bid, name) VALUES ($1, $2), ($3, upper($4))
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT DO NOTHING
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = excluded.email, flag = uniq.flag WHERE uniq.id > $1 RETURNING *
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT (email) DO UPDATE SET id = excluded.id + 1
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT (nope) DO NOTHING
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT ON CONSTRAINT uniq_pkey DO NOTHING
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT ON CONSTRAINT nope DO NOTHING
INSERT INTO uniq (id, email) VALUES (1, 'a') ON CONFLICT DO UPDATE SET id = 1
INSERT INTO uniq AS u (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = u.email || excluded.email
INSERT INTO uniq (id) VALUES (1) RETURNING nope
INSERT INTO uniq (id) VALUES (aid)
UPDATE accounts SET balance = balance + $1 WHERE aid = $2
UPDATE accounts SET balance = balance + $1 WHERE aid = $2 RETURNING balance
UPDATE accounts AS a SET balance = b.balance FROM branches b WHERE a.bid = b.bid RETURNING a.aid, b.bid, a.*
UPDATE accounts SET balance = 'x'
UPDATE accounts SET balance = filler
UPDATE accounts SET balance = DEFAULT, filler = DEFAULT
UPDATE accounts SET nope = 1
UPDATE accounts SET balance = 1, balance = 2
UPDATE accounts SET balance = sum(bid)
UPDATE accounts SET (balance, bid) = (1, $1) WHERE aid = 1
UPDATE accounts SET (balance, bid) = (SELECT b.balance, b.bid FROM branches b WHERE b.bid = accounts.bid)
UPDATE accounts SET (balance, bid) = (1, 2, 3)
UPDATE accounts SET (balance, bid) = (SELECT 1)
UPDATE accounts SET balance = (SELECT max(balance) FROM branches)
UPDATE accounts SET balance = 1 FROM accounts
UPDATE accounts SET balance = 1 FROM (SELECT accounts.aid) s
UPDATE branches SET name = $1, balance = $2, filler = $3 WHERE bid = $4
UPDATE nothing SET x = 1
UPDATE accounts SET balance = 1 WHERE balance
UPDATE accounts SET balance = n FROM mixed
UPDATE accounts SET filler = 5
DELETE FROM accounts WHERE aid = $1
DELETE FROM accounts a USING branches b WHERE a.bid = b.bid RETURNING a.aid, b.name
DELETE FROM accounts RETURNING *, aid + 1 AS next
DELETE FROM accounts WHERE nope = 1
DELETE FROM nothing
WITH d AS (DELETE FROM accounts RETURNING aid) SELECT aid FROM d
WITH d AS (DELETE FROM accounts) SELECT * FROM d
WITH x AS (SELECT 1 AS a) UPDATE accounts SET balance = x.a FROM x
