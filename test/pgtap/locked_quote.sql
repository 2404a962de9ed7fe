-- Quotes that hold, and that can be checked.
BEGIN;
SELECT plan(52);
SET LOCAL search_path = omnichannel, public;
CREATE ROLE locker;
SELECT grant_access('locker', 'app');
INSERT INTO customer (customer_id, name) VALUES (1, 'Ada'), (2, 'Ada again');
INSERT INTO segment (segment) VALUES ('club'), ('other');
INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
INSERT INTO product (product, parent, category, tax_rate) VALUES ('tee', NULL, 'Wear.Tops', 23), ('tee.xl', 'tee', NULL, NULL);
INSERT INTO price_list (price_list, kind, segments_any) VALUES ('retail', 'base', '{}'), ('club sale', 'sale', '{club}');
INSERT INTO price (price_id, price_list, product, amount) VALUES (101, 'retail', 'tee', 100);
INSERT INTO price (price_id, price_list, category, adjust) VALUES (102, 'club sale', 'Wear', -20);
INSERT INTO promotion (promotion, kind, value, needs_coupon) VALUES ('tenth', 'percent', 10, true);
INSERT INTO coupon (coupon, promotion, use_limit) VALUES ('ONCE', 'tenth', 1);

SET LOCAL ROLE locker;
SELECT lock_quote(1, 'tee.xl', 2, hold => '1 hour', key => 'basket 1') AS first \gset
SELECT is((locked_quote(1, :first)).unit_price, 80.00, 'the price of quote()');
SELECT is((locked_quote(1, :first)).line_total, 160.00, 'of the line');
SELECT is((locked_quote(1, :first)).valid_until, now() + interval '1 hour', 'until the lock ends');
SELECT is(lock_quote(1, 'tee.xl', 2, hold => '1 hour', key => 'basket 1'), :first::bigint, 'the same key is the same quote');
SELECT throws_ok($$SELECT lock_quote(1, 'tee.xl', 3, key => 'basket 1')$$, '23505', NULL, 'a key of another question');
SELECT results_eq('SELECT quote_id, unit_price FROM locked_quotes(1)', format('VALUES (%s::bigint, 80.00)', :first), 'what holds for the customer');
SELECT results_eq(format('SELECT same, reason, changes FROM verify_quote(%s)', :first), $$VALUES (true, 'the same rules give the same price', '{}'::text[])$$, 'verified');
SELECT lock_quote(NULL, 'tee') AS anonymous \gset
SELECT is((locked_quote(NULL, :anonymous)).unit_price, 100.00, 'for a visitor');
SELECT lock_quote(NULL, 'tee', coupons => '{ once}') AS coupon \gset
SELECT is((locked_quote(2, :coupon)).unit_price, 90.00, 'with a coupon');
SELECT is(same, true, 'verified with its coupon') FROM verify_quote(:coupon);

-- a number is not enough for what was locked for a customer
SELECT throws_ok(format('SELECT locked_quote(%s, %s)', who, :first), '23503', NULL, who) FROM unnest('{NULL,2,99}'::text[]) WITH ORDINALITY AS asks (given, n),
	LATERAL (SELECT coalesce(given, 'NULL') AS who) AS named;
RESET ROLE;
SELECT merge_customers(2, 1, 'the same') AS merge_id \gset
SET LOCAL ROLE locker;
SELECT is((locked_quote(2, :first)).unit_price, 80.00, 'the same customer by another number');
RESET ROLE;
SELECT unmerge_customers(:merge_id) \g /dev/null
SET LOCAL ROLE locker;

-- bad input
SELECT throws_ok(format('SELECT locked_quote(1, %s, NULL)', :first), '22023', 'at must not be NULL', 'no moment is none at which it holds');
SELECT throws_ok($$SELECT lock_quote(1, 'nothing')$$, '23503', NULL, 'unknown product');
SELECT throws_ok($$SELECT lock_quote(99, 'tee')$$, '23503', NULL, 'unknown customer');
SELECT throws_ok($$SELECT lock_quote(1, 'tee', 0)$$, '22023', NULL, 'no quantity');
SELECT throws_ok($$SELECT lock_quote(1, 'tee', currency => 'EUR')$$, '55000', NULL, 'no price');
SELECT throws_ok($$SELECT lock_quote(1, 'tee', hold => '0')$$, '22023', NULL, 'no time');
SELECT throws_ok($$SELECT lock_quote(1, 'tee', hold => '11 years')$$, '22023', NULL, 'too much time');
SELECT throws_ok($$SELECT lock_quote(1, 'tee', key => '')$$, '22023', NULL, 'empty key');
SELECT throws_ok($$SELECT locked_quote(1, -1)$$, '23503', NULL, 'unknown quote');
SELECT throws_ok($$SELECT verify_quote(-1)$$, '23503', NULL, 'unknown quote');
SELECT throws_ok(format('SELECT locked_quote(1, %s, now() + interval ''1 hour'')', :first), '55000', NULL, 'over');
SELECT throws_ok($$UPDATE locked_quote SET unit_price = 1$$, '42501', NULL, 'nobody changes it');
RESET ROLE;

