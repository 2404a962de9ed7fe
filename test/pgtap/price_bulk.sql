-- Segments by rule, prices in bulk, and the whole catalogue.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(92);
INSERT INTO customer (customer_id, language) VALUES (1, 'pl'), (2, 'pl'), (3, 'de');
SELECT throws_ok($$INSERT INTO segment (segment, rule) VALUES ('x', 'language = ')$$, '42601');
SELECT throws_ok($$INSERT INTO segment (segment, rule) VALUES ('x', 'true) OR (true')$$, '42601');
SELECT throws_ok($$INSERT INTO segment (segment, rule) VALUES ('x', 'true; DROP TABLE omnichannel.price')$$, '42601');
SELECT throws_ok($$INSERT INTO segment (segment, rule) VALUES ('x', 'nothing = 1')$$, '42703');
SELECT throws_ok($$INSERT INTO segment (segment, rule) VALUES ('x', rule)$$ , '42703');
SELECT throws_ok(format('INSERT INTO segment (segment, rule) VALUES (''x'', %L)', rule), '22023', NULL, 'no rule: ' || rule)
FROM unnest(ARRAY['random() < 0.5', 'language', 'true, true', 'true AS a', 'true FROM omnichannel.price', 'true LIMIT 1', 'EXISTS (SELECT 1)',
	'count(*) > 1', 'omnichannel.reserve_use(''a'', ''b'')', 'omnichannel.calling_code(language) = ''+48''', 'pg_sleep(1) IS NULL']) AS rule;
-- What comes with the author's types and views would run with the rights of whoever refreshes.
CREATE TYPE public.mood AS ENUM ('a', 'b');
CREATE DOMAIN public.checked AS text CHECK (length(VALUE) > 0);
CREATE TYPE public.moods AS RANGE (subtype = text);
SELECT throws_ok(format('INSERT INTO segment (segment, rule) VALUES (''x'', %L)', rule), '22023', NULL, 'no rule: ' || rule)
FROM unnest(ARRAY['to_jsonb(''a''::public.mood) IS NOT NULL', 'language::public.checked IS NOT NULL', 'ARRAY[language]::public.checked[] IS NULL',
	'language::public.mood IS NULL', 'isempty(''[a,b]''::public.moods)', 'jsonb_populate_record(NULL::omnichannel.segment, ''{}'') IS NULL',
	'table_to_xml(''omnichannel.segment_input'', true, true, '''') IS NULL', 'database_to_xml(true, true, '''') IS NULL',
	'domain_in(''1'', ''public.checked''::regtype, -1) IS NOT NULL', 'array_in(''{1}'', ''public.checked''::regtype, -1) IS NOT NULL',
	'range_in(''[a,b]'', ''public.moods''::regtype, -1) IS NOT NULL', 'enum_in(''a'', ''public.mood''::regtype) IS NOT NULL',
	'format_type(''public.checked''::regtype, 0) IS NULL']) AS rule;
SELECT lives_ok(format('SELECT check_segment_rule(%L)', rule), 'a rule: ' || rule)
FROM unnest(ARRAY['language = ANY (''{pl,de}'') AND facts @> ''{"tier": "gold"}''']) AS rule;
INSERT INTO segment (segment, rule) VALUES ('polish', 'language = ''pl'' -- and nothing else'), ('gold', 'facts ->> ''tier'' = ''gold''');
SELECT results_eq($$SELECT refreshed, joined, gone FROM refresh_segments()$$, $$VALUES ('gold', 0::bigint, 0::bigint), ('polish', 2, 0)$$, 'who fits joins');
SELECT results_eq($$SELECT refreshed, joined, gone FROM refresh_segments('polish')$$, $$VALUES ('polish', 0::bigint, 0::bigint)$$, 'only once');
UPDATE segment_member SET valid = tstzrange(now() - interval '1 day', NULL);
UPDATE customer SET language = 'de' WHERE customer_id = 2;
INSERT INTO fact (customer_id, key, value) VALUES (3, 'tier', '"gold"');
SELECT results_eq($$SELECT refreshed, joined, gone FROM refresh_segments()$$, $$VALUES ('gold', 1::bigint, 0::bigint), ('polish', 0, 1)$$, 'who no longer fits leaves');
SELECT is((SELECT upper(valid) FROM segment_member WHERE customer_id = 2), now(), 'and was in it until now');
SELECT throws_ok($$SELECT refresh_segments('none')$$, '23503');
-- one that fails, and one with a member to be
INSERT INTO segment (segment, rule) VALUES ('failing', '1 / (customer_id - customer_id) = 1'), ('german', 'language = ''de''');
INSERT INTO segment_member (customer_id, segment, valid) VALUES (2, 'german', tstzrange(now() + interval '1 day', NULL));
SELECT results_eq($$SELECT refreshed, joined, error FROM refresh_segments()$$,
	$$VALUES ('failing', NULL::bigint, '22012: division by zero'), ('german', 2, NULL), ('gold', 0, NULL), ('polish', 0, NULL)$$, 'a rule that fails holds up no other');
