-- The prior price of reduced ones: the project's own cases, and where psql variable "cases" names a folder,
-- lowest_price.json in it.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SET LOCAL client_min_messages = error;

CREATE TEMP TABLE history_case (id text PRIMARY KEY, body jsonb);
INSERT INTO history_case (id, body) VALUES
('own-progressive', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": [], "asked_at": "2022-06-29T12:00",
	"history": [{"at": "2022-05-01T00:00", "price": "100", "reduction": false}, {"at": "2022-06-01T00:00", "price": "90", "reduction": true},
		{"at": "2022-06-10T00:00", "price": "70", "reduction": true}, {"at": "2022-06-29T00:00", "price": "50", "reduction": true}],
	"expected": {"lowest_prior": "100", "max_percent_claim": "50.00"}}'),
('own-perishable-pl', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": ["perishable"], "asked_at": "2023-05-03T12:00",
	"history": [{"at": "2023-04-20T00:00", "price": "8", "reduction": false}, {"at": "2023-05-01T00:00", "price": "10", "reduction": false},
		{"at": "2023-05-02T00:00", "price": "7", "reduction": true}, {"at": "2023-05-03T00:00", "price": "5", "reduction": true}],
	"expected": {"lowest_prior": "10", "max_percent_claim": "50.00"}}'),
('own-perishable-de', '{"country": "DE", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Berlin", "flags": ["perishable"], "asked_at": "2023-05-03T12:00",
	"history": [{"at": "2023-04-20T00:00", "price": "8", "reduction": false}, {"at": "2023-05-02T00:00", "price": "7", "reduction": true}],
	"expected": {"lowest_prior": null}}'),
('own-not-reduced', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2023-05-03T12:00",
	"history": [{"at": "2023-04-20T00:00", "price": "8", "reduction": false}, {"at": "2023-05-02T00:00", "price": "7", "reduction": false}],
	"expected": {"lowest_prior": null}}'),
('own-clock-change', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2024-04-20T12:00",
	"history": [{"at": "2024-01-01T00:00", "price": "50", "reduction": false}, {"at": "2024-03-20T23:59", "price": "60", "reduction": false},
		{"at": "2024-04-20T00:00", "price": "40", "reduction": true}],
	"expected": {"lowest_prior": "60"}}'),
('own-clock-change-2', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2024-04-20T12:00",
	"history": [{"at": "2024-01-01T00:00", "price": "50", "reduction": false}, {"at": "2024-03-21T00:01", "price": "60", "reduction": false},
		{"at": "2024-04-20T00:00", "price": "40", "reduction": true}],
	"expected": {"lowest_prior": "50"}}'),
('own-interrupted', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": [], "asked_at": "2022-06-29T12:00",
	"history": [{"at": "2022-05-01T00:00", "price": "100", "reduction": false}, {"at": "2022-06-01T00:00", "price": "90", "reduction": true}, {"at": "2022-06-10T00:00", "price": "100", "reduction": false}, {"at": "2022-06-20T00:00", "price": "70", "reduction": true}],
	"expected": {"lowest_prior": "90"}}'),
('own-raised-inside', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": [], "asked_at": "2022-06-29T12:00",
	"history": [{"at": "2022-05-01T00:00", "price": "100", "reduction": false}, {"at": "2022-06-01T00:00", "price": "70", "reduction": true}, {"at": "2022-06-10T00:00", "price": "80", "reduction": true}, {"at": "2022-06-20T00:00", "price": "75", "reduction": true}],
	"expected": {"lowest_prior": "70", "max_percent_claim": "0.00"}}'),
('own-60-days', '{"country": "FI", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Helsinki", "flags": [], "asked_at": "2023-07-31T12:00",
	"history": [{"at": "2023-05-01T00:00", "price": "100", "reduction": false}, {"at": "2023-06-01T00:00", "price": "90", "reduction": true}, {"at": "2023-07-20T00:00", "price": "80", "reduction": true}],
	"expected": {"lowest_prior": "100"}}'),
('own-61-days', '{"country": "FI", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Helsinki", "flags": [], "asked_at": "2023-08-01T12:00",
	"history": [{"at": "2023-05-01T00:00", "price": "100", "reduction": false}, {"at": "2023-06-01T00:00", "price": "90", "reduction": true}, {"at": "2023-07-20T00:00", "price": "80", "reduction": true}],
	"expected": {"lowest_prior": "90"}}'),