-- Rules of that time that read otherwise now. (The guard of the past is put aside.)
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 120 WHERE price_id = 101;
SELECT is((locked_quote(1, :first)).unit_price, 80.00, 'honoured although the price has changed');
SELECT results_eq(format('SELECT same, changes, (recomputed).unit_price FROM verify_quote(%s)', :first),
	$$VALUES (false, '{"price 101 has changed: amount from 100 to 120"}'::text[], 96.00)$$, 'says which rule has changed');
UPDATE price SET amount = 100 WHERE price_id = 101;
INSERT INTO price (price_id, price_list, product, amount, min_quantity) VALUES (103, 'retail', 'tee', 90, 5);
SELECT results_eq(format('SELECT same, changes FROM verify_quote(%s)', :first), $$VALUES (true, '{"price 103 is new"}'::text[])$$, 'a rule that does not matter');
DELETE FROM price WHERE price_id IN (102, 103);
SELECT ok(NOT same AND 'price 102 is gone' = ANY (changes) AND reason LIKE '%price 102 is gone%', 'a rule that is gone') FROM verify_quote(:first);
INSERT INTO price (price_id, price_list, category, adjust) VALUES (102, 'club sale', 'Wear', -20);
UPDATE segment_member SET segment = 'other';
SELECT results_eq(format('SELECT same, changes FROM verify_quote(%s)', :first),
	$$VALUES (false, '{"the customer''s segments at that time have changed from {club} to {other}"}'::text[])$$, 'the customer''s segments');
