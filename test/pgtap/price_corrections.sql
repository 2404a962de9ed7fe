-- The past answers as it did, or price_correction says why not. Each statement is a transaction of its own.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(72);
-- what was corrected since the last call
CREATE TEMP TABLE told (correction_id bigint);
CREATE FUNCTION pg_temp.corrected() RETURNS text[] LANGUAGE sql AS $$
	WITH fresh AS (INSERT INTO told SELECT correction_id FROM omnichannel.price_correction EXCEPT SELECT correction_id FROM told RETURNING correction_id)
	SELECT coalesce(array_agg(format('%s %s', relation, CASE WHEN before IS NULL THEN 'inserted' WHEN after IS NULL THEN 'deleted' ELSE 'updated' END)
		ORDER BY correction_id), '{}') FROM fresh JOIN omnichannel.price_correction USING (correction_id)
$$;
INSERT INTO customer (customer_id, name) VALUES (1, 'Ada'), (2, 'Ada');
INSERT INTO segment (segment) VALUES ('club');
INSERT INTO product (product) VALUES ('p'), ('q');
INSERT INTO price_list (price_list, kind) VALUES ('b', 'base'), ('s', 'sale');
SELECT now() AS before \gset
INSERT INTO price (price_list, product, amount) VALUES ('b', 'p', 100.55), ('b', 'q', 50);
SELECT is((SELECT reason FROM quote(NULL, 'p', at => :'before')), 'no price list has a price for it yet', 'a price answers for no moment before it was');
SELECT now() AS t \gset
SELECT lock_quote(1, 'p') AS quote_id \gset

-- what is new begins now
INSERT INTO price (price_list, product, amount) VALUES ('s', 'p', 70);
INSERT INTO promotion (promotion, kind, value) VALUES ('all', 'percent', 50);
INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
SELECT is((SELECT unit_price FROM quote(1, 'p')), 35.00, 'new rows hold');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => :'t')), 100.55, 'but did not then');
SELECT is((SELECT lowest_price FROM lowest_price('p')), 70.00, 'nor for the lowest price');
SELECT is((SELECT reason FROM verify_quote(:quote_id)), 'the same rules give the same price', 'nor for a quote of then');
SELECT is(pg_temp.corrected(), '{}', 'which corrects nothing');
UPDATE price SET amount = 80 WHERE price_list = 's';
UPDATE price SET amount = 60 WHERE price_list = 's' AND upper_inf(valid);
SELECT is(pg_temp.corrected(), '{}', 'nor do new amounts');
SELECT is((SELECT array_agg(amount ORDER BY valid) FROM price WHERE price_list = 's'), '{70,80,60}', 'each with its time');
BEGIN;
UPDATE price SET amount = 61 WHERE price_list = 's' AND upper_inf(valid);
UPDATE price SET amount = 62 WHERE price_list = 's' AND upper_inf(valid);
COMMIT;
SELECT is((SELECT array_agg(amount ORDER BY valid) FROM price WHERE price_list = 's'), '{70,80,60,62}', 'what nobody saw is none');

-- what is said to have been
INSERT INTO price (price_list, product, amount, min_quantity, valid) VALUES ('s', 'p', 55, 5, '(,)');
SELECT is(pg_temp.corrected(), '{price inserted}', 'a price of before');
INSERT INTO promotion (promotion, kind, value, valid) VALUES ('past', 'percent', 1, '[2020-01-01,2021-01-01)');
INSERT INTO segment_member (customer_id, segment, valid) VALUES (2, 'club', '(,2021-01-01)');
INSERT INTO coupon (coupon, promotion, valid) VALUES ('PAST', 'all', '(,2021-01-01)');
SELECT is(pg_temp.corrected(), '{promotion inserted,segment_member inserted,coupon inserted}', 'a promotion, a membership, a coupon');
INSERT INTO price_list (price_list, status) VALUES ('draft', 'draft');
INSERT INTO price (price_list, product, amount, valid) VALUES ('draft', 'p', 1, '(,)');
SELECT is(pg_temp.corrected(), '{}', 'not the prices of a list that never answered');
UPDATE price SET amount = 71 WHERE amount = 70;
UPDATE price SET valid = tstzrange(now() - interval '1 day', upper(valid)) WHERE amount = 71;
DELETE FROM price WHERE amount = 71;
SELECT is(pg_temp.corrected(), '{price updated,price updated,price deleted}', 'other amounts and times of before');
UPDATE price SET created_at = now() WHERE amount = 80;
BEGIN;
UPDATE price SET created_at = now() WHERE amount = 80;
UPDATE price SET amount = 81 WHERE amount = 80;
DELETE FROM price WHERE amount = 81;
COMMIT;
SELECT is(pg_temp.corrected(), '{price updated,price deleted}', 'however young it claims to be');
UPDATE promotion SET value = 40 WHERE promotion = 'all';
UPDATE promotion SET customer_limit = 3 WHERE promotion = 'all';
UPDATE price_list SET priority = 3 WHERE price_list = 's';
SELECT is(pg_temp.corrected(), '{promotion updated,promotion updated,price_list updated}', 'what there is one state of');
UPDATE promotion SET name = 'All', use_limit = 100 WHERE promotion = 'all';
UPDATE price_list SET name = 'Base' WHERE price_list = 'b';
SELECT is(pg_temp.corrected(), '{}', 'names and limits of the future are none');

