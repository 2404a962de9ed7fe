-- Prices: the surface, and what is refused with which SQLSTATE. Precedence is tried in test/pgtap.
\set SHOW_CONTEXT never
BEGIN;
CREATE FUNCTION pg_temp.refused(command text) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(code || ' ' || message, 'accepted') FROM public.raises(command) $$;

-- No function that answers about prices, promotions or products takes a channel; shown_price() answers nothing, it records.
SELECT proc.oid::regprocedure AS takes_a_channel
FROM pg_proc AS proc JOIN pg_depend AS member ON member.classid = 'pg_proc'::regclass AND member.objid = proc.oid AND member.deptype = 'e'
WHERE member.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omnichannel')
	AND (proc.proname ~ '(price|quote|promotion|coupon|segment|product|stock|content|availab)'
		OR proc.prorettype = 'omnichannel.price_quote'::regtype)
	AND 'channel' ILIKE ANY (coalesce(proc.proargnames, '{}')) AND proc.proname <> 'shown_price' ORDER BY 1;

-- ISO 4217
SELECT count(*) FILTER (WHERE minor_units = 0) AS "0", count(*) FILTER (WHERE minor_units = 2) AS "2",
	count(*) FILTER (WHERE minor_units = 3) AS "3", count(*) FILTER (WHERE minor_units = 4) AS "4",
	count(*) FILTER (WHERE minor_units IS NULL) AS "N.A.", count(*) FILTER (WHERE NOT in_use) AS withdrawn FROM omnichannel.currency;

INSERT INTO omnichannel.customer (customer_id) VALUES (910001);
INSERT INTO omnichannel.segment (segment) VALUES ('rg.vip'), ('rg.trade');
INSERT INTO omnichannel.product (product, parent, category, tax_rate)
VALUES ('rg.tee', NULL, 'Wear.Tops', 23), ('rg.tee.l', 'rg.tee', NULL, NULL), ('rg.free', NULL, NULL, NULL);
INSERT INTO omnichannel.price_list (price_list, kind, priority, segments_any, segments_all, tax_inclusive)
VALUES ('rg.base', 'base', 0, '{}', '{}', true), ('rg.sale', 'sale', 0, '{rg.vip}', '{}', true), ('rg.deal', 'override', 5, '{}', '{rg.trade}', false);
INSERT INTO omnichannel.price (price_list, product, category, min_quantity, amount, adjust, valid)
VALUES ('rg.base', 'rg.tee', NULL, 0, 100, NULL, '(,)'), ('rg.base', 'rg.tee', NULL, 10, 90, NULL, '(,)'),
	('rg.sale', NULL, 'Wear', 0, NULL, -15.5, '(,)'), ('rg.deal', 'rg.tee', NULL, 0, 66.665, NULL, '(,)');
INSERT INTO omnichannel.segment_member VALUES (910001, 'rg.vip', '[2025-01-01 00:00+00, 2026-01-01 00:00+00)');

\pset expanded on
SELECT * FROM omnichannel.quote(910001, 'rg.tee', at => '2025-06-01 00:00+00');
SELECT * FROM omnichannel.quote(910001, 'rg.tee.l', 12.5, at => '2026-06-01 00:00+00');
SELECT * FROM omnichannel.quote_segments('{rg.trade,rg.vip}', 'rg.tee.l');
SELECT * FROM omnichannel.quote_segments('{}', 'rg.free', currency => 'EUR');
\pset expanded off
SELECT product, unit_price, valid_until, reason FROM omnichannel.quotes(910001, '{rg.free,rg.tee,rg.tee.l,rg.tee}', at => '2025-06-01 00:00+00');
SELECT product FROM omnichannel.quotes(NULL, '{}');
SELECT unit_price FROM omnichannel.quote(NULL, 'rg.tee');

-- why there is no price
SELECT quote.reason FROM (VALUES ('rg.tee', 'EUR'), ('rg.free', 'PLN')) AS asked (product, currency),
	LATERAL omnichannel.quote(NULL, asked.product, 1, asked.currency) AS quote;
