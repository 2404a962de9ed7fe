#!/bin/sh
# copy.sh: many tracked rows at once: COPY, backfill(), and the memory of a transaction that writes millions.
#
# usage: by run.sh. Times, less is better; the ratio is ours over the peer's.
# The peers write contacts and nothing else, where ours also match customers, log once by key, count relationships,
# and, for inbound e-mail, continue requests and keep clocks; one row says what a peer needs that also does the first two,
# and one what a peer needs that does all by hand in SQL, but does not look after late contacts, replies and new clocks.
# BACKFILL_ROWS (300,000; 1,000,000 with SCALE=full) and MEMORY_ROWS (500,000) are the sizes of the latter two. Memory is the backend's own, without
# shared buffers: the highest of a first statement of a tenth of the rows, and of a second of the rest, in one transaction.
set -eu
. test/bench/lib.sh

COPY_ROWS=${COPY_ROWS:-100000}
case ${SCALE:-part} in
full) BACKFILL_ROWS=${BACKFILL_ROWS:-1000000} ;;
*) BACKFILL_ROWS=${BACKFILL_ROWS:-300000} ;;
esac
MEMORY_ROWS=${MEMORY_ROWS:-500000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

psql -X -q -v ON_ERROR_STOP=1 -v rows="$BACKFILL_ROWS" >/dev/null <<'SQL'
CREATE TABLE tracked (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, kind text, agent bigint,
	body text, sent timestamptz NOT NULL DEFAULT now());
CREATE TABLE peer (LIKE tracked INCLUDING ALL);
INSERT INTO omnichannel.agent (name) SELECT 'Agent ' || i FROM generate_series(1, 100) AS i;
SELECT count(omnichannel.identify('email', 'u' || i || '@example.com')) FROM generate_series(1, 100000) AS i;
SELECT omnichannel.track('tracked', channel => 'email', customer => '{sender}', kind => 'email', direction => '{kind}',
	occurred_at => '{sent}', agent => '{agent}', body => '{body}');
-- Each customer has written before: what is measured is the ordinary message, not a customer's first.
INSERT INTO tracked (sender, kind, agent, body)
SELECT 'u' || i || '@example.com', 'inbound', 1 + i % 100, 'Good morning, is my mug on its way?' FROM generate_series(1, 100000) AS i;

-- The past, and where a bare INSERT puts it: the log's columns, check and index, and the index that knows a source's key.
CREATE TABLE before AS
SELECT i AS id, 'u' || 1 + (i * 7919) % 100000 || '@example.com' AS sender, 1 + (i * 7919) % 100 AS agent,
	'Good morning, where is the mug that I ordered last week?' AS body,
	now() - interval '1 year' + make_interval(secs => i) AS sent
FROM generate_series(1, :rows::bigint) AS i;
ALTER TABLE before ADD PRIMARY KEY (id), ADD customer_id bigint;
UPDATE before SET customer_id = i.customer_id FROM omnichannel.identity AS i WHERE i.kind = 'email' AND i.value = sender;
CREATE TABLE bare (LIKE omnichannel.contact INCLUDING ALL, UNIQUE (source, source_key));
VACUUM FULL before;
VACUUM ANALYZE;
SQL

# timed FILE: prints the milliseconds that the statements of a script take together.
timed() {
	psql -X -q -A -t -v ON_ERROR_STOP=1 -c '\timing on' -f "$1" >"$work/out" || return 1
	awk '/^Time: / {sum += $2} END {print sum}' "$work/out"
}

# compare NAME: runs the scripts ours.sql and peer.sql in turns, three times, each on vacuumed tables, and reports.
compare() {
	: >"$work/ours.ms"
	: >"$work/peer.ms"
	for _ in 1 2 3; do
		for variant in ours peer; do
			psql -X -q -c 'VACUUM ANALYZE omnichannel.contact, omnichannel.contact_key, omnichannel.relationship, omnichannel.request, bare'
			timed "$work/$variant.sql" >>"$work/$variant.ms"
		done
	done
	paste "$work/ours.ms" "$work/peer.ms" | report "$1" '%.0f ms'
}

# rows DIRECTION AGENT: prints the rows to copy.
rows() {
	awk -v rows="$COPY_ROWS" -v direction="$1" -v agent="$2" 'BEGIN {for (i = 1; i <= rows; i++)
		printf "u%d@example.com\t%s\t%s\tGood morning, where is the mug that I ordered last week?\n",
			1 + (i * 7919) % 100000, direction, agent ? 1 + (i * 7919) % 100 : "\\N"}' >"$work/rows"
}

