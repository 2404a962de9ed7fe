-- Prices of random catalogues beside a resolver written in plain SQL, which shares no line with the extension's.
BEGIN;
SELECT plan(5);
SELECT setseed(0.44);
SET LOCAL search_path = omnichannel, public;

INSERT INTO product (product, parent, category, tax_rate)
SELECT 'p' || i, CASE WHEN i > 40 THEN 'p' || (i - 40) END,
	(ARRAY['a', 'a.b', 'a.b.c', 'd', NULL])[1 + (random() * 4)::int]::ltree, (ARRAY[23, 8, 19.5, 0, NULL])[1 + (random() * 4)::int]
FROM generate_series(1, 100) AS i;
INSERT INTO segment (segment) SELECT 's' || i FROM generate_series(1, 8) AS i;
INSERT INTO price_list (price_list, kind, priority, currency, segments_any, segments_all, valid, status, tax_inclusive)
SELECT 'l' || i, (ARRAY['base', 'override', 'sale'])[1 + (random() * 2)::int], (random() * 3)::int,
	(ARRAY['PLN', 'PLN', 'JPY', 'KWD'])[1 + (random() * 3)::int],
	CASE WHEN random() < 0.5 THEN '{}' ELSE ARRAY['s' || 1 + (random() * 7)::int, 's' || 1 + (random() * 7)::int] END,
	CASE WHEN random() < 0.7 THEN '{}' ELSE ARRAY['s' || 1 + (random() * 7)::int] END,
	CASE WHEN random() < 0.7 THEN tstzrange(NULL, NULL)
		ELSE tstzrange('2025-01-01'::timestamptz + random() * 100 * interval '1 day', '2025-06-01'::timestamptz + random() * 100 * interval '1 day') END,
	CASE WHEN random() < 0.9 THEN 'active' ELSE 'draft' END, random() < 0.6
FROM generate_series(1, 60) AS i;
INSERT INTO price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid)
SELECT list.price_list, CASE WHEN target < 0.7 THEN 'p' || 1 + (random() * 99)::int END,
	CASE WHEN target >= 0.7 AND target < 0.95 THEN (ARRAY['a', 'a.b', 'a.b.c', 'd'])[1 + (random() * 3)::int]::ltree END,
	target >= 0.95, (ARRAY[0, 0, 2.5, 10])[1 + (random() * 3)::int],
	CASE WHEN fixed THEN round((random() * 100)::numeric, (random() * 5)::int) END,
	CASE WHEN NOT fixed AND random() < 0.8 THEN round((random() * 80 - 60)::numeric, (random() * 4)::int) END,
	CASE WHEN NOT fixed THEN round((random() * 4 - 2)::numeric, 2) END,
	CASE WHEN NOT fixed AND random() < 0.3 THEN 0.05 END,
	CASE WHEN random() < 0.6 THEN tstzrange(NULL, NULL)
		ELSE tstzrange('2025-01-01'::timestamptz + random() * 100 * interval '1 day', '2025-05-01'::timestamptz + random() * 100 * interval '1 day') END
FROM generate_series(1, 4000) AS i
CROSS JOIN LATERAL (SELECT random() AS target, 'l' || 1 + (random() * 59)::int AS code WHERE i > 0) AS dice
JOIN price_list AS list ON list.price_list = dice.code
CROSS JOIN LATERAL (SELECT list.kind = 'base' OR random() < 0.5 AS fixed WHERE i > 0) AS coin
ON CONFLICT DO NOTHING;

\ir price_oracle.psql

CREATE TEMP TABLE question AS
SELECT i, ARRAY(SELECT 's' || s FROM generate_series(1, 8) AS s WHERE random() < 0.4 AND i > 0) AS segments,
	'p' || 1 + (random() * 99)::int AS product, (ARRAY[1, 0.3, 2.5, 7, 10, 123.456])[1 + (random() * 5)::int] AS quantity,
	(ARRAY['PLN', 'PLN', 'PLN', 'JPY', 'KWD'])[1 + (random() * 4)::int] AS currency,
	'2024-12-15'::timestamptz + random() * 300 * interval '1 day' AS at
FROM generate_series(1, 3000) AS i;

SELECT ok((SELECT count(*) FROM price) > 2000, 'there are prices to ask for');
SELECT is_empty($$
	SELECT question.*, answer.list_price, answer.unit_price, answer.price_list, truth.*
	FROM question, LATERAL quote_segments(segments, product, quantity, currency, at) AS answer,
		LATERAL pg_temp.listed(segments, question.product, question.quantity, question.currency, at) AS truth, currency
	WHERE currency.currency = question.currency AND (answer.list_price, answer.unit_price, answer.price_list)
		IS DISTINCT FROM (round(truth.listed, minor_units), round(truth.charged, minor_units), truth.price_list)
$$, '3,000 answers are the plain SQL''s');
SELECT ok((SELECT count(DISTINCT answer.price_list) FROM question,
	LATERAL quote_segments(segments, product, quantity, currency, at) AS answer) > 20, 'many lists win');
SELECT is_empty($$
	SELECT * FROM question, LATERAL quote_segments(segments, product, quantity, currency, at) AS answer,
		LATERAL quote_segments(segments, question.product, question.quantity, question.currency,
			at + random() * (answer.valid_until - interval '1 microsecond' - at)) AS later
	WHERE (answer.list_price, answer.unit_price, answer.price_list) IS DISTINCT FROM (later.list_price, later.unit_price, later.price_list)
		AND answer.valid_until IS NOT NULL
$$, 'no answer changes before its valid_until');
SELECT is_empty($$
	SELECT * FROM question, LATERAL quote_segments(segments, product, quantity, currency, at) AS answer
	WHERE answer.line_total <> round(answer.unit_price * question.quantity,
		(SELECT minor_units FROM currency WHERE currency.currency = question.currency))
$$, 'a line is its units');
SELECT * FROM finish();
ROLLBACK;