SELECT results_eq($$SELECT valid FROM segment_member WHERE segment = 'german' AND customer_id = 2 ORDER BY valid$$,
	ARRAY[tstzrange(now(), now() + interval '1 day'), tstzrange(now() + interval '1 day', NULL)], 'who is entered for later is in it until then');
SELECT throws_ok($$SELECT refresh_segments('failing')$$, '22012');
DELETE FROM segment WHERE segment = 'failing';

INSERT INTO product (product, min_price) VALUES ('a', NULL), ('b', 5), ('c', NULL);
INSERT INTO price_list (price_list, kind) VALUES ('list', 'base'), ('sale', 'sale'), ('derived', 'override');
UPDATE price_list SET derived_from = 'list' WHERE price_list = 'derived';
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'a', 10, '[2025-01-01,2027-01-01)');
INSERT INTO price_staging (price_list, product, min_quantity, amount, adjust, valid) VALUES
	('none', 'a', 0, 1, NULL, NULL), ('derived', 'a', 0, 1, NULL, NULL), ('list', 'none', 0, 1, NULL, NULL), ('list', NULL, 0, 1, NULL, NULL),
	('list', 'c', 0, -1, NULL, NULL), ('list', 'b', 0, 7, NULL, NULL), ('list', 'b', 0, 7, NULL, NULL), ('list', 'c', 5, 9, NULL, NULL),
	('list', 'c', 10, 9.5, NULL, NULL), ('sale', 'b', 0, 8, NULL, NULL), ('sale', 'b', 10, 4, NULL, NULL), ('list', 'a', 0, 20, NULL, '[2025-06-01,2025-07-01)');
SELECT results_eq($$SELECT problem, count(*) FROM apply_prices() GROUP BY problem ORDER BY problem COLLATE "C"$$,
	$$VALUES ('below floor', 1::bigint), ('derived', 1), ('jump', 2), ('list', 1), ('overlap', 1), ('product', 1), ('sale above base', 1), ('target', 1),
		('tier rises', 3), ('value', 1)$$, 'each problem is found');
SELECT is((SELECT count(*) FROM price), 2::bigint, 'and nothing is changed');
DELETE FROM price_staging;
INSERT INTO price_staging (price_list, product, amount, valid) VALUES ('list', 'a', 20, '[2025-06-01,2025-07-01)'), ('list', 'a', 9, '[2026-01-01,)'), ('list', 'b', 7, NULL);
SELECT is((SELECT count(*) FROM apply_prices() WHERE applied IS NOT NULL), 0::bigint, 'a jump stops it');
SELECT throws_ok(command, '22023', NULL, command) FROM unnest(ARRAY['SELECT apply_prices(50, NULL)', 'SELECT apply_prices(50, ''{tier,NULL}'')',
	'SELECT apply_prices(50, ''{jump,nope}'')', 'SELECT apply_prices(NULL)', 'SELECT apply_prices(''NaN'')', 'SELECT apply_prices(-1)', 'SELECT check_staged_prices(NULL)',
	'SELECT apply_prices(9e131071)', 'SELECT check_staged_prices(1e40)']) AS command;
SELECT throws_like('SELECT apply_prices(9e131071)', 'max_jump must not be 90000000000000000000...', 'a jump beyond all prices is not spelt out');
SELECT is((SELECT applied FROM apply_prices(accept => '{jump}') WHERE applied IS NOT NULL), 3::bigint, 'unless it is accepted');
SELECT results_eq($$SELECT unit_price, at FROM unnest('{2025-05-31,2025-06-01,2025-07-01,2025-12-31,2026-01-01,2028-01-01}'::timestamptz[]) AS at, quote(NULL, 'a', at => at) ORDER BY at$$,
	$$SELECT price, at FROM unnest('{10,20,10,10,9,9}'::numeric[], '{2025-05-31,2025-06-01,2025-07-01,2025-12-31,2026-01-01,2028-01-01}'::timestamptz[]) AS t (price, at)$$,
	'a price holds for its own time only');
