-- Long histories of prices: found, not gone through.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(6);
INSERT INTO product (product, perishable) VALUES ('fish', true), ('p', false);
INSERT INTO price_list (price_list, kind) VALUES ('b', 'base'), ('c', 'base'), ('s', 'sale');
INSERT INTO price (price_list, product, amount, valid) VALUES ('b', 'fish', 1000000, '(,)'), ('c', 'p', 5000, '(,)');
INSERT INTO price (price_list, product, amount, valid)
SELECT 's', 'fish', 900000 - n, tstzrange(at, at + interval '1 hour') FROM generate_series(1, 20000) AS n, LATERAL (SELECT now() - n * interval '1 hour') AS a (at);
-- with gaps, and tiers
INSERT INTO price (price_list, product, amount, min_quantity, valid)
SELECT 'b', 'p', n, tier, tstzrange(at, at + CASE WHEN n % 7 = 0 THEN interval '30 minutes' ELSE interval '1 hour' END)
FROM generate_series(1, 300) AS n, unnest('{0,10}'::numeric[]) AS tier, LATERAL (SELECT '2025-01-01'::timestamptz + (n + tier) * interval '1 hour') AS a (at);
SELECT is((SELECT unit_price FROM quote(NULL, 'fish', at => now() - interval '1 minute')), 899999.00, 'the first question reads them');
SET statement_timeout = '400ms';
SELECT is((SELECT (unit_price, reference_price) FROM quote(NULL, 'fish', 2, at => now() - interval '1 minute')), ROW(899999.00, 1000000.00), 'the price before the first of 20,000 cuts');
RESET statement_timeout;
CREATE TEMP TABLE asked AS
SELECT q, '2024-12-30'::timestamptz + n * interval '17 minutes 13 seconds' AS at FROM generate_series(1, 1300) AS n, unnest('{1,12}'::numeric[]) AS q
UNION SELECT 1, '2025-01-01'::timestamptz + n * interval '30 minutes' FROM generate_series(1, 700) AS n;
SELECT is_empty($$
	SELECT * FROM asked, quote(NULL, 'p', q, at => at) AS answer
	WHERE unit_price IS DISTINCT FROM least(5000, (SELECT amount FROM price WHERE price_list = 'b' AND product = 'p' AND min_quantity <= q AND valid @> at ORDER BY min_quantity DESC LIMIT 1))$$,
	'each moment has its price');
SELECT is_empty($$
	SELECT * FROM asked, quote(NULL, 'p', q, at => at) AS answer
	WHERE valid_until IS DISTINCT FROM (SELECT min(moment) FROM price, unnest(ARRAY[lower(valid), upper(valid)]) AS moment
		WHERE price_list = 'b' AND product = 'p' AND min_quantity <= q AND moment > at
		-- what a higher tier hides begins nothing
		AND (min_quantity = (SELECT max(min_quantity) FROM price WHERE price_list = 'b' AND product = 'p' AND min_quantity <= q AND valid @> at)
			OR min_quantity > (SELECT max(min_quantity) FROM price WHERE price_list = 'b' AND product = 'p' AND min_quantity <= q AND valid @> at)
			OR NOT EXISTS (SELECT FROM price WHERE price_list = 'b' AND product = 'p' AND min_quantity <= q AND valid @> at)))$$,
	'and the end of its time');
SELECT is_empty($$
	SELECT * FROM asked, quote(NULL, 'p', q, at => at) AS answer
	WHERE price_list <> (SELECT candidate FROM explain_quote(NULL, 'p', q, at => at) WHERE verdict = 'won')$$, 'by the list that is explained');
SELECT is((SELECT reason FROM quote(NULL, 'fish', currency => 'EUR')), 'it has no price in EUR', 'those that do not fit are passed over');
SELECT * FROM finish();
