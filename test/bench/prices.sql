-- The data of prices.sh: products, lists, segments, prices, promotions and customers, made by set-based statements.
--
-- psql variables: products, customers. Lists, segments and promotions are always 1,000, 10,000 and 2,000, and prices five
-- a product. What keeps wrong data out (triggers, exclusion constraints) rests meanwhile; no reader uses it, and the
-- triggers are put back. The exclusion constraints stay away: to build them would take longer than all of the rest.
SET search_path = omnichannel, pg_catalog;
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';

CREATE TEMP TABLE resting AS
SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgenabled FROM pg_trigger AS t
WHERE t.tgrelid IN ('product'::regclass, 'price'::regclass, 'customer'::regclass, 'segment_member'::regclass);
DO $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT DISTINCT resting.relation FROM pg_temp.resting
	LOOP
		EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', relation);
	END LOOP;
END
$$;
ALTER TABLE price DROP CONSTRAINT price_product_no_overlap, DROP CONSTRAINT price_category_no_overlap,
	DROP CONSTRAINT price_everything_no_overlap;
ALTER TABLE segment_member DROP CONSTRAINT segment_member_no_overlap;
DROP INDEX price_product, price_category, price_everything, price_source, price_list_rows, product_code, product_category, segment_member_segment;
ALTER TABLE price DROP CONSTRAINT price_source_price_fkey, DROP CONSTRAINT price_pkey;

-- A tree of 2,000 categories three deep, 500 brands, and two of ten products variants of a third.
INSERT INTO product (product, parent, name, category, brand, cost, min_price, min_margin, tax_rate)
SELECT 'p' || n, CASE WHEN n % 10 IN (1, 2) AND n > 9 THEN 'p' || n - n % 10 END, 'Product ' || n,
	CASE WHEN n % 10 NOT IN (1, 2) OR n < 10 THEN ('top' || n % 20 || '.middle' || n % 200 || '.leaf' || n % 2000)::public.ltree END,
	CASE WHEN n % 10 NOT IN (1, 2) OR n < 10 THEN 'brand' || n % 500 END,
	CASE WHEN n % 2 = 0 THEN 40 END, CASE WHEN n % 3 = 0 THEN 45 END, CASE WHEN n % 2 = 0 THEN 5 END, 23
FROM generate_series(1, :products) AS n;

INSERT INTO segment (segment) SELECT 's' || n FROM generate_series(0, 9999) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, :customers);
-- Of three segments of a customer, one is among a hundred that many are in.
INSERT INTO segment_member (customer_id, segment)
SELECT c, 's' || CASE n WHEN 0 THEN c % 100 ELSE 100 + (c::bigint * 7919 + n * 5003) % 9900 END
FROM generate_series(1, :customers) AS c, generate_series(0, 2) AS n;

-- list0 is the ordinary one. A tenth of the others is for everyone, the rest for ten segments each.
INSERT INTO price_list (price_list, kind, priority, segments_any)
SELECT 'list' || n, CASE WHEN n = 0 THEN 'base' WHEN n % 4 = 1 THEN 'override' ELSE 'sale' END, CASE WHEN n = 0 THEN 0 ELSE n % 5 END,
	CASE WHEN n % 10 = 0 THEN '{}' ELSE ARRAY(SELECT 's' || n * 10 + k FROM generate_series(0, 9) AS k) END
FROM generate_series(0, 999) AS n;

-- List by list, as they are loaded: the prices of one product lie apart. Each product has its ordinary price, two prices by quantity on one list, one on another, and one that is over.
INSERT INTO price (price_list, product, min_quantity, amount, valid)
SELECT row.list, 'p' || n, row.min_quantity, row.amount, row.valid
FROM generate_series(1, :products) AS n, LATERAL (VALUES
	('list0', 0, 100 + n % 1000, tstzrange(NULL, NULL)),
	('list' || 1 + (n::bigint * 19) % 999, 0, 95 + n % 1000, tstzrange(NULL, NULL)),
	('list' || 1 + (n::bigint * 19) % 999, 10, 90 + n % 1000, tstzrange(NULL, NULL)),
	('list' || 1 + (n::bigint * 19 + 333) % 999, 0, 92 + n % 1000, tstzrange(date_trunc('day', now()) - interval '10 days', now() + interval '30 days')),
	('list' || 1 + (n::bigint * 19 + 666) % 999, 0, 80 + n % 1000, tstzrange('2020-01-01+00', '2020-02-01+00')))
	AS row (list, min_quantity, amount, valid)