-- settings, coupons and merges
UPDATE product SET min_price = 1 WHERE product = 'q';
UPDATE currency SET minor_units = 3 WHERE currency = 'PLN';
UPDATE currency SET minor_units = 2 WHERE currency = 'PLN';
UPDATE company SET rounding = 'half_even';
UPDATE omnibus_rule SET lookback_days = 60 WHERE country = 'DE';
UPDATE omnibus_rule SET source = 'read again' WHERE country = 'DE';
SELECT is(pg_temp.corrected(), '{product updated,currency updated,currency updated,company updated,omnibus_rule updated}', 'products and settings');
INSERT INTO coupon (coupon, promotion) VALUES ('NEW', 'all');
SELECT is(pg_temp.corrected(), '{}', 'a new coupon');
SELECT pg_sleep(0.001);
UPDATE coupon SET valid = tstzrange(now(), NULL) WHERE coupon = 'NEW';
SELECT ok(reserve_use('all', 'order 1', 1, 1, 'new'));
DELETE FROM promotion_use WHERE key = 'order 1';
SELECT pg_sleep(0.001);
DELETE FROM coupon WHERE coupon = 'NEW';
SELECT is(pg_temp.corrected(), '{coupon updated,promotion_use deleted,coupon deleted}', 'coupons and uses that go');
SELECT ok(reserve_use('all', 'order 2', 1, 1));
SELECT release_use('order 2') \g /dev/null
SELECT is(pg_temp.corrected(), '{}', 'a use that is released was one');
SELECT reserve_use('all', 'order 2', 1, 1), commit_use('order 2'), pg_sleep(0.001) \g /dev/null
SELECT is(pg_temp.corrected(), '{}', 'one whose key reserves again stays as it was');
UPDATE promotion_use SET reserved_at = '2020-01-01' WHERE former = 0;
UPDATE promotion_use SET released_at = now(), state = 'released' WHERE former = 0;
UPDATE promotion_use SET released_at = '2020-01-02' WHERE former = 0;
INSERT INTO promotion_use (key, promotion, amount, reserved_at, expires_at) VALUES ('old', 'all', 1, '2020-01-01', '2020-01-02');
SELECT is(pg_temp.corrected(), '{promotion_use updated,promotion_use updated,promotion_use inserted}', 'one that was not, or at another time, is noted');
INSERT INTO promotion_used_up (promotion, since) VALUES ('all', now() - interval '1 day');
UPDATE promotion_used_up SET until = now();
UPDATE promotion_used_up SET since = since - interval '1 day';
UPDATE promotion_used_up SET until = since + interval '1 hour';
DELETE FROM promotion_used_up;
SELECT is(pg_temp.corrected(), '{promotion_used_up inserted,promotion_used_up updated,promotion_used_up updated,promotion_used_up deleted}', 'as is when nothing was left');
DELETE FROM promotion_use;
UPDATE company SET currency = 'EUR';
UPDATE company SET currency = 'PLN';
INSERT INTO omnibus_rule (country, time_zone) VALUES ('CH', 'Europe/Zurich');
SELECT is(pg_temp.corrected(), '{promotion_use deleted,promotion_use deleted,promotion_use deleted,company updated,company updated,omnibus_rule inserted}', 'the currency of those who name none, and rules that are new');
SELECT merge_customers(1, 2, 'the same') AS merge_id \gset
SELECT is(pg_temp.corrected(), '{customer updated}', 'a merge');
SELECT results_eq($$SELECT before, after FROM price_correction WHERE relation = 'customer'$$,
	$$VALUES ('{"customer_id": 2, "merged_into": null}'::jsonb, '{"customer_id": 2, "merged_into": 1}'::jsonb)$$, 'of which no more than the numbers is noted');
