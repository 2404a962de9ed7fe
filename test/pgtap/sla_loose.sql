-- Contacts that the log puts into no request: they end no wait, and are about no request's clocks but those of their own
-- thread; the clocks are of one mind with the log, however the contacts come.
BEGIN;
SELECT plan(21);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
UPDATE channel SET opens_request = false WHERE channel IN ('email', 'chat', 'phone');
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('solve', 1, 'resolution', '9 days'), ('first', 1, 'first_response', '9 days'),
	('next', 1, 'next_response', '9 days'), ('call', 1, 'callback', '9 days');
DELETE FROM sla_stale;

CREATE FUNCTION pg_temp.hour(n int) RETURNS timestamptz LANGUAGE sql AS $$SELECT date_trunc('day', now()) - interval '2 days' + make_interval(hours => n)$$;
CREATE FUNCTION pg_temp.who(who text) RETURNS bigint LANGUAGE sql AS $$SELECT omnichannel.identify('account', who)$$;
-- A request that was opened at 0:00 and waits since 1:00.
CREATE FUNCTION pg_temp.waits(who text, channel text DEFAULT 'forum') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint := omnichannel.open_request(pg_temp.who(who), 'x', channel, opened_at => pg_temp.hour(0));
BEGIN
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = pg_temp.hour(1) WHERE request_id = id;
	RETURN id;
END
$$;
CREATE FUNCTION pg_temp.says(who text, at int, channel text, thread text DEFAULT NULL, direction text DEFAULT 'inbound', outcome text DEFAULT NULL, request bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS $$
	SELECT omnichannel.log_contact(channel, pg_temp.who(who), thread => who || ' ' || thread, direction => direction, outcome => outcome, request_id => request,
		occurred_at => pg_temp.hour(at), source => 'app')
$$;
-- A customer's clocks: whether of a request, metric, start, what it is now, and when it stood still and stopped.
CREATE FUNCTION pg_temp.clocks(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', CASE WHEN c.request_id IS NULL THEN 'loose' ELSE 'request' END, c.metric, extract(hour FROM c.started_at),
		coalesce(c.outcome, CASE WHEN c.due_at IS NULL THEN 'paused' ELSE 'open' END),
		(SELECT string_agg(extract(hour FROM lower(p)) || '-' || coalesce(extract(hour FROM upper(p))::text, ''), '+') FROM unnest(c.pauses) AS p),
		'until ' || extract(hour FROM c.stopped_at)), ', ' ORDER BY c.started_at, c.metric, c.request_id)
	FROM omnichannel.sla_clock AS c WHERE c.customer_id = pg_temp.who(who)
