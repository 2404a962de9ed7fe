-- Uses of promotions: counted as of the moment asked about, for whoever was merged together, and only where they may be.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(66);
INSERT INTO customer (customer_id) VALUES (1), (2), (3);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100);
INSERT INTO promotion (promotion, kind, value, customer_limit) VALUES ('once', 'percent', 10, 1);
INSERT INTO promotion (promotion, kind, value, use_limit) VALUES ('few', 'percent', 20, 1);
INSERT INTO promotion (promotion, kind, value, needs_coupon) VALUES ('code', 'percent', 50, true);
INSERT INTO coupon (coupon, promotion, use_limit) VALUES ('SINGLE', 'code', 1);
INSERT INTO coupon (coupon, promotion, customer_id) VALUES ('MINE', 'code', 2);

-- what had been used then
SELECT now() AS before \gset
SELECT is((SELECT unit_price FROM quote(1, 'p', coupons => '{single}')), 36.00, 'nothing is used');
SELECT lock_quote(1, 'p', coupons => '{single}') AS quote_id \gset
SELECT ok(reserve_use('code', 'order 1', 1, 50, 'single'));
SELECT ok(reserve_use('few', 'order 1', 1, 10));
SELECT ok(reserve_use('once', 'order 1', 1, 4));
SELECT is((SELECT unit_price FROM quote(1, 'p', coupons => '{single}')), 100.00, 'all three are used up');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => :'before', coupons => '{single}')), 36.00, 'not then');
SELECT is((SELECT valid_until FROM quote(2, 'p', at => :'before')), (SELECT since FROM promotion_used_up), 'which the end of an answer of then tells');
SELECT is((SELECT reason FROM verify_quote(:quote_id)), 'the same rules give the same price', 'and a quote of then is the same');
SELECT now() AS used \gset
SELECT is((SELECT valid_until FROM quote(1, 'p', at => now() - interval '1 microsecond')), NULL, 'nothing is to come');
SELECT is(release_use('order 1'), 3, 'given back');
SELECT is((SELECT valid_until FROM quote(1, 'p', at => :'used', coupons => '{single}')), (SELECT max(released_at) FROM promotion_use), 'and ends an answer of then');
SELECT is((SELECT unit_price FROM quote(1, 'p', coupons => '{single}')), 36.00, 'can be used again');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => :'used', coupons => '{single}')), 100.00, 'not at the time for which it was used');
SELECT is((SELECT unit_price FROM quote(2, 'p', at => :'used')), 90.00, 'by nobody');

-- the time of a coupon is one of the answer
INSERT INTO coupon (coupon, promotion, valid) VALUES ('TODAY', 'code', tstzrange('2020-01-01', '2099-01-01')), ('LATER', 'code', '[2098-01-01,2099-06-01)');
SELECT is((SELECT valid_until FROM quote(NULL, 'p', coupons => '{today}')), '2099-01-01'::timestamptz, 'the end of a coupon');
SELECT is((SELECT valid_until FROM quote(NULL, 'p', coupons => '{today,later}')), '2098-01-01'::timestamptz, 'the start of another');
SELECT is((SELECT valid_until FROM quote_basket(NULL, '[{"product": "p"}]', coupons => '{today}')), '2099-01-01'::timestamptz, 'in a basket too');

-- merged customers
SELECT ok(reserve_use('once', 'order 2', 2, 4));
SELECT is((SELECT promotions FROM quote(1, 'p', coupons => '{}')), '{few,once}', 'another customer''s use');
SELECT merge_customers(1, 2, 'the same') AS merge_id \gset
SELECT is((SELECT promotions FROM quote(1, 'p')), '{few}', 'is one''s own after a merge');
SELECT is((SELECT promotions FROM quote(2, 'p')), '{few}', 'under either number');
SELECT ok(NOT reserve_use('once', 'order 3', 1, 4), 'the limit is for both together');
SELECT is((SELECT promotions FROM quote(1, 'p', coupons => '{mine}')), '{code,few}', 'a coupon of one is the other''s');
SELECT ok(reserve_use('code', 'order 4', 1, 50, 'mine'));
SELECT ok(reserve_use('once', 'order 2', 1, 4), 'the same key by the other number is the same use');

-- the same key is the same use
SELECT throws_ok($$SELECT reserve_use('once', 'order 2', 3, 4)$$, '23505', NULL, 'another customer');
SELECT throws_ok($$SELECT reserve_use('once', 'order 2', 2, 5)$$, '23505', NULL, 'another amount');
SELECT throws_ok($$SELECT reserve_use('code', 'order 4', 1, 50, 'today')$$, '23505', NULL, 'another coupon');

-- what does not hold cannot be used
INSERT INTO promotion (promotion, kind, value, status) VALUES ('draft', 'percent', 10, 'draft');
INSERT INTO promotion (promotion, kind, value, valid) VALUES ('over', 'percent', 10, '[2020-01-01,2021-01-01)');
SELECT ok(NOT reserve_use('draft', 'order 5', 3), 'a draft');
SELECT ok(NOT reserve_use('over', 'order 5', 3), 'a promotion that is over');
SELECT throws_ok($$SELECT reserve_use('once', 'order 5')$$, '22023', NULL, 'nobody, where each has a limit');
SELECT ok(reserve_use('few', 'order 5', 3));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok(command, '55000', NULL, 'under an old snapshot: ' || command)
FROM unnest(ARRAY['SELECT reserve_use(''once'', ''order 5'', 3)', 'SELECT reserve_use(''code'', ''order 5'', 3, coupon => ''single'')',
	'SELECT release_use(''order 5'')', 'UPDATE promotion SET use_limit = 7 WHERE promotion = ''once''']) AS command;
