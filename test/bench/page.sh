#!/bin/sh
# page.sh: quotes() of a page of 50 products in one call beside the look-up of those 50 rows by their primary key, and
# quote() of hot products inside a query, without round trips, beside an addition of numerics.
#
# 100,000 products with three prices each, 1,000 lists, 100 promotions; pages are 200 consecutive ones that stay the same.
# Ratios are peer's throughput / ours for the page (the goal is 1.5 at most), and the times of ours / peer's for the hot ones.
set -eu
. test/bench/lib.sh

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
SET search_path = omnichannel, pg_catalog;
INSERT INTO product (product, name, category) SELECT 'p' || n, 'Product ' || n, NULL FROM generate_series(1, 100000) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 1000);
INSERT INTO segment (segment) SELECT 's' || n FROM generate_series(0, 49) AS n;
INSERT INTO segment_member (customer_id, segment) SELECT c, 's' || (c * 7 + n * 13) % 50 FROM generate_series(1, 1000) AS c, generate_series(0, 2) AS n;
INSERT INTO price_list (price_list, kind, segments_any)
SELECT 'l' || n, CASE WHEN n = 0 THEN 'base' ELSE 'sale' END, CASE WHEN n = 0 THEN '{}' ELSE ARRAY['s' || n % 50] END FROM generate_series(0, 999) AS n;
INSERT INTO price (price_list, product, amount) SELECT 'l0', 'p' || n, 100 + n % 1000 FROM generate_series(1, 100000) AS n;
INSERT INTO price (price_list, product, amount)
SELECT 'l' || 1 + (n * 7 + t * 331) % 999, 'p' || n, 90 + n % 1000 FROM generate_series(1, 100000) AS n, generate_series(0, 1) AS t;
INSERT INTO promotion (promotion, kind, value, products)
SELECT 'x' || n, 'percent', 5, ARRAY(SELECT 'p' || (n + 100 * k) FROM generate_series(0, 20) AS k) FROM generate_series(1, 100) AS n;
VACUUM ANALYZE;
SQL

cat >ours.sql <<'SQL'
\set customer random(1, 1000)
\set page random(0, 199)
SELECT product, list_price, unit_price, promotions FROM omnichannel.quotes(:customer, ARRAY(SELECT 'p' || (:page * 50 + n) FROM generate_series(1, 50) AS n));
SQL
cat >peer.sql <<'SQL'
\set page random(0, 199)
SELECT product, name, category, brand FROM omnichannel.product WHERE product = ANY (ARRAY(SELECT 'p' || (:page * 50 + n) FROM generate_series(1, 50) AS n));
SQL
tps() {
	pgbench -n -M prepared -c 1 -T 3 -f "$1" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}
# microseconds EXPRESSION: of one call, in a query over 200,000 rows
microseconds() {
	psql -X -A -t -c 'SELECT count(omnichannel.quote(7, '"'p' || g % 100 + 1"', 1, NULL, now())) FROM generate_series(1, 1000) AS g' \
		-c '\timing on' -c "SELECT count($1) FROM generate_series(1, 200000) AS g" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | awk '{print $1 / 200}'
}
for _ in 1 2 3; do
	echo "$(tps ours.sql) $(tps peer.sql) $(microseconds "omnichannel.quote(7, 'p' || g % 100 + 1, 1, NULL, now())") $(microseconds "numeric_add(length('p' || g % 100 + 1), 1)")"
done >rounds
cut -d ' ' -f 1,2 rounds | report 'quotes() of 50 products, their rows by primary key (goal 1.5)' '%.0f /s' inverse
cut -d ' ' -f 3,4 rounds | report 'quote() of hot products in a query, an addition (goal 2 us more)' '%.2f us'
