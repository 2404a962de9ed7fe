#!/bin/sh
# shown.sh: what it costs a channel to tell which price it showed: every one beside a plain INSERT of the row, and one in a
# hundred beside a statement that does nothing.
#
# One client with prepared statements over the socket, three rounds in turns of SECONDS_EACH (2) seconds; throughput, and
# ours / peer.
set -eu
. test/bench/lib.sh
seconds=${SECONDS_EACH:-2}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
INSERT INTO omnichannel.product (product) SELECT 'p' || n FROM generate_series(1, 1000) AS n;
SQL
cat >"$folder/all.sql" <<'SQL'
\set product random(1, 1000)
SELECT omnichannel.shown_price('app', 'p' || :product, 9.99, place => 'product page');
SQL
sed "s/'product page'/'product page', sample => 0.01/" "$folder/all.sql" >"$folder/sample.sql"
cat >"$folder/insert.sql" <<'SQL'
\set product random(1, 1000)
INSERT INTO omnichannel.shown_price (channel, product, price, place) VALUES ('app', 'p' || :product, 9.99, 'product page');
SQL
cat >"$folder/nothing.sql" <<'SQL'
\set product random(1, 1000)
SELECT 'p' || :product;
SQL
tps() {
	pgbench -n -M prepared -c 1 -T "$seconds" -f "$folder/$1.sql" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}
for _ in 1 2 3; do
	for script in all insert sample nothing; do
		tps $script >>"$folder/$script.tps"
	done
done
paste "$folder/all.tps" "$folder/insert.tps" | report "shown_price() of every price, a plain INSERT" '%.0f /s'
paste "$folder/sample.tps" "$folder/nothing.tps" | report "shown_price() of one in a hundred, a statement that does nothing" '%.0f /s'
