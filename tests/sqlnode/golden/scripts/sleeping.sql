-- pg_sleep: it takes time, and is woken by a time limit.
select pg_sleep(0.01);
select pg_sleep(null), pg_sleep(-1), pg_sleep('nan'), pg_sleep('-infinity');
select pg_sleep_for('10 ms'), pg_sleep_until('-infinity'), pg_sleep_until(clock_timestamp() + '10 ms');
select clock_timestamp() - statement_timestamp() >= '50 ms' as late from pg_sleep(0.05);
select clock_timestamp() - statement_timestamp() >= '60 ms' as late from (select pg_sleep(0.02) from generate_series(1, 3) offset 0) s limit 1 offset 2;
select g from generate_series(1, 3) g where pg_sleep(0.001) is not null order by g desc;
select pg_sleep_for(null), pg_sleep_until(null), pg_typeof(pg_sleep(0));
select pg_sleep('1 second');
set statement_timeout = '50ms';
select pg_sleep('infinity');
select pg_sleep_until('infinity');
select pg_sleep_for('10 years');
begin;
select 1 from pg_sleep(60);
rollback;
