-- Contacts, states of requests, transfers, changes of owners, merges and their undoing: in whatever order they come, the
-- clocks are those of a reference that takes them in the order of time, one plain statement a rule, and walks targets
-- minute by minute. Policies go by memberships that begin and end meanwhile, and better ones are made. Two applications
-- use the same keys for their threads. What is too old to be kept makes no difference.
BEGIN;
SELECT plan(15);
SET LOCAL search_path = public, pg_catalog;
SET LOCAL timezone = 'UTC';
-- However long ago that is by now.
UPDATE omnichannel.sla_setting SET keep_moments = '100000 days';
DELETE FROM omnichannel.sla_policy;
INSERT INTO omnichannel.channel (channel, name, medium, opens_request) VALUES
	('line', 'Line', 'voice', false), ('mail', 'Mail', 'mail', false), ('desk', 'Desk', 'mail', false);
INSERT INTO omnichannel.queue (queue) VALUES ('fast'), ('slow');
INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Ewa'), (2, 'Jan');
INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, kind, queue, target, calendar) VALUES
	('fast', 1, 'resolution', NULL, NULL, 'fast', '90 minutes', NULL),
	('solve', 2, 'resolution', NULL, 'complaint', NULL, '14 hours', 'office'),
	('mail', 1, 'first_response', 'mail', NULL, NULL, '6 hours', 'office'),
	('line', 2, 'first_response', 'line', NULL, NULL, '30 minutes', NULL),
	('next', 1, 'next_response', NULL, NULL, NULL, '150 minutes', NULL),
	('back', 1, 'callback', 'line', NULL, NULL, '4 hours', 'office');
INSERT INTO omnichannel.segment (segment, name) VALUES ('club', 'Club');
DELETE FROM omnichannel.sla_stale;

-- What happens in set number `seed`, in the order of time. Times are whole minutes, no two alike. who: of three customers.
CREATE TEMP TABLE event (seed int, n int, at timestamptz, who int, what text, request int, channel text, direction text,
	outcome text, thread text, source text, state text);
