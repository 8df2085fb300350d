CREATE TABLE accounts (aid int PRIMARY KEY, bid int, balance int, filler char(84));
CREATE TABLE branches (bid int PRIMARY KEY, balance bigint DEFAULT 0, name varchar(20) DEFAULT 'none', filler text);
CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
CREATE TABLE mixed (i2 smallint, i4 int, i8 bigint, n numeric(10,2), f8 float8, t text, v varchar(10), c char(5), b bool, d date, ts timestamp, tz timestamptz, ia int[], ta text[], n2 numeric, o oid, nm name, iv interval, u uuid, by bytea);
CREATE TABLE uniq (id bigint PRIMARY KEY, email text UNIQUE, made timestamptz DEFAULT now(), flag bool DEFAULT true NOT NULL);
