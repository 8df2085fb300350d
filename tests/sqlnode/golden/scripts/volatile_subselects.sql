-- Equal sub-selects are one only where they cannot answer otherwise.
create sequence vq;
select (select nextval('vq')), (select nextval('vq'));
select (select nextval('vq')) as a order by (select nextval('vq'));
select (select nextval('vq')) as a order by 1;
select (select nextval('vq')) as a order by a;
select nextval('vq');
select (select random()) = (select random()) as same;
select (select 1 + g) from generate_series(1, 4) g group by (select 1 + g) order by 1;
