-- The past of prices stays, and what corrects it is noted.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(10);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO product (product, tax_rate) VALUES ('p', 23);
INSERT INTO price_list (price_list, created_at) VALUES ('list', now() - interval '1 year');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'p', 100, '(,)');
INSERT INTO promotion (promotion, kind, value, valid) VALUES ('tenth', 'percent', 10, '(,)');
DELETE FROM price_correction;
SELECT lock_quote(1, 'p', 2) AS quote_id \gset
SELECT is((SELECT line_total FROM locked_quote(1, :quote_id)), 180.00, 'the promise');
UPDATE price SET amount = 120 WHERE price_list = 'list';
SELECT is((SELECT unit_price FROM quote(1, 'p')), 108.00, 'a new amount holds from now');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => now() - interval '1 second')), 90.00, 'and the past stays');
SELECT is((SELECT count(*) FROM price_correction), 0::bigint, 'which corrects nothing');
SELECT is((SELECT line_total FROM locked_quote(1, :quote_id)), 180.00, 'the quote is honoured');
UPDATE price SET amount = 99 WHERE upper(valid) = now();
SELECT is((SELECT (before ->> 'amount')::numeric FROM price_correction WHERE relation = 'price'), 100::numeric, 'a correction is noted');
SELECT is((SELECT same FROM verify_quote(:quote_id)), false, 'and a quote of that time is found to differ');
SELECT is((SELECT count(*) FROM verify_quote(:quote_id), unnest(changes) AS change WHERE change LIKE 'price % is gone' OR change LIKE 'price % is new' OR change LIKE 'price % has changed%'), 1::bigint, 'for the price');

-- a list that was active stays so for the past
UPDATE price_list SET status = 'retired' WHERE price_list = 'list';
SELECT is((SELECT unit_price FROM quote(1, 'p')), NULL, 'a retired list answers no more');
SELECT is((SELECT unit_price FROM quote(1, 'p', at => now() - interval '1 day')), 89.10, 'but of the past it does');
SELECT * FROM finish();
ROLLBACK;
