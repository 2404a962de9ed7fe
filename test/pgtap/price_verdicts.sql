-- Every verdict of explain_quote(), and every bad input that prices refuse.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(67);
INSERT INTO customer (customer_id) VALUES (1), (2);
INSERT INTO segment (segment) VALUES ('vip');
INSERT INTO segment_member (customer_id, segment) VALUES (1, 'vip');
INSERT INTO product (product, category, brand, min_price) VALUES ('mug', 'Home.Kitchen', 'acme', NULL), ('cup', NULL, NULL, 90), ('bare', NULL, NULL, NULL);
INSERT INTO product (product, parent) VALUES ('mug.red', 'mug');

-- lists: a verdict each
INSERT INTO price_list (price_list, kind, priority, segments_any, valid, status, currency) VALUES
	('base', 'base', 0, '{}', '(,)', 'active', 'PLN'),
	('won', 'override', 9, '{}', '(,)', 'active', 'PLN'),
	('lower', 'override', 1, '{}', '(,)', 'active', 'PLN'),
	('dearer', 'override', 9, '{}', '(,)', 'active', 'PLN'),
	('won.later', 'override', 9, '{}', '(,)', 'active', 'PLN'),
	('tiers', 'sale', 0, '{}', '(,)', 'active', 'PLN'),
	('members', 'sale', 0, '{vip}', '(,)', 'active', 'PLN'),
	('past', 'sale', 0, '{}', '(,2020-01-01)', 'active', 'PLN'),
	('draft', 'sale', 0, '{}', '(,)', 'draft', 'PLN'),
	('approved', 'sale', 0, '{}', '(,)', 'approved', 'PLN'),
	('retired', 'sale', 0, '{}', '(,)', 'retired', 'PLN'),
	('euro', 'sale', 0, '{}', '(,)', 'active', 'EUR'),
	('high', 'sale', 0, '{}', '(,)', 'active', 'PLN'),
	('rows', 'sale', 0, '{}', '(,)', 'active', 'PLN');
INSERT INTO price (price_list, product, amount, min_quantity) VALUES ('base', 'mug', 100, 0), ('won', 'mug', 80, 0), ('lower', 'mug', 70, 0),
	('dearer', 'mug', 81, 0), ('won.later', 'mug', 80, 0), ('tiers', 'mug', 60, 10), ('members', 'mug', 50, 0), ('past', 'mug', 40, 0),
	('draft', 'mug', 40, 0), ('approved', 'mug', 40, 0), ('retired', 'mug', 40, 0), ('euro', 'mug', 40, 0), ('high', 'mug', 100, 0);
INSERT INTO price (price_list, product, amount, valid) VALUES ('rows', 'mug', 40, '(,2020-01-01)');
INSERT INTO price (price_list, category, adjust) VALUES ('won', 'Home', -50);
SELECT is(explained.verdict, expected.verdict, format('%s: %s', expected.candidate, expected.verdict))
FROM (VALUES ('base', 'list price'), ('won', 'won'), ('lower', 'lower priority'), ('dearer', 'dearer at the same priority'),
		('won.later', 'later code at the same priority and amount'), ('tiers', 'tier not reached'), ('members', 'segment'),
		('past', 'list window'), ('draft', 'draft'), ('approved', 'approved'), ('retired', 'retired'), ('euro', 'currency'),
		('high', 'not lower'), ('rows', 'window')) AS expected (candidate, verdict)
LEFT JOIN explain_quote(2, 'mug') AS explained ON explained.candidate = expected.candidate AND explained.target = 'product mug'
	AND explained.kind <> 'answer';
SELECT is((SELECT verdict FROM explain_quote(2, 'mug') WHERE candidate = 'won' AND target = 'category Home'), 'nearer row', 'won: nearer row');
SELECT is((SELECT array_agg(DISTINCT target) FROM explain_quote(2, 'mug.red') WHERE candidate = 'won' AND verdict <> 'unit price'),
	'{category Home,parent mug}'::text[], 'each says its target');