SELECT is((SELECT price_list FROM quote(NULL, 'b')), 'derived', 'derived lists have followed');
SELECT is((SELECT count(*) FROM price_staging), 0::bigint, 'what is applied is staged no more');
SELECT results_eq($$SELECT product, unit_price FROM catalogue_prices(1) ORDER BY 1$$,
	$$SELECT product.product, (quote(1, product.product)).unit_price FROM product ORDER BY 1$$, 'the catalogue is what quote() says of each');
SELECT is_empty($$SELECT * FROM catalogue_prices(1, 2) AS one, quote(1, one.product, 2) AS other WHERE one IS DISTINCT FROM other$$, 'column for column');

-- variants and adjustments
INSERT INTO product (product, min_price, currency) VALUES ('top', 95, 'PLN');
INSERT INTO product (product, parent, cost, min_margin, currency) VALUES ('top.s', 'top', NULL, NULL, 'PLN'), ('top.e', 'top', 1, 0, 'EUR'), ('top.m', 'top.s', NULL, NULL, 'PLN');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'top', 100), ('list', 'top.m', 900);
INSERT INTO price_staging (line, price_list, product, amount, adjust, surcharge) VALUES (1, 'sale', 'top.s', 500, NULL, NULL), (2, 'sale', 'top.s', 20, NULL, NULL),
	(3, 'sale', 'top', NULL, 50, NULL), (4, 'sale', 'top.e', NULL, -99, NULL), (5, 'sale', 'top.m', 500, NULL, NULL), (6, 'sale', 'top.e', NULL, -4, NULL),
	(7, 'sale', 'top', NULL, NULL, 0);
SELECT results_eq($$SELECT line, problem, detail FROM check_staged_prices() WHERE problem <> 'overlap'$$, $$VALUES (1::bigint, 'sale above base', '500 is not below 100'),
	(2, 'below floor', '20 is below 95'), (3, 'sale above base', '150 is not below 100'), (4, 'below floor', '1 is below 95'), (7, 'sale above base', '100 is not below 100')$$,
	'compared with what they inherit and what they make');
DELETE FROM price_staging;
DELETE FROM price WHERE product LIKE 'top%';
DELETE FROM product WHERE product IN ('top.m', 'top.s', 'top.e');
DELETE FROM product WHERE product = 'top';

-- many, in a time that is far above what they take, and far below what comparing each with each would
INSERT INTO product (product, parent) SELECT 'many' || i, CASE WHEN i % 4 = 0 THEN 'many' || i - 1 END FROM generate_series(1, 20000) AS i;
INSERT INTO price (price_list, product, amount) SELECT 'list', product, 100 FROM product WHERE product LIKE 'many%' AND parent IS NULL;
INSERT INTO price_staging (price_list, product, amount) SELECT 'sale', 'many' || i, CASE WHEN i % 4 = 0 THEN 150 ELSE 90 END FROM generate_series(1, 20000) AS i;
INSERT INTO price_list (price_list, kind) SELECT 'none' || i, 'sale' FROM generate_series(1, 3000) AS i;
SET LOCAL statement_timeout = '15s';
SELECT results_eq($$SELECT problem, detail, count(*) FROM check_staged_prices() GROUP BY problem, detail$$,
	$$VALUES ('sale above base', '150 is not below 100', 5000::bigint)$$, 'twenty thousand lines are checked soon');
ANALYZE product, price, price_staging;
SELECT is((SELECT count(*) FROM check_staged_prices()), 5000::bigint, 'and with statistics');
SET LOCAL statement_timeout = 0;
DELETE FROM price_list WHERE price_list LIKE 'none%';
DELETE FROM price_staging;
DELETE FROM price WHERE product LIKE 'many%';
DELETE FROM product WHERE product LIKE 'many%' AND parent IS NOT NULL;
DELETE FROM product WHERE product LIKE 'many%';

