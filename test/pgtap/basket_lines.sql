-- Baskets: the same total however they are split into lines, and everything that a channel shows of a line.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(27);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO product (product, tax_rate, min_price) VALUES ('tier', 23, NULL), ('cut', 8, NULL), ('floor', NULL, 18.365), ('dear', NULL, NULL), ('none', NULL, NULL);
INSERT INTO price_list (price_list, kind) VALUES ('list', 'base'), ('sale', 'sale');
INSERT INTO price (price_list, product, min_quantity, amount, valid) SELECT v.*, tstzrange(NULL, NULL)
FROM (VALUES ('list', 'tier', 0, 10), ('list', 'tier', 10, 8), ('list', 'cut', 0, 100), ('list', 'floor', 0, 18.365), ('list', 'dear', 0, 999999999999999)) AS v;
INSERT INTO price (price_list, product, amount, valid) VALUES ('sale', 'cut', 75, tstzrange(now() - interval '3 days', NULL));

-- lines of one product are one
SELECT results_eq($$SELECT line, product, quantity, unit_price, line_total FROM quote_basket(NULL, '[{"product": "tier", "quantity": 6}, {"product": "cut"}, {"product": "tier", "quantity": 6}]')$$,
	$$VALUES (1, 'tier', 6::numeric, 8.00, 48.00), (2, 'cut', 1, 75.00, 75.00), (3, 'tier', 6, 8.00, 48.00)$$, 'two lines reach the tier together');
INSERT INTO promotion (promotion, kind, value, products, min_quantity) VALUES ('dozen', 'percent', 50, '{tier}', 12);
SELECT is((SELECT array_agg(promotions) FROM quote_basket(NULL, '[{"product": "tier", "quantity": 7}, {"product": "tier", "quantity": 5}]')), '{{dozen},{dozen}}'::text[],
	'and the quantity of a promotion');
UPDATE promotion SET status = 'retired';
INSERT INTO promotion (promotion, kind, value, buy_quantity, get_quantity, products) VALUES ('third', 'buy_get', 100, 2, 1, '{tier}');
SELECT is((SELECT array_agg(line_total) FROM quote_basket(NULL, '[{"product": "tier", "quantity": 3}]')), '{20.00}', 'one of three is free');
SELECT results_eq($$SELECT unit_price, line_total FROM quote_basket(NULL, '[{"product": "tier", "quantity": 1}, {"product": "tier", "quantity": 1}, {"product": "tier", "quantity": 1}]')$$,
	$$VALUES (NULL::numeric, 6.67), (NULL, 6.66), (NULL, 6.67)$$, 'three lines share what three units cost, and no cent is lost');
UPDATE promotion SET status = 'retired';
INSERT INTO promotion (promotion, kind, value) VALUES ('order', 'order_amount', 1);
SELECT is((SELECT (sum(line_total), sum(order_discount), max(line_total)) FROM quote_basket(NULL, format('[%s]', repeat('{"product": "tier", "quantity": 0.7}, ', 6) || '{"product": "tier", "quantity": 0.7}')::jsonb)),
	(SELECT (line_total, order_discount, 6.86) FROM quote_basket(NULL, '[{"product": "tier", "quantity": 4.9}]')), 'as do fractions, and what the order saves');
SELECT is((SELECT array_agg(line_total ORDER BY line) FROM quote_basket(NULL, '[{"product": "tier", "quantity": 1}, {"product": "cut"}, {"product": "tier", "quantity": 2}]')),
	(SELECT ARRAY[b.line_total, c.line_total, a.line_total - b.line_total] FROM quote_basket(NULL, '[{"product": "tier", "quantity": 3}, {"product": "cut"}]') AS a,
		quote_basket(NULL, '[{"product": "tier", "quantity": 3}, {"product": "cut"}]') AS c, LATERAL (SELECT round(a.line_total / 3, 2) AS line_total) AS b WHERE a.line = 1 AND c.line = 2),
	'each in its place');

-- the floor is the one of a unit
SELECT is((SELECT (order_discount, promotions) FROM quote_basket(NULL, '[{"product": "floor", "quantity": 7}]')), ROW(0.00, '{}'::text[]), 'nothing is taken off a price that is its floor');
UPDATE promotion SET status = 'retired';