SELECT is((SELECT verdict FROM explain_quote_segments('{vip}', 'bare')), 'no price', 'nothing at all: no price');
INSERT INTO price (price_list, product, adjust) VALUES ('won', 'bare', -5);
SELECT is((SELECT verdict FROM explain_quote(2, 'bare') WHERE candidate = 'won'), 'no base price', 'won: no base price');
SELECT is((SELECT amount FROM explain_quote(2, 'mug') WHERE kind = 'answer'), (SELECT unit_price FROM quote(2, 'mug')), 'the answer is quote()''s');

-- promotions: a verdict each
INSERT INTO price (price_list, product, amount) VALUES ('base', 'cup', 100);
INSERT INTO promotion (promotion, kind, value, stage, priority, exclusive, stop, best_of, needs_coupon, segments_any, status, valid, min_quantity, min_subtotal, currency) VALUES
	('applied', 'percent', 5, 1, 9, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL),
	('nothing', 'fixed_price', 500, 1, 8, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, 'PLN'),
	('alone', 'percent', 50, 1, 7, true, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL),
	('best', 'percent', 4, 1, 6, false, false, 'group', false, '{}', 'active', '(,)', 0, 0, NULL),
	('second', 'percent', 3, 1, 6, false, false, 'group', false, '{}', 'active', '(,)', 0, 0, NULL),
	('coupon', 'percent', 3, 1, 5, false, false, NULL, true, '{}', 'active', '(,)', 0, 0, NULL),
	('members', 'percent', 3, 1, 5, false, false, NULL, false, '{vip}', 'active', '(,)', 0, 0, NULL),
	('draft', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'draft', '(,)', 0, 0, NULL),
	('window', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,2020-01-01)', 0, 0, NULL),
	('tier', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 5, 0, NULL),
	('subtotal', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 0, 1000, 'PLN'),
	('euro', 'amount', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, 'EUR'),
	('used', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL),
	('once', 'percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL),
	('order', 'order_percent', 3, 1, 5, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL),
	('stopper', 'amount', 40, 2, 5, false, true, NULL, false, '{}', 'active', '(,)', 0, 0, 'PLN'),
	('behind', 'percent', 3, 2, 1, false, false, NULL, false, '{}', 'active', '(,)', 0, 0, NULL);
UPDATE promotion SET products = '{cup}';
UPDATE promotion SET use_limit = 0 WHERE promotion = 'used';
UPDATE promotion SET customer_limit = 0 WHERE promotion = 'once';
SELECT is(explained.verdict, expected.verdict, format('%s: %s', expected.candidate, expected.verdict))
FROM (VALUES ('applied', 'applied'), ('nothing', 'changes nothing'), ('alone', 'excluded by applied'), ('best', 'applied'),
		('second', 'smaller saving of its group'), ('coupon', 'coupon missing'), ('members', 'segment'), ('draft', 'draft'), ('window', 'window'),
		('tier', 'tier not reached'), ('subtotal', 'subtotal not reached'), ('euro', 'currency'), ('used', 'limit used up'),
		('once', 'limit of the customer used up'), ('order', 'promotion of the order'), ('stopper', 'applied'),
		('behind', 'excluded by stopper')) AS expected (candidate, verdict)
LEFT JOIN explain_quote(2, 'cup') AS explained ON explained.candidate = expected.candidate AND explained.kind = 'promotion';
SELECT is((SELECT (verdict, amount)::text FROM explain_quote(2, 'cup') WHERE kind = 'floor'), '(floor,90.0000)', 'the floor');

-- bad input is refused, and changes nothing
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM price) AS prices, (SELECT count(*) FROM price_list) AS lists, (SELECT count(*) FROM promotion) AS promotions,
	(SELECT count(*) FROM product) AS products, (SELECT count(*) FROM segment) AS segments;
