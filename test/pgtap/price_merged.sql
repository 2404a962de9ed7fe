-- A merge blames nobody for what was shown or locked before it, nor does a parting: who was one customer then counts.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(42);
INSERT INTO customer (customer_id) SELECT generate_series(1, 6);
INSERT INTO segment (segment) VALUES ('gold'), ('staff');
INSERT INTO segment_member (customer_id, segment, valid) VALUES (2, 'gold', '(,)'), (3, 'staff', '(,)');
INSERT INTO product (product) VALUES ('p');
SET LOCAL session_replication_role = replica;
INSERT INTO price_list (price_list, kind, priority, segments_any, active) VALUES ('base', 'base', 0, '{}', '{(,)}'), ('gold', 'sale', 1, '{gold}', '{(,)}'), ('staff', 'sale', 2, '{staff}', '{(,)}');
INSERT INTO price (price_list, product, amount, valid) VALUES ('base', 'p', 76, '(,)'), ('gold', 'p', 46, '(,)'), ('staff', 'p', 30, '(,)');
INSERT INTO promotion (promotion, kind, value, currency, customer_limit, needs_coupon, valid, active) VALUES ('once', 'amount', 1, default_currency(), 1, true, '(,)', '{(,)}');
INSERT INTO coupon (coupon, promotion, customer_id, valid) VALUES ('OWN', 'once', 4, '(,)'), ('ALL', 'once', NULL, '(,)');
SET LOCAL session_replication_role = origin;
SELECT now() - interval '2 hours' AS long_ago, now() - interval '1 hour' AS before \gset

-- shown, then merged
SELECT shown_price('app', 'p', 76, 1, at => :'before') \g /dev/null
SELECT shown_price('app', 'p', 76, 1, at => now() - interval '1 minute', place => 'wrong') \g /dev/null
SELECT lock_quote(1, 'p') AS quote_id \gset
SELECT merge_customers(1, 2) AS merge_id \gset
-- merged half an hour ago
UPDATE customer_merge SET merged_at = now() - interval '30 minutes' WHERE merge_id = :merge_id;
SELECT is((SELECT unit_price FROM quote(1, 'p', at => :'before')), 46.00, 'quote() knows one customer');
SELECT is(customer_group_at(1, :'before'), '{1}', 'before it, one alone');
SELECT is(customer_group_at(2, now()), '{1,2}', 'then both, asked of either');
SELECT is(customer_group_at(1, now() - interval '30 minutes'), '{1,2}', 'from its moment on');
SELECT is(customer_group_at(NULL, now()), '{}', 'none is none');
SELECT is(check_shown_prices(), 2::bigint, 'checked some time after');
SELECT results_eq($$SELECT price, expected, cause FROM shown_price ORDER BY shown_at$$, $$VALUES (76::numeric, 76.00, NULL::text), (76, 46.00, 'list price shown instead of the reduced one')$$,
	'before it the price of then was right, after it that of both');
