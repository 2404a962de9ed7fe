-- In which segments a customer is: of each who has many, few or none of them, with codes and times of all kinds, on pages
-- that everyone sees and on others, in whatever order the segments are known.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(9);

-- Short codes, some of eight bytes, longer ones, and some of two hundred; made in no order.
INSERT INTO segment (segment)
SELECT CASE n % 4 WHEN 0 THEN 's' || n WHEN 1 THEN 'code' || 1000 + n WHEN 2 THEN 'a longer code ' || n ELSE repeat('long', 50) || n END
FROM generate_series(1, 400) AS n ORDER BY n * 7919 % 401;
-- The higher its priority, the sooner a list tells that its segment is among a customer's.
CREATE TEMP TABLE rank AS SELECT segment, row_number() OVER (ORDER BY md5(segment)) AS priority FROM segment;
INSERT INTO price_list (price_list, kind) VALUES ('base', 'base');
INSERT INTO price_list (price_list, kind, priority, segments_any) SELECT 'list' || priority, 'override', priority, ARRAY[segment] FROM rank;
INSERT INTO product (product) VALUES ('any');
INSERT INTO price (price_list, product, amount) SELECT price_list, 'any', 10 FROM price_list;

INSERT INTO customer (customer_id) SELECT generate_series(1, 300);
-- 1 has all, 2 none; the others have from one to 120 of them.
CREATE FUNCTION pg_temp.load() RETURNS void LANGUAGE sql AS $$
	INSERT INTO segment_member (customer_id, segment, valid)
	SELECT c, segment, (ARRAY['(,)', '[2020-01-01+00,)', '(,2100-01-01+00)', '(2020-01-01+00,2100-01-01+00]', '[2000-01-01+00,2001-01-01+00)', '[2100-01-01+00,)'])[1 + (priority * c + c) % 6]::tstzrange
	FROM generate_series(1, 300) AS c, rank WHERE CASE c WHEN 1 THEN true WHEN 2 THEN false ELSE priority * (c + 3) % 401 <= c % 121 END
$$;

-- Tells of the customers who are answered for as if they were in other segments than they are.
CREATE FUNCTION pg_temp.wrong() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	wrong text;
BEGIN
	FOR attempt IN 1 .. 2
	LOOP
		-- once by what has just been read, once by what is known
		wrong := (SELECT string_agg(customer_id || ': ' || answered, ', ') FROM (
				SELECT c.customer_id, (quote(c.customer_id, 'any')).price_list AS answered,
					coalesce((SELECT 'list' || max(r.priority) FROM segment_member AS m JOIN rank AS r USING (segment)
						WHERE m.customer_id = c.customer_id AND m.valid @> now()), 'base') AS wanted
				FROM customer AS c) AS each
			WHERE answered <> wanted);
		EXIT WHEN wrong IS NOT NULL;
	END LOOP;
	RETURN wrong;
END
$$;

BEGIN;
SELECT pg_temp.load() \g /dev/null
SELECT is(pg_temp.wrong(), NULL, 'memberships of this transaction');
COMMIT;
SELECT is(pg_temp.wrong(), NULL, 'loaded');
SELECT is(pg_temp.wrong(), NULL, 'once more, known to have been committed');
VACUUM segment_member;
UPDATE segment SET name = 'name';
SELECT is(pg_temp.wrong(), NULL, 'on pages that everyone sees');

DELETE FROM segment_member WHERE hashtext(segment) % 3 = 0 AND customer_id % 2 = 0;
UPDATE segment_member SET valid = '[2021-01-01+00,)' WHERE hashtext(segment) % 5 = 0 AND customer_id % 3 = 0 AND valid = '(,)';
SELECT is(pg_temp.wrong(), NULL, 'after deletions and changes');
BEGIN;
DELETE FROM segment_member WHERE customer_id % 5 = 0;
SELECT is(pg_temp.wrong(), NULL, 'deleted by this transaction');
SAVEPOINT before;
DELETE FROM segment_member;
ROLLBACK TO before;
SELECT is(pg_temp.wrong(), NULL, 'and not deleted after all');
ROLLBACK;
DELETE FROM segment_member WHERE customer_id % 5 = 0;
VACUUM segment_member;
INSERT INTO segment_member (customer_id, segment) SELECT c, segment FROM generate_series(5, 300, 5) AS c, rank WHERE priority % 7 = c % 7;
SELECT is(pg_temp.wrong(), NULL, 'in places of rows that are gone');

-- The answer for segments that are named is that for a customer who is in them, in whatever order and how often.
SELECT is((SELECT count(*) FROM (
		SELECT (quote_segments(named, 'any')).price_list AS answered, (SELECT 'list' || max(priority) FROM rank WHERE segment = ANY (named)) AS wanted
		FROM generate_series(1, 300) AS n,
			LATERAL (SELECT array_agg(segment ORDER BY md5(segment || n + again)) AS named FROM rank, generate_series(1, 2) AS again
				WHERE hashtext(segment || n) % 400 BETWEEN -n AND n) AS chosen
		WHERE named <> '{}') AS each
	WHERE answered IS DISTINCT FROM wanted), 0::bigint, 'segments that are named');
SELECT * FROM finish();
