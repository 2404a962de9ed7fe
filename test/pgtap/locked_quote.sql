-- Quotes that hold, what channels have shown, and the past that stays.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(19);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO product (product, tax_rate) VALUES ('p', 23), ('none', NULL);
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount, created_at) VALUES ('list', 'p', 100, now() - interval '1 year');
INSERT INTO promotion (promotion, kind, value) VALUES ('tenth', 'percent', 10);

SELECT lock_quote(1, 'p', 2, at => now() - interval '1 minute') AS quote_id \gset
SELECT is((SELECT line_total FROM locked_quote(:quote_id)), 180.00, 'the promise');
SELECT is((SELECT same FROM verify_quote(:quote_id)), true, 'is what the engine answers');
SELECT is((SELECT length(digest) FROM locked_quote WHERE quote_id = :quote_id), 64, 'with a digest');
UPDATE price SET amount = 120 WHERE price_list = 'list';
SELECT is((SELECT unit_price FROM quote(1, 'p')), 108.00, 'a new amount holds from now');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => now() - interval '1 second')), 90.00, 'and the past stays');
SELECT is((SELECT count(*) FROM price_correction), 0::bigint, 'which corrects nothing');
SELECT is((SELECT same FROM verify_quote(:quote_id)), true, 'so the quote is still right');
SELECT is((SELECT line_total FROM locked_quote(:quote_id)), 180.00, 'and honoured');
UPDATE price SET amount = 99 WHERE upper(valid) = now();
SELECT is((SELECT (before ->> 'amount')::numeric FROM price_correction WHERE relation = 'price'), 100::numeric, 'a correction is noted');
SELECT is((SELECT reason FROM verify_quote(:quote_id)), 'prices of list list were corrected', 'and found');
UPDATE locked_quote SET answer.unit_price = 1 WHERE quote_id = :quote_id;
SELECT is((SELECT intact FROM verify_quote(:quote_id)), false, 'a record that was changed is found');
SELECT throws_ok(format('SELECT locked_quote(%s, now() + interval ''1 hour'')', :quote_id), '55000');
SELECT throws_ok('SELECT locked_quote(-1)', '23503');
SELECT throws_ok('SELECT verify_quote(-1)', '23503');
SELECT throws_ok($$SELECT lock_quote(1, 'none')$$, '55000');
SELECT throws_ok($$SELECT lock_quote(1, 'p', hold => '0')$$, '22023');

INSERT INTO shown_price (channel, product, customer_id, price) VALUES
	('shop', 'p', 1, 108), ('shop', 'p', 1, 120), ('app', 'p', NULL, 87.80), ('app', 'gone', NULL, 1), ('app', 'none', NULL, 5), ('app', 'p', 1, 3);
SELECT is((SELECT array_agg(likely_cause ORDER BY shown_id) FROM report_price_divergence), ARRAY[
	'list price shown instead of the reduced one', 'shown without tax', 'product not known',
	'the engine has no price: no price list has a price for it', 'not known'], 'what differs is listed with its cause');

-- a list that was active stays so for the past
UPDATE price_list SET created_at = now() - interval '1 year' WHERE price_list = 'list';
UPDATE price_list SET status = 'retired' WHERE price_list = 'list';
SELECT is((SELECT unit_price FROM quote(1, 'p')), NULL, 'a retired list answers no more');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => now() - interval '1 day')), 89.10, 'but of the past it does');
SELECT * FROM finish();
ROLLBACK;