SELECT results_eq($$SELECT shown, expected FROM report_price_divergence$$, $$VALUES (76::numeric, 46.00)$$, 'and is reported so');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), :'before'), $$VALUES (76.00, 'price of segment gold')$$, 'the price of both was nobody''s yet');
SELECT results_eq(format('SELECT expected, cause FROM check_shown_price(''p'', 99, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), :'before'), $$VALUES (76.00, 'not known')$$, 'what is wrong for both is told beside the price of then');
SELECT results_eq(format('SELECT expected, cause FROM check_shown_price(''p'', 76, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), now() - interval '30 minutes' + interval '50 seconds'),
	$$VALUES (76.00, NULL::text)$$, 'nor in the minute in which it was made');
SELECT results_eq(format('SELECT expected, cause FROM check_shown_price(''p'', 76, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), now() - interval '30 minutes' + interval '70 seconds'),
	$$VALUES (46.00, 'list price shown instead of the reduced one')$$, 'later it is');

-- locked, then merged
UPDATE locked_quote SET locked_at = :'before', inputs = inputs || jsonb_build_object('at', :'before'::timestamptz) WHERE quote_id = :quote_id;
UPDATE locked_quote SET digest = quote_digest(inputs, rules, result) WHERE quote_id = :quote_id;
SELECT results_eq(format('SELECT same, reason, (recomputed).unit_price FROM verify_quote(%s)', :quote_id),
	$$VALUES (true, 'the same price as before customers were merged or parted', 76.00)$$, 'a quote of before is the same');
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 77 WHERE price_list = 'base';
SET LOCAL session_replication_role = origin;
SELECT results_eq(format('SELECT same, (recomputed).unit_price, reason NOT LIKE ''%%segments%%'' FROM verify_quote(%s)', :quote_id), $$VALUES (false, 77.00, true)$$,
	'what else has changed is told beside the price of then');
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 76 WHERE price_list = 'base';
SET LOCAL session_replication_role = origin;
-- locked in the minute after the merge, for both
SELECT lock_quote(1, 'p') AS both \gset
UPDATE locked_quote SET locked_at = at, inputs = inputs || jsonb_build_object('at', at) FROM (SELECT now() - interval '30 minutes' + interval '10 seconds') AS merged (at) WHERE quote_id = :both;
UPDATE locked_quote SET digest = quote_digest(inputs, rules, result) WHERE quote_id = :both;
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 47 WHERE price_list = 'gold';
SET LOCAL session_replication_role = origin;
SELECT results_eq(format('SELECT same, (recomputed).unit_price, reason ~ ''segments|promotion'' FROM verify_quote(%s)', :both), $$VALUES (false, 47.00, false)$$,
	'what else has changed is told beside the price of both');
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 46 WHERE price_list = 'gold';
SET LOCAL session_replication_role = origin;

-- shown while they were one, then parted
SELECT lock_quote(2, 'p', hold => '3 hours') AS together \gset
UPDATE locked_quote SET locked_at = :'before', inputs = inputs || jsonb_build_object('at', :'before'::timestamptz) WHERE quote_id = :together;
UPDATE locked_quote SET digest = quote_digest(inputs, rules, result) WHERE quote_id = :together;
UPDATE customer_merge SET merged_at = :'long_ago' WHERE merge_id = :merge_id;
SELECT unmerge_customers(:merge_id) \g /dev/null
SELECT is(customer_group_at(1, :'before'), '{1,2}', 'they were one');
SELECT is(customer_group_at(1, now()), '{1}', 'until they were parted');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => :'before')), 76.00, 'quote() knows two');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), :'before'), $$VALUES (46.00, NULL::text)$$, 'the price of both was right');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), now() + interval '2 minutes'), $$VALUES (76.00, 'price of segment gold')$$, 'and is no more');
SELECT results_eq(format('SELECT same, reason FROM verify_quote(%s)', :together), $$VALUES (true, 'the same rules give the same price')$$, 'a quote of the one who has the segment');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', %s, %L)', default_currency(), :together, now() - interval '5 minutes'), $$VALUES (46.00, NULL::text)$$,
	'which the other one had too');
-- as long as the parting, or the merge before it, was under way
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 45 WHERE price_list = 'gold';
SET LOCAL session_replication_role = origin;
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', %s, %L)', default_currency(), :together, now() + interval '10 seconds'), $$VALUES (46.00, NULL::text)$$,
	'and may have had still');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 46, 1, 1, ''%s'', ''{}'', %s, %L)', default_currency(), :together, now() + interval '2 minutes'),
	$$VALUES (76.00, 'locked quote ' || currval(pg_get_serial_sequence('locked_quote', 'quote_id')) || ' is for another customer, product, quantity or currency')$$, 'and not later');
SET LOCAL session_replication_role = replica;
UPDATE price SET amount = 46 WHERE price_list = 'gold';
SET LOCAL session_replication_role = origin;
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 76, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), :'long_ago'::timestamptz + interval '10 seconds'), $$VALUES (76.00, NULL::text)$$,
	'one alone before as after');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 76, 1, 1, ''%s'', ''{}'', NULL, %L)', default_currency(), :'long_ago'::timestamptz + interval '70 seconds'),
	$$VALUES (46.00, 'list price shown instead of the reduced one')$$, 'and not in between');
UPDATE locked_quote SET customer_id = 1, inputs = inputs || '{"customer_id": 1}' WHERE quote_id = :together;
UPDATE locked_quote SET digest = quote_digest(inputs, rules, result) WHERE quote_id = :together;
SELECT results_eq(format('SELECT same, reason, (recomputed).unit_price FROM verify_quote(%s)', :together),
	$$VALUES (true, 'the same price as before customers were merged or parted', 46.00)$$, 'and of the one who had it by the other');

