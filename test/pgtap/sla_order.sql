-- Contacts logged in any order give the clocks that the order of time gives. Thirty sets of moments, each in order and in
-- eight other orders, with threads and without, also where the log opens requests, and with a sweep in between; in the
-- last ten of them several moments are at the same time.
BEGIN;
SELECT plan(15);
SET LOCAL search_path = public, pg_catalog;
SET LOCAL timezone = 'UTC';
-- However long ago that is by now.
UPDATE omnichannel.sla_setting SET keep_moments = '100000 days';
INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, target, calendar) VALUES
	('chat', 50, 'first_response', 'chat', '20 minutes', NULL), ('chat_next', 50, 'next_response', 'chat', '10 minutes', NULL),
	('any', 90, 'next_response', NULL, '1 day', 'office'), ('solve', 90, 'resolution', NULL, '2 days', 'office');
INSERT INTO omnichannel.channel (channel, name, medium, opens_request) VALUES ('line', 'Line', 'voice', false), ('mail', 'Mail', 'mail', false), ('crowd', 'Crowd', 'mail', false);
INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, target) VALUES
	('line', 10, 'callback', 'line', '1 hour'), ('mail', 10, 'first_response', 'mail', '6 hours'), ('line_first', 20, 'first_response', 'line', '30 minutes'),
	('crowd', 10, 'first_response', 'crowd', '9 days');
DELETE FROM omnichannel.sla_stale;

-- What is read must not hang on statistics: these say for ever that there is one clock.
INSERT INTO omnichannel.sla_clock (customer_id, metric, policy, channel, moment_id, started_at, target, due_at, tell_at)
VALUES (-1, 'first_response', 'crowd', 'crowd', -1, now(), '9 days', now(), now());
ANALYZE omnichannel.sla_clock;
DELETE FROM omnichannel.sla_clock;

-- What set number `seed` says, the same each time: hashes stand for chance.
CREATE FUNCTION pg_temp.moments(seed int) RETURNS TABLE (n int, at timestamptz, channel text, direction text, outcome text, thread text)
LANGUAGE sql AS $$
	SELECT n, timestamptz '2026-06-01 06:00Z' + make_interval(mins => t.slot * 37 + abs(hashint4(seed * 100 + t.slot)) % 37),
		c.channel, d.direction,
		CASE WHEN c.channel = 'line' AND d.direction = 'inbound' THEN (ARRAY['missed', 'answered', 'voicemail'])[1 + abs(hashint4(seed * 7 + n)) % 3]
			WHEN c.channel = 'line' THEN (ARRAY['answered', 'failed', 'missed'])[1 + abs(hashint4(seed * 11 + n)) % 3]
			WHEN d.direction = 'inbound' THEN 'received' ELSE 'sent' END,
		CASE WHEN c.channel = 'mail' THEN (ARRAY['a', 'b', NULL])[1 + abs(hashint4(seed * 13 + n)) % 3] END
	FROM generate_series(1, 12) AS n
	CROSS JOIN LATERAL (SELECT CASE WHEN seed > 20 THEN n - n % 4 ELSE n END) AS t (slot)
	CROSS JOIN LATERAL (SELECT (ARRAY['mail', 'line', 'mail'])[1 + abs(hashint4(seed * 17 + n)) % 3]) AS c (channel)
	CROSS JOIN LATERAL (SELECT (ARRAY['inbound', 'outbound'])[1 + abs(hashint4(seed * 19 + n)) % 2]) AS d (direction)
$$;

-- Logs a set in some order for a new customer and returns the clocks.
CREATE FUNCTION pg_temp.clocks(seed int, shuffle int, sweep boolean, crowd int DEFAULT 0) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', format('order-%s-%s-%s-%s', seed, shuffle, crowd, sweep));
	moment record;
BEGIN
	FOR n IN 1 .. crowd LOOP
		PERFORM omnichannel.log_contact('crowd', customer, occurred_at => '2026-06-01 05:00Z', thread => customer || '-' || n, source => 'crowd');
	END LOOP;
	FOR moment IN
		SELECT * FROM pg_temp.moments(seed) AS m
		ORDER BY CASE WHEN shuffle = 0 THEN m.n ELSE hashint4(shuffle * 1000 + m.n * 31) END, m.n
	LOOP
		PERFORM omnichannel.log_contact(moment.channel, customer, direction => moment.direction, outcome => moment.outcome,
			occurred_at => moment.at, thread => moment.thread || customer, source => 'order');
		IF sweep AND moment.n % 4 = 0 THEN
			PERFORM omnichannel.tick_sla();
		END IF;
	END LOOP;
	IF sweep THEN
		PERFORM omnichannel.tick_sla();
	END IF;
	RETURN (SELECT string_agg(format('%s %s %s %s %s %s %s', c.metric, c.policy, c.started_at, c.due_at, c.stopped_at, c.outcome, c.pauses), E'\n'
			ORDER BY c.metric, c.started_at, c.channel, c.thread, c.due_at, c.stopped_at)
		FROM omnichannel.sla_clock AS c WHERE c.customer_id = customer AND c.channel <> 'crowd');