$$;
CREATE FUNCTION pg_temp.anew(who text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.says(who, -24, 'forum', NULL, 'outbound', 'failed');
	SELECT pg_temp.clocks(who)
$$;

-- The wait of a request lasts as long as the log says so.
SELECT pg_temp.waits('a') AS a \gset
SELECT pg_temp.says('a', 2, 'forum', 'another topic') \g /dev/null
SELECT results_eq(format('SELECT r.state, c.request_id FROM request AS r, contact AS c WHERE r.request_id = %s AND c.customer_id = r.customer_id', :a),
	$$VALUES ('waiting_customer', NULL::bigint)$$, 'the log has it in no request, which waits on');
SELECT is(pg_temp.clocks('a'), 'request resolution 0 paused 1-, loose first_response 2 open', 'and so does its clock');
SELECT is(pg_temp.anew('a'), pg_temp.clocks('a'), 'also when reckoned anew');
SELECT is(tick_sla() * 0 + (SELECT count(*) FROM recompute_sla()), 0::bigint, 'and by tick() and recompute_sla()');
UPDATE request SET state = 'waiting_agent', state_since = pg_temp.hour(4) WHERE request_id = :a;
SELECT pg_temp.says('a', 5, 'forum', 'another topic') \g /dev/null
SELECT is(pg_temp.clocks('a'), 'request resolution 0 open 1-4, loose first_response 2 open', 'until the request itself goes on');
SELECT pg_temp.waits(v.who, v.channel) FROM (VALUES ('b1', 'branch'), ('b2', 'email'), ('b3', 'chat')) AS v (who, channel) \g /dev/null
SELECT pg_temp.says(v.who, 2, v.channel, 'another topic') FROM (VALUES ('b1', 'branch'), ('b2', 'email'), ('b3', 'chat')) AS v (who, channel) \g /dev/null
SELECT is((SELECT array_agg(DISTINCT pg_temp.clocks(who)) FROM unnest('{b1,b2,b3}'::text[]) AS who),
	'{"request resolution 0 paused 1-, loose first_response 2 open"}', 'in any channel that opens none');
-- Named, it is what was waited for; without a thread the log finds the request that is open.
SELECT pg_temp.waits('c') AS c, pg_temp.waits('d') AS d \gset
SELECT pg_temp.says('c', 2, 'forum', 'another topic', request => :c), pg_temp.says('d', 2, 'branch') \g /dev/null
SELECT is(pg_temp.clocks('c') || '; ' || pg_temp.clocks('d'),
	'request resolution 0 open 1-2, request first_response 2 open; request resolution 0 open 1-2, request first_response 2 open', 'one that the log puts into it ends the wait');
-- One that has rested for longer than the channel allows is not gone on with.
UPDATE channel SET conversation_gap = '1 hour' WHERE channel = 'forum';
SELECT pg_temp.waits('e') AS e \gset
SELECT pg_temp.says('e', 6, 'forum') \g /dev/null
SELECT is(pg_temp.clocks('e'), 'request resolution 0 paused 1-, loose first_response 6 open', 'nor does one end the wait of a request that has rested too long');
UPDATE channel SET conversation_gap = '30 days' WHERE channel = 'forum';

-- Answers: a topic of its own keeps no promise to the request, and is answered by itself.
SELECT open_request(pg_temp.who('f'), 'x', 'forum', opened_at => pg_temp.hour(0)) AS f \gset
SELECT pg_temp.says('f', 1, 'forum', request => :f), pg_temp.says('f', 2, 'forum', 'topic'), pg_temp.says('f', 3, 'forum', 'topic', 'outbound') \g /dev/null
SELECT is(pg_temp.clocks('f'), 'request resolution 0 open, request first_response 1 open, loose first_response 2 met until 3', 'an answer to another topic');
SELECT pg_temp.says('f', 4, 'forum', 'topic', 'inbound', 'answered'), pg_temp.says('f', 5, 'forum', 'topic'), pg_temp.says('f', 6, 'forum', 'new', 'inbound', 'answered') \g /dev/null
SELECT is(pg_temp.clocks('f'),
	'request resolution 0 open, request first_response 1 open, loose first_response 2 met until 3, loose next_response 5 open, loose first_response 6 met until 6',
	'nor does a talk about it, and what comes next in it is waited for');
SELECT is(pg_temp.anew('f'), pg_temp.clocks('f'), 'reckoned anew');
SELECT pg_temp.says('f', 7, 'forum', NULL, 'outbound') \g /dev/null
SELECT is(pg_temp.clocks('f'),
	'request resolution 0 open, request first_response 1 met until 7, loose first_response 2 met until 3, loose next_response 5 open, loose first_response 6 met until 6',
	'one without a thread is put into the request, and about that alone');
-- A call is returned to the customer.
SELECT pg_temp.waits('g', 'phone') AS g \gset
SELECT pg_temp.says('g', 2, 'phone', 'line 2', outcome => 'missed'), pg_temp.says('g', 3, 'phone', 'line 2', 'outbound', 'answered') \g /dev/null
SELECT is(pg_temp.clocks('g'), 'request resolution 0 paused 1-, loose callback 2 met until 3, loose first_response 2 met until 3', 'a call back in another conversation');

-- What is logged late is as if it had come in order.
CREATE FUNCTION pg_temp.story(who text, sorted text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	id bigint := pg_temp.waits(who);
	step record;
BEGIN
	FOR step IN EXECUTE $q$SELECT * FROM (VALUES (2, 'forum', 'topic', 'inbound', false), (3, 'forum', 'topic', 'inbound', false), (4, 'forum', NULL, 'inbound', true),
		(5, 'forum', 'topic', 'outbound', false), (6, 'forum', 'topic', 'inbound', false), (7, 'branch', NULL, 'outbound', true), (8, 'forum', 'other', 'inbound', false))
		AS v (at, channel, thread, direction, named) ORDER BY $q$ || sorted
	LOOP
		PERFORM pg_temp.says(who, step.at, step.channel, step.thread, step.direction, NULL, CASE WHEN step.named THEN id END);
	END LOOP;
END
$$;
SELECT pg_temp.story('h0', 'at') \g /dev/null
SELECT is(pg_temp.clocks('h0'),
	'request resolution 0 open 1-4, loose first_response 2 met until 5, request first_response 4 met until 7, loose next_response 6 open, loose first_response 8 open', 'in order');
SELECT pg_temp.story('h' || n, format('hashint4(at * 31 + %s), at', n * 1000)) FROM generate_series(1, 20) AS n \g /dev/null
SELECT is((SELECT array_agg(n || ': ' || pg_temp.clocks('h' || n)) FROM generate_series(1, 20) AS n WHERE pg_temp.clocks('h' || n) <> pg_temp.clocks('h0')), NULL, 'in whatever order');
-- A message that was logged before its conversation's request was opened waits with what that is asked.
UPDATE channel SET opens_request = true WHERE channel = 'email';
SELECT pg_temp.says('i', 2, 'email', 'i'), pg_temp.says('i', 3, 'forum', 'i'), pg_temp.says('j', 3, 'forum', 'j'), pg_temp.says('j', 2, 'email', 'j') \g /dev/null
SELECT is(pg_temp.clocks('j'), pg_temp.clocks('i'), 'in its own thread');
SELECT pg_temp.says('k', 3, 'email', NULL, 'outbound'), pg_temp.says('k', 2, 'email') \g /dev/null
SELECT is(pg_temp.clocks('k'), 'request first_response 2 met until 3, request resolution 2 open', 'and an answer of before it was known finds it');

-- Many at once, and of a customer with many clocks.
CREATE TABLE public.post (id int PRIMARY KEY, who text, thread text, request bigint, direction text DEFAULT 'inbound', at timestamptz);
SELECT track('public.post', channel => 'forum', kind => 'account', customer => '{who}', thread => '{thread}', request => '{request}', direction => '{direction}', occurred_at => '{at}') \g /dev/null
SELECT pg_temp.waits('l' || n) FROM generate_series(1, 40) AS n \g /dev/null
INSERT INTO public.post SELECT n * 10 + k, 'l' || n, CASE WHEN k <> 4 THEN 'topic ' || n END, CASE WHEN k = 4 THEN (SELECT request_id FROM request WHERE customer_id = pg_temp.who('l' || n)) END,
	CASE k WHEN 5 THEN 'outbound' ELSE 'inbound' END, pg_temp.hour(k) FROM generate_series(1, 40) AS n, generate_series(2, 6) AS k;
SELECT is((SELECT array_agg(DISTINCT pg_temp.clocks('l' || n)) FROM generate_series(1, 40) AS n),
	'{"request resolution 0 open 1-4, loose first_response 2 met until 5, request first_response 4 open, loose next_response 6 open"}', 'many rows in a statement');
SELECT pg_temp.waits('m') AS m \gset
SELECT pg_temp.says('m', 2, 'forum', 'topic ' || n) FROM generate_series(1, 30) AS n \g /dev/null
SELECT is((SELECT count(*) FILTER (WHERE due_at IS NULL) || ' of ' || count(*) FROM sla_clock WHERE customer_id = pg_temp.who('m')), '1 of 31', 'many conversations');

-- A policy that comes later finds each.
SELECT open_request(pg_temp.who('n'), 'x', 'forum', opened_at => pg_temp.hour(0)) AS n \gset
SELECT pg_temp.says('n', 1, 'forum', request => :n), pg_temp.says('n', 2, 'forum', 'topic'), pg_temp.says('n', 3, 'forum', 'other'), pg_temp.says('n', 4, 'forum', 'other', 'outbound') \g /dev/null
CREATE TEMP TABLE n AS SELECT pg_temp.clocks('n') AS clocks;
DELETE FROM sla_clock WHERE stopped_at IS NULL AND (customer_id = pg_temp.who('n')) AND metric = 'first_response' AND request_id IS NULL;
SELECT count(*) FROM recompute_sla() \g /dev/null
SELECT is(pg_temp.clocks('n'), (SELECT clocks FROM n), 'a topic is not taken to wait with the request');
DELETE FROM sla_clock WHERE stopped_at IS NULL AND (customer_id = pg_temp.who('n')) AND metric = 'first_response' AND request_id IS NOT NULL;
SELECT count(*) FROM recompute_sla() \g /dev/null
SELECT is(pg_temp.clocks('n'), (SELECT clocks FROM n), 'nor the request to be answered with another topic');
SELECT * FROM finish();
ROLLBACK;
