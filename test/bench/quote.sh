#!/bin/sh
# quote.sh: quote() of a random product for a random customer, beside two peers: the look-up of the product's row by its
# primary key, which is the least that any answer costs, and a resolver in SQL that gives the same answer.
#
# 100,000 products, 20 lists, 260,000 prices, 50 segments, 20,000 customers in 3 segments each. Throughput of one client
# with prepared statements over the socket; the ratio is ours / peer.
set -eu
. test/bench/lib.sh

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
SET search_path = omnichannel, pg_catalog;
INSERT INTO product (product, name) SELECT 'p' || n, 'Product ' || n FROM generate_series(1, 100000) AS n;
INSERT INTO segment (segment) SELECT 's' || n FROM generate_series(0, 49) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 20000);
INSERT INTO segment_member (customer_id, segment) SELECT c, 's' || (c * 7 + n * 13) % 50 FROM generate_series(1, 20000) AS c, generate_series(0, 2) AS n;
INSERT INTO price_list (price_list, kind, priority, segments_any)
SELECT CASE WHEN n = 0 THEN 'base' ELSE 'list' || n END, CASE WHEN n = 0 THEN 'base' WHEN n % 4 = 1 THEN 'override' ELSE 'sale' END,
	n % 5, CASE WHEN n = 0 THEN '{}' ELSE ARRAY['s' || n, 's' || n + 20] END
FROM generate_series(0, 19) AS n;
INSERT INTO price (price_list, product, min_quantity, amount)
SELECT 'base', 'p' || n, 0, 100 + n % 1000 FROM generate_series(1, 100000) AS n;
INSERT INTO price (price_list, product, min_quantity, amount)
SELECT 'list' || 1 + (n * 19 + t) % 19, 'p' || n, t * 10, 80 + n % 1000 - t * 5 FROM generate_series(1, 80000) AS n, generate_series(0, 1) AS t;

CREATE FUNCTION public.peer_quote(customer bigint, wanted text, quantity numeric)
RETURNS TABLE (list_price numeric, unit_price numeric, price_list text) LANGUAGE sql STABLE AS $$
	WITH mine AS (
		SELECT array_agg(segment) AS segments FROM omnichannel.segment_member AS m WHERE m.customer_id = customer AND m.valid @> now()
	), candidate AS (
		SELECT DISTINCT ON (l.price_list) l.price_list, l.kind, l.priority, p.amount
		FROM omnichannel.price AS p JOIN omnichannel.price_list AS l USING (price_list), mine
		WHERE p.product = wanted AND p.min_quantity <= quantity AND p.valid @> now() AND l.valid @> now() AND l.status = 'active'
			AND l.currency = 'PLN' AND (l.segments_any = '{}' OR l.segments_any && mine.segments) AND l.segments_all <@ mine.segments
		ORDER BY l.price_list, p.min_quantity DESC, lower(p.valid) DESC NULLS LAST
	), base AS (
		SELECT * FROM candidate WHERE kind = 'base' ORDER BY priority DESC, amount, price_list COLLATE "C" LIMIT 1
	), best AS (
		SELECT c.* FROM candidate AS c, base AS b WHERE c.kind = 'override' OR c.kind = 'sale' AND c.amount < b.amount
		ORDER BY c.priority DESC, c.amount, c.price_list COLLATE "C" LIMIT 1
	)
	SELECT round(CASE WHEN best.kind = 'override' THEN best.amount ELSE base.amount END, 2), round(coalesce(best.amount, base.amount), 2),
		coalesce(best.price_list, base.price_list)
	FROM base LEFT JOIN best ON true
$$;
VACUUM ANALYZE;
SQL

cat >ours.sql <<'SQL'
\set customer random(1, 20000)
\set product random(1, 100000)
SELECT (quote).list_price, (quote).unit_price, (quote).price_list FROM omnichannel.quote(:customer, 'p' || :product, quantity => 12) AS quote;
SQL
sed 's/.*omnichannel.quote.*/SELECT * FROM public.peer_quote(:customer, '"'p' || :product"', 12)/' ours.sql >resolver.sql
cat >lookup.sql <<'SQL'
\set customer random(1, 20000)
\set product random(1, 100000)
SELECT product, name, category FROM omnichannel.product WHERE product = 'p' || :product;
SQL

tps() {
	pgbench -n -M prepared -c 1 -T 3 -f "$1" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}

# The same question must have the same answer.
psql -X -q -A -t -v ON_ERROR_STOP=1 <<'SQL'
SELECT 'quote: the answers differ' WHERE EXISTS (
	SELECT FROM generate_series(1, 5000) AS n, LATERAL omnichannel.quote(n, 'p' || n * 17, quantity => 12) AS ours,
		LATERAL public.peer_quote(n, 'p' || n * 17, 12) AS peer
	WHERE (ours.list_price, ours.unit_price, ours.price_list) IS DISTINCT FROM (peer.list_price, peer.unit_price, peer.price_list));
SQL
tps ours.sql >/dev/null
for _ in 1 2 3; do
	echo "$(tps ours.sql) $(tps lookup.sql) $(tps resolver.sql)"
done >rounds
cut -d ' ' -f 1,2 rounds | report 'quote(), a look-up by primary key' '%.0f /s'
cut -d ' ' -f 1,3 rounds | report 'quote(), a resolver in SQL' '%.0f /s'