columns='(sender, kind, agent, body)'
contacts="INSERT INTO omnichannel.contact (customer_id, occurred_at, channel, direction, outcome, agent_id, body, source, source_key)
SELECT i.customer_id, p.sent, 'email', p.kind, 'received', p.agent, p.body, 'peer', p.id::text
FROM peer AS p JOIN omnichannel.identity AS i ON i.kind = 'email' AND i.value = p.sender WHERE p.sent = now()"

keys_and_relationships="INSERT INTO omnichannel.contact_key SELECT source, source_key, customer_id, contact_id, occurred_at FROM new ON CONFLICT DO NOTHING;
INSERT INTO omnichannel.relationship AS r (customer_id, agent_id, contacts, strength, aged_at, first_at, last_at)
SELECT customer_id, agent_id, count(*), count(*), now(), now(), now() FROM new GROUP BY 1, 2
ON CONFLICT (customer_id, agent_id) DO UPDATE SET contacts = r.contacts + excluded.contacts,
	strength = r.strength * 0.5 ^ (extract(epoch FROM now() - r.aged_at) / (180 * 86400)) + excluded.strength,
	aged_at = now(), last_at = now();"

cat >"$work/ours.sql" <<SQL
\\copy tracked $columns FROM '$work/rows'
SQL
cat >"$work/peer.sql" <<SQL
BEGIN;
\\copy peer $columns FROM '$work/rows'
$contacts;
COMMIT;
SQL
rows internal ''
compare "COPY of $COPY_ROWS tracked notes: COPY and INSERT of contacts afterwards (goal 2.50)"
rows inbound yes
compare "COPY of $COPY_ROWS tracked e-mails with agents and requests: the same (goal 2.50)"
cat >"$work/peer.sql" <<SQL
BEGIN;
\\copy peer $columns FROM '$work/rows'
CREATE TEMP TABLE new ON COMMIT DROP AS
WITH logged AS ($contacts RETURNING *)
SELECT * FROM logged;
$keys_and_relationships
COMMIT;
SQL
compare "COPY of $COPY_ROWS tracked e-mails with agents and requests: keys and relationships set-based too"
cat >"$work/peer.sql" <<SQL
BEGIN;
\\copy peer $columns FROM '$work/rows'
CREATE TEMP TABLE new ON COMMIT DROP AS
WITH logged AS (
	INSERT INTO omnichannel.contact
		(customer_id, occurred_at, channel, direction, outcome, agent_id, request_id, body, source, source_key)
	SELECT i.customer_id, p.sent, 'email', p.kind, 'received', p.agent, r.request_id, p.body, 'peer', p.id::text
	FROM peer AS p JOIN omnichannel.identity AS i ON i.kind = 'email' AND i.value = p.sender
	LEFT JOIN LATERAL (
		SELECT o.request_id FROM omnichannel.request AS o WHERE o.customer_id = i.customer_id AND o.closed_at IS NULL
		ORDER BY o.opened_at DESC, o.request_id DESC LIMIT 1) AS r ON true
	WHERE p.sent = now() RETURNING *)
SELECT * FROM logged;
$keys_and_relationships
INSERT INTO omnichannel.sla_moment (customer_id, at, what, request_id, contact_id, channel, outcome)
SELECT customer_id, occurred_at, 'inbound', request_id, contact_id, channel, outcome FROM new;
INSERT INTO omnichannel.sla_customer AS h (customer_id, last_at, last_rank, next_at, next_rank, late)
SELECT customer_id, max(occurred_at), 1, max(occurred_at), 1, false FROM new GROUP BY 1
ON CONFLICT (customer_id) DO UPDATE SET late = excluded.last_at <= h.last_at, last_at = greatest(h.last_at, excluded.last_at),
	last_rank = 1, next_at = excluded.next_at, next_rank = 1;
SELECT count(*) FROM new AS n WHERE NOT EXISTS (
	SELECT FROM omnichannel.sla_clock AS c WHERE c.customer_id = n.customer_id AND c.stopped_at IS NULL);
COMMIT;
SQL
compare "COPY of $COPY_ROWS tracked e-mails with agents and requests: requests and moments of clocks set-based too"