('own-service-pl', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": ["service"], "asked_at": "2024-03-22T12:00",
	"history": [{"at": "2024-01-01T00:00", "price": "10", "reduction": false}, {"at": "2024-03-20T00:00", "price": "9", "reduction": true}],
	"expected": {"lowest_prior": "10", "max_percent_claim": "10.00"}}'),
('own-service-de', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": ["service"], "asked_at": "2024-03-22T12:00",
	"history": [{"at": "2024-01-01T00:00", "price": "10", "reduction": false}, {"at": "2024-03-20T00:00", "price": "9", "reduction": true}],
	"expected": {"lowest_prior": null}}'),
('own-reduced-at-once', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2024-03-22T12:00",
	"history": [{"at": "2024-03-20T00:00", "price": "9", "reduction": true}],
	"expected": {"lowest_prior": null}}'),
('own-series-from-the-first-offer', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": [], "asked_at": "2024-04-02T12:00",
	"history": [{"at": "2024-03-20T00:00", "price": "9", "reduction": true}, {"at": "2024-03-25T00:00", "price": "8", "reduction": true}, {"at": "2024-04-01T00:00", "price": "6", "reduction": true}],
	"expected": {"lowest_prior": "9", "max_percent_claim": "33.33"}}'),
('own-first-offer-of-a-series', '{"country": "DE", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Berlin", "flags": [], "asked_at": "2024-03-24T12:00",
	"history": [{"at": "2024-03-20T00:00", "price": "9", "reduction": true}, {"at": "2024-03-25T00:00", "price": "8", "reduction": true}],
	"expected": {"lowest_prior": null}}'),
('own-series-from-the-first-offer-60-days', '{"country": "FI", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Helsinki", "flags": [], "asked_at": "2023-08-01T12:00",
	"history": [{"at": "2023-06-01T00:00", "price": "90", "reduction": true}, {"at": "2023-06-02T00:00", "price": "80", "reduction": true}, {"at": "2023-07-20T00:00", "price": "60", "reduction": true}],
	"expected": {"lowest_prior": "90", "max_percent_claim": "33.33"}}'),
('own-series-from-the-first-offer-61-days', '{"country": "FI", "rule": "progressive", "lookback_days": 30, "tz": "Europe/Helsinki", "flags": [], "asked_at": "2023-08-02T12:00",
	"history": [{"at": "2023-06-01T00:00", "price": "90", "reduction": true}, {"at": "2023-06-02T00:00", "price": "80", "reduction": true}, {"at": "2023-07-20T00:00", "price": "60", "reduction": true}],
	"expected": {"lowest_prior": "80", "max_percent_claim": "25.00"}}'),
('own-perishable-from-the-first-offer', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": ["perishable"], "asked_at": "2024-03-27T12:00",
	"history": [{"at": "2024-03-20T00:00", "price": "9", "reduction": true}, {"at": "2024-03-25T00:00", "price": "8", "reduction": true}, {"at": "2024-03-27T00:00", "price": "7", "reduction": true}],
	"expected": {"lowest_prior": "9", "max_percent_claim": "22.22"}}'),
('own-same-price-again', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2024-04-22T12:00",
	"history": [{"at": "2024-01-01T00:00", "price": "10", "reduction": false}, {"at": "2024-03-01T00:00", "price": "8", "reduction": true}, {"at": "2024-03-20T00:00", "price": "8", "reduction": true}],
	"expected": {"lowest_prior": "10", "max_percent_claim": "20.00"}}'),
('own-sale-before', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2024-04-21T00:00",
	"history": [{"at": "2024-01-01T00:00", "price": "10", "reduction": false}, {"at": "2024-04-01T00:00", "price": "7", "reduction": true}, {"at": "2024-04-03T00:00", "price": "10", "reduction": false}, {"at": "2024-04-20T00:00", "price": "8", "reduction": true}],
	"expected": {"lowest_prior": "7", "max_percent_claim": "0.00"}}'),
('own-planned', '{"country": "PL", "rule": "each_reduction", "lookback_days": 30, "tz": "Europe/Warsaw", "flags": [], "asked_at": "2099-02-11T00:00",
	"history": [{"at": "2098-01-01T00:00", "price": "10", "reduction": false}, {"at": "2099-02-01T00:00", "price": "9", "reduction": false}, {"at": "2099-02-10T00:00", "price": "6", "reduction": true}],
	"expected": {"lowest_prior": "9", "max_percent_claim": "33.33"}}');