END
$$;

CREATE TEMP TABLE ordered AS SELECT seed, sweep, pg_temp.clocks(seed, 0, sweep) AS clocks
FROM generate_series(1, 30) AS seed, (VALUES (false), (true)) AS s (sweep);
SELECT is((SELECT array_agg(format('%s/%s', o.seed, shuffle)) FROM ordered AS o, generate_series(1, 8) AS shuffle
	WHERE NOT o.sweep AND pg_temp.clocks(o.seed, shuffle, false) IS DISTINCT FROM o.clocks), NULL, 'any order gives the same clocks');
SELECT is((SELECT array_agg(format('%s/%s', o.seed, shuffle)) FROM ordered AS o, generate_series(1, 8) AS shuffle
	WHERE o.sweep AND pg_temp.clocks(o.seed, shuffle, true) IS DISTINCT FROM o.clocks), NULL, 'also when breaches were told in between');
-- Of a customer with many clocks only those are read that a contact may concern: that makes no difference.
SELECT is((SELECT array_agg(o.seed) FROM ordered AS o WHERE NOT o.sweep AND pg_temp.clocks(o.seed, 0, false, 40) IS DISTINCT FROM o.clocks),
	NULL, 'nor do forty others make a difference');
-- What stands is what the clocks say: each breach once.
SELECT is((SELECT count(*) FROM omnichannel.sla_clock AS c WHERE c.tell_at < now() AND c.customer_id IN
		(SELECT customer_id FROM omnichannel.identity WHERE value LIKE 'order-%-true') AND (c.outcome = 'breached') IS DISTINCT FROM
		EXISTS (SELECT FROM omnichannel.sla_event AS e WHERE e.customer_id = c.customer_id AND e.clock_id = c.clock_id
			AND e.event = 'breach' AND e.withdrawn_at IS NULL)), 0::bigint, 'every breach that stands was told, and no other');

