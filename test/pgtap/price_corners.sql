-- Corners of prices: promotions by the hundred, floors in two currencies, the company's rules that change, keys of quotes.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(18);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100);

-- a variant in another currency keeps the floor that it inherits
INSERT INTO product (product, currency, min_price) VALUES ('G', 'PLN', 90);
INSERT INTO product (product, parent, currency, cost) VALUES ('V', 'G', 'EUR', 1);
INSERT INTO product (product, parent, currency, cost, min_margin) VALUES ('W', 'G', 'EUR', 100, 0);
INSERT INTO price_list (price_list, kind, currency) VALUES ('sale', 'sale', 'PLN'), ('euro', 'base', 'EUR'), ('euro sale', 'sale', 'EUR');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'G', 100), ('sale', 'G', 20), ('euro', 'G', 120), ('euro sale', 'G', 20);
SELECT results_eq($$SELECT unit_price FROM quotes(NULL, '{G,V,W}')$$, '{90,90,90}'::numeric[], 'the inherited floor');
SELECT results_eq($$SELECT unit_price FROM quotes(NULL, '{G,V,W}', currency => 'EUR')$$, '{20,20,100}'::numeric[], 'and its own cost in its own currency');

-- the prior price follows the company's country
INSERT INTO product (product) VALUES ('r');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'r', 100, tstzrange(now() - interval '200 days', now() - interval '60 days')),
	('list', 'r', 120, tstzrange(now() - interval '60 days', NULL)), ('sale', 'r', 90, tstzrange(now() - interval '10 days', NULL));
SELECT is((SELECT reference_price FROM quote(NULL, 'r')), 120.00, 'within 30 days');
UPDATE omnibus_rule SET lookback_days = 90 WHERE country = 'DE';
UPDATE company SET country = 'DE';
SELECT is((SELECT reference_price FROM quote(NULL, 'r')), 100.00, 'within 90 days');
UPDATE company SET country = 'PL';
SELECT is((SELECT reference_price FROM quote(NULL, 'r')), 120.00, 'within 30 days again');

-- derived prices are rounded as all others are
UPDATE company SET rounding = 'half_even';
INSERT INTO price (price_list, product, amount) VALUES ('list', 'V', 10.25), ('list', 'W', 10.35);
INSERT INTO price_list (price_list, kind, derived_from, derived_round_to) VALUES ('derived', 'override', 'list', 0.1);
SELECT results_eq($$SELECT amount FROM price WHERE price_list = 'derived' AND product IN ('V', 'W') ORDER BY 1$$, '{10.2,10.4}'::numeric[], 'half to the even step');
SELECT is(array(SELECT round_to_step(amount, 0.05, rounding) FROM (VALUES (0.075, 'half_up'), (0.075, 'half_down'), (0.075, 'half_even'), (0.125, 'half_even'),
	(-0.075, 'half_up'), (-0.075, 'half_down'), (0.0751, 'half_down'), (0.0749, 'half_up')) AS given (amount, rounding)),
	'{0.10,0.05,0.10,0.10,-0.10,-0.05,0.10,0.05}'::numeric[], 'steps in each direction');
UPDATE company SET rounding = 'half_up';

-- times that begin after their bound, or end with it
INSERT INTO product (product) VALUES ('edge');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'edge', 7, '(2024-01-01 00:00+00,2024-02-01 00:00+00]');
SELECT results_eq($$SELECT q.unit_price, q.valid_until - at FROM unnest('{2024-01-01 00:00+00,2024-01-01 00:00:00.000001+00,2024-02-01 00:00+00,2024-02-01 00:00:00.000001+00}'::timestamptz[]) AS at, quote(NULL, 'edge', at => at) AS q$$,
	$$VALUES (NULL::numeric, interval '1 microsecond'), (7.00, '31 days'), (7.00, '1 microsecond'), (NULL, NULL)$$, 'to the microsecond');
SELECT is_empty($$SELECT at FROM unnest('{2024-01-01 00:00+00,2024-02-01 00:00+00}'::timestamptz[]) AS at, catalogue_prices(NULL, at => at) AS c, quote(NULL, 'edge', at => at) AS q WHERE c.product = 'edge' AND c IS DISTINCT FROM q$$,
	'in the catalogue, too');

-- a key whose quote is over
SELECT lock_quote(NULL, 'p', key => 'basket', hold => '1 microsecond') AS quote_id \gset
SELECT throws_ok($$SELECT lock_quote(NULL, 'p', key => 'basket')$$, '55000', format('quote %s under key "basket" held until %s', :quote_id,
	(SELECT valid_until FROM locked_quote)), 'a quote that is over is not given again');

-- a base list that adjusts all the same has no price, not one of nothing
INSERT INTO product (product) VALUES ('s');
INSERT INTO price_list (price_list, kind) VALUES ('based', 'override');
INSERT INTO price (price_list, product, adjust, surcharge) VALUES ('based', 's', -5, 3);
ALTER TABLE price_list DISABLE TRIGGER price_list_base;
UPDATE price_list SET kind = 'base' WHERE price_list = 'based';
ALTER TABLE price_list ENABLE TRIGGER price_list_base;
SELECT results_eq($$SELECT unit_price, reason FROM quote(NULL, 's')$$,
	$$VALUES (NULL::numeric, 'it has no base price in PLN for a sale or an adjustment to change')$$, 'no price');
SELECT is((SELECT verdict FROM explain_quote(NULL, 's') WHERE candidate = 'based'), 'no base price', 'and why');
INSERT INTO price (price_list, product, amount) VALUES ('list', 's', 7);
SELECT is((SELECT unit_price FROM quote(NULL, 's')), 7.00, 'that of another list otherwise');

-- caches whose triggers do not fire for replicated rows are not believed
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 100.00);
ALTER TABLE price DISABLE TRIGGER ALL;
ALTER TABLE price ENABLE TRIGGER ALL;
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 100.00);
SET session_replication_role = replica;
UPDATE price SET amount = 40 WHERE product = 'p';
RESET session_replication_role;
SELECT is((SELECT unit_price FROM quote(NULL, 'p')), 40.00, 'a change that no trigger told of');
SET session_replication_role = replica;
UPDATE price SET amount = 100 WHERE product = 'p';
RESET session_replication_role;
-- each promotion is for a few units more than the one before, so that each splits the line once more
INSERT INTO promotion (promotion, kind, value, priority, max_units) SELECT 'x' || n, 'percent', 1, n, 10 * n + 3 FROM generate_series(1, 70) AS n;
SELECT is((SELECT (line_total, cardinality(promotions)) FROM quote(NULL, 'p', 5000)), ROW(475443.00, 70), 'seventy promotions');
INSERT INTO promotion (promotion, kind, value, priority, max_units) SELECT 'x' || n, 'percent', 1, n, 10 * n + 3 FROM generate_series(71, 100) AS n;
SELECT is((SELECT (line_total, cardinality(promotions)) FROM quote(NULL, 'p', 5000)), ROW(451472.00, 100), 'a hundred promotions');
SELECT * FROM finish();
