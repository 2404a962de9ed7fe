-- A key that reserves again, once its reservation was released: what it held before still counts for that time, so that
-- what was answered then stays right.
SET search_path = omnichannel, public;
SELECT plan(23);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100);
INSERT INTO customer (customer_id) VALUES (1001), (1002);
INSERT INTO promotion (promotion, kind, value, currency, needs_coupon, customer_limit) VALUES ('once', 'amount', 8, 'PLN', true, NULL), ('each', 'amount', 3, 'PLN', false, 1);
INSERT INTO coupon (coupon, promotion, use_limit) VALUES ('C1', 'once', 1);
SELECT pg_sleep(1.1) \g /dev/null

SELECT clock_timestamp() AS open \gset
SELECT ok(reserve_use('once', 'order', 1001, 8, 'C1', '100 milliseconds') AND reserve_use('each', 'order', 1001, 3, hold => '100 milliseconds'), 'reserved');
SELECT pg_sleep(0.05) \g /dev/null
SELECT clock_timestamp() AS held \gset
SELECT is((SELECT unit_price FROM quote(1002, 'p', coupons => '{C1}')), 97.00, 'the coupon is used');
SELECT is((SELECT unit_price FROM quote(1001, 'p')), 100.00, 'the limit is reached');
SELECT lock_quote(1002, 'p', coupons => '{C1}') AS one \gset
SELECT lock_quote(1001, 'p') AS other \gset
SELECT shown_price('branch', 'p', 97, 1002, coupons => '{C1}'), shown_price('branch', 'p', 100, 1001) \g /dev/null
SELECT pg_sleep(0.1) \g /dev/null
SELECT is(expire_uses(), 2, 'its time is over');
SELECT pg_sleep(0.05) \g /dev/null
SELECT clock_timestamp() AS free \gset
SELECT pg_sleep(0.05) \g /dev/null
SELECT throws_ok($$SELECT commit_use('order')$$, '55000');
SELECT ok(reserve_use('once', 'order', 1001, 8, 'C1') AND reserve_use('each', 'order', 1001, 3), 'the same key reserves again');
SELECT is(commit_use('order'), 2, 'and is committed');
SELECT ok(reserve_use('once', 'order', 1001, 8, 'C1'), 'which it stays');

SELECT is((SELECT unit_price FROM quote(1002, 'p', coupons => '{C1}', at => at)), price, 'with the coupon: ' || what)
FROM (VALUES (:'open'::timestamptz, 89.00, 'before'), (:'held', 97.00, 'while it was held'), (:'free', 89.00, 'in between'), (now(), 97.00, 'now')) AS asked (at, price, what);
SELECT is((SELECT unit_price FROM quote(1001, 'p', at => at)), price, 'with the limit: ' || what)
FROM (VALUES (:'open'::timestamptz, 97.00, 'before'), (:'held', 100.00, 'while it was held'), (:'free', 97.00, 'in between'), (now(), 100.00, 'now')) AS asked (at, price, what);
SELECT ok((SELECT same FROM verify_quote(:one)), 'what was locked with the coupon is verified');
SELECT ok((SELECT same FROM verify_quote(:other)), 'and with the limit');
SELECT check_shown_prices() \g /dev/null
SELECT is_empty('SELECT * FROM report_price_divergence', 'what was displayed is not blamed');
SELECT is_empty($$SELECT * FROM price_correction WHERE relation = 'promotion_use'$$, 'nothing of the past was corrected');

SELECT is(release_use('order'), 2, 'what is held now is given back');
SELECT ok(reserve_use('once', 'order', 1002, 8, 'C1'), 'for another customer');
SELECT is((SELECT string_agg(former || ' ' || state, ', ' ORDER BY former) || '; ' || (SELECT uses FROM coupon) FROM promotion_use WHERE promotion = 'once'),
	'0 reserved, 1 released, 2 released; 1', 'each hold is kept, one counts');
SELECT * FROM finish();