-- Of those at the same time, one that says the same or comes later by what it says is in order: nothing is reckoned anew.
CREATE FUNCTION pg_temp.late(outcome text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', 'same-time');
BEGIN
	PERFORM omnichannel.log_contact('email', customer, outcome => outcome, occurred_at => now());
	RETURN (SELECT late FROM omnichannel.sla_customer WHERE customer_id = customer AND last_at = now());
END
$$;
SELECT is(pg_temp.late('received'), false, 'the first of its time');
SELECT is(ARRAY[pg_temp.late('received'), pg_temp.late('voicemail')], '{false,false}', 'others that come after it are in order');
SELECT is(pg_temp.late('answered'), true, 'one that comes before them is not');

-- One contact more of a customer of whom a thousand clocks run reads those of its conversation, and moves it alone.
SELECT omnichannel.identify('account', 'many') AS many \gset
INSERT INTO omnichannel.sla_clock (customer_id, metric, policy, channel, thread, moment_id, started_at, target, due_at, tell_at)
SELECT :many, 'first_response', 'crowd', 'crowd', 'many-' || n, -n, now() - interval '1 day', '9 days', now() + interval '8 days', now() + interval '8 days'
FROM generate_series(1, 1000) AS n;
CREATE FUNCTION pg_temp.fetched(channel text, direction text, outcome text, thread text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relid = 'omnichannel.sla_clock'::regclass);
BEGIN
	PERFORM omnichannel.log_contact(channel, omnichannel.identify('account', 'many'), direction => direction, outcome => outcome, thread => thread);
	RETURN (SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relid = 'omnichannel.sla_clock'::regclass) - before;
END
$$;
SELECT cmp_ok(pg_temp.fetched('crowd', 'inbound', 'received', 'new'), '<', 100::bigint, 'one that begins a conversation reads few clocks');
SELECT cmp_ok(pg_temp.fetched('crowd', 'outbound', 'sent', 'many-7'), '<', 100::bigint, 'so does one that answers');
SELECT cmp_ok(pg_temp.fetched('line', 'inbound', 'missed', NULL), '<', 100::bigint, 'and a call');
SELECT pg_temp.fetched('line', 'outbound', 'answered', NULL) < 100 AS few;
SELECT results_eq(format('SELECT count(*) FILTER (WHERE stopped_at IS NULL), string_agg(thread, %L) FILTER (WHERE stopped_at IS NOT NULL AND channel = %L),
	count(*) FILTER (WHERE stopped_at IS NOT NULL AND metric = %L) FROM omnichannel.sla_clock WHERE customer_id = %s', ',', 'crowd', 'callback', :many),
	$$VALUES (1000::bigint, 'many-7', 1::bigint)$$, 'each has moved its own');

-- What is of the very time at which its request ends is of the request, whatever is logged first.
CREATE FUNCTION pg_temp.ends(name text, steps text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', 'ends-' || name);
	request bigint := omnichannel.open_request(customer, 'order', 'mail', opened_at => '2026-06-02 06:00Z');
	step text;
BEGIN
	PERFORM omnichannel.log_contact('mail', customer, request_id => request, occurred_at => '2026-06-02 07:00Z');
	FOREACH step IN ARRAY steps LOOP
		IF step = 'done' THEN
			UPDATE omnichannel.request AS r SET state = 'done', state_since = '2026-06-02 09:00Z', closed_at = '2026-06-02 09:00Z' WHERE r.request_id = request;
		ELSIF step = 'again' THEN
			UPDATE omnichannel.request AS r SET state = 'waiting_agent', state_since = '2026-06-02 09:00Z', closed_at = NULL WHERE r.request_id = request;
		ELSE
			PERFORM omnichannel.log_contact('mail', customer, direction => step, request_id => request, occurred_at => '2026-06-02 09:00Z');
		END IF;
	END LOOP;
	RETURN (SELECT string_agg(format('%s %s-%s %s', c.metric, to_char(c.started_at, 'HH24:MI'), to_char(c.stopped_at, 'HH24:MI'), c.outcome), ', ' ORDER BY c.metric, c.started_at)
		FROM omnichannel.sla_clock AS c WHERE c.request_id = request);
END
$$;
SELECT is(ARRAY[pg_temp.ends('before', '{outbound,done}'), pg_temp.ends('after', '{done,outbound}')],
	array_fill('first_response 07:00-09:00 met, resolution 06:00-09:00 met'::text, '{2}'), 'an answer of that time is one');
SELECT is(ARRAY[pg_temp.ends('asked', '{inbound,done}'), pg_temp.ends('asks', '{done,inbound}')],
	array_fill('first_response 07:00-09:00 cancelled, resolution 06:00-09:00 met'::text, '{2}'), 'and a question is promised nothing');
SELECT is(ARRAY[pg_temp.ends('opened', '{outbound,done,again}'), pg_temp.ends('open', '{done,again,outbound}')],
	array_fill('first_response 07:00-09:00 met, resolution 06:00- '::text, '{2}'), 'also where it is opened again at that time');
-- Which of two messages of the same time begins a promise does not hang on which is logged first, nor on what is logged in between.
CREATE FUNCTION pg_temp.begins(name text, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', 'begins-' || name);
	request bigint := omnichannel.open_request(customer, 'order', 'mail', opened_at => '2026-06-02 06:00Z');
BEGIN
	PERFORM omnichannel.log_contact(first, customer, request_id => request, outcome => 'received', occurred_at => '2026-06-02 07:00Z');
	PERFORM omnichannel.log_contact('mail', customer, direction => 'outbound', request_id => request, occurred_at => '2026-06-02 09:00Z');
	PERFORM omnichannel.log_contact(second, customer, request_id => request, outcome => 'received', occurred_at => '2026-06-02 07:00Z');
	RETURN (SELECT string_agg(format('%s %s %s %s', c.metric, c.policy, c.channel, c.outcome), ', ' ORDER BY c.metric)
		FROM omnichannel.sla_clock AS c WHERE c.request_id = request AND c.metric = 'first_response');
END
$$;
SELECT is(ARRAY[pg_temp.begins('mail', 'mail', 'chat'), pg_temp.begins('chat', 'chat', 'mail')], array_fill('first_response chat chat breached'::text, '{2}'),
	'nor what began it');
SELECT * FROM finish();
ROLLBACK;