-- a chain, with coupons and limits of their own
SELECT merge_customers(4, 5) AS first_merge \gset
SELECT merge_customers(3, 4) AS second_merge \gset
UPDATE customer_merge SET merged_at = :'long_ago' WHERE merge_id = :first_merge;
SELECT is(customer_group_at(5, :'before'), '{4,5}', 'merged one after the other');
SELECT is(customer_group_at(5, now()), '{3,4,5}', 'all of them');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 75, 5, 1, ''%s'', ''{own}'', NULL, %L)', default_currency(), :'before'), $$VALUES (75.00, NULL::text)$$, 'with the coupon of one');
SELECT is((SELECT unit_price FROM quote_unseen(3, 'p', 1, default_currency(), :'before', '{OWN}', '{}', '{3}')), 30.00, 'which was not another''s');
SELECT is((SELECT unit_price FROM quote_unseen(3, 'p', 1, default_currency(), :'before', '{OWN}', '{}')), 29.00, 'and is now');
SELECT is((SELECT unit_price FROM quote_unseen(5, 'p', 1, default_currency(), :'before', '{ALL}', '{}', '{}')), 75.00, 'nobody has nothing');
INSERT INTO promotion_use (key, promotion, customer_id, amount, state, reserved_at, expires_at) VALUES ('k', 'once', 3, 1, 'committed', :'long_ago', now());
SELECT is((SELECT unit_price FROM quote(5, 'p', at => :'before', coupons => '{ALL}')), 30.00, 'a limit that is reached together');
SELECT results_eq(format('SELECT * FROM check_shown_price(''p'', 75, 5, 1, ''%s'', ''{ALL}'', NULL, %L)', default_currency(), :'before'), $$VALUES (75.00, NULL::text)$$, 'had not been by one');
-- after what was made of the same customers since the transaction began, also by a clock that was ahead
SELECT merge_customers(1, 2) AS merge_id \gset
SELECT clock_timestamp() AS meanwhile \gset
UPDATE customer_merge SET merged_at = :'meanwhile' WHERE merge_id = :merge_id;
ALTER TABLE customer ALTER customer_id RESTART WITH 101;
SELECT log_contact('email', thread => 'T', direction => 'inbound') \g /dev/null
SELECT log_contact('email', customer_id => 2, thread => 'T', direction => 'inbound') \g /dev/null
SELECT results_eq(format('SELECT reason, merged_at > %L FROM customer_merge WHERE merge_id > %s', :'meanwhile', :merge_id), $$VALUES ('named later in the conversation', true)$$, 'who turned out later to be one of them');
SELECT merge_customers(6, 1) AS third_merge \gset
SELECT ok(merged_at > (SELECT max(merged_at) FROM customer_merge WHERE merge_id < :third_merge), 'merged once more') FROM customer_merge WHERE merge_id = :third_merge;
UPDATE customer_merge SET merged_at = now() + interval '1 hour' WHERE merge_id = :third_merge;
SELECT unmerge_customers(:merge_id) \g /dev/null
SELECT is(unmerged_at, now() + interval '1 hour', 'parted after all of it') FROM customer_merge WHERE merge_id = :merge_id;
SELECT is(merge_moment('{5,99,NULL}'), now(), 'of others from the start of the transaction');
SELECT throws_ok(format('UPDATE customer_merge SET unmerged_at = merged_at - interval ''1 second'' WHERE merge_id = %s', :merge_id), '23514', NULL, 'never before it');
-- parted while one of them was being merged with others: these had not come yet
INSERT INTO customer (customer_id) SELECT generate_series(11, 13);
INSERT INTO customer_merge (kept_id, duplicate_id, merged_at, unmerged_at, unmerged_by) VALUES
	(11, 12, :'long_ago', :'before', 'x'), (12, 13, :'before'::timestamptz - interval '20 seconds', now(), 'x');
SELECT set_eq(format('SELECT former_groups(11, %L)', :'before'::timestamptz + interval '10 seconds'), $$VALUES ('{11,12}'::bigint[]), ('{11,12,13}')$$,
	'one with those before the other merge');
SELECT throws_ok('SELECT former_groups(99, now())', '23503', NULL, 'unknown');
SELECT * FROM finish();
ROLLBACK;