SELECT lives_ok($$INSERT INTO promotion (promotion, kind, value, use_limit, status) VALUES ('new', 'percent', 1, 1, 'draft')$$, 'a promotion that is new has no uses');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT throws_ok($$SELECT reserve_use('once', 'order 5', 3)$$, '55000', NULL, 'others need not be serializable');
COMMIT;
SELECT is(release_use('order 5'), 1);

-- forgotten reservations of several promotions
SELECT ok(reserve_use('once', 'order 6', 3, 4) AND reserve_use('few', 'order 6', 3, 4) AND reserve_use('code', 'order 6', 3, 4, 'single'));
SELECT is(commit_use('order 6'), 3);
SELECT ok(NOT reserve_use('few', 'order 7', 3, 4));
UPDATE promotion_use SET expires_at = now(), state = 'reserved' WHERE key = 'order 6' AND promotion <> 'once';
SELECT is(expire_uses(), 2, 'are released, what was committed is not');
SELECT is((SELECT uses FROM coupon WHERE coupon = 'SINGLE'), 0::bigint, 'with their coupon');

-- full and free again: the rules are not read anew for it
SELECT is((SELECT count(*) FROM quote(3, 'p')), 1::bigint);
SELECT built FROM cache_status() WHERE cache = 'price_rules' \gset
SELECT FROM reserve_use('few', 'order 8', 3, 4);
SELECT FROM quote(3, 'p');
SELECT is((SELECT built FROM cache_status() WHERE cache = 'price_rules'), :built::bigint, 'the last use that is taken leaves the rules in memory');
-- A product that a promotion names stays, and the promotion can be changed whatever becomes of it.
INSERT INTO product (product) VALUES ('named'), ('spared'), ('free');
INSERT INTO promotion (promotion, kind, value, products, except_products) VALUES ('names', 'percent', 10, '{named}', '{spared}');
SELECT throws_ok($$DELETE FROM product WHERE product = 'named'$$, '23503', 'product "named" is used by promotion "names"', 'it is not deleted');
SELECT throws_ok($$DELETE FROM product WHERE product IN ('spared', 'free')$$, '23503', 'product "spared" is used by promotion "names"', 'nor one that is spared');
SELECT throws_ok($$UPDATE product SET product = 'other' WHERE product = 'named'$$, '23503', 'product "named" is used by promotion "names"', 'nor renamed');
SELECT lives_ok($$UPDATE product SET name = 'A name' WHERE product = 'named'$$, 'but changed otherwise');
SELECT lives_ok($$DELETE FROM product WHERE product = 'free'$$, 'others are deleted');
SELECT throws_ok($$UPDATE promotion SET products = '{free}' WHERE promotion = 'names'$$, '23503', 'product "free" is not known', 'and cannot be named any more');
SET session_replication_role = replica;
DELETE FROM product WHERE product = 'named';
RESET session_replication_role;
SELECT lives_ok($$UPDATE promotion SET status = 'retired' WHERE promotion = 'names'$$, 'a promotion of what is gone all the same can be retired');

-- Arguments that nothing can be made of.
SELECT throws_ok($$SELECT reserve_use('few', 'k', hold => '999999 years')$$, '22023');
SELECT throws_ok($$SELECT expire_uses(max_rows => -1)$$, '22023');
SELECT throws_ok($$SELECT create_coupons('none', 1)$$, '23503', 'promotion ''none'' is not known', 'coupons of no promotion');
SELECT throws_ok($$SELECT quote(1, 'p', coupons => '{single,wrong b,Wrong A}')$$, '23503', 'coupon "Wrong A" is not known', 'the one coupon that is not known, or the first of them');
SELECT throws_ok($$SELECT quote(NULL, 'p', coupons => '{single,NULL}')$$, '23503', 'a coupon that is NULL is not known', 'no code');
SELECT is(lock_quote(NULL, 'p', coupons => '{ single}', key => 'same'), lock_quote(NULL, 'p', coupons => '{Single}', key => 'same'), 'case and spaces of a coupon do not matter');

-- A rule means the same in every session.
INSERT INTO segment (segment, rule) VALUES ('noon', $$extract(hour from created_at) = extract(hour from created_at at time zone 'Europe/Warsaw') AND created_at > '2026-02-01'$$);
SET timezone = 'Asia/Tokyo';
SET datestyle = 'SQL, DMY';
SELECT is((SELECT joined FROM refresh_segments('noon')), (SELECT count(*) FROM segment_input), 'dates and times are the company''s');
RESET timezone;
RESET datestyle;

-- what is deleted by hand counts no more
INSERT INTO promotion (promotion, kind, value, use_limit, needs_coupon) VALUES ('undone', 'percent', 10, 2, true);
INSERT INTO coupon (coupon, promotion, use_limit) VALUES ('UNDONE', 'undone', 3);
SELECT ok(bool_and(reserve_use('undone', 'undone ' || n, 3, n, 'undone')), 'used up') FROM generate_series(1, 2) AS n;
SELECT is(release_use('undone 1'), 1, 'one is given back');
SELECT ok(reserve_use('undone', 'undone 3', 3, 3, 'undone'), 'and used by another');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok($$DELETE FROM promotion_use WHERE promotion = 'undone'$$, '55000', NULL, 'not where others'' uses are not seen');
ROLLBACK;
DELETE FROM promotion_use WHERE promotion = 'undone' AND key <> 'undone 2';
SELECT is((SELECT ARRAY[total.uses, total.spent, coupon.uses] FROM promotion_total AS total JOIN coupon USING (promotion) WHERE promotion = 'undone'), '{1,2,1}', 'what is left is counted');
SELECT is((SELECT count(*) FROM promotion_used_up WHERE promotion = 'undone' AND until IS NULL), 0::bigint, 'and can be used');
SELECT * FROM finish();
