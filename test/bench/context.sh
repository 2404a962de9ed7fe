#!/bin/sh
# context.sh: customer_context() of customers with 1,000 contacts, beside SQL written by hand for the same answer.
#
# The first peer is what applications do: a prepared statement for each part. The second is one prepared statement that
# builds the same JSON; it knows of no merges. The third row is ours beside ours, of customers with 10 contacts. One
# client over the socket; the mean latency in ms, and the ratio is peer / ours.
set -eu
. test/bench/lib.sh

SECONDS_EACH=${SECONDS_EACH:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
INSERT INTO omnichannel.agent (name, surname) SELECT 'Agent', i::text FROM generate_series(1, 100) AS i;
INSERT INTO omnichannel.segment (segment) SELECT 's' || i FROM generate_series(0, 19) AS i;
INSERT INTO omnichannel.customer (customer_id, name, language) SELECT i, 'Customer ' || i, 'pl' FROM generate_series(1, 20000) AS i;
INSERT INTO omnichannel.identity (kind, value, customer_id)
SELECT kind, kind || i, i FROM generate_series(1, 20000) AS i, unnest('{email,phone,account}'::text[]) AS kind;
INSERT INTO omnichannel.contact (customer_id, occurred_at, channel, agent_id, subject, body)
SELECT c, now() - n * interval '7 hours' - c * interval '1 minute', (ARRAY['email', 'phone', 'chat'])[1 + n % 3],
	1 + (c * 7 + n % 12) % 100, 'Subject ' || n, repeat('Good morning. ', 20)
FROM generate_series(1, 20000) AS c, generate_series(1, CASE WHEN c <= 500 THEN 1000 ELSE 10 END) AS n;
INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength)
SELECT customer_id, agent_id, count(*), count(*) * 0.7 FROM omnichannel.contact GROUP BY 1, 2;
INSERT INTO omnichannel.segment_member (customer_id, segment) SELECT c, 's' || (c + s) % 20 FROM generate_series(1, 20000) AS c, generate_series(1, 3) AS s;
INSERT INTO omnichannel.fact (customer_id, key, value, since)
SELECT c, 'key' || k, to_jsonb(h), now() - (1 + h) * interval '30 days' FROM generate_series(1, 20000) AS c, generate_series(1, 8) AS k, generate_series(0, 2) AS h;
INSERT INTO omnichannel.consent (customer_id, purpose, channel, granted, since, proof)
SELECT c, purpose, channel, true, now() - interval '1 day', '{}'
FROM generate_series(1, 20000) AS c, unnest('{marketing,profiling}'::text[]) AS purpose, unnest('{NULL,email}'::text[]) AS channel;
INSERT INTO omnichannel.request (customer_id, kind, channel, subject)
SELECT c, 'complaint', 'email', 'Request ' || r FROM generate_series(1, 20000) AS c, generate_series(1, 3) AS r;
UPDATE omnichannel.request SET state = 'done' WHERE request_id % 3 = 0;
VACUUM ANALYZE;
SQL