SELECT unmerge_customers(:merge_id);
SELECT is(pg_temp.corrected(), '{customer updated}', 'and its end');
BEGIN;
TRUNCATE segment_member;
SELECT is(pg_temp.corrected(), '{segment_member deleted,segment_member deleted}', 'rows that are truncated');
TRUNCATE price CASCADE;
SELECT is(cardinality(pg_temp.corrected()), 6, 'of prices too');
ROLLBACK;

-- derived lists
SELECT pg_temp.corrected();
INSERT INTO price_list (price_list, kind, priority, derived_from, derived_adjust) VALUES ('d', 'override', 9, 'b', -10);
SELECT is(pg_temp.corrected(), '{price_list inserted}', 'a list that is derived has the past of the other');
SELECT now() AS at_90 \gset
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_90')), 45.00, 'it takes a tenth off');
UPDATE price_list SET derived_adjust = -50 WHERE price_list = 'd';
SELECT is((SELECT list_price FROM quote(NULL, 'q')), 25.00, 'a half');
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_90')), 45.00, 'which was a tenth then');
UPDATE price SET amount = 60 WHERE price_list = 'b' AND product = 'q';
SELECT is((SELECT list_price FROM quote(NULL, 'q')), 30.00, 'of another price');
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_90')), 45.00, 'which was another then');
SELECT is((SELECT array_agg(amount ORDER BY valid) FROM price WHERE price_list = 'd' AND product = 'q'), '{45,25,30}', 'all of it stays');
-- a list derived from a derived one
INSERT INTO price_list (price_list, kind, priority, derived_from, derived_surcharge) VALUES ('e', 'override', 10, 'd', 1);
SELECT now() AS at_31 \gset
UPDATE price SET amount = 80 WHERE price_list = 'b' AND product = 'q' AND upper_inf(valid);
SELECT is((SELECT list_price FROM quote(NULL, 'q')), 41.00, 'two steps');
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_31')), 31.00, 'keep their past');
INSERT INTO price (price_list, product, amount, valid) VALUES ('b', 'q', 90, tstzrange(now() - interval '2 days', now() - interval '1 day'));
SELECT is((SELECT count(*) FROM price WHERE price_list IN ('d', 'e') AND amount IN (45.5, 46.5)), 0::bigint, 'and take no other from a list that is corrected');
SELECT is(pg_temp.corrected(), '{price_list inserted,price inserted}', 'only that is noted');
-- what says since when is kept, whatever is written there, and what is written as it was changes nothing
BEGIN;
UPDATE price_list SET created_at = now() WHERE price_list = 'e';
UPDATE price_list SET derived_adjust = -60 WHERE price_list = 'e';
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_31')), 31.00, 'no list claims to be new');
ROLLBACK;
BEGIN;
UPDATE price_list SET created_at = '2100-01-01' WHERE price_list = 'e';
UPDATE price_list SET derived_adjust = -60 WHERE price_list = 'e';
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_31')), 31.00, 'nor one to come');
ROLLBACK;
SELECT array_agg(price ORDER BY price) AS rows FROM price WHERE price_list IN ('d', 'e') \gset
UPDATE price_list SET derived_since = now(), derived_from = derived_from, derived_adjust = derived_adjust, currency = currency WHERE price_list IN ('d', 'e');
UPDATE price_list SET derived_since = NULL WHERE price_list = 'd';
SELECT lives_ok($$UPDATE price_list SET tax_inclusive = tax_inclusive$$, 'all can be set to what it is');
SELECT is((SELECT array_agg(price ORDER BY price)::text FROM price WHERE price_list IN ('d', 'e')), :'rows', 'which writes no price anew');
BEGIN;
UPDATE price SET amount = 70 WHERE price_list = 'b' AND product = 'q' AND upper_inf(valid);
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_31')), 31.00, 'nor moves where the past ends');
ROLLBACK;
SELECT is(pg_temp.corrected(), '{}', 'none of it corrects anything');
-- by hand
SELECT throws_ok($$UPDATE price SET amount = 1 WHERE price_list = 'd' AND product = 'q'$$, '23514', NULL, 'a derived price is not changed by hand');
SELECT throws_ok($$DELETE FROM price WHERE price_list = 'd'$$, '23514', NULL, 'nor deleted');
SELECT throws_ok($$INSERT INTO price (price_list, product, amount, min_quantity, source_price) SELECT 'd', 'q', 3, 7, price_id FROM price WHERE price_list = 'b' AND product = 'q' LIMIT 1$$,
	'23514', NULL, 'nor written');