-- the cent that is left over goes by product, not by place: what follows rounds with it
INSERT INTO product (product) VALUES ('even'), ('odd');
INSERT INTO promotion (promotion, kind, value, products, priority) VALUES ('cent', 'order_amount', 0.01, '{even, odd}', 1), ('half', 'order_percent', 50, '{odd}', 0);
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'even', 0.05, '(,)'), ('list', 'odd', 0.05, '(,)');
SELECT is((SELECT sum(line_total) FROM quote_basket(NULL, '[{"product": "odd"}, {"product": "even"}]')),
	(SELECT sum(line_total) FROM quote_basket(NULL, '[{"product": "even"}, {"product": "odd"}]')), 'the sum does not depend on the order of the lines');
UPDATE promotion SET status = 'retired';

-- what a channel shows
SELECT is((SELECT (reference_price, tax_rate, tax_inclusive, unit_net, unit_gross, valid_until, reason) FROM quote_basket(1, '[{"product": "cut"}]')),
	(SELECT (reference_price, tax_rate, tax_inclusive, unit_net, unit_gross, valid_until, reason) FROM quote(1, 'cut')), 'a line shows what quote() shows');
SELECT is((SELECT reference_price FROM quote_basket(1, '[{"product": "cut"}]')), 100.00, 'the prior price among it');
SELECT is((SELECT (reason, line_total, order_discount) FROM quote_basket(1, '[{"product": "none"}]')), ROW('no price list has a price for it yet'::text, NULL::numeric, NULL::numeric), 'or why there is no price');
-- a prior price that a basket's worth plays a part in is not kept for others
INSERT INTO promotion (promotion, kind, value, products, min_subtotal, valid) VALUES ('rich', 'percent', 40, '{cut}', 500, tstzrange(now() - interval '20 days', now() - interval '10 days'));
SELECT is((SELECT reference_price FROM quote_basket(1, '[{"product": "cut"}, {"product": "tier", "quantity": 9}, {"product": "tier", "quantity": 60}]') WHERE line = 1), 60.00, 'to whom it was offered');
SELECT is((SELECT reference_price FROM quote(1, 'cut')), 100.00, 'to others it was not');

UPDATE promotion SET status = 'retired';
-- what one line costs bears on the other
INSERT INTO promotion (promotion, kind, value, products, min_subtotal) VALUES ('both', 'percent', 10, '{tier}', 60);
UPDATE price SET valid = tstzrange(lower(valid), now() + interval '1 hour') WHERE price_list = 'sale';
SELECT results_eq($$SELECT unit_price, valid_until FROM quote_basket(1, '[{"product": "tier"}, {"product": "cut"}]')$$,
	$$VALUES (9.00, now() + interval '1 hour'), (75.00, now() + interval '1 hour')$$, 'the end of one line''s price is the end of the basket''s');
SELECT is((SELECT valid_until FROM quote_basket(1, '[{"product": "tier"}]')), NULL, 'not of a basket without it');
INSERT INTO promotion (promotion, kind, value, products, valid) VALUES ('elsewhere', 'order_amount', 1, '{cut}', tstzrange(now() - interval '1 day', now() + interval '30 minutes'));
SELECT is((SELECT valid_until FROM quote_basket(1, '[{"product": "tier"}]')), NULL, 'nor that of a promotion of the order for others');
SELECT is((SELECT max(valid_until) FROM quote_basket(1, '[{"product": "tier"}, {"product": "cut"}]')), now() + interval '30 minutes', 'but of one for it');

-- lines that say something else
SELECT throws_ok(format('SELECT * FROM quote_basket(NULL, %L)', lines), '22023', NULL, lines)
FROM unnest(ARRAY['[{"product": "tier", "qty": 12}]', '[{"product": "tier"}, 5]', '[{"product": "tier", "quantity": "abc"}]', '[{"product": ["tier"]}]',
	'[{"product": "tier", "quantity": true}]', '[{"quantity": 1}]', '{"product": "tier"}', '[null]']) AS lines;
SELECT is((SELECT sum(line_total) FROM quote_basket(NULL, '[{"product": "tier", "quantity": "2.5"}, {"product": "tier", "quantity": null}]')), 35.00, 'numbers as texts, and none at all');
SELECT throws_ok($$SELECT * FROM quote_basket(NULL, '[{"product": "dear", "quantity": 999999999999}]')$$, '22003', 'the basket costs more than can be added up');
SELECT * FROM finish();
ROLLBACK;
