-- Kinds of promotions, and the report on their uses.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(8);
CREATE ROLE use_analyst;
SELECT grant_access('use_analyst', 'bi') \g /dev/null
GRANT USAGE ON SCHEMA public TO use_analyst;
CREATE FUNCTION public.said(statement text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;
SELECT is(said::text, ROW('23514', 'promotion "b" is of an unknown kind "buy_x_get_y"', 'Kinds are percent, amount, fixed_price, buy_get, order_percent and order_amount.')::text, 'another name')
FROM public.said($$INSERT INTO omnichannel.promotion (promotion, kind, buy_quantity, get_quantity, value) VALUES ('b', 'buy_x_get_y', 2, 1, 100)$$);
SELECT is((said).message, 'promotion "c" is of an unknown kind "procent"', 'a slip') FROM public.said($$INSERT INTO omnichannel.promotion (promotion, kind, value) VALUES ('c', 'procent', 1)$$);
SELECT throws_ok($$INSERT INTO promotion (promotion, kind, value) VALUES ('d', NULL, 1)$$, '23502', NULL, 'none');
SELECT lives_ok($$INSERT INTO promotion (promotion, kind, value, buy_quantity, get_quantity, use_limit, budget) VALUES ('percent', 'percent', 10, NULL, NULL, 5, 100),
	('amount', 'amount', 5, NULL, NULL, NULL, NULL), ('fixed', 'fixed_price', 49.99, NULL, NULL, NULL, NULL), ('third', 'buy_get', 100, 2, 1, NULL, NULL),
	('order', 'order_percent', 5, NULL, NULL, NULL, NULL), ('off', 'order_amount', 20, NULL, NULL, NULL, NULL)$$, 'all there are');

INSERT INTO coupon (coupon, promotion) VALUES ('HI', 'percent');
SELECT reserve_use('percent', 'order ' || n, amount => 10 * n, coupon => CASE WHEN n = 1 THEN 'hi' END) FROM generate_series(1, 3) AS n \g /dev/null
SELECT commit_use('order 1'), release_use('order 3') \g /dev/null
SET ROLE use_analyst;
SELECT is(ROW(r.reserved, r.committed, r.released, r.with_coupon, r.amount_reserved, r.amount_committed, r.uses_left, r.budget_left, r.currency)::text,
	ROW(1::bigint, 1::bigint, 1::bigint, 1::bigint, 20::numeric, 10::numeric, 3::bigint, 70::numeric, 'PLN')::text, 'what was used and what is left')
FROM report_promotion_use AS r WHERE r.promotion = 'percent';
SELECT is(ROW(r.reserved, r.committed, r.amount_committed, r.uses_left, r.budget_left, r.last_used_at)::text, ROW(0::bigint, 0::bigint, 0::numeric, NULL::bigint, NULL::numeric, NULL::timestamptz)::text, 'and of none')
FROM report_promotion_use AS r WHERE r.promotion = 'amount';
SELECT throws_ok('SELECT * FROM promotion_use', '42501', NULL, 'an analyst reads the report only');
RESET ROLE;
SELECT is_empty($$SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = 'omnichannel'::regnamespace AND c.relkind = 'v' AND c.relname LIKE 'report\_%' AND col_description(c.oid, a.attnum) IS NULL$$, 'each column of a report says what it is');
SELECT * FROM finish();