ORDER BY row.list COLLATE "C", n;
INSERT INTO price (price_list, category, adjust)
SELECT 'list' || 10 + n % 900, ('top' || n % 20 || '.middle' || n % 200 || '.leaf' || n % 2000)::public.ltree, -3
FROM generate_series(0, 1999, 7) AS n WHERE (10 + n % 900) % 4 <> 1;
INSERT INTO price (price_list, everything, adjust) SELECT 'list' || n, true, -2 FROM generate_series(2, 998, 100) AS n;

-- Half of the promotions name products, a quarter categories, the rest brands; half are for two segments, a tenth needs
-- a coupon.
INSERT INTO promotion (promotion, kind, value, buy_quantity, get_quantity, currency, products, categories, brands, segments_any, stage, priority, best_of, needs_coupon)
SELECT 'promotion' || n, made.kind, CASE made.kind WHEN 'buy_get' THEN 100 WHEN 'fixed_price' THEN 90 ELSE 5 + n % 10 END,
	CASE made.kind WHEN 'buy_get' THEN 20 END, CASE made.kind WHEN 'buy_get' THEN 1 END,
	CASE WHEN made.kind IN ('amount', 'fixed_price') THEN 'PLN' END,
	CASE WHEN n % 4 < 2 THEN ARRAY(SELECT 'p' || 1 + (n * 37 + k * 4801) % :products FROM generate_series(0, 19) AS k) ELSE '{}' END,
	CASE WHEN n % 4 = 2 THEN ARRAY['top' || n % 20 || '.middle' || n % 200 || '.leaf' || n % 2000]::public.ltree[] ELSE '{}' END,
	CASE WHEN n % 4 = 3 THEN ARRAY['brand' || n % 500] ELSE '{}' END,
	CASE WHEN n % 2 = 0 THEN '{}' ELSE ARRAY['s' || n % 100, 's' || n % 9900] END,
	1 + n % 2, n % 7, CASE WHEN n % 5 = 0 THEN 'group' || n % 50 END, n % 10 = 9
FROM generate_series(1, 2000) AS n, LATERAL (SELECT (ARRAY['percent', 'amount', 'fixed_price', 'buy_get', 'percent'])[1 + n % 5] AS kind) AS made;

ALTER TABLE price ADD PRIMARY KEY (price_id);
CREATE INDEX price_product ON price (product text_pattern_ops) INCLUDE (price_id, price_list, min_quantity, amount, adjust, surcharge, round_to, valid);
CREATE INDEX price_category ON price (category_path text_pattern_ops) WHERE category_path IS NOT NULL;
CREATE INDEX price_everything ON price (price_list) WHERE everything;
CREATE INDEX price_source ON price (source_price) WHERE source_price IS NOT NULL;
CREATE INDEX price_list_rows ON price (price_list);
CREATE INDEX product_code ON product (product text_pattern_ops);
CREATE INDEX product_category ON product USING gist (category);
CREATE INDEX segment_member_segment ON segment_member (segment);
ALTER TABLE price ADD CONSTRAINT price_source_price_fkey FOREIGN KEY (source_price) REFERENCES price ON DELETE CASCADE;
DO $$
DECLARE
	rested record;
BEGIN
	FOR rested IN SELECT * FROM pg_temp.resting WHERE tgenabled <> 'D'
			AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = resting.relation AND t.tgname = resting.tgname)
	LOOP
		EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', rested.relation, CASE rested.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, rested.tgname);
	END LOOP;
END
$$;
VACUUM (ANALYZE) product;
VACUUM (ANALYZE) price;
VACUUM (ANALYZE) customer;
VACUUM (ANALYZE) segment_member;
-- Again, until a snapshot that somebody holds, as autovacuum does, keeps no page from being marked as all visible.
SELECT step FROM generate_series(1, 100), (VALUES
	($$DO 'BEGIN IF EXISTS (SELECT FROM pg_class WHERE oid IN (''price''::regclass, ''segment_member''::regclass) AND relallvisible < relpages) THEN PERFORM pg_sleep(0.3); END IF; END'$$),
	('VACUUM price, segment_member')) AS again (step) \gexec
ANALYZE price_list, segment, promotion;