SELECT :'cases' <> '' AS given \gset
\if :given
\set file :cases '/lowest_price.json'
\set content `cat :file`
INSERT INTO history_case SELECT element ->> 'id', element FROM jsonb_array_elements(:'content'::jsonb) AS element;
\else
\echo # skip lowest_price.json: run with CASES set to the folder of the cases
\endif

-- A step of the history that announces a reduction is a sale below a base price that is asked of nobody.
CREATE FUNCTION pg_temp.answer(body jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	zone text := body ->> 'tz';
	answer jsonb;
BEGIN
	UPDATE omnibus_rule SET time_zone = zone, lookback_days = (body ->> 'lookback_days')::int, progressive = body ->> 'rule' = 'progressive'
	WHERE country = body ->> 'country';
	INSERT INTO product (product, perishable, service) VALUES ('p', body -> 'flags' ? 'perishable', body -> 'flags' ? 'service');
	INSERT INTO price_list (price_list, kind) VALUES ('base', 'base'), ('sale', 'sale');
	INSERT INTO price (price_list, product, amount, valid)
	SELECT 'base', 'p', CASE WHEN reduction THEN 1000 ELSE price END,
		tstzrange(at AT TIME ZONE zone, (lead(at) OVER (ORDER BY at)) AT TIME ZONE zone)
	FROM jsonb_to_recordset(body -> 'history') AS step (at timestamp, price numeric, reduction boolean);
	INSERT INTO price (price_list, product, amount, valid)
	SELECT 'sale', 'p', price, valid FROM (
		SELECT price, reduction, tstzrange(at AT TIME ZONE zone, (lead(at) OVER (ORDER BY at)) AT TIME ZONE zone) AS valid
		FROM jsonb_to_recordset(body -> 'history') AS step (at timestamp, price numeric, reduction boolean)) AS steps
	WHERE reduction;
	SELECT jsonb_build_object('lowest_prior', lowest_price, 'max_percent_claim', max_percent_claim) INTO answer
	FROM lowest_price('p', at => (body ->> 'asked_at')::timestamp AT TIME ZONE zone, country => body ->> 'country',
		personalised => body -> 'flags' ? 'personalised');
	SELECT jsonb_object_agg(key, value) INTO answer FROM jsonb_each(answer) WHERE body -> 'expected' ? key;
	RAISE EXCEPTION USING ERRCODE = 'P0999', MESSAGE = answer::text;
END $$;
\ir cases.psql

SELECT plan(count(*)::int + 19) FROM history_case;
SELECT is(pg_temp.plain(pg_temp.undone(body)), pg_temp.plain(body -> 'expected'), id) FROM history_case ORDER BY id;

-- quote() carries it, a promotion is a reduction too, and a planned one is known before it begins
INSERT INTO product (product) VALUES ('q');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'q', 80, '[2025-01-01,2025-05-20)'), ('list', 'q', 100, '[2025-05-20,)');
INSERT INTO promotion (promotion, kind, value, valid) VALUES ('june', 'percent', 10, '[2025-06-01,)');
SELECT is(reference_price, NULL) FROM quote(NULL, 'q', at => '2025-05-31');
SELECT is(reference_price, 80.00) FROM quote(NULL, 'q', at => '2025-06-02');
SELECT is(reference_price, 80.00) FROM quote(NULL, 'q', at => '2025-06-03');
SELECT is(max_percent_claim, 0.00) FROM lowest_price('q', at => '2025-06-03');

DELETE FROM promotion;
-- days on which goods that perish are not offered do not end what came before them
INSERT INTO product (product, perishable) VALUES ('roll', true);
INSERT INTO price_list (price_list, kind) VALUES ('cut', 'sale');
INSERT INTO price (price_list, product, amount, valid) VALUES
	('list', 'roll', 100, '[2026-01-01 00:00+01, 2026-01-17 00:00+01)'), ('list', 'roll', 100, '[2026-01-19 00:00+01, 2026-02-01 00:00+01)'),
	('list', 'roll', 90, '[2026-03-10 00:00+01,)'),
	('cut', 'roll', 80, '[2026-01-15 00:00+01, 2026-01-17 00:00+01)'), ('cut', 'roll', 80, '[2026-01-19 00:00+01, 2026-01-20 00:00+01)'),
	('cut', 'roll', 60, '[2026-01-20 00:00+01, 2026-02-01 00:00+01)'), ('cut', 'roll', 50, '[2026-03-10 00:00+01,)');