-- categories that cannot be
INSERT INTO price_staging (price_list, category, amount) VALUES ('list', 'a b!', 5), ('list', '', 5), ('list', 'Home.Kitchen', 5), ('list', repeat('x', 2000), 5);
SELECT is((SELECT array_agg(left(detail, 16) ORDER BY line) FROM apply_prices(accept => '{category}') WHERE problem = 'category'),
	ARRAY['category ''a b!'' ', 'category '''' is n', 'category ''xxxxxx'], 'each line whose category is none, and it cannot be accepted');
SELECT throws_ok($$INSERT INTO price (price_list, category, amount) VALUES ('list', '', 5)$$, '23514', NULL, 'nor can one be written that never holds');
DELETE FROM price_staging;

-- an adjustment is staged with its rounding
INSERT INTO price_staging (price_list, product, adjust, round_to) VALUES ('sale', 'a', -33, 0.5);
SELECT is((SELECT applied FROM apply_prices() WHERE applied IS NOT NULL), 1::bigint, 'an adjustment is applied');
SELECT is((SELECT round_to FROM price WHERE price_list = 'sale' AND product = 'a'), 0.5, 'with its rounding');
DELETE FROM price WHERE price_list = 'sale' AND product = 'a';

-- rules see contacts and requests, those of merged customers included
INSERT INTO customer (customer_id, merged_into) VALUES (4, 3);
INSERT INTO segment (segment, rule)
VALUES ('talked', 'contacts >= 2 AND last_contact_at > now() - interval ''1 day'''), ('waiting', 'open_requests > 0');
SELECT count(log_contact('phone', customer_id => who, direction => 'outbound', source => 'test', source_key => 'k' || who))
FROM unnest('{3,4,1}'::bigint[]) AS who \g /dev/null
SELECT open_request(2, 'complaint', 'phone') \g /dev/null
SELECT results_eq($$SELECT refreshed, joined FROM refresh_segments() WHERE refreshed IN ('talked', 'waiting')$$,
	$$VALUES ('talked', 1::bigint), ('waiting', 1)$$, 'each finds one');
SELECT is((SELECT array_agg(segment || customer_id ORDER BY segment) FROM segment_member WHERE segment IN ('talked', 'waiting')),
	'{talked3,waiting2}'::text[], 'the right one');

-- a merged customer is in the segments of all that they were, under any of their ids
INSERT INTO segment (segment) VALUES ('club');
INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
INSERT INTO price_list (price_list, kind, priority, segments_any) VALUES ('club', 'override', 9, '{club}');
INSERT INTO price (price_list, product, amount) VALUES ('club', 'b', 6);
SELECT is((SELECT unit_price FROM quote(2, 'b')), 7.00, 'not a member');
UPDATE customer SET merged_into = 2 WHERE customer_id = 1;
SELECT is((SELECT array_agg(unit_price) FROM unnest('{1,2}'::bigint[]) AS id, quote(id, 'b')), ARRAY[6.00, 6.00], 'merged with one');
UPDATE customer SET merged_into = NULL WHERE customer_id = 1;
SELECT is((SELECT unit_price FROM quote(2, 'b')), 7.00, 'and parted again');
-- baskets with typing errors
SELECT throws_ok(format('SELECT quote_basket(NULL, %L)', lines), '22023') FROM unnest(ARRAY['[{"product": "a", "qty": 2}]', '["a"]', '{}']) AS lines;
-- A jump is found wherever a staged price replaces or follows another, also of percentages.
DELETE FROM price_staging;
INSERT INTO product (product) VALUES ('jump');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'jump', 1000, '[2025-01-01,2026-01-01)'), ('list', 'jump', 1200, '[2026-01-01,2027-01-01)');
INSERT INTO price (price_list, product, adjust) VALUES ('sale', 'jump', -5);
CREATE FUNCTION public.jumps(new numeric, during tstzrange, list text DEFAULT 'list') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM price_staging;
	INSERT INTO price_staging (price_list, product, amount, adjust, valid) VALUES (list, 'jump', CASE WHEN list = 'list' THEN new END, CASE WHEN list = 'sale' THEN new END, during);
	RETURN (SELECT string_agg(detail, '; ') FROM check_staged_prices() WHERE problem = 'jump');
END $$;
SELECT is(public.jumps(1, NULL), '1 instead of 1200', 'from now on');
SELECT is(public.jumps(1, '(,)'), '1 instead of 1200', 'for ever: the largest step');
SELECT is(public.jumps(2000, '(,)'), '2000 instead of 1000', 'upwards too');
SELECT is(public.jumps(1, '[2024-01-01,2025-02-01)'), '1 instead of 1000', 'begun before the other');
SELECT is(public.jumps(1, '[2027-01-01,)'), '1 instead of 1200', 'or following it');
SELECT is(public.jumps(1, '[2028-01-01,)'), '1 instead of 1200', 'or coming after a while without');
SELECT is(public.jumps(1, '[2024-01-01,2025-01-01)'), NULL, 'not where there was none');
SELECT is(public.jumps(1100, '(,)'), NULL, 'nor where it is small');
SELECT is(public.jumps(-95, NULL, 'sale'), '-95 percent instead of -5', 'of a percentage');
SELECT is(public.jumps(-20, NULL, 'sale'), NULL, 'a small one');
SELECT is(public.jumps(0, '(,)'), '0 instead of 1000', 'down to nothing');
DELETE FROM price_staging;

