-- What a crowd shares suggests nobody as one person, and is looked at once, not for each of the crowd. Counted in pages.
BEGIN;
SELECT plan(8);
CREATE FUNCTION public.pages(call text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT count(*) FROM ' || call INTO plan;
	RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
END
$$;
INSERT INTO omnichannel.customer (customer_id, name, birth_date) SELECT i, 'Anna Nowak', '1970-01-01' FROM generate_series(1, 3000) AS i;
INSERT INTO omnichannel.customer (customer_id, name, birth_date) VALUES (3001, 'Jan Kowalski', '1971-02-03'), (3002, 'Jan Kowalski', '1971-02-03');
SELECT results_eq('SELECT kept_id, duplicate_id FROM omnichannel.merge_candidates()', 'VALUES (3001::bigint, 3002::bigint)', 'of a day that thousands share none is suggested');
SELECT is_empty('SELECT FROM omnichannel.merge_candidates(1)', 'nor for one of them');
SELECT cmp_ok(public.pages('omnichannel.merge_candidates()'), '<', 10000, 'the day is looked at once');

INSERT INTO omnichannel.identity (kind, value, customer_id) SELECT 'email', 'box+' || i || '@x.test', i FROM generate_series(1, 3000) AS i;
INSERT INTO omnichannel.identity (kind, value, customer_id) VALUES ('email', 'box@x.test', 3001), ('email', 'jan@x.test', 3001), ('email', 'jan+shop@x.test', 3002);
SET LOCAL statement_timeout = '20s';
SELECT results_eq('SELECT kept_id, duplicate_id, cardinality(reasons) FROM omnichannel.merge_candidates()', 'VALUES (3001::bigint, 3002::bigint, 2)', 'of a mailbox with thousands of names none is');
SELECT is_empty('SELECT FROM omnichannel.merge_candidates(1)', 'nor for one of them');
SELECT results_eq('SELECT kept_id, duplicate_id FROM omnichannel.merge_candidates(3001)', 'VALUES (3001::bigint, 3002::bigint)', 'nor for whose mailbox it is');
DELETE FROM omnichannel.identity WHERE customer_id > 50 AND value LIKE 'box+%';
SELECT is((SELECT count(*) FROM omnichannel.merge_candidates(1, max_rows => 1000)), 50::bigint, 'fifty names may be one person''s');
SELECT is((SELECT count(*) FROM omnichannel.merge_candidates(max_rows => 10000)), (51 * 50 / 2 + 1)::bigint, 'all of them');
SELECT * FROM finish();
ROLLBACK;