SELECT throws_ok(refused.command, refused.sqlstate, NULL, refused.command)
FROM (VALUES
	('SELECT quote(1, ''none'')', '23503'),
	('SELECT quote(1, ''mug'', currency => ''QQQ'')', '23503'),
	('SELECT quote(1, ''mug'', 0)', '22023'),
	('SELECT quote(1, ''mug'', -1)', '22023'),
	('SELECT quote(1, ''mug'', ''NaN'')', '22023'),
	('SELECT quote(1, ''mug'', ''Infinity'')', '22023'),
	('SELECT quote(1, ''mug'', 1e30)', '22023'),
	('SELECT quote_basket(1, ''[{"product": "mug", "quantity": 1e30}]'')', '22023'),
	('INSERT INTO price (price_list, product, amount) VALUES (''base'', ''mug'', 5)', '23P01'),
	('INSERT INTO price (price_list, product, amount) VALUES (''base'', ''none'', 5)', '23503'),
	('INSERT INTO price (price_list, product, amount, min_quantity) VALUES (''base'', ''mug'', ''NaN'', 7)', '23514'),
	('INSERT INTO price_list (price_list, currency) VALUES (''x'', ''QQQ'')', '23503'),
	('UPDATE product SET parent = ''mug.red'' WHERE product = ''mug''', '23514'),
	('INSERT INTO product (product, parent) VALUES (''self'', ''self'')', '23514'),
	('UPDATE price_list SET derived_from = ''base'' WHERE price_list = ''base''', '23514'),
	('INSERT INTO price_list (price_list, derived_from) VALUES (''d1'', ''base''); UPDATE price_list SET derived_from = ''d1'' WHERE price_list = ''base''', '23514'),
	('INSERT INTO promotion (promotion, kind, value) VALUES (''x'', ''percent'', 100.01)', '23514'),
	('INSERT INTO promotion (promotion, kind, value) VALUES (''x'', ''order_percent'', 101)', '23514'),
	('INSERT INTO segment (segment, rule) VALUES (''x'', ''language ='')', '42601'),
	('INSERT INTO segment (segment, rule) VALUES (''x'', ''pg_notify(language, language) IS NULL'')', '22023'),
	('INSERT INTO segment (segment, rule) VALUES (''x'', ''setval(''''omnichannel.price_price_id_seq'''', 1) = 1'')', '22023'),
	('INSERT INTO segment (segment, rule) VALUES (''x'', ''random() < 0.5'')', '22023'),
	('INSERT INTO segment (segment, rule) VALUES (''x'', ''clock_timestamp() > created_at'')', '22023'),
	('UPDATE segment SET rule = ''now() - created_at'' WHERE segment = ''vip''', '22023')) AS refused (command, sqlstate);
SELECT is(before::text, after::text, 'nothing has changed')
FROM before, LATERAL (SELECT (SELECT count(*) FROM price), (SELECT count(*) FROM price_list), (SELECT count(*) FROM promotion),
	(SELECT count(*) FROM product), (SELECT count(*) FROM segment)) AS after;

-- who approved a list, the latest time
SELECT is((SELECT approved_by FROM price_list WHERE price_list = 'approved'), session_user::text, 'an approved list says by whom');
UPDATE price_list SET status = 'draft', approved_by = 'another', approved_at = '2020-01-01' WHERE price_list = 'approved';
UPDATE price_list SET status = 'active' WHERE price_list = 'approved';
SELECT is((SELECT (approved_by, approved_at)::text FROM price_list WHERE price_list = 'approved'), (session_user, now())::text, 'anew after it was a draft again');
UPDATE price_list SET approved_by = 'another', approved_at = '2020-01-01' WHERE price_list = 'approved';
UPDATE promotion SET approved_by = 'another', approved_at = '2020-01-01', status = 'active';
INSERT INTO price_list (price_list, status, approved_by) VALUES ('by another', 'active', 'another'), ('by nobody', 'draft', 'another');
SELECT is((SELECT array_agg(DISTINCT approved_by) FROM (SELECT status, approved_by FROM price_list UNION ALL SELECT status, approved_by FROM promotion) AS one
	WHERE status IN ('approved', 'active')), ARRAY[session_user::text], 'nobody else can be entered');
SELECT is((SELECT approved_by FROM price_list WHERE price_list = 'by nobody'), NULL, 'nor before it is approved');

-- a product has one state: what it was is noted
UPDATE product SET created_at = now() - interval '1 year';
UPDATE product SET name = 'Cup', min_price = 10 WHERE product = 'cup';
UPDATE product SET name = 'A cup' WHERE product = 'cup';
SELECT is((SELECT array_agg((key, before ->> 'min_price', after ->> 'min_price')::text) FROM price_correction WHERE relation = 'product'), '{"(cup,90,10)"}'::text[],
	'a new floor is a correction, a new name is none');
SELECT * FROM finish();
ROLLBACK;
