#!/bin/sh
# contact.sh: a tracked table beside an application that writes its row and the contact itself in one statement, and
# beside a trigger in PL/pgSQL that does the same work.
#
# usage: by run.sh. Ours over the peer's throughput, more is better.
# Each is measured twice: durable, with the server's own defaults (fsync and full_page_writes on), which is what
# throughput means to who uses it, and without waiting for any disk, which compares nothing but the work.
set -eu
. test/bench/lib.sh

SECONDS_EACH=${SECONDS_EACH:-4}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

psql -X -q -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
CREATE TABLE tracked (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, kind text, agent bigint,
	body text, sent timestamptz NOT NULL DEFAULT now());
CREATE TABLE peer (LIKE tracked INCLUDING ALL);
CREATE TABLE plpgsql_peer (LIKE tracked INCLUDING ALL);
INSERT INTO omnichannel.agent (name) SELECT 'Agent ' || i FROM generate_series(1, 100) AS i;
SELECT count(omnichannel.identify('email', 'u' || i || '@example.com')) FROM generate_series(1, 100000) AS i;
SELECT omnichannel.track('tracked', channel => 'email', customer => '{sender}', kind => 'email', direction => '{kind}',
	occurred_at => '{sent}', agent => '{agent}', body => '{body}');

-- The same work in PL/pgSQL, which leaves the same rows: normalise, find or make the customer, log once, continue or open
-- the request, count the relationship, start and stop the clock, and keep what clocks are reckoned anew from: a message
-- of somebody who waits already says so itself, of others a moment is written, and how far the customer is known. What it
-- leaves out is in its favour: merged customers, other service levels than the seeded two, and clocks that follow contacts
-- which are logged late. The row of sla_customer is changed first, so that two messages at once start one clock. What that
-- row knows of the next message is left to ours, but for an answer, after which it holds no more.
CREATE FUNCTION log_in_plpgsql() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	address text := lower(btrim(NEW.sender));
	way omnichannel.channel;
	who bigint;
	about omnichannel.request;
	logged bigint;
	result text := CASE WHEN NEW.kind = 'outbound' THEN 'sent' ELSE 'received' END;
	place smallint := CASE WHEN NEW.kind = 'outbound' THEN 2 ELSE 1 END;
	made boolean := false;
	waits boolean := false;
	moment bigint;