SELECT is(string_agg(asked.lowest_price || ' ' || asked.reduced_since AT TIME ZONE 'Europe/Warsaw', ', ' ORDER BY day),
	'100.00 2026-01-15 00:00:00, 100.00 2026-01-15 00:00:00, 100.00 2026-01-15 00:00:00', 'a cut over a weekend without sale')
FROM unnest(ARRAY[16, 19, 20]) AS day, lowest_price('roll', at => make_timestamptz(2026, 1, day, 12, 0, 0, 'Europe/Warsaw'), country => 'PL') AS asked;
DELETE FROM price WHERE price_list = 'cut' AND product = 'roll' AND valid << '[2026-01-19 00:00+01,)';
SELECT is((lowest_price, reduced_since AT TIME ZONE 'Europe/Warsaw'), (100.00, '2026-01-19 00:00'::timestamp), 'one that begins after it')
FROM lowest_price('roll', at => '2026-01-20 12:00+01', country => 'PL');
SELECT is(reference_price, 100.00, 'so says the quote') FROM quote(NULL, 'roll', at => '2026-01-20 12:00+01');
SELECT is((lowest_price, reason), (NULL::numeric, text 'it was not offered in the days before the reduction'), 'more days than are looked back begin anew')
FROM lowest_price('roll', at => '2026-03-11 12:00+01', country => 'PL');
UPDATE product SET perishable = false WHERE product = 'roll';
SELECT is((lowest_price, reduced_since AT TIME ZONE 'Europe/Warsaw'), (80.00, '2026-01-20 00:00'::timestamp), 'of other goods each cut counts')
FROM lowest_price('roll', at => '2026-01-20 12:00+01', country => 'PL');

-- Days without offer are no cut of what perishes: of 60, none, 80 and 70 the last is the first cut.
INSERT INTO product (product, perishable) VALUES ('gap', true);
INSERT INTO price_list (price_list, kind) VALUES ('gap base', 'base'), ('gap sale', 'sale');
INSERT INTO price (price_list, product, amount, valid) VALUES
	('gap base', 'gap', 100, '[2025-06-01, 2025-06-10)'), ('gap base', 'gap', 100, '[2025-06-12,)'), ('gap sale', 'gap', 60, '[2025-06-01, 2025-06-10)'),
	('gap sale', 'gap', 80, '[2025-06-12, 2025-06-20)'), ('gap sale', 'gap', 70, '[2025-06-20,)');
SELECT results_eq($$SELECT prior.lowest_price, prior.reduced_since, prior.max_percent_claim FROM unnest('{2025-06-15,2025-06-25}'::timestamptz[]) AS at, lowest_price('gap', at => at, country => 'PL') AS prior ORDER BY at$$,
	$$VALUES (NULL::numeric, '2025-06-01'::timestamptz, NULL::numeric), (80.00, '2025-06-20', 12.50)$$, 'days without offer are no cut');
UPDATE price SET amount = 50 WHERE amount = 80 AND price_list = 'gap sale';
SELECT is((prior.lowest_price, prior.reduced_since), (60.00, '2025-06-12'::timestamptz), 'a lower price after them is')
FROM lowest_price('gap', at => '2025-06-15', country => 'PL') AS prior;

SELECT throws_ok($$SELECT lowest_price('q', country => 'US')$$, '23503');
SELECT throws_ok($$SELECT lowest_price('nothing')$$, '23503');
SELECT throws_ok($$SELECT lowest_price('q', 'QQQ')$$, '23503');
SELECT throws_ok($$SELECT lowest_price('q', segments => '{nobody}')$$, '23503');
SELECT throws_ok($$SELECT lowest_price(NULL)$$, '22023');
SELECT throws_ok($$SELECT lowest_price('q', at => 'infinity')$$, '22008');
SELECT throws_ok($$INSERT INTO omnibus_rule (country, time_zone) VALUES ('NO', 'Oslo')$$, '22023');
SELECT is(count(*), 28::bigint, 'the directive, and each Member State') FROM omnibus_rule;
SELECT * FROM finish();
ROLLBACK;
