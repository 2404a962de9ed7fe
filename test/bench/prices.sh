#!/bin/sh
# prices.sh: prices at the size of a large company, beside what the least possible work costs and beside SQL.
#
# SCALE=full: 1,000,000 products, 5,000,000 prices, 1,000,000 customers; otherwise a tenth of each. Always 1,000 lists,
# 10,000 segments and 2,000 promotions: see prices.sql. One client with prepared statements over the socket, three rounds
# in turns of SECONDS_EACH (2) seconds; ratios above 1 are ours being faster, except where a row says "times".
#
# The client runs on one core and its server on another, as it does where they are on two machines: left to themselves
# they meet on one at times, which makes both answer several times as often, and no round like the other. CLIENT_CORE
# and SERVER_CORE name others than 0 and 1, perhaps the same twice. Random products and pages are what the session does
# not know yet; hot ones it knows; by Zipf's law it knows most of those that are asked for.
set -eu
. test/bench/lib.sh
case ${SCALE:-tenth} in
full) products=1000000 ;;
*) products=100000 ;;
esac
seconds=${SECONDS_EACH:-2}
customers=$products
folder=$(mktemp -d)
trap 'rm -rf "$folder"; [ -z "${server:-}" ] || taskset -p -c "0-$(($(nproc) - 1))" "$server" >/dev/null' EXIT

