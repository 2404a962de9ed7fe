-- Limits, coupons, derived lists and explanations.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(43);
INSERT INTO customer (customer_id) VALUES (1), (2);
INSERT INTO product (product, category, brand) VALUES ('p', 'A.B', 'acme'), ('q', 'A', NULL);
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100), ('list', 'q', 50);

INSERT INTO promotion (promotion, kind, value, use_limit) VALUES ('two', 'percent', 10, 2);
SELECT is(reserve_use('two', 'order 1', 1, 10), true, 'the first use');
SELECT is(reserve_use('two', 'order 1', 1, 10), true, 'the same key again');
SELECT is((SELECT uses FROM promotion_total WHERE promotion = 'two'), 1::bigint, 'counts once');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 90.00, 'one is left');
SELECT is(reserve_use('two', 'order 2', 2, 10), true, 'the last use');
SELECT is(reserve_use('two', 'order 3', 2, 10), false, 'nothing is left');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 100.00, 'and quotes know');
SELECT is((SELECT verdict FROM explain_quote(1, 'p') WHERE candidate = 'two'), 'limit used up', 'and say so');
SELECT is(commit_use('order 1'), 1, 'committed');
SELECT is(commit_use('order 1'), 1, 'committed again');
SELECT is(release_use('order 2'), 1, 'released');
SELECT is(release_use('order 2'), 0, 'released again');
SELECT throws_ok($$SELECT commit_use('order 2')$$, '55000');
SELECT throws_ok($$SELECT commit_use('order 9')$$, '23503');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 90.00, 'one is left again');
UPDATE promotion SET use_limit = 1 WHERE promotion = 'two';
SELECT is((SELECT unit_price FROM quote(1, 'p')), 100.00, 'a lower limit counts what was used');
UPDATE promotion SET use_limit = NULL, budget = 15 WHERE promotion = 'two';
SELECT is(reserve_use('two', 'order 4', 1, 6), false, 'a budget is not overdrawn');
SELECT is(reserve_use('two', 'order 4', 1, 5), true, 'but used up to the last cent');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 100.00, 'then it is used up');
SELECT is(reserve_use('two', 'order 5', 1, 0), false, 'also for what gives nothing away');
UPDATE promotion_use SET expires_at = now() WHERE key = 'order 4';
SELECT is(expire_uses(), 1, 'a forgotten reservation comes back');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 90.00, 'and can be used');
SELECT throws_ok($$SELECT reserve_use('none', 'x')$$, '23503');
SELECT throws_ok($$SELECT reserve_use('two', '')$$, '22023');
SELECT throws_ok($$SELECT reserve_use('two', 'x', 1, -1)$$, '22023');
SELECT throws_ok($$SELECT reserve_use('two', 'x', 1, 'NaN')$$, '22023');
UPDATE promotion SET status = 'retired' WHERE promotion = 'two';

INSERT INTO promotion (promotion, kind, value, customer_limit) VALUES ('once', 'amount', 7, 1);
SELECT is(reserve_use('once', 'order 5', 1), true, 'once for a customer');
SELECT is(reserve_use('once', 'order 6', 1), false, 'not twice');
SELECT is(reserve_use('once', 'order 6', 2), true, 'but for another one');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 100.00, 'quotes know');
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 93.00, 'who has used it');
UPDATE promotion SET status = 'draft' WHERE promotion = 'once';

INSERT INTO promotion (promotion, kind, value, needs_coupon) VALUES ('code', 'fixed_price', 60, true);
SELECT lives_ok($$SELECT create_coupons('code', 5, 'x-')$$);
INSERT INTO coupon (coupon, promotion, customer_id) VALUES ('ADA', 'code', 1), ('OLD', 'code', NULL);
UPDATE coupon SET valid = '(,2020-01-01)' WHERE coupon = 'OLD';
SELECT is((SELECT array_agg(unit_price ORDER BY unit_price) FROM unnest('{ ada ,OLD}'::text[]) AS given, quote(1, 'p', coupons => ARRAY[given])),
	ARRAY[60.00, 100.00], 'a code opens it, an old one does not');
SELECT is((SELECT unit_price FROM quote(2, 'p', coupons => '{ADA}')), 100.00, 'nor another customer''s');
SELECT throws_ok($$SELECT quote(2, 'p', coupons => '{NONE}')$$, '23503');
SELECT throws_ok($$SELECT reserve_use('code', 'order 7', 2)$$, '22023');

INSERT INTO promotion (promotion, kind, value, brands, except_categories) VALUES ('brand', 'percent', 50, '{acme}', '{A.B}');
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 100.00, 'an exception wins over a target');
SELECT throws_ok($$INSERT INTO promotion (promotion, kind, value) VALUES ('much', 'percent', 101)$$, '23514');

-- derived lists follow, and refuse cycles
INSERT INTO price_list (price_list, kind, priority, derived_from, derived_adjust, derived_surcharge, derived_round_to)
VALUES ('trade', 'override', 5, 'list', -10, 1, 0.5);
SELECT is((SELECT array_agg(unit_price) FROM quotes(NULL, '{p,q}')), ARRAY[91.00, 46.00], 'a tenth less and one more');
UPDATE price SET amount = 102.22 WHERE price_list = 'list' AND product = 'p';
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 93.00, 'follows the list, rounded to a half');
SELECT throws_ok($$UPDATE price_list SET derived_from = 'trade' WHERE price_list = 'list'$$, '23514');
SELECT throws_ok($$INSERT INTO price (price_list, product, amount, min_quantity) VALUES ('trade', 'p', 1, 5)$$, '23514');
UPDATE price_list SET derived_adjust = 0, derived_surcharge = NULL, derived_round_to = NULL WHERE price_list = 'trade';
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 102.22, 'follows its own percentage');
SELECT * FROM finish();
ROLLBACK;