-- What ends now leaves the rest of what it replaces, also in a list that follows.
INSERT INTO product (product) VALUES ('late');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'late', 10, '[2025-01-01,)');
INSERT INTO price_staging (price_list, product, amount, valid) VALUES ('list', 'late', 8, tstzrange('2025-07-01', now())), ('list', 'late', 9, tstzrange('2025-02-01', '2025-03-01'));
SELECT is((SELECT applied FROM apply_prices(accept => '{jump}') WHERE applied IS NOT NULL), 2::bigint, 'prices of until now are applied');
DELETE FROM price WHERE product = 'late';
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'late', 10, '[2025-01-01,)');
INSERT INTO price_staging (price_list, product, amount, valid) VALUES ('list', 'late', 8, tstzrange(NULL, now()));
SELECT is((SELECT applied FROM apply_prices(accept => '{jump}') WHERE applied IS NOT NULL), 1::bigint, 'from ever on too');
SELECT is((SELECT array_agg(unit_price || ' ' || price_list ORDER BY at) FROM unnest(ARRAY['2025-06-01', now() - interval '1 microsecond', now()]) AS at, quote(NULL, 'late', at => at)),
	'{8.00 derived,8.00 derived,10.00 derived}', 'and each holds for its time');
INSERT INTO price_staging (price_list, product, amount, valid) VALUES ('list', 'late', 9, '[2024-01-01,2024-02-01)');
SELECT is((SELECT applied FROM apply_prices() WHERE applied IS NOT NULL), 1::bigint, 'what was from ever on keeps both of its ends');

-- What becomes of a line in a derived list can be a jump, or no price at all.
INSERT INTO product (product) VALUES ('leap');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'leap', 10);
INSERT INTO price_list (price_list, kind) VALUES ('fresh', 'override');
INSERT INTO price_list (price_list, kind, derived_from, derived_surcharge) VALUES ('less', 'override', 'derived', -9), ('based', 'base', 'fresh', NULL);
INSERT INTO price_staging (line, price_list, product, amount, adjust) VALUES (1, 'list', 'leap', 12, NULL), (2, 'fresh', 'leap', NULL, -5);
SELECT results_eq($$SELECT line, problem, detail FROM check_staged_prices()$$, $$VALUES (1::bigint, 'jump', '3 instead of 1 in derived price list ''less'''),
	(2, 'value', 'amount, adjust, surcharge, round_to, min_quantity or valid is out of range, or there is none in derived price list ''based''')$$, 'told with the list');
SELECT throws_ok($$INSERT INTO price (price_list, product, adjust) VALUES ('fresh', 'leap', -5)$$, '23514', NULL, 'as it cannot be written');
UPDATE price_staging SET amount = 10.4 WHERE line = 1;
SELECT is((SELECT array_agg(line) FROM check_staged_prices()), '{2}', 'a smaller step');
-- numbers that no price can be are told, be they beyond what can be reckoned with
DELETE FROM price_staging;
INSERT INTO price_list (price_list, kind) VALUES ('huge', 'sale'), ('other', 'override');
INSERT INTO price_list (price_list, kind, derived_from, derived_adjust, derived_round_to) VALUES ('larger', 'override', 'other', 50, 0.05);
INSERT INTO price_staging (line, price_list, product, amount, adjust, surcharge, round_to) SELECT row_number() OVER (), list, 'leap', given.*
FROM unnest('{huge,other}'::text[]) AS list, (VALUES (9e131071, NULL, NULL, NULL), (NULL, 9e131071, NULL, NULL), (NULL, 1, -9e131071, NULL), (NULL, 1, 1, 9e131071),
	('Infinity', NULL, NULL, NULL), (NULL, 'NaN', NULL, NULL)) AS given (amount, adjust, surcharge, round_to);
SELECT is((SELECT array_agg(line) FROM check_staged_prices() WHERE problem = 'value' AND detail NOT LIKE '%derived%'), '{1,2,3,4,5,6,7,8,9,10,11,12}', 'of each line');
SELECT is((SELECT count(*) FROM apply_prices() WHERE applied IS NOT NULL), 0::bigint, 'and not applied');

SELECT * FROM finish();
ROLLBACK;