UPDATE segment_member SET segment = 'club';
UPDATE coupon SET uses = 1;
SELECT ok(NOT same AND 'coupon ONCE has been used since' = ANY (changes), 'the coupon: ' || reason) FROM verify_quote(:coupon);
SELECT is(changes, '{coupon ONCE has been used since,promotion tenth no longer takes part: coupon missing}', 'and what that did') FROM verify_quote(:coupon);
UPDATE coupon SET uses = 0, customer_id = 2;
SELECT is(changes, '{promotion tenth no longer takes part: coupon missing}', 'a coupon that is somebody else''s now') FROM verify_quote(:coupon);
UPDATE coupon SET customer_id = NULL;
DELETE FROM price WHERE price_id = 101;
SELECT is(changes[2], 'promotion tenth no longer takes part: there is no price', 'a promotion of nothing') FROM verify_quote(:coupon);
INSERT INTO price (price_id, price_list, product, amount) VALUES (101, 'retail', 'tee', 100);
INSERT INTO promotion (promotion, kind, value, priority, exclusive, active) VALUES ('more', 'percent', 30, 1, true, '{(,)}');
SELECT is(changes @> '{promotion more takes part now,promotion tenth no longer takes part: excluded by more}', true, 'one that another one ends: ' || reason) FROM verify_quote(:coupon);
DELETE FROM promotion WHERE promotion = 'more';
-- What does not concern the product any more, or did not before, is neither gone nor new.
CREATE FUNCTION public.changes(quote_id bigint) RETURNS text[] LANGUAGE sql STABLE RETURN (SELECT changes FROM omnichannel.verify_quote(quote_id));
UPDATE price_list SET created_at = now() - interval '1 year';
UPDATE product SET created_at = now() - interval '1 year';
DELETE FROM price WHERE price_id = 102;
SELECT is(public.changes(:first), '{price 102 is gone}', 'a list stands without its prices');
INSERT INTO price (price_id, price_list, category, adjust) VALUES (102, 'club sale', 'Other', -20);
SELECT is(public.changes(:first), '{"price 102 has changed: category from Wear to Other, category_path from Wear to Other"}', 'a price that is for others now');
UPDATE price SET category = 'Wear' WHERE price_id = 102;
INSERT INTO price_list (price_list, created_at) VALUES ('old', now() - interval '1 year'), ('new', now());
INSERT INTO price (price_id, price_list, product, amount, min_quantity) VALUES (104, 'old', 'tee', 90, 50);
SELECT is(public.changes(:first), '{price 104 is new}', 'a first price in a list that there was');
UPDATE price SET created_at = now() - interval '1 day' WHERE price_id = 104;
SELECT is(public.changes(:first), '{price 104 concerns the product now}', 'a price that was for others');
UPDATE price SET price_list = 'new' WHERE price_id = 104;
SELECT is(public.changes(:first), '{price 104 concerns the product now,price list new is new}', 'and one in a new list');
DELETE FROM price WHERE price_id = 104;
UPDATE price_list SET priority = 3 WHERE price_list = 'club sale';
DELETE FROM price WHERE price_id = 102;
SELECT is(public.changes(:first), '{price 102 is gone,price list club sale has changed: priority from 0 to 3}', 'a list that is another one now');
UPDATE price_list SET priority = 0 WHERE price_list = 'club sale';
INSERT INTO price (price_id, price_list, category, adjust) VALUES (102, 'club sale', 'Wear', -20);
INSERT INTO product (product, parent, category, created_at) VALUES ('tee.x', 'tee', 'Wear', now() - interval '1 year');
UPDATE product SET parent = 'tee.x' WHERE product = 'tee.xl';
SELECT is(public.changes(:first), '{product tee.x concerns the product now,product tee.xl has changed: parent from tee to tee.x}', 'an ancestor');
UPDATE product SET parent = NULL, category = 'Wear' WHERE product = 'tee.xl';
SELECT is(public.changes(:first), '{price 101 concerns the product no more,product tee concerns the product no more,"product tee.xl has changed: category from NULL to Wear, parent from tee to NULL"}', 'and one that it has no more');
UPDATE product SET parent = 'tee', category = NULL WHERE product = 'tee.xl';
UPDATE price SET valid = tstzrange(now() + interval '1 day', NULL) WHERE price_id = 101;
INSERT INTO price (price_id, price_list, product, amount, valid) VALUES (105, 'retail', 'tee', 100, tstzrange(now(), now() + interval '1 day'));
SELECT is(public.changes(:first), '{}', 'a price that keeps its past under another number');
DELETE FROM price WHERE price_id = 105;
UPDATE price SET valid = tstzrange(now(), NULL) WHERE price_id = 101;
UPDATE locked_quote SET valid_until = valid_until + interval '9 years' WHERE quote_id = :first;
SELECT results_eq(format('SELECT same, reason FROM verify_quote(%s)', :first), $$VALUES (false, 'the record of the quote was altered after it was made')$$, 'held for longer');
UPDATE locked_quote SET valid_until = valid_until - interval '9 years' WHERE quote_id = :first;
UPDATE locked_quote SET line_total = 1 WHERE quote_id = :first;
SELECT results_eq(format('SELECT same, reason FROM verify_quote(%s)', :first), $$VALUES (false, 'the record of the quote was altered after it was made')$$, 'altered');
UPDATE locked_quote SET line_total = 160, result = jsonb_set(result, '{unit_price}', '1') WHERE quote_id = :first;
SELECT is(same, false, 'its result altered') FROM verify_quote(:first);
SET LOCAL session_replication_role = origin;

-- no channel resolves
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'omnichannel'::regnamespace AND 'channel' = ANY (proargnames)
	AND proname ~ 'quote|price' AND proname <> 'shown_price'$$, 'no function that answers a price takes a channel');
-- merged customers share what was locked
INSERT INTO customer (customer_id, merged_into) VALUES (3, 2);
SELECT lock_quote(3, 'tee', key => 'three') AS third \gset
SELECT is((SELECT count(*) FROM locked_quotes(2)), 1::bigint, 'of a merged customer');
SELECT is((SELECT count(*) FROM locked_quotes(1)), 1::bigint, 'not of others');
-- Who belongs together is found out once, not for each row, whatever the plan.
INSERT INTO segment_member (customer_id, segment) VALUES (2, 'club'), (2, 'other'), (3, 'other');
SET LOCAL track_functions = 'all';
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_indexonlyscan = off;
DISCARD PLANS;
SELECT coalesce(pg_stat_get_xact_function_calls('customer_group(bigint)'::regprocedure), 0) AS calls \gset
SELECT quote_segments_of(3, now()) \g /dev/null
SELECT is(pg_stat_get_xact_function_calls('customer_group(bigint)'::regprocedure) - :calls, 1::bigint, 'in one call');
SELECT * FROM finish();
ROLLBACK;