UPDATE omnichannel.price_list SET segments_any = '{rg.vip}' WHERE price_list = 'rg.base';
SELECT reason FROM omnichannel.quote(NULL, 'rg.tee');
UPDATE omnichannel.price_list SET segments_any = '{}', valid = '[2100-01-01,)' WHERE price_list = 'rg.base';
SELECT reason, valid_until IS NOT NULL AS will_have_one FROM omnichannel.quote(NULL, 'rg.tee');
UPDATE omnichannel.price_list SET valid = '(,)', status = 'retired' WHERE price_list = 'rg.base';
SELECT reason FROM omnichannel.quote(NULL, 'rg.tee');
UPDATE omnichannel.price_list SET status = 'active' WHERE price_list = 'rg.base';
SELECT reason FROM omnichannel.quote_segments('{rg.trade}', 'rg.free');

-- rounding: half away from zero, to even, down; the minor unit of the currency
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee');
UPDATE omnichannel.company SET rounding = 'half_even';
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee');
UPDATE omnichannel.price SET amount = 66.675 WHERE price_list = 'rg.deal';
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee');
UPDATE omnichannel.company SET rounding = 'half_down';
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee');
UPDATE omnichannel.company SET rounding = 'half_up';
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee');
-- beyond the fast form
UPDATE omnichannel.price SET amount = 123456789012345.67500000000000001 WHERE price_list = 'rg.deal';
SELECT unit_price, line_total, unit_gross FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee', 1000000000000);
UPDATE omnichannel.company SET rounding = 'half_down';
UPDATE omnichannel.price SET amount = 123456789012345.67500000000000000 WHERE price_list = 'rg.deal';
SELECT unit_price FROM omnichannel.quote_segments('{rg.trade}', 'rg.tee', 0.000000000000000001);
UPDATE omnichannel.company SET rounding = 'half_up';