SELECT throws_ok($$UPDATE price SET source_price = (SELECT min(price_id) FROM price WHERE price_list = 'b') WHERE price_list = 's' AND min_quantity = 5$$,
	'23514', NULL, 'nor made one');
SELECT throws_ok($$SELECT insert_derived_prices('{d}', NULL)$$, '23P01', NULL, 'nor by what the triggers call');
CREATE TABLE public.lever (n integer);
CREATE FUNCTION public.lift() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE omnichannel.price SET amount = 1 WHERE price_list = 'd'; RETURN NULL; END $$;
CREATE TRIGGER lift AFTER INSERT ON public.lever FOR EACH ROW EXECUTE FUNCTION public.lift();
SELECT throws_ok($$INSERT INTO public.lever VALUES (1)$$, '23514', NULL, 'nor by a trigger of somebody else''s');
DROP TABLE public.lever;
DROP FUNCTION public.lift();
SELECT throws_ok($$CREATE TEMP TABLE mine (price_id bigint); CREATE TRIGGER mine AFTER INSERT ON mine EXECUTE FUNCTION write_prices('derive_prices'); INSERT INTO mine VALUES (1)$$,
	'39P01', NULL, 'nor by their trigger function elsewhere');
SELECT is(pg_temp.corrected(), '{}');
-- derived no more, and again
UPDATE price_list SET derived_from = NULL, derived_surcharge = NULL WHERE price_list = 'e';
SELECT is((SELECT price_list FROM quote(NULL, 'q')), 'd', 'derived no more: no prices from now on');
SELECT is((SELECT list_price FROM quote(NULL, 'q', at => :'at_31')), 31.00, 'those of before stay');
INSERT INTO price (price_list, product, amount) VALUES ('e', 'q', 7);
SELECT throws_ok($$UPDATE price_list SET derived_from = 'd' WHERE price_list = 'e'$$, '23514', NULL, 'prices of its own');
UPDATE price SET valid = tstzrange(lower(valid), now()) WHERE price_list = 'e' AND upper_inf(valid);
UPDATE price_list SET derived_from = 'd' WHERE price_list = 'e';
SELECT is((SELECT list_price FROM quote(NULL, 'q')), 40.00, 'that ended are in nobody''s way');
SELECT is(pg_temp.corrected(), '{}', 'corrects nothing, as only the time from now on is written');
UPDATE price SET amount = 32 WHERE price_list = 'e' AND amount = 7;
SELECT is(pg_temp.corrected(), '{price updated}', 'they are corrected like any other');
DELETE FROM price WHERE price_list = 'b' AND product = 'q';
SELECT is((SELECT count(*) FROM price WHERE price_list IN ('d', 'e') AND product = 'q' AND source_price IS NOT NULL), 0::bigint, 'with its source goes all that was made of it');
SELECT ok(pg_temp.corrected() @> '{price deleted}', 'which is noted');

-- what the triggers write is noted by nobody's right but the writer's
CREATE ROLE price_writer;
SELECT grant_access('price_writer', 'supervisor');
SET ROLE price_writer;
SELECT lives_ok($$UPDATE price SET amount = 101 WHERE price_list = 'b' AND product = 'p'$$);
SELECT lives_ok($$UPDATE price_list SET priority = 4 WHERE price_list = 's'$$);
SELECT throws_ok($$INSERT INTO price_correction (relation, key, after) VALUES ('price', '1', '{}')$$, '42501', NULL, 'nobody says by hand what was corrected');
SELECT throws_ok($$INSERT INTO price_change DEFAULT VALUES$$, '42501', NULL, 'nor what was under way');
CREATE TEMP TABLE mine (price_id bigint, valid tstzrange);
CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION note_correction('price_id');
SELECT throws_ok($$INSERT INTO mine VALUES (1, '(,)')$$, '39P01', NULL, 'nor by a trigger elsewhere');
DROP TRIGGER mine ON mine;
CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION note_change();
SELECT throws_ok($$INSERT INTO mine VALUES (1, '(,)')$$, '39P01', NULL, 'of either kind');
DROP TABLE mine;
RESET ROLE;
SELECT results_eq($$SELECT corrected_by, key FROM price_correction WHERE correction_id NOT IN (SELECT correction_id FROM told)$$,
	format('VALUES (%L, %L)', session_user, 's'), 'what it may change is noted for it');
SELECT pg_temp.corrected();
SELECT revoke_access('price_writer');
DROP ROLE price_writer;
SELECT is(pg_temp.corrected(), '{}');
SELECT * FROM finish();