cat >"$work/ours.sql" <<'SQL'
\set c random(1, 500)
SELECT omnichannel.customer_context(:c);
SQL
cat >"$work/few.sql" <<'SQL'
\set c random(501, 20000)
SELECT omnichannel.customer_context(:c);
SQL
cat >"$work/parts.sql" <<'SQL'
\set c random(1, 500)
SELECT name, birth_date, language, preferred_channel, created_at, erased_at FROM omnichannel.customer WHERE customer_id = :c;
SELECT kind, value, verified_at FROM omnichannel.identity WHERE customer_id = :c ORDER BY kind, value;
SELECT segment FROM omnichannel.segment_member WHERE customer_id = :c AND valid @> now() ORDER BY segment;
SELECT DISTINCT ON (key) key, value, since, source FROM omnichannel.fact WHERE customer_id = :c AND since <= now() ORDER BY key, since DESC, fact_id DESC;
SELECT DISTINCT ON (purpose, channel) purpose, channel, granted, since, expires_at FROM omnichannel.consent WHERE customer_id = :c AND since <= now() ORDER BY purpose, channel, since DESC, consent_id DESC;
SELECT * FROM omnichannel.request WHERE customer_id = :c AND closed_at IS NULL ORDER BY opened_at, request_id;
SELECT metric, policy, request_id, channel, thread, due_at FROM omnichannel.sla_clock WHERE customer_id = :c AND stopped_at IS NULL ORDER BY due_at, clock_id;
SELECT c.contact_id, c.occurred_at, c.channel, c.direction, c.outcome, a.agent_id, a.name, a.surname, c.request_id, c.thread, c.subject, left(c.body, 200) FROM omnichannel.contact AS c LEFT JOIN omnichannel.agent AS a USING (agent_id) WHERE c.customer_id = :c ORDER BY c.occurred_at DESC, c.contact_id DESC LIMIT 10;
SELECT a.agent_id, a.name, a.surname, a.photo_url, a.department, r.contacts, r.last_at FROM omnichannel.relationship AS r JOIN omnichannel.agent AS a USING (agent_id) WHERE r.customer_id = :c AND a.active ORDER BY r.strength * 0.5 ^ (extract(epoch FROM now() - r.aged_at) / 15552000) DESC, a.agent_id LIMIT 1;
SQL
cat >"$work/one.sql" <<'SQL'
\set c random(1, 500)
SELECT jsonb_build_object('customer_id', c.customer_id, 'name', c.name, 'birth_date', c.birth_date, 'language', c.language, 'preferred_channel', c.preferred_channel, 'created_at', c.created_at, 'erased_at', c.erased_at, 'identities', (SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'value', i.value, 'verified_at', i.verified_at) ORDER BY i.kind, i.value) FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id), 'segments', (SELECT jsonb_agg(s.segment ORDER BY s.segment) FROM omnichannel.segment_member AS s WHERE s.customer_id = c.customer_id AND s.valid @> now()), 'facts', (SELECT jsonb_object_agg(f.key, jsonb_build_object('value', f.value, 'since', f.since, 'source', f.source)) FROM (SELECT DISTINCT ON (key) key, value, since, source FROM omnichannel.fact WHERE customer_id = c.customer_id AND since <= now() ORDER BY key, since DESC, fact_id DESC) AS f), 'consents', (SELECT jsonb_agg(jsonb_build_object('purpose', d.purpose, 'channel', d.channel, 'granted', d.granted, 'since', d.since, 'expires_at', d.expires_at)) FROM (SELECT DISTINCT ON (purpose, channel) * FROM omnichannel.consent WHERE customer_id = c.customer_id AND since <= now() ORDER BY purpose, channel, since DESC, consent_id DESC) AS d), 'open_requests', (SELECT jsonb_agg(jsonb_build_object('request_id', r.request_id, 'kind', r.kind, 'state', r.state, 'channel', r.channel, 'queue', r.queue, 'priority', r.priority, 'agent_id', r.agent_id, 'subject', r.subject, 'data', r.data, 'version', r.version, 'opened_at', r.opened_at, 'state_since', r.state_since) ORDER BY r.opened_at, r.request_id) FROM omnichannel.request AS r WHERE r.customer_id = c.customer_id AND r.closed_at IS NULL), 'service_levels', (SELECT jsonb_agg(jsonb_build_object('metric', s.metric, 'policy', s.policy, 'request_id', s.request_id, 'channel', s.channel, 'thread', s.thread, 'due_at', s.due_at) ORDER BY s.due_at, s.clock_id) FROM omnichannel.sla_clock AS s WHERE s.customer_id = c.customer_id AND s.stopped_at IS NULL), 'last_contacts', (SELECT jsonb_agg(jsonb_build_object('contact_id', l.contact_id, 'occurred_at', l.occurred_at, 'channel', l.channel, 'direction', l.direction, 'outcome', l.outcome, 'agent_id', l.agent_id, 'agent', concat_ws(' ', a.name, a.surname), 'request_id', l.request_id, 'thread', l.thread, 'subject', l.subject, 'excerpt', left(l.body, 200)) ORDER BY l.occurred_at DESC, l.contact_id DESC) FROM (SELECT * FROM omnichannel.contact WHERE customer_id = c.customer_id ORDER BY occurred_at DESC, contact_id DESC LIMIT 10) AS l LEFT JOIN omnichannel.agent AS a ON a.agent_id = l.agent_id), 'best_agent', (SELECT jsonb_build_object('agent_id', b.agent_id, 'name', b.name, 'surname', b.surname, 'photo_url', b.photo_url, 'department', b.department, 'contacts', b.contacts, 'last_at', b.last_at) FROM (SELECT a.*, r.contacts, r.last_at FROM omnichannel.relationship AS r JOIN omnichannel.agent AS a ON a.agent_id = r.agent_id AND a.active WHERE r.customer_id = c.customer_id ORDER BY r.strength * 0.5 ^ (extract(epoch FROM now() - r.aged_at) / 15552000) DESC, a.agent_id LIMIT 1) AS b)) FROM omnichannel.customer AS c WHERE c.customer_id = :c;
SQL

# latency FILE
latency() {
	pgbench -n -M prepared -c 1 -T "$SECONDS_EACH" -f "$work/$1.sql" 2>"$work/errors" | awk '/^latency average/ {print $4}'
}

for _ in 1 2 3; do
	for variant in ours parts one few; do
		latency $variant >>"$work/$variant.ms"
	done
done
paste "$work/ours.ms" "$work/parts.ms" | report "customer_context(), 1,000 contacts (goal 1 ms): nine statements by hand" '%.3f ms' inverse
paste "$work/ours.ms" "$work/one.ms" | report "customer_context(), 1,000 contacts (goal 1 ms): one statement by hand" '%.3f ms' inverse
paste "$work/ours.ms" "$work/few.ms" | report "customer_context(), 1,000 contacts: 10 contacts" '%.3f ms' inverse