CREATE FUNCTION pg_temp.generate(seed int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	moment timestamptz := '2026-06-01 05:00Z';
	states text[] := '{}';
	who int;
	request int;
	chosen text;
	inbound boolean;
BEGIN
	PERFORM setseed(seed / 1000.0);
	FOR n IN 1..24 LOOP
		moment := moment + make_interval(mins => 1 + floor(random() * random() * 300)::int);
		request := 1 + floor(random() * 3);
		-- Requests 1 and 2 are the first customer's and the second's, 3 is the third's and no complaint.
		IF random() < 0.45 THEN
			chosen := CASE
				WHEN states[request] IS NULL THEN 'new'
				WHEN states[request] = 'cancelled' THEN NULL
				WHEN states[request] = 'done' THEN 'waiting_agent'
				WHEN states[request] = 'waiting_customer' THEN (ARRAY['waiting_agent', 'waiting_agent', 'done', 'cancelled'])[1 + floor(random() * 4)]
				ELSE (ARRAY['waiting_customer', 'waiting_customer', 'done', 'done', 'cancelled'])[1 + floor(random() * 5)] END;
			IF chosen IS NOT NULL THEN
				states[request] := chosen;
				INSERT INTO event VALUES (seed, n, moment, request, 'state', request, 'desk', NULL, NULL, NULL, NULL, chosen);
			END IF;
		ELSE
			who := 1 + floor(random() * 3);
			inbound := random() < 0.55;
			chosen := (ARRAY['mail', 'line', 'desk'])[1 + floor(random() * 3)];
			INSERT INTO event VALUES (seed, n, moment, who, 'contact',
				-- Whoever names a request does so only if it was opened at any time.
				CASE WHEN random() < 0.5 THEN who END, chosen, CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END,
				CASE WHEN chosen = 'line' AND inbound THEN (ARRAY['missed', 'answered', 'voicemail', 'abandoned'])[1 + floor(random() * 4)]
					WHEN chosen = 'line' THEN (ARRAY['answered', 'failed', 'missed', 'busy'])[1 + floor(random() * 4)]
					WHEN random() < 0.1 THEN 'failed' WHEN inbound THEN 'received' ELSE 'sent' END,
				CASE WHEN chosen <> 'line' AND random() < 0.6 THEN 'thread ' || who || CASE WHEN random() < 0.5 THEN 'a' ELSE 'b' END END,
				CASE WHEN random() < 0.5 THEN 'shop' ELSE 'post' END);
		END IF;
	END LOOP;
	UPDATE event AS e SET request = NULL WHERE e.seed = generate.seed AND e.what = 'contact'
		AND NOT EXISTS (SELECT FROM event AS o WHERE o.seed = e.seed AND o.what = 'state' AND o.request = e.request);
END
$$;
-- The set that happened last, with the requests to which contacts were taken to belong when they were logged.
CREATE TEMP TABLE story (LIKE event);
SELECT pg_temp.generate(seed) FROM generate_series(1, 40) AS seed \g /dev/null

-- The reference.
CREATE TEMP TABLE minute AS
SELECT at, extract(isodow FROM at AT TIME ZONE 'Europe/Warsaw') < 6 AND extract(hour FROM at AT TIME ZONE 'Europe/Warsaw') BETWEEN 9 AND 16 AS office
FROM generate_series(timestamptz '2026-06-01 00:00Z', '2026-07-10 00:00Z', '1 minute') AS at;
CREATE INDEX ON minute (at);
ANALYZE minute;
CREATE TEMP TABLE clock (metric text, policy text, request int, channel text, thread text, source text, started timestamptz, stopped timestamptz,
	cancelled boolean DEFAULT false, paused timestamptz, pauses tstzmultirange DEFAULT '{}');
CREATE TEMP TABLE told (request int, state text, answered boolean);
-- Of the set that happened last: the ends of requests' waits by who was one with the customer then, which stay, and are
-- what was told of the request; and from when on its states count that were told after that.
CREATE TEMP TABLE ended (request int, at timestamptz);
CREATE TEMP TABLE counted (n int, at timestamptz);
-- Where moments are forgotten: whether it was still known that the customer had written before.
CREATE TEMP TABLE recalled (n int, wrote boolean);
-- Memberships of the second customer, of whom these policies go by; and when they were entered.
CREATE TEMP TABLE joined (valid tstzrange);
-- Before which event another policy is made for next responses: what has stopped by then stays as it was.
CREATE TEMP TABLE revised (at timestamptz);

CREATE FUNCTION pg_temp.concerns(e story, c clock) RETURNS boolean LANGUAGE sql AS $$
	SELECT CASE WHEN (e).request IS NOT NULL AND (c).request IS NOT NULL THEN (e).request = (c).request
		WHEN (e).thread IS NOT NULL AND (c).thread IS NOT NULL THEN ((e).thread, (e).source) = ((c).thread, (c).source)
		WHEN (c).request IS NOT NULL AND (e).request IS NULL THEN (e).direction = 'outbound' AND (e).thread IS NULL AND (e).channel = (c).channel
		WHEN (e).request IS NOT NULL AND (c).request IS NULL THEN (c).thread IS NULL AND (e).channel = (c).channel
		ELSE (e).channel = (c).channel END $$;
CREATE FUNCTION pg_temp.promise(metric text, e story, started timestamptz, thread text, source text, family int[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO clock (metric, policy, request, channel, thread, source, started)
	SELECT promise.metric, p.policy, (e).request, (e).channel, promise.thread, promise.source, promise.started
	FROM omnichannel.sla_policy AS p
	WHERE p.metric = promise.metric AND p.policy <> 'brisk' AND coalesce(p.channel, (e).channel) = (e).channel AND p.queue IS NULL
		AND (p.segment IS NULL OR 2 = ANY (promise.family) AND EXISTS (SELECT FROM joined AS j WHERE promise.started <@ j.valid))
		AND (p.kind IS NULL OR p.kind = CASE WHEN (e).request IN (1, 2) THEN 'complaint' ELSE 'order' END)
	ORDER BY p.rank LIMIT 1 $$;

CREATE FUNCTION pg_temp.reference(family int[], fast int[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	e story;
	wrote boolean;
	was text;
	waits boolean;
	speaks boolean;
	spoke boolean;
	first_written record;
BEGIN
	DELETE FROM clock;
	DELETE FROM told;
	-- What ends a request, and stays so, comes after what was said at the same time.
	FOR e IN SELECT * FROM story AS s WHERE s.who = ANY (family) ORDER BY s.at, CASE WHEN s.what = 'contact' THEN 1 WHEN s.state IN ('done', 'cancelled')
		AND NOT EXISTS (SELECT FROM story AS o WHERE o.what = 'state' AND (o.request, o.at) = (s.request, s.at) AND o.n > s.n) THEN 2 ELSE 0 END, s.n LOOP
		-- While they were one, a contact may have come into the request of another who is not of the family any more.
		IF e.request <> ALL (family) THEN
			e.request := NULL;
		END IF;
		IF e.what = 'state' THEN
			was := (SELECT t.state FROM told AS t WHERE t.request = e.request);
			DELETE FROM told WHERE request = e.request;
			INSERT INTO told VALUES (e.request, e.state, false);
			IF was IS NULL THEN
				SELECT o.at, o.thread, o.source INTO first_written FROM story AS o WHERE o.who = ANY (family) AND o.what = 'contact' AND o.direction = 'inbound'
					AND o.outcome <> 'failed' AND o.request = e.request AND o.at < e.at ORDER BY o.at LIMIT 1;
				PERFORM pg_temp.promise('resolution', e, coalesce(first_written.at, e.at), first_written.thread, first_written.source, family);
			ELSIF e.state IN ('done', 'cancelled') THEN
				UPDATE clock SET stopped = e.at, cancelled = e.state = 'cancelled' OR metric <> 'resolution',
					pauses = pauses + CASE WHEN paused IS NULL THEN '{}' ELSE tstzmultirange(tstzrange(paused, e.at)) END, paused = NULL
				WHERE clock.request = e.request AND stopped IS NULL;
			ELSIF e.state = 'waiting_customer' THEN
				UPDATE clock SET paused = e.at WHERE clock.request = e.request AND stopped IS NULL AND metric <> 'callback' AND paused IS NULL;
			ELSE
				UPDATE clock SET pauses = pauses + tstzmultirange(tstzrange(paused, e.at)), paused = NULL
				WHERE clock.request = e.request AND stopped IS NULL AND paused IS NOT NULL;
				UPDATE clock SET pauses = pauses + tstzmultirange(tstzrange(stopped, e.at)), stopped = NULL, cancelled = false
				WHERE clock.request = e.request AND metric = 'resolution' AND stopped IS NOT NULL;
			END IF;
		ELSIF e.direction = 'inbound' AND e.outcome <> 'failed' THEN
			speaks := e.channel = 'line';
			spoke := e.outcome = 'answered';
			wrote := EXISTS (SELECT FROM story AS o WHERE o.who = ANY (family) AND o.what = 'contact' AND o.direction = 'inbound'
				AND o.outcome <> 'failed' AND o.at < e.at AND (o.request = e.request OR (o.thread, o.source) = (e.thread, e.source)))
				AND coalesce((SELECT r.wrote FROM recalled AS r WHERE r.n = e.n), true);
			waits := EXISTS (SELECT FROM clock AS c WHERE c.stopped IS NULL AND c.metric ~ 'response' AND pg_temp.concerns(e, c)) AND NOT spoke;
			UPDATE clock AS c SET pauses = pauses + tstzmultirange(tstzrange(paused, e.at)), paused = NULL
			WHERE c.stopped IS NULL AND c.paused IS NOT NULL AND c.request = e.request;
			UPDATE clock AS c SET stopped = e.at
			WHERE c.stopped IS NULL AND spoke AND (c.metric = 'callback' AND speaks OR c.metric ~ 'response' AND pg_temp.concerns(e, c));
			IF speaks AND NOT spoke AND NOT EXISTS (SELECT FROM clock AS c WHERE c.stopped IS NULL AND c.metric = 'callback') THEN
				PERFORM pg_temp.promise('callback', e, e.at, e.thread, e.source, family);
			END IF;
			IF NOT waits AND NOT (spoke AND wrote) THEN
				PERFORM pg_temp.promise(CASE WHEN wrote THEN 'next_response' ELSE 'first_response' END, e, e.at, e.thread, e.source, family);
				UPDATE clock AS c SET stopped = e.at WHERE spoke AND c.started = e.at AND c.metric ~ 'response';
			END IF;
		ELSIF e.direction = 'outbound' THEN
			UPDATE clock AS c SET stopped = e.at,
				pauses = pauses + CASE WHEN paused IS NULL THEN '{}' ELSE tstzmultirange(tstzrange(paused, e.at)) END, paused = NULL
			WHERE c.stopped IS NULL AND (c.metric = 'callback' AND e.channel = 'line' AND e.outcome <> 'failed'
				OR c.metric ~ 'response' AND e.outcome NOT IN ('failed', 'missed', 'busy', 'abandoned') AND pg_temp.concerns(e, c));
		END IF;
	END LOOP;
	UPDATE clock AS c SET policy = 'brisk' FROM revised AS r WHERE c.metric = 'next_response' AND (c.stopped IS NULL OR c.stopped >= r.at);
	-- Transfers come now, after all that.
	UPDATE clock AS c SET policy = 'fast' WHERE c.request = ANY (fast) AND c.metric = 'resolution' AND c.stopped IS NULL;
	RETURN (
		SELECT string_agg(format('%s %s %s %s %s %s %s %s', c.metric, c.policy, c.request, c.started, c.stopped, due.at,
				CASE WHEN c.paused IS NOT NULL AND due.at IS NULL THEN
					make_interval(mins => target.minutes - (SELECT count(*)::int FROM minute AS m WHERE m.at >= c.started AND m.at < c.paused
						AND (p.calendar IS NULL OR m.office) AND NOT m.at <@ c.pauses)) END,
				c.pauses + CASE WHEN c.paused IS NULL THEN '{}' ELSE tstzmultirange(tstzrange(c.paused, NULL)) END)
			|| CASE WHEN c.stopped IS NULL THEN '' WHEN c.stopped > due.at THEN ' breached' WHEN c.cancelled THEN ' cancelled' ELSE ' met' END,
			E'\n' ORDER BY c.metric, c.started, c.request, c.policy)
		FROM clock AS c JOIN omnichannel.sla_policy AS p USING (policy)
		CROSS JOIN LATERAL (SELECT (extract(epoch FROM p.target) / 60)::int) AS target (minutes)
		LEFT JOIN LATERAL (SELECT m.at + interval '1 minute' FROM minute AS m
			WHERE m.at >= c.started AND (c.paused IS NULL OR m.at < c.paused) AND (p.calendar IS NULL OR m.office) AND NOT m.at <@ c.pauses
			ORDER BY m.at OFFSET target.minutes - 1 LIMIT 1) AS due (at) ON true);
END
$$;

CREATE FUNCTION pg_temp.place(ids bigint[], id bigint) RETURNS int LANGUAGE sql STRICT AS 'SELECT array_position(ids, id)';

-- Makes a set happen in some order for three new customers, and returns their clocks as the reference writes them. groups:
-- merge before all (first), in between, with some undone and done again (between), and at the end all undone (apart), or not (NULL).
-- forget: moments are, up to shortly before what happens next.
CREATE TEMP TABLE forgotten (moments bigint);
CREATE FUNCTION pg_temp.happen(seed int, shuffle int, groups text, fast boolean, sweep boolean, forget boolean, out clocks text, out expected text)
LANGUAGE plpgsql AS $$
DECLARE
	customers bigint[] := ARRAY(SELECT omnichannel.identify('account', format('states-%s-%s-%s-%s-%s-%s-%s-%s', seed, shuffle, groups, fast, sweep, forget, (SELECT count(*) FROM revised), i)) FROM generate_series(1, 3) AS i);
	requests bigint[] := '{}';
	merges bigint[] := '{}';
	merged int := 0;
	moved int[] := '{}';
	step record;
	logged bigint;
BEGIN
	DELETE FROM recalled;
	DELETE FROM ended;
	DELETE FROM counted;
	PERFORM setseed((seed * 50 + shuffle) / 10000.0);
	INSERT INTO omnichannel.segment_member (customer_id, segment, valid) SELECT customers[2], 'club', joined.valid FROM joined;
	IF groups = 'first' THEN
		PERFORM omnichannel.merge_customers(customers[1], customers[2]);
		PERFORM omnichannel.merge_customers(customers[1], customers[3]);
		merged := 2;
	END IF;
	-- A request's states keep their order, and contacts that name it come after its opening; all else is shuffled.
	FOR step IN
		WITH keyed AS (
			SELECT e.*, CASE WHEN shuffle = 0 THEN e.n ELSE random() END AS key,
				CASE WHEN e.what = 'state' THEN row_number() OVER (PARTITION BY e.what, e.request ORDER BY e.at) END AS number
			FROM event AS e WHERE e.seed = happen.seed
		), place AS (
			SELECT k.request, k.key, row_number() OVER (PARTITION BY k.request ORDER BY k.key) AS number FROM keyed AS k WHERE k.what = 'state'
		)
		SELECT k.* FROM keyed AS k LEFT JOIN place AS p ON k.what = 'state' AND p.request = k.request AND p.number = k.number
		ORDER BY coalesce(k.number, 2) > 1 OR forget, coalesce(p.key, k.key)
	LOOP
		UPDATE revised SET at = step.at WHERE revised.at IS NULL AND step.n > 12 AND coalesce(step.number, 2) > 1;
		IF FOUND THEN
			INSERT INTO omnichannel.sla_policy (policy, rank, metric, target) VALUES ('brisk', 0, 'next_response', '40 minutes');
			PERFORM omnichannel.recompute_sla();
		END IF;
		IF forget AND random() < 0.5 THEN
			-- A day is kept.
			INSERT INTO forgotten SELECT omnichannel.forget_moments(step.at + interval '1 day' - random() * interval '3 hours');
		END IF;
		IF step.what = 'state' AND step.number = 1 THEN
			requests[step.request] := omnichannel.open_request(customers[step.who], CASE WHEN step.request = 3 THEN 'order' ELSE 'complaint' END, 'desk', opened_at => step.at);
		ELSIF step.what = 'state' THEN
			INSERT INTO counted SELECT step.n, max(ended.at) FROM ended WHERE ended.request = step.request;
			UPDATE omnichannel.request SET state = step.state, state_since = step.at WHERE request_id = requests[step.request];
		ELSE
			logged := omnichannel.log_contact(step.channel, customers[step.who], direction => step.direction, outcome => step.outcome,
				occurred_at => step.at, request_id => requests[step.request],
				thread => step.thread || customers[1], source => step.source || customers[1], source_key => step.n::text);
			INSERT INTO ended SELECT pg_temp.place(requests, r.request_id), step.at FROM omnichannel.request AS r
			WHERE r.request_id = ANY (requests) AND r.customer_id <> customers[step.who] AND r.state_since = step.at
				-- Where its own customer had ended it already, nothing is told.
				AND NOT EXISTS (SELECT FROM omnichannel.contact AS c WHERE c.request_id = r.request_id AND c.customer_id = r.customer_id AND c.direction = 'inbound' AND c.outcome <> 'failed'
					AND c.occurred_at BETWEEN (SELECT max(m.at) FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id AND m.state = 'waiting_customer') AND step.at);
			IF forget THEN
				INSERT INTO recalled SELECT step.n, EXISTS (SELECT FROM omnichannel.sla_moment AS m JOIN omnichannel.contact AS c ON c.contact_id = logged
					WHERE m.customer_id = ANY (customers) AND m.what = 'inbound' AND m.outcome <> 'failed' AND m.at < step.at AND (m.request_id = c.request_id OR (m.thread, m.source) = (c.thread, c.source)));
			END IF;
		END IF;
		IF random() < 0.1 AND cardinality(requests) > 0 THEN
			UPDATE omnichannel.request SET agent_id = 1 + floor(random() * 2) WHERE request_id = ANY (requests);
		END IF;
		IF groups IN ('between', 'apart') AND random() < 0.15 THEN
			IF merged < 2 THEN
				merges := merges || omnichannel.merge_customers(customers[1], customers[2 + merged]);
				merged := merged + 1;
			ELSE
				PERFORM omnichannel.unmerge_customers(merges[cardinality(merges)]);
				merges := merges[:cardinality(merges) - 1];
				merged := merged - 1;
			END IF;
		END IF;
		IF sweep AND random() < 0.2 THEN
			PERFORM omnichannel.tick_sla();
		END IF;
	END LOOP;
	IF groups = 'apart' THEN
		FOR logged IN SELECT merge FROM unnest(merges) WITH ORDINALITY AS m (merge, place) ORDER BY random() LOOP
			PERFORM omnichannel.unmerge_customers(logged);
		END LOOP;
		merged := 0;
	END IF;
	IF fast THEN
		UPDATE omnichannel.request SET queue = 'fast' WHERE request_id = requests[1 + seed % 2] AND closed_at IS NULL;
		IF FOUND THEN
			moved := ARRAY[1 + seed % 2];
			-- To where nothing else is promised: what was promised stays.
			UPDATE omnichannel.request SET queue = 'slow', kind = 'order' WHERE request_id = requests[1 + seed % 2];
			-- And one more contact of long ago, so that all is reckoned again.
			PERFORM omnichannel.log_contact('desk', customers[1], direction => 'outbound', outcome => 'failed', occurred_at => '2026-06-01 04:00Z', source => 'states');
		END IF;
	END IF;
	IF forget THEN
		-- Reckoned anew from what is left, with a contact of a time that is settled: nothing moves.
		PERFORM omnichannel.log_contact('line', customers[1], outcome => 'missed', occurred_at => '2026-05-01 04:00Z', source => 'states');
		PERFORM omnichannel.recompute_sla(request_id) FROM unnest(requests) AS request_id WHERE request_id IS NOT NULL;
	END IF;
	clocks := (SELECT string_agg(format('%s %s %s %s %s %s %s %s', c.metric, c.policy, pg_temp.place(requests, c.request_id), c.started_at, c.stopped_at, c.due_at, c.time_left, c.pauses)
				|| CASE WHEN c.outcome IS NULL OR c.stopped_at IS NULL THEN '' ELSE ' ' || c.outcome END,
			E'\n' ORDER BY c.metric, c.started_at, pg_temp.place(requests, c.request_id), c.policy)
		FROM omnichannel.sla_clock AS c WHERE c.customer_id = ANY (customers) AND (groups IS DISTINCT FROM 'between' OR c.stopped_at IS NULL));
	DELETE FROM story;
	INSERT INTO story SELECT e.seed, e.n, greatest(e.at, (SELECT c.at FROM counted AS c WHERE c.n = e.n)), e.who, e.what, coalesce(pg_temp.place(requests, c.request_id), CASE WHEN e.what = 'state' THEN e.request END),
		e.channel, e.direction, e.outcome, e.thread, e.source, e.state
	FROM event AS e LEFT JOIN omnichannel.contact AS c ON c.source = e.source || customers[1] AND c.source_key = e.n::text AND e.what = 'contact'
	WHERE e.seed = happen.seed;
	INSERT INTO story (seed, n, at, who, what, request, state) SELECT seed, 0, e.at, e.request, 'state', e.request, 'new' FROM ended AS e;
	WITH part AS (
		SELECT pg_temp.reference(f.members, moved) AS text
		FROM (SELECT ARRAY[1, 2, 3] AS members WHERE merged = 2 UNION ALL SELECT ARRAY[1, 2] WHERE merged = 1 UNION ALL SELECT ARRAY[3] WHERE merged = 1
			UNION ALL SELECT ARRAY[i] FROM generate_series(1, 3) AS i WHERE merged = 0) AS f
	), line AS (
		SELECT regexp_split_to_table(part.text, E'\n') AS line FROM part
	)
	SELECT string_agg(line.line, E'\n' ORDER BY line.line) INTO expected FROM line WHERE groups IS DISTINCT FROM 'between' OR line.line !~ '(met|breached|cancelled)$';
	clocks := (SELECT string_agg(l, E'\n' ORDER BY l) FROM regexp_split_to_table(clocks, E'\n') AS l);
	UPDATE revised SET at = NULL;
	DELETE FROM omnichannel.sla_policy WHERE policy = 'brisk';
	DELETE FROM omnichannel.sla_stale;
END
$$;

SELECT cmp_ok((SELECT count(DISTINCT state)::int FROM event), '>=', 5, 'all states come up');
CREATE FUNCTION pg_temp.wrong(seeds int, shuffles int, groups text, fast boolean, sweep boolean, forget boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format(E'%s/%s\nclocks:\n%s\nreference:\n%s', seed, shuffle, h.clocks, h.expected), E'\n')
	FROM generate_series(1, seeds) AS seed, generate_series(0, shuffles) AS shuffle, pg_temp.happen(seed, shuffle, groups, fast, sweep, forget) AS h
	WHERE h.clocks IS DISTINCT FROM h.expected $$;
-- First, while there is little else to reckon.
INSERT INTO revised VALUES (NULL);
SELECT is(pg_temp.wrong(20, 0, NULL, true, false), NULL, 'where a better policy is made meanwhile');
SELECT is(pg_temp.wrong(20, 0, 'first', true, false), NULL, 'and of customers who were merged');
DELETE FROM revised;
INSERT INTO omnichannel.sla_policy (policy, rank, metric, segment, target, calendar) VALUES
	('club', 0, 'next_response', 'club', '45 minutes', NULL), ('club_first', 0, 'first_response', 'club', '1 hour', 'office'),
	('club_solve', 0, 'resolution', 'club', '9 hours', 'office');
INSERT INTO joined VALUES ('[2026-06-01 09:00Z, 2026-06-01 20:00Z)'), ('[2026-06-02 06:00Z, infinity)');
DELETE FROM omnichannel.sla_stale;
SELECT is(pg_temp.wrong(15, 2, NULL, false, true), NULL, 'of members who join, leave and join again');
SELECT is(pg_temp.wrong(15, 2, 'first', false, true), NULL, 'where one of several who are one is a member');
DELETE FROM omnichannel.sla_policy WHERE segment = 'club';
DELETE FROM omnichannel.sla_stale;
DELETE FROM joined;
SELECT cmp_ok((SELECT count(*)::int FROM omnichannel.sla_clock WHERE policy ~ 'club|brisk'), '>', 100, 'by which many clocks go');
SELECT is(pg_temp.wrong(40, 4, NULL, false, false), NULL, 'contacts and states in any order');
SELECT is(pg_temp.wrong(20, 3, 'first', false, false), NULL, 'of customers who were merged before');
SELECT is(pg_temp.wrong(40, 3, 'between', false, false), NULL, 'open clocks of customers who are merged, taken apart and merged again meanwhile');
SELECT is(pg_temp.wrong(40, 3, 'apart', false, false), NULL, 'all clocks of customers who were merged meanwhile and are taken apart');
SELECT is(pg_temp.wrong(20, 2, NULL, true, false), NULL, 'with transfers at the end');
SELECT is(pg_temp.wrong(20, 2, 'first', true, true), NULL, 'with sweeps in between');
UPDATE omnichannel.sla_setting SET keep_moments = '1 day';
SELECT is(pg_temp.wrong(40, 0, NULL, false, false, true), NULL, 'while moments are forgotten');
SELECT is(pg_temp.wrong(40, 0, 'first', true, false, true), NULL, 'while moments of merged customers are forgotten');
SELECT cmp_ok((SELECT sum(moments) FROM forgotten), '>', 300::numeric, 'which they are');
SELECT * FROM finish();
ROLLBACK;
