-- Prices within prices: what runs inside a call, and who may not read what it does not need.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(6);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO product (product) VALUES ('p'), ('q');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100), ('list', 'q', 50);
INSERT INTO promotion (promotion, kind, value, needs_coupon) VALUES ('code', 'percent', 10, true);
INSERT INTO promotion (promotion, kind, value, customer_limit, products) VALUES ('once', 'percent', 10, 1, '{q}');
INSERT INTO coupon (coupon, promotion) VALUES ('C1', 'code'), ('C2', 'code');
CREATE ROLE nested_reader;
GRANT USAGE ON SCHEMA omnichannel TO nested_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA omnichannel TO nested_reader;

-- a policy that changes rules and asks for prices while a price is being found
CREATE FUNCTION public.policy() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	FOR i IN 1 .. 3
	LOOP
		UPDATE omnichannel.price_list SET name = clock_timestamp()::text;
		UPDATE omnichannel.segment SET name = clock_timestamp()::text;
		UPDATE omnichannel.product SET name = clock_timestamp()::text;
		PERFORM omnichannel.quote(1, 'p');
		PERFORM count(*) FROM (SELECT repeat('abcdefgh', 100 * i) FROM generate_series(1, 1000)) AS noise;
	END LOOP;
	RETURN true;
END
$$;
ALTER TABLE coupon ENABLE ROW LEVEL SECURITY;
CREATE POLICY priced ON coupon USING (public.policy());
SET ROLE nested_reader;
SELECT is((SELECT (unit_price, price_list, promotions) FROM quote(1, 'p', coupons => '{c1,c2}')), ROW(90.00, 'list'::text, '{code}'::text[]), 'rules stay while they are read');
SELECT is((SELECT count(*) FROM quotes(1, '{p,q,p}', coupons => '{c1}')), 3::bigint, 'for a page too');
RESET ROLE;
CREATE OR REPLACE FUNCTION public.policy() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	PERFORM omnichannel.quote(1, 'none');
EXCEPTION WHEN foreign_key_violation THEN
	RETURN true;
END
$$;
SET ROLE nested_reader;
SELECT is((SELECT unit_price FROM quote(1, 'p', coupons => '{c1}')), 90.00, 'an error inside');
RESET ROLE;
ALTER TABLE coupon DISABLE ROW LEVEL SECURITY;

-- a limit for each customer is looked up where it concerns the product
REVOKE SELECT ON promotion_use FROM nested_reader;
SET ROLE nested_reader;
SELECT is((SELECT unit_price FROM quote(1, 'p')), 100.00, 'no limit concerns this product');
SELECT throws_ok($$SELECT quote(1, 'q')$$, '42501', NULL, 'one concerns the other');
SELECT is((SELECT unit_price FROM quote(NULL, 'q')), 45.00, 'not for a visitor');
RESET ROLE;
SELECT * FROM finish();
