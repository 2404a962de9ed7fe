-- Why there was no price is not told by what is known only later. Each statement is a transaction of its own.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(5);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO segment (segment) VALUES ('club');
INSERT INTO price_list (price_list) VALUES ('b');
INSERT INTO price_list (price_list, currency, status) VALUES ('unapproved', 'EUR', 'draft');
INSERT INTO product (product) VALUES ('none'), ('drafted'), ('ended');
INSERT INTO price (price_list, product, amount) VALUES ('unapproved', 'drafted', 5);
INSERT INTO price (price_list, product, amount, valid) VALUES ('b', 'ended', 5, '[2025-01-01,2025-02-01)');
CREATE TEMP TABLE told_then AS SELECT now() AS at, product, reason FROM unnest('{none,drafted,ended}'::text[]) AS product, LATERAL (SELECT (quote(1, product)).reason) AS answer;
SELECT set_eq('SELECT reason FROM told_then', ARRAY['no price list has a price for it yet', 'only price lists that are not active have a price for it', 'its prices in PLN hold at other times'],
	'why there is no price');
BEGIN;
INSERT INTO price_list (price_list, segments_any) VALUES ('members', '{club}');
INSERT INTO price (price_list, product, min_quantity, amount) SELECT list, product, least, 5
FROM unnest('{b,members}'::text[]) AS list, unnest('{none,drafted,ended}'::text[]) AS product, unnest('{10,20}'::numeric[]) AS least;
UPDATE price_list SET status = 'active' WHERE price_list = 'unapproved';
COMMIT;
SELECT is_empty('SELECT FROM told_then, quote(1, product, at => at) AS now WHERE now.reason IS DISTINCT FROM told_then.reason', 'stays what was told then');
SELECT is((SELECT array_agg(DISTINCT now.reason) FROM told_then, quote(1, product) AS now), '{its prices in PLN hold from a larger quantity on}', 'of now another is told');
-- The reason, too, is told with the moment until which it is the same: beside lists of all kinds that begin, end and pause.
CREATE TEMP VIEW answer AS SELECT moment, answered.product, answered.reason, answered.valid_until
FROM unnest('{2031-01-01,2031-01-02,2031-01-03,2031-01-04,2031-01-05,2031-01-06,2031-01-07,2031-01-08,2031-01-09}'::timestamptz[]) AS moment,
	unnest('{r1,r2,r3,r4}'::text[]) AS code, LATERAL quote(1, code, at => moment) AS answered;
CREATE TEMP TABLE early (run integer, product text, moment timestamptz, reason text, later timestamptz, then_reason text);
CREATE TEMP TABLE reasons (run integer, product text, reason text);
INSERT INTO product (product, category) VALUES ('r1', 'A'), ('r2', 'A.B'), ('r3', NULL), ('r4', 'C');
UPDATE product SET parent = 'r1' WHERE product = 'r3';
CREATE FUNCTION pg_temp.day() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$SELECT CASE WHEN random() < 0.15 THEN NULL ELSE timestamptz '2031-01-01' + make_interval(days => floor(random() * 9)::integer) END$$;
CREATE FUNCTION pg_temp.span() RETURNS tstzrange LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN isempty(span) THEN '(,)' ELSE span END FROM (SELECT tstzrange(least(a, b), greatest(a, b)) AS span FROM (SELECT pg_temp.day() AS a, pg_temp.day() AS b) AS bounds) AS made$$;
SELECT setseed(0.5);
DO $$
BEGIN
	FOR run IN 1 .. 40
	LOOP
		DELETE FROM omnichannel.price;
		DELETE FROM omnichannel.price_list WHERE price_list LIKE 'r%';
		-- As the past and the future of status would make them.
		SET LOCAL session_replication_role = replica;
		INSERT INTO omnichannel.price_list (price_list, kind, currency, segments_any, valid, status, active)
		SELECT 'r' || n, (ARRAY['base', 'base', 'sale'])[1 + floor(random() * 3)], (ARRAY['PLN', 'PLN', 'EUR'])[1 + floor(random() * 3)],
			(ARRAY['{}', '{}', '{club}'])[1 + floor(random() * 3)]::text[], pg_temp.span(), 'active',
			CASE WHEN random() < 0.1 THEN '{}' WHEN random() < 0.4 THEN '{(,)}'::tstzmultirange - tstzmultirange(pg_temp.span() - tstzrange(NULL, '2031-01-01') - tstzrange('2031-01-09', NULL)) ELSE tstzmultirange(pg_temp.span()) END
		FROM generate_series(1, 3) AS n;
		INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, valid)
		SELECT 'r' || 1 + floor(random() * 3), CASE WHEN kind < 0.7 THEN 'r' || 1 + floor(random() * 4) END, CASE WHEN kind BETWEEN 0.7 AND 0.9 THEN (ARRAY['A', 'A.B', 'C'])[1 + floor(random() * 3)] END::ltree, kind > 0.9,
			floor(random() * 3) * 5, 10, pg_temp.span()
		FROM (SELECT random() AS kind FROM generate_series(1, (ARRAY[3, 4, 60])[1 + run % 3])) AS made
		ON CONFLICT DO NOTHING;
		SET LOCAL session_replication_role = origin;
		INSERT INTO early SELECT run, told.product, told.moment, told.reason, later.moment, later.reason FROM pg_temp.answer AS told JOIN pg_temp.answer AS later
			ON later.product = told.product AND later.moment > told.moment AND later.moment < coalesce(told.valid_until, 'infinity') AND later.reason IS DISTINCT FROM told.reason;
		INSERT INTO reasons SELECT run, told.product, told.reason FROM pg_temp.answer AS told;
	END LOOP;
END
$$;
SELECT is_empty('SELECT * FROM early', 'no answer changes, nor its reason, before it says');
SELECT cmp_ok((SELECT count(DISTINCT reason) FROM reasons WHERE reason IS NOT NULL), '>=', 6::bigint, 'of whatever reason');
SELECT * FROM finish();
