#!/bin/sh
# lists.sh: quote() with 1,000 price lists beside quote() with 10, in two databases that differ in nothing else.
#
# 20,000 products with four prices each, spread over the lists; 1,000 segments, each list for ten of them but the ordinary
# one; 20,000 customers in three segments each. One client with prepared statements over the socket, three rounds in turns
# of SECONDS_EACH (2) seconds; the ratio is that of the times: 1 is flat.
set -eu
seconds=${SECONDS_EACH:-2}
folder=$(mktemp -d)
many=${PGDATABASE}_many
trap 'rm -rf "$folder"; dropdb --if-exists "$many"' EXIT

createdb -T "$PGDATABASE" "$many"
for database in "$PGDATABASE" "$many"; do
	lists=$([ "$database" = "$many" ] && echo 1000 || echo 10)
	psql -X -q -v ON_ERROR_STOP=1 -v lists="$lists" -d "$database" <<'SQL'
SET search_path = omnichannel, pg_catalog;
INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1, 20000) AS n;
INSERT INTO segment (segment) SELECT 's' || n FROM generate_series(0, 999) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 20000);
INSERT INTO segment_member (customer_id, segment) SELECT c, 's' || (c * 7 + n * 331) % 1000 FROM generate_series(1, 20000) AS c, generate_series(0, 2) AS n;
INSERT INTO price_list (price_list, kind, priority, segments_any)
SELECT 'list' || n, CASE WHEN n = 0 THEN 'base' ELSE 'sale' END, n % 5,
	CASE WHEN n = 0 THEN '{}' ELSE ARRAY(SELECT 's' || (n * 10 + k) % 1000 FROM generate_series(0, 9) AS k) END
FROM generate_series(0, :lists - 1) AS n;
INSERT INTO price (price_list, product, amount)
SELECT 'list' || CASE k WHEN 0 THEN 0 ELSE 1 + (n * 3 + k) % (:lists - 1) END, 'p' || n, 100 - k FROM generate_series(1, 20000) AS n, generate_series(0, 3) AS k;
VACUUM ANALYZE;
SQL
done
cat >"$folder/cold.sql" <<'SQL'
\set customer random(1, 20000)
\set product random(1, 20000)
SELECT * FROM omnichannel.quote(:customer, 'p' || :product);
SQL
sed 's/20000/200/' "$folder/cold.sql" >"$folder/hot.sql"

tps() {
	pgbench -n -M prepared -c 1 -T "$seconds" -f "$folder/$2.sql" "$1" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}

for script in cold hot; do
	for _ in 1 2 3; do
		echo "$(tps "$many" $script) $(tps "$PGDATABASE" $script)"
	done | awk -v what="times as with 10 lists: quote() with 1,000, $([ $script = hot ] && echo 200 || echo 20,000) customers and products" '
		{ours += $1; peer += $2; r = $2 / $1; if (NR == 1 || r < low) low = r; if (NR == 1 || r > high) high = r}
		END {printf "%s|%.0f /s|%.0f /s|%.2f|%.2f-%.2f\n", what, ours / NR, peer / NR, peer / ours, low, high}'
done
