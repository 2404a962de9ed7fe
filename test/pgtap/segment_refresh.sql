-- Segments of many customers, and little memory to refresh them in.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(2);
INSERT INTO customer (customer_id, language) SELECT n, CASE WHEN n % 2 = 0 THEN 'pl' ELSE 'de' END FROM generate_series(1, 40000) AS n;
INSERT INTO segment (segment, rule) VALUES ('polish', 'language = ''pl''');
SELECT FROM refresh_segments();
ANALYZE customer, segment_member;
UPDATE customer SET language = 'de' WHERE customer_id <= 100;
SET work_mem = '64kB';
SET statement_timeout = '20s';
SELECT lives_ok($$SELECT refresh_segments()$$, 'one pass, not one for each member');
RESET statement_timeout;
SELECT is((SELECT count(*) FROM segment_member WHERE upper_inf(valid)), 19950::bigint, 'those who left are out');
SELECT * FROM finish();