# past NAME MAPPING CUSTOMER AGENT JOIN [MORE]: into an empty log each time, and from another source, so that every row is
# new again. MORE is what the peer does with its rows afterwards.
past() {
	empty='TRUNCATE omnichannel.contact, omnichannel.contact_key, omnichannel.relationship, bare'
	cat >"$work/ours.sql" <<SQL
\\timing off
$empty;
SELECT omnichannel.track('before', channel => 'email', occurred_at => '{sent}', body => '{body}', source => 'past ' || clock_timestamp(), $2);
\\timing on
SELECT omnichannel.backfill('before');
SQL
	cat >"$work/peer.sql" <<SQL
\\timing off
$empty;
SELECT clock_timestamp() AS run \\gset
BEGIN;
\\timing on
INSERT INTO bare (customer_id, occurred_at, channel, agent_id, body, source, source_key)
SELECT $3, sent, 'email', $4, body, 'past ' || :'run', id::text FROM before $5;
${6:-}
COMMIT;
SQL
	compare "backfill() of $BACKFILL_ROWS rows, $1"
}
of_address="JOIN omnichannel.identity AS i ON i.kind = 'email' AND i.value = sender"
past "by customer_id: bare INSERT ... SELECT (goal 1.50)" "customer => '{customer_id}'" customer_id NULL ''
past "by address: INSERT ... SELECT with a join (goal 1.50)" "customer => '{sender}', kind => 'email'" \
	i.customer_id NULL "$of_address"
past "by address, with agents: the same, and relationships counted (goal 1.50)" \
	"customer => '{sender}', kind => 'email', agent => '{agent}'" i.customer_id agent "$of_address" \
	"INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength, aged_at, first_at, last_at)
	SELECT customer_id, agent_id, count(*), sum(0.5 ^ (extract(epoch FROM latest - occurred_at) / (180 * 86400))), latest,
		min(occurred_at), latest
	FROM (SELECT *, max(occurred_at) OVER (PARTITION BY customer_id, agent_id) AS latest FROM bare) AS logged
	GROUP BY customer_id, agent_id, latest;"

# memory NAME ROWS DIRECTION AGENT: the backend's anonymous memory is read while it works; reports the peaks of the two statements.
memory() {
	rm -f "$work/pid" "$work/first"
	cat >"$work/memory.sql" <<SQL
SET work_mem = '4MB';
SELECT pg_backend_pid() AS pid \\gset
\\setenv BACKEND :pid
\\! echo \$BACKEND >$work/pid
BEGIN;
INSERT INTO tracked $columns SELECT 'u' || 1 + i % 10000 || '@example.com', '$3', $4, 'Good morning.' FROM generate_series(1, $2 / 10) AS i;
\\! touch $work/first
INSERT INTO tracked $columns SELECT 'u' || 1 + i % 10000 || '@example.com', '$3', $4, 'Good morning.' FROM generate_series(1, $2 - $2 / 10) AS i;
ROLLBACK;
SQL
	psql -X -q -v ON_ERROR_STOP=1 -f "$work/memory.sql" >"$work/out" &
	writer=$!
	first=0
	second=0
	while kill -0 $writer 2>/dev/null; do
		if [ -s "$work/pid" ]; then
			now=$(awk '/^RssAnon:/ {print $2}' "/proc/$(cat "$work/pid")/status" 2>/dev/null) || now=0
			if [ -e "$work/first" ]; then
				[ "${now:-0}" -le "$second" ] || second=$now
			else
				[ "${now:-0}" -le "$first" ] || first=$now
			fi
		fi
		sleep 0.02
	done
	wait $writer
	echo "$second $first" | awk -v name="$1" '{printf "%s|%.1f MB|%.1f MB|%.2f|\n", name, $1 / 1024, $2 / 1024, $2 ? $1 / $2 : 0}'
}
memory "memory over $MEMORY_ROWS tracked rows in one transaction: over the first tenth (flat: 1)" "$MEMORY_ROWS" internal NULL
memory "memory over $MEMORY_ROWS tracked rows with agents in one transaction: over the first tenth (flat: 1)" \
	"$MEMORY_ROWS" internal '1 + i % 100'
memory "memory over $MEMORY_ROWS tracked e-mails with agents and requests in one transaction: over the first tenth (flat: 1)" \
	"$MEMORY_ROWS" inbound '1 + i % 100'