server=
if [ "$(nproc)" -gt 1 ] && command -v taskset >/dev/null; then
	server=$(psql -X -A -t -c "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
	taskset -p -c "${SERVER_CORE:-1}" "$server" >/dev/null
fi

# client COMMAND...: runs it on the client's core; the sessions that it opens are on the server's
client() {
	if [ -n "$server" ]; then
		taskset -c "${CLIENT_CORE:-0}" "$@"
	else
		"$@"
	fi
}

run() {
	psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# A database that has the data keeps them.
if [ "$(run -c 'SELECT count(*) FROM omnichannel.price_list')" = 0 ]; then
	run -v products=$products -v customers=$customers -f "$(dirname "$0")/prices.sql"
fi

# A resolver in SQL, as well as it can be written for this data: variants, categories, tiers, segments, sales. It knows no
# promotions, no tax, no prior price and no end of validity.
run <<'SQL'
SET client_min_messages = warning;
CREATE OR REPLACE FUNCTION public.peer_quote(customer bigint, wanted text, quantity numeric)
RETURNS TABLE (list_price numeric, unit_price numeric, price_list text) LANGUAGE sql STABLE AS $$
	WITH mine AS MATERIALIZED (
		SELECT coalesce(array_agg(segment), '{}') AS segments FROM omnichannel.segment_member AS m WHERE m.customer_id = customer AND m.valid @> now()
	), sold AS MATERIALIZED (
		SELECT p.product, p.parent, coalesce(p.category, above.category)::text AS category
		FROM omnichannel.product AS p LEFT JOIN omnichannel.product AS above ON above.product = p.parent WHERE p.product = wanted
	), priced AS (
		SELECT r.price_list, r.amount, r.adjust, r.min_quantity, r.valid, CASE WHEN r.product = sold.product THEN 0 ELSE 1 END AS distance
		FROM sold JOIN omnichannel.price AS r ON r.product IN (sold.product, sold.parent)
		UNION ALL
		SELECT r.price_list, r.amount, r.adjust, r.min_quantity, r.valid, 100 - length(r.category_path)
		FROM sold JOIN omnichannel.price AS r ON r.category_path IN
			(sold.category, split_part(sold.category, '.', 1) || '.' || split_part(sold.category, '.', 2), split_part(sold.category, '.', 1))
		UNION ALL
		SELECT r.price_list, r.amount, r.adjust, r.min_quantity, r.valid, 1000 FROM omnichannel.price AS r WHERE r.everything
	), candidate AS (
		SELECT DISTINCT ON (l.price_list) l.price_list, l.kind, l.priority, p.amount, p.adjust
		FROM priced AS p JOIN omnichannel.price_list AS l USING (price_list), mine
		WHERE p.min_quantity <= quantity AND p.valid @> now() AND l.valid @> now() AND l.status = 'active'
			AND l.currency = 'PLN' AND (l.segments_any = '{}' OR l.segments_any && mine.segments) AND l.segments_all <@ mine.segments
		ORDER BY l.price_list, p.distance, p.min_quantity DESC, lower(p.valid) DESC NULLS LAST
	), base AS (
		SELECT * FROM candidate WHERE kind = 'base' ORDER BY priority DESC, amount, price_list COLLATE "C" LIMIT 1
	), priced_on AS (
		SELECT c.price_list, c.kind, c.priority, coalesce(c.amount, b.amount * (100 + c.adjust) / 100) AS amount, b.amount AS base
		FROM candidate AS c, base AS b WHERE c.kind <> 'base'
	), best AS (
		SELECT * FROM priced_on AS c WHERE c.kind = 'override' OR c.amount < c.base
		ORDER BY c.priority DESC, c.amount, c.price_list COLLATE "C" LIMIT 1
	)
	SELECT round(CASE WHEN best.kind = 'override' THEN best.amount ELSE base.amount END, 2), round(coalesce(best.amount, base.amount), 2),
		coalesce(best.price_list, base.price_list)
	FROM base LEFT JOIN best ON true
$$;
SQL

# The same question must have the same answer, where no promotion takes part.
run <<SQL
SELECT format('quote(): %s answers differ from the SQL', count(*)) FROM generate_series(1, 5000) AS n,
	LATERAL omnichannel.quote(1 + n * 7 % $customers, 'p' || 1 + n::bigint * 4801 % $products, quantity => 12) AS ours,
	LATERAL public.peer_quote(1 + n * 7 % $customers, 'p' || 1 + n::bigint * 4801 % $products, 12) AS peer
WHERE ours.promotions = '{}' AND (ours.list_price, ours.price_list) IS DISTINCT FROM (peer.list_price, peer.price_list)
HAVING count(*) > 0;
SQL

# The tables and the statement of a widespread commerce engine: a price belongs to a set of prices and perhaps to a list,
# lists have rules by attribute, a list fits where all its rules are met, and the rows are sorted by how special they are.
if [ -z "$(run -c "SELECT to_regclass('public.engine_price')")" ]; then
	run <<'SQL'
	SET maintenance_work_mem = '256MB';
	CREATE TABLE public.engine_list AS SELECT 'plist_' || l.price_list AS id, CASE l.kind WHEN 'override' THEN 'override' ELSE 'sale' END AS type,
		'active' AS status, NULL::timestamptz AS starts_at, NULL::timestamptz AS ends_at, (l.segments_any <> '{}')::integer AS rules_count
	FROM omnichannel.price_list AS l WHERE l.kind <> 'base';
	CREATE TABLE public.engine_list_rule AS SELECT 'prule_' || l.price_list AS id, 'plist_' || l.price_list AS price_list_id,
		'customer.groups.id' AS attribute, to_jsonb(l.segments_any) AS value
	FROM omnichannel.price_list AS l WHERE l.segments_any <> '{}';
	CREATE TABLE public.engine_price AS SELECT 'price_' || r.price_id AS id, 'pset_' || r.product AS price_set_id,
		CASE WHEN l.kind <> 'base' THEN 'plist_' || r.price_list END AS price_list_id, 'pln' AS currency_code, r.amount,
		jsonb_build_object('value', r.amount::text, 'precision', 20) AS raw_amount, nullif(r.min_quantity, 0) AS min_quantity,
		NULL::numeric AS max_quantity, 0 AS rules_count
	FROM omnichannel.price AS r JOIN omnichannel.price_list AS l USING (price_list) WHERE r.product IS NOT NULL;
	CREATE TABLE public.engine_rule (id text PRIMARY KEY, price_id text NOT NULL, attribute text NOT NULL, value text NOT NULL);
	ALTER TABLE public.engine_list ADD PRIMARY KEY (id);
	ALTER TABLE public.engine_list_rule ADD PRIMARY KEY (id);
	ALTER TABLE public.engine_price ADD PRIMARY KEY (id);
	CREATE INDEX ON public.engine_price (price_set_id);
	CREATE INDEX ON public.engine_price (price_list_id);
	CREATE INDEX ON public.engine_price (currency_code);
	CREATE INDEX ON public.engine_list_rule (price_list_id);
	CREATE INDEX ON public.engine_list_rule (attribute);
	CREATE INDEX ON public.engine_list_rule USING gin (value);
	CREATE INDEX ON public.engine_rule (price_id);
	VACUUM ANALYZE public.engine_price, public.engine_list, public.engine_list_rule, public.engine_rule;
SQL
fi

cat >"$folder/ours.sql" <<SQL
\set customer random(1, $customers)
\set product random(1, $products)
SELECT (quote).list_price, (quote).unit_price, (quote).price_list FROM omnichannel.quote(:customer, 'p' || :product, quantity => 12) AS quote;
SQL
cat >"$folder/resolver.sql" <<SQL
\set customer random(1, $customers)
\set product random(1, $products)
SELECT * FROM public.peer_quote(:customer, 'p' || :product, 12);
SQL
cat >"$folder/lookup.sql" <<SQL
\set customer random(1, $customers)
\set product random(1, $products)
SELECT product, name, category FROM omnichannel.product WHERE product = 'p' || :product;
SQL
cat >"$folder/page.sql" <<SQL
\set customer random(1, $customers)
\set page random(0, $products / 50 - 1)
SELECT product, list_price, unit_price, promotions FROM omnichannel.quotes(:customer, ARRAY(SELECT 'p' || (:page * 50 + n) FROM generate_series(1, 50) AS n));
SQL
cat >"$folder/rows.sql" <<SQL
\set customer random(1, $customers)
\set page random(0, $products / 50 - 1)
SELECT product, name, category, brand FROM omnichannel.product WHERE product = ANY (ARRAY(SELECT 'p' || (:page * 50 + n) FROM generate_series(1, 50) AS n));
SQL
# the same of products that lie apart
for script in page rows; do
	sed "s/'p' || (:page \* 50 + n)/'p' || 1 + (:page * 50 + n) * 7919::bigint % $products/" "$folder/$script.sql" >"$folder/far_$script.sql"
done
# a customer after the other, each new to the session
cat >"$folder/new.sql" <<SQL
\set n :n + 1
\set customer :before + :n
\set product 1 + :n % 100
SELECT (quote).list_price, (quote).unit_price, (quote).price_list FROM omnichannel.quote(:customer, 'p' || :product, quantity => 12) AS quote;
SQL
cat >"$folder/engine.sql" <<SQL
\set customer random(1, $customers)
\set product random(1, $products)
SELECT p.id, p.price_set_id, p.amount, p.raw_amount, p.min_quantity, p.max_quantity, p.currency_code, p.price_list_id, l.type,
	p.rules_count, l.rules_count, p.rules_count + coalesce(l.rules_count, 0) AS all_rules_count
FROM public.engine_price AS p
LEFT JOIN public.engine_rule AS pr ON pr.price_id = p.id
LEFT JOIN public.engine_list AS l ON l.id = p.price_list_id AND l.status = 'active'
	AND (l.starts_at IS NULL OR l.starts_at <= now()) AND (l.ends_at IS NULL OR l.ends_at >= now())
LEFT JOIN public.engine_list_rule AS lr ON lr.price_list_id = l.id AND lr.attribute = 'customer.groups.id'
	AND lr.value ?| ARRAY(SELECT segment FROM omnichannel.segment_member WHERE customer_id = :customer AND valid @> now())
WHERE p.price_set_id = 'pset_p' || :product AND p.currency_code = 'pln' AND (p.min_quantity IS NULL OR p.min_quantity <= 12)
	AND (p.max_quantity IS NULL OR p.max_quantity >= 12)
GROUP BY p.id, l.id
HAVING (p.price_list_id IS NULL AND count(DISTINCT pr.attribute) = p.rules_count)
	OR (p.price_list_id IS NOT NULL AND count(DISTINCT lr.attribute) = l.rules_count)
ORDER BY (p.price_list_id IS NULL), all_rules_count DESC, p.amount;
SQL

tps() {
	client pgbench -n -M prepared -c 1 -T "$seconds" -f "$folder/$1.sql" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\) .*/\1/p'
}

# new_customers BEFORE: microseconds of a quote() over the socket, the median of 1,000, each for a customer whom the
# session does not know, the first one behind this one
new_customers() {
	client pgbench -n -M prepared -c 1 -t 1000 -D n=0 -D before="$1" -l --log-prefix="$folder/new" -f "$folder/new.sql" >/dev/null 2>&1
	cut -d ' ' -f 3 "$folder"/new.[0-9]* | sort -n | sed -n 500p
	rm -f "$folder"/new.[0-9]*
}

# milliseconds STATEMENT: of one execution in a session of its own that has just answered one question
milliseconds() {
	run -c "SELECT omnichannel.quote(7, 'p7')" -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# microseconds EXPRESSION: of one call in a query over 200,000 rows, after one over the products that it asks for
microseconds() {
	milliseconds "SELECT count($1) FROM generate_series(1, 200000) AS g" | awk '{print $1 / 200}'
}

# hot: a thousand customers and products, or 200 pages, that are asked for again and again. zipf: customers and products
# as they come, few often and many seldom.
for script in ours lookup page rows; do
	sed -e 's/random(1, .*)/random(1, 1000)/' -e 's/random(0, .*)/random(0, 199)/' "$folder/$script.sql" >"$folder/hot_$script.sql"
	sed -e 's/random(1, \([0-9]*\))/random_zipfian(1, \1, 1.1)/' -e 's/random(0, \(.*\))/random_zipfian(1, \1, 1.1)/' \
		"$folder/$script.sql" >"$folder/zipf_$script.sql"
done

# A function of C with the same arguments that does nothing.
run <<'SQL'
SET client_min_messages = warning;
CREATE OR REPLACE FUNCTION public.nothing(bigint, text, numeric, text, timestamptz, text[]) RETURNS integer LANGUAGE internal STABLE AS 'pg_backend_pid';
SQL
hot="(7, (ARRAY['p11', 'p12', 'p13', 'p14', 'p15', 'p16', 'p17', 'p18'])[1 + g % 8], 1, NULL, now(), '{}')"
catalogue="SELECT count(*), sum(unit_price) FROM omnichannel.catalogue_prices(7)"
join="SELECT count(*), sum(price.amount) FROM omnichannel.product JOIN omnichannel.price USING (product) WHERE price.price_list = 'list0'"
# of 1 and of 50 segments, among those that no list is for, so that only their number differs; vacuumed as the others are
run <<SQL
INSERT INTO omnichannel.customer (customer_id) SELECT generate_series($customers + 1, $customers + 2000) ON CONFLICT DO NOTHING;
INSERT INTO omnichannel.segment_member (customer_id, segment)
SELECT $customers + c, 's' || (c * 50 + n) % 9000 + 1000 FROM generate_series(1, 2000) AS c, generate_series(1, CASE WHEN c <= 1000 THEN 1 ELSE 50 END) AS n
ON CONFLICT DO NOTHING;
VACUUM omnichannel.segment_member, omnichannel.customer;
SQL

# What was loaded last is in memory first.
for script in ours lookup page rows; do
	tps $script >/dev/null
done
for _ in 1 2 3; do
	for script in ours lookup resolver engine hot_ours hot_lookup zipf_ours zipf_lookup page rows far_page far_rows \
		hot_page hot_rows zipf_page zipf_rows; do
		tps $script >>"$folder/$script.tps"
	done
	echo "$(microseconds "omnichannel.quote$hot") $(microseconds "public.nothing$hot")" >>"$folder/empty"
	echo "$(milliseconds "$catalogue") $(milliseconds "$join")" >>"$folder/catalogue"
	# a session each
	for segments in 50 1; do
		from=$((customers + (segments == 50 ? 1000 : 0)))
		milliseconds "SELECT count(omnichannel.quote($from + 1 + g % 1000, 'p' || 1 + g % 100, 1)) FROM generate_series(1, 1000) AS g"
	done | paste -s -d ' ' >>"$folder/cold_members"
	echo "$(new_customers $((customers + 1000))) $(new_customers "$customers")" >>"$folder/new_members"
	for segments in 50 1; do
		from=$((customers + (segments == 50 ? 1000 : 0)))
		milliseconds "SELECT count(omnichannel.quote($from + 1 + g % 10, 'p' || 1 + g % 10, 1)) FROM generate_series(1, 100000) AS g"
	done | paste -s -d ' ' >>"$folder/hot_members"
	run -c '\timing on' -c "SELECT omnichannel.quote(8, 'p8')" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1 50/p' >>"$folder/first"
	run -c "SELECT count(omnichannel.quote(g, 'p' || 1 + g::bigint * 7919 % $products, 12)) FROM generate_series(1, 100000) AS g" \
		-c "SELECT sum(bytes) / 1048576.0, 64 FROM omnichannel.cache_status()" | sed -n '2s/|/ /p' >>"$folder/memory"
done
paste "$folder/ours.tps" "$folder/lookup.tps" | report "quote() of a random product, a look-up by primary key (goal 0.7)" '%.0f /s'
paste "$folder/ours.tps" "$folder/resolver.tps" | report "quote() of a random product, a resolver in SQL without promotions" '%.0f /s'
paste "$folder/ours.tps" "$folder/engine.tps" | report "quote() of a random product, the SQL of a commerce engine" '%.0f /s'
paste "$folder/hot_ours.tps" "$folder/hot_lookup.tps" | report "quote() of a thousand hot products, a look-up by primary key (goal 0.7)" '%.0f /s'
paste "$folder/zipf_ours.tps" "$folder/zipf_lookup.tps" | report "quote() of products and customers by Zipf's law, a look-up by primary key (goal 0.7)" '%.0f /s'
paste "$folder/rows.tps" "$folder/page.tps" | report "times the look-up of its rows: quotes() of a random page of 50 (goal 1.5)" '%.0f /s'
paste "$folder/far_rows.tps" "$folder/far_page.tps" | report "times the look-up of its rows: quotes() of 50 products that lie apart" '%.0f /s'
paste "$folder/hot_rows.tps" "$folder/hot_page.tps" | report "times the look-up of its rows: quotes() of one of 200 hot pages of 50 (goal 1.5)" '%.0f /s'
paste "$folder/zipf_rows.tps" "$folder/zipf_page.tps" | report "times the look-up of its rows: quotes() of a page by Zipf's law (goal 1.5)" '%.0f /s'
report "times an empty function of C: quote() of hot products in a query (goal: 2 us more)" '%.2f us' <"$folder/empty"
report "times a hash join with the base price: the whole catalogue for a customer (goal 2)" '%.2f ms' <"$folder/catalogue"
report "times as with 1 segment: quote() for new customers with 50 segments, 1,000 in a query" '%.2f ms' <"$folder/cold_members"
report "times as with 1 segment: quote() for new customers with 50 segments, one a statement" '%.0f us' <"$folder/new_members"
report "times as with 1 segment: quote() for known customers with 50 segments" '%.2f ms' <"$folder/hot_members"
report "times 50 ms: the first quote() of a session" '%.2f ms' <"$folder/first"
report "times omnichannel.price_cache: what a session keeps after quotes of 100,000 products" '%.2f MB' <"$folder/memory"