BEGIN
	IF NEW.kind NOT IN ('inbound', 'outbound', 'internal') THEN
		RAISE EXCEPTION '"%" is no direction', NEW.kind USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT * INTO way FROM omnichannel.channel WHERE channel = 'email';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no such channel' USING ERRCODE = 'foreign_key_violation';
	END IF;
	IF NEW.sent > clock_timestamp() + interval '1 minute' OR NOT isfinite(NEW.sent) THEN
		RAISE EXCEPTION 'time out of range' USING ERRCODE = 'datetime_field_overflow';
	END IF;
	SELECT customer_id INTO who FROM omnichannel.identity WHERE kind = 'email' AND value = address;
	IF NOT FOUND THEN
		who := omnichannel.identify('email', address);
	END IF;
	logged := nextval('omnichannel.contact_contact_id_seq');
	INSERT INTO omnichannel.contact_key (source, source_key, customer_id, contact_id, occurred_at)
	VALUES ('plpgsql_peer', NEW.id::text, who, logged, NEW.sent) ON CONFLICT (source, source_key) DO NOTHING;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;

	IF NEW.kind <> 'internal' THEN
		UPDATE omnichannel.sla_customer SET last_at = NEW.sent, last_rank = place, next_at = NEW.sent, next_rank = place, late = false,
			waits_request_id = CASE WHEN place = 1 THEN waits_request_id END
		WHERE customer_id = who;
		IF NOT FOUND THEN
			INSERT INTO omnichannel.sla_customer (customer_id, last_at, last_rank, next_at, next_rank, late, oldest_at)
			VALUES (who, NEW.sent, place, NEW.sent, place, false, NEW.sent) ON CONFLICT (customer_id) DO NOTHING;
		END IF;
		SELECT * INTO about FROM omnichannel.request
		WHERE customer_id = who AND closed_at IS NULL AND greatest(opened_at, state_since) >= NEW.sent - way.conversation_gap
		ORDER BY channel <> 'email', opened_at DESC, request_id DESC LIMIT 1;
		IF NOT FOUND AND NEW.kind = 'inbound' AND way.opens_request THEN
			PERFORM FROM omnichannel.customer WHERE customer_id = who FOR NO KEY UPDATE;
			INSERT INTO omnichannel.request (customer_id, channel, kind, queue, state, opened_at, state_since)
			VALUES (who, 'email', way.request_kind, way.queue, CASE WHEN way.queue IS NULL THEN 'new' ELSE 'waiting_agent' END,
				NEW.sent, NEW.sent)
			RETURNING * INTO about;
			made := true;
		ELSIF NEW.kind = 'inbound' AND about.state = 'waiting_customer' THEN
			UPDATE omnichannel.request SET state = CASE WHEN queue IS NOT NULL THEN 'waiting_agent'
				WHEN agent_id IS NOT NULL THEN 'assigned' ELSE 'new' END WHERE request_id = about.request_id;
		END IF;
	END IF;
	INSERT INTO omnichannel.relationship AS r (customer_id, agent_id, contacts, strength, aged_at, first_at, last_at)
	VALUES (who, NEW.agent, 1, 1, NEW.sent, NEW.sent, NEW.sent)
	ON CONFLICT (customer_id, agent_id) DO UPDATE SET contacts = r.contacts + 1,
		strength = r.strength * power(0.5::float8, extract(epoch FROM NEW.sent - r.aged_at)::float8 / (180 * 86400)) + 1,
		aged_at = NEW.sent, last_at = NEW.sent;

	IF NEW.kind = 'inbound' THEN
		PERFORM FROM omnichannel.sla_clock WHERE customer_id = who AND stopped_at IS NULL
			AND metric IN ('first_response', 'next_response') AND request_id IS NOT DISTINCT FROM about.request_id;
		waits := FOUND;
	END IF;
	IF NEW.kind <> 'internal' AND NOT waits THEN
		INSERT INTO omnichannel.sla_moment (customer_id, at, what, request_id, contact_id, channel, outcome)
		VALUES (who, NEW.sent, NEW.kind, about.request_id, logged, 'email', result) RETURNING moment_id INTO moment;
	END IF;
	IF NEW.kind = 'inbound' AND NOT waits THEN
		INSERT INTO omnichannel.sla_clock (customer_id, metric, policy, request_id, channel, moment_id, started_at, target,
			calendar, due_at, warn_at, tell_at)
		SELECT who, p.metric, p.policy, about.request_id, 'email', moment, NEW.sent, p.target, p.calendar, due, due - p.warn_at,
			due
		FROM omnichannel.sla_policy AS p CROSS JOIN LATERAL omnichannel.deadline(NEW.sent, p.target, p.calendar) AS due
		WHERE p.channel = 'email' AND p.metric = CASE WHEN made THEN 'first_response' ELSE 'next_response' END
		ORDER BY p.rank, p.policy LIMIT 1;
	ELSIF NEW.kind = 'outbound' THEN
		UPDATE omnichannel.sla_clock SET stopped_at = NEW.sent, elapsed = NEW.sent - started_at,
			worked = omnichannel.working_time(started_at, NEW.sent, calendar),
			outcome = CASE WHEN NEW.sent <= due_at THEN 'met' ELSE 'breached' END
		WHERE customer_id = who AND stopped_at IS NULL AND metric IN ('first_response', 'next_response')
			AND request_id IS NOT DISTINCT FROM about.request_id;
	END IF;
	INSERT INTO omnichannel.contact (customer_id, contact_id, occurred_at, channel, direction, outcome, agent_id, request_id,
		body, source, source_key, still)
	VALUES (who, logged, NEW.sent, 'email', NEW.kind, result, NEW.agent, about.request_id, NEW.body, 'plpgsql_peer',
		NEW.id::text, CASE WHEN waits THEN true END);
	RETURN NULL;