-- bad input
SELECT pg_temp.refused(command) FROM unnest(ARRAY[
	$$SELECT omnichannel.quote(910002, 'rg.tee')$$,
	$$SELECT omnichannel.quote(910001, 'rg.none')$$,
	$$SELECT omnichannel.quote(910001, NULL)$$,
	$$SELECT omnichannel.quote(910001, 'rg.tee', currency => 'ZLT')$$,
	$$SELECT omnichannel.quote(910001, 'rg.tee', currency => '')$$,
	$$SELECT omnichannel.quote_segments('{rg.none}', 'rg.tee')$$,
	$$SELECT omnichannel.quote_segments('{NULL}', 'rg.tee')$$,
	$$SELECT omnichannel.quote_segments(NULL, 'rg.tee')$$,
	$$SELECT omnichannel.quotes(910001, '{rg.tee,rg.none}')$$,
	$$SELECT omnichannel.quotes(910001, '{rg.tee,NULL}')$$,
	$$SELECT omnichannel.quotes(910001, NULL)$$,
	$$SELECT omnichannel.quote(910001, 'rg.tee', at => NULL)$$,
	$$SELECT omnichannel.quote(910001, 'rg.tee', at => 'infinity')$$,
	$$SELECT omnichannel.quote(910001, 'rg.tee', at => '-infinity')$$
]) AS command;
SELECT quantity, pg_temp.refused(format($$SELECT omnichannel.quote(NULL, 'rg.tee', %L)$$, quantity))
FROM unnest('{0,-1,-0.5,NaN,Infinity,-Infinity,1000000000000.1,1e100,1e-30,NULL}'::text[]) AS quantity;
SELECT pg_temp.refused(command) FROM unnest(ARRAY[
	$$UPDATE omnichannel.product SET parent = 'rg.tee.l' WHERE product = 'rg.tee'$$,
	$$UPDATE omnichannel.product SET parent = product WHERE product = 'rg.tee'$$,
	$$INSERT INTO omnichannel.product (product, parent) VALUES ('rg.x', 'rg.y'), ('rg.y', 'rg.x')$$,
	$$INSERT INTO omnichannel.product (product, cost) VALUES ('rg.x', 'NaN')$$,
	$$INSERT INTO omnichannel.product (product, min_price) VALUES ('rg.x', -1)$$,
	$$INSERT INTO omnichannel.segment_member VALUES (910001, 'rg.vip', '[2025-12-31 23:59+00,)')$$,
	$$INSERT INTO omnichannel.segment_member VALUES (910001, 'rg.vip', 'empty')$$,
	$$INSERT INTO omnichannel.segment_member VALUES (910001, 'rg.vip', '[2026-01-01 00:00+00,)')$$,
	$$INSERT INTO omnichannel.price_list (price_list, kind) VALUES ('rg.x', 'gift')$$,
	$$INSERT INTO omnichannel.price_list (price_list, currency) VALUES ('rg.x', 'ZLT')$$,
	$$INSERT INTO omnichannel.price_list (price_list, segments_all) VALUES ('rg.x', '{rg.none}')$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('rg.base', 'rg.tee', 1)$$,
	$$INSERT INTO omnichannel.price (price_list, category, adjust) VALUES ('rg.sale', 'Wear', 1)$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount, min_quantity) VALUES ('rg.base', 'rg.tee', 80, 10.0)$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('rg.base', 'rg.free', 'NaN')$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('rg.base', 'rg.free', -1)$$,
	$$INSERT INTO omnichannel.price (price_list, product, adjust) VALUES ('rg.base', 'rg.free', -1)$$,
	$$INSERT INTO omnichannel.price (price_list, product, adjust) VALUES ('rg.sale', 'rg.free', -101)$$,
	$$INSERT INTO omnichannel.price (price_list, product) VALUES ('rg.sale', 'rg.free')$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount, adjust) VALUES ('rg.sale', 'rg.free', 1, 1)$$,
	$$INSERT INTO omnichannel.price (price_list, product, everything, amount) VALUES ('rg.sale', 'rg.free', true, 1)$$,
	$$INSERT INTO omnichannel.price (price_list, amount) VALUES ('rg.sale', 1)$$,
	$$INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('rg.none', 'rg.free', 1)$$,
	$$DELETE FROM omnichannel.segment WHERE segment = 'rg.vip'$$,
	$$DELETE FROM omnichannel.segment WHERE segment = 'rg.trade'$$,
	$$UPDATE omnichannel.price_list SET kind = 'base' WHERE price_list = 'rg.sale'$$
]) AS command;

-- a role that may not read the prices gets none, one that may gets what row-level security leaves it
CREATE ROLE rg_reader;
GRANT USAGE ON SCHEMA omnichannel TO rg_reader;
GRANT SELECT ON omnichannel.company, omnichannel.currency, omnichannel.segment, omnichannel.price_list, omnichannel.product,
	omnichannel.promotion, omnichannel.promotion_used_up, omnichannel.omnibus_rule TO rg_reader;
SET LOCAL ROLE rg_reader;
SELECT pg_temp.refused($$SELECT omnichannel.quote_segments('{}', 'rg.tee')$$);
RESET ROLE;
GRANT SELECT ON omnichannel.price TO rg_reader;
SET LOCAL ROLE rg_reader;
SELECT unit_price FROM omnichannel.quote_segments('{}', 'rg.tee');
RESET ROLE;
ALTER TABLE omnichannel.price ENABLE ROW LEVEL SECURITY;
CREATE POLICY rg ON omnichannel.price USING (min_quantity = 10);
SET LOCAL ROLE rg_reader;
SELECT unit_price FROM omnichannel.quote_segments('{}', 'rg.tee', 10);
SELECT reason FROM omnichannel.quote_segments('{}', 'rg.tee', 9);
RESET ROLE;
SELECT unit_price FROM omnichannel.quote_segments('{}', 'rg.tee', 9);
ROLLBACK;