END $$;
CREATE TRIGGER log AFTER INSERT ON plpgsql_peer FOR EACH ROW EXECUTE FUNCTION log_in_plpgsql();
-- Each customer has written before: what is measured is the ordinary message, not a customer's first.
INSERT INTO tracked (sender, kind, agent, body)
SELECT 'u' || i || '@example.com', 'inbound', 1 + i % 100, 'Good morning, is my mug on its way?' FROM generate_series(1, 100000) AS i;
VACUUM ANALYZE;
SQL

random='\set u random(1, 100000)
\set a 1 + :u % 100'
# scripts PREFIX DIRECTION: what each variant does with a message of that direction, an SQL expression.
scripts() {
	row="(sender, kind, agent, body) VALUES ('u' || :u || '@example.com', $2, :a, 'Good morning, where is the mug that I ordered last week?')"
	cat >"$work/$1ours.sql" <<-SQL
		$random
		INSERT INTO tracked $row;
	SQL
	cat >"$work/$1plpgsql.sql" <<-SQL
		$random
		INSERT INTO plpgsql_peer $row;
	SQL
	cat >"$work/$1peer.sql" <<-SQL
		$random
		WITH own AS (INSERT INTO peer $row RETURNING *)
		INSERT INTO omnichannel.contact (customer_id, occurred_at, channel, direction, outcome, agent_id, body, source, source_key)
		SELECT i.customer_id, own.sent, 'email', own.kind, 'received', own.agent, own.body, 'peer', own.id::text
		FROM own JOIN omnichannel.identity AS i ON i.kind = 'email' AND i.value = own.sender;
	SQL
}
# The ordinary message goes on with a request and a clock that runs; answers stop clocks, and messages start them again.
scripts '' "'inbound'"
scripts mixed_ "CASE WHEN random() < 0.5 THEN 'inbound' ELSE 'outbound' END"

# tps FILE CLIENTS
tps() {
	pgbench -n -M prepared -c "$2" -j 2 -T "$SECONDS_EACH" -f "$work/$1.sql" 2>"$work/errors" | awk '/^tps/ {print $3}'
}

# setting NAME VALUE
setting() {
	psql -X -q -v ON_ERROR_STOP=1 -c "ALTER SYSTEM SET $1 = $2"
	psql -X -q -c 'SELECT pg_reload_conf()' >/dev/null
	sleep 1
}

# compare PREFIX CLIENTS WHAT
compare() {
	rm -f "$work"/*.tps
	for _ in 1 2 3; do
		for variant in ours peer plpgsql; do
			tps "$1$variant" "$2" >>"$work/$variant.tps"
		done
	done
	paste "$work/ours.tps" "$work/peer.tps" | report "$3: application writes both (goal 0.70)" '%.0f/s'
	paste "$work/ours.tps" "$work/plpgsql.tps" | report "$3: trigger in PL/pgSQL (goal 1.30)" '%.0f/s'
}

for state in on off; do
	[ $state = on ] && label=durable || label='fsync off'
	# Once unmeasured, for all the same: the first changes of pages after a checkpoint log whole pages.
	setting fsync off
	setting full_page_writes $state
	psql -X -q -c CHECKPOINT
	for variant in ours peer plpgsql; do
		tps $variant 4 >/dev/null
		tps $variant 4 >/dev/null
	done
	setting fsync $state
	for clients in 1 4 16; do
		compare '' $clients "tracked INSERT, $clients clients, $label"
	done
	compare mixed_ 4 "the same, half of them answers, 4 clients, $label"
done
psql -X -q -c 'ALTER SYSTEM RESET fsync' -c 'ALTER SYSTEM RESET full_page_writes' -c 'SELECT pg_reload_conf()' >/dev/null
