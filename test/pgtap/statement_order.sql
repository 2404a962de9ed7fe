-- Rows of one statement do what the same rows do one by one in order of time, those that name their request among others.
BEGIN;
SELECT plan(8);
SET LOCAL search_path = public, pg_catalog;
SET LOCAL timezone = 'UTC';
INSERT INTO omnichannel.sla_policy (policy, rank, metric, target) VALUES ('next', 50, 'next_response', '1 hour'), ('solve', 50, 'resolution', '9 days');
UPDATE omnichannel.channel SET conversation_gap = '2 days' WHERE channel = 'chat';
DELETE FROM omnichannel.sla_stale;
CREATE TABLE told (id int, who bigint, channel text, direction text, request bigint, thread text, at timestamptz);
SELECT omnichannel.track('told', channel => '{channel}', customer => '{who}', direction => '{direction}', request => '{request}', thread => '{thread}', occurred_at => '{at}') \g /dev/null

-- What is known of the requests of a customer and of whom it was merged with; contacts by their bodies' numbers.
CREATE FUNCTION state_of(who bigint) RETURNS text LANGUAGE sql AS $$
	WITH own AS (SELECT customer_id FROM omnichannel.customer WHERE who IN (customer_id, merged_into)),
	request AS (SELECT r.*, row_number() OVER (ORDER BY r.opened_at, r.request_id) AS no FROM omnichannel.request AS r JOIN own USING (customer_id))
	SELECT string_agg(format('%s %s since %s in %s (%s): %s; %s', no, state, to_char(state_since, 'MM-DD HH24:MI'), channel, current_channel,
		(SELECT string_agg(to_char(c.occurred_at, 'MM-DD HH24:MI') || ' ' || c.channel, ', ' ORDER BY c.occurred_at) FROM omnichannel.contact AS c WHERE c.request_id = r.request_id),
		(SELECT string_agg(concat_ws(' ', k.metric, to_char(k.started_at, 'MM-DD HH24:MI'), k.outcome, to_char(k.stopped_at, 'MM-DD HH24:MI'), k.pauses), ', ' ORDER BY k.metric, k.started_at)
			FROM omnichannel.sla_clock AS k WHERE k.request_id = r.request_id)), E'\n' ORDER BY no)
		|| E'\nthreads ' || coalesce((SELECT string_agg(left(t.thread, 1) || ' ' || (SELECT no FROM request WHERE request.request_id = t.request_id), ', ' ORDER BY t.thread)
			FROM omnichannel.thread AS t JOIN own USING (customer_id)), '')
	FROM request AS r
$$;
CREATE FUNCTION chance(seed int, n int, what int, VARIADIC texts text[]) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT texts[1 + abs(hashint8(seed * 1000003::bigint + n * 1009 + what) % array_length(texts, 1))]
$$;
-- Who plays in a history, and the requests
CREATE TABLE cast_of (seed int, way text, who bigint, other bigint, requests bigint[], PRIMARY KEY (seed, way));
CREATE FUNCTION begin_history(seed int, way text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	who bigint := omnichannel.identify('account', format('%s-%s', seed, way));
	other bigint := who;
	requests bigint[] := '{}';
	id bigint;
	opened timestamptz;
BEGIN
	IF seed % 3 = 0 THEN
		other := omnichannel.identify('account', format('%s-%s-other', seed, way));
		PERFORM omnichannel.merge_customers(who, other);
	END IF;
	FOR n IN 1 .. chance(seed, 0, 1, '1', '2', '3')::int LOOP
		opened := timestamptz '2026-06-01 00:00Z' - chance(seed, n, 2, '50 days', '3 days', '5 hours', '30 minutes')::interval + n * interval '1 minute';
		id := omnichannel.open_request(CASE chance(seed, n, 3, 'who', 'who', 'other') WHEN 'who' THEN who ELSE other END, 'help', chance(seed, n, 4, 'email', 'chat', 'phone'), opened_at => opened);
		requests := requests || id;
		IF chance(seed, n, 5, 'log', 'log', 'no') = 'log' THEN
			PERFORM omnichannel.log_contact(chance(seed, n, 6, 'email', 'chat', 'phone'), direction => chance(seed, n, 7, 'inbound', 'inbound', 'outbound'),
				request_id => id, occurred_at => opened + chance(seed, n, 8, '20 minutes', '4 hours', '2 days')::interval, thread => chance(seed, n, 9, NULL, 'a' || who), source => 'told');
		END IF;
		UPDATE omnichannel.request SET state = chance(seed, n, 10, 'waiting_customer', 'waiting_customer', 'waiting_agent', 'new', 'done'),
			state_since = opened + chance(seed, n, 11, '1 minute', '25 minutes', '1 day')::interval
		WHERE request_id = id;
	END LOOP;
	INSERT INTO cast_of VALUES (seed, way, who, other, requests);
END
$$;
CREATE FUNCTION rows_of(of_seed int, of_way text) RETURNS SETOF told LANGUAGE sql AS $$
	SELECT n, CASE chance(seed, n, 31, 'who', 'who', 'other') WHEN 'who' THEN who ELSE other END, chance(seed, n, 32, 'email', 'chat', 'phone'), chance(seed, n, 33, 'inbound', 'inbound', 'inbound', 'outbound', 'internal'),
		CASE WHEN chance(seed, n, 34, 'named', 'none') = 'named' THEN requests[chance(seed, n, 35, '1', '2', '3')::int] END, chance(seed, n, 36, NULL, NULL, NULL, 'a' || who, 'b' || who),
		timestamptz '2026-06-01 03:00Z' - chance(seed, n, 37, '1 minute', '10 minutes', '20 minutes', '3 hours', '5 hours', '1 day', '4 days', '49 days')::interval + n * interval '1 second'
	FROM cast_of, generate_series(1, 7) AS n WHERE seed = of_seed AND way = of_way
$$;
CREATE FUNCTION log_rows(seed int, way text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	one told;
BEGIN
	IF way = 'one' THEN
		FOR one IN SELECT * FROM rows_of(seed, way) ORDER BY at LOOP
			INSERT INTO told SELECT one.*;
		END LOOP;
	ELSE
		INSERT INTO told SELECT * FROM rows_of(seed, way);
	END IF;
END
$$;

-- What it took, one by one
CREATE FUNCTION rested(who text, state text, since interval) RETURNS bigint LANGUAGE sql AS $$
	SELECT omnichannel.open_request(omnichannel.identify('account', who), 'help', 'email', opened_at => timestamptz '2026-05-20 00:00Z' - interval '50 days');
	UPDATE omnichannel.request AS r SET state = rested.state, state_since = timestamptz '2026-05-20 00:00Z' - since WHERE customer_id = omnichannel.identify('account', who);
	SELECT request_id FROM omnichannel.request WHERE customer_id = omnichannel.identify('account', who)
$$;
CREATE FUNCTION channel_of(id bigint) RETURNS text LANGUAGE sql AS 'SELECT current_channel FROM omnichannel.request WHERE request_id = id';
SELECT rested('moves', 'new', '50 days') AS r \gset
INSERT INTO told (who, channel, direction, request, at) SELECT omnichannel.identify('account', 'moves'), v.channel, 'inbound', :r, v.at::timestamptz
FROM (VALUES ('chat', '2026-05-20 01:00Z'), ('email', '2026-05-20 02:00Z')) AS v (channel, at);
SELECT is(channel_of(:r), NULL, 'who comes back is where he was');
INSERT INTO told (who, channel, direction, request, at) SELECT omnichannel.identify('account', 'moves'), v.channel, 'inbound', :r, v.at::timestamptz
FROM (VALUES ('chat', '2026-05-20 04:00Z'), ('email', '2026-05-20 03:00Z')) AS v (channel, at);
SELECT is(channel_of(:r), 'chat', 'whatever the order of the rows');
CREATE FUNCTION pair(who text, first bigint, second bigint) RETURNS text LANGUAGE sql AS $$
	INSERT INTO told (who, channel, direction, request, at) SELECT omnichannel.identify('account', who), 'email', 'inbound', v.request, v.at::timestamptz
	FROM (VALUES (first, '2026-05-20 01:00Z'), (second, '2026-05-20 02:00Z')) AS v (request, at);
	SELECT string_agg(concat_ws(' ', count, to_char(state_since, 'MM-DD HH24:MI')), ', ' ORDER BY request_id) FROM omnichannel.request AS r
	CROSS JOIN LATERAL (SELECT count(*) FROM omnichannel.contact AS c WHERE c.request_id = r.request_id) AS n WHERE customer_id = omnichannel.identify('account', who)
$$;
SELECT is(pair('goes on', rested('goes on', 'new', '50 days'), NULL), '2 03-31 00:00', 'a row goes on with what one before it names');
SELECT is(pair('rests', NULL, rested('rests', 'waiting_customer', '49 days')), '1 05-20 02:00, 1 05-20 01:00', 'not with what one after it does');
SELECT is(pair('waits', NULL, rested('waits', 'waiting_customer', '4 days')), '2 05-20 01:00', 'and what waits goes on as of the first');

-- Histories by chance, the same each time
\set ways '{one,many,copy}'
SELECT begin_history(seed, way) FROM generate_series(1, 120) AS seed, unnest(:'ways'::text[]) AS way ORDER BY way, seed \g /dev/null
SELECT omnichannel.tick_sla() \g /dev/null
SELECT log_rows(seed, way) FROM generate_series(1, 120) AS seed, unnest('{one,many}'::text[]) AS way \g /dev/null
SELECT current_setting('data_directory') || '/omnichannel_statement_lines' AS lines \gset
COPY (SELECT one.* FROM generate_series(1, 120) AS seed, rows_of(seed, 'copy') AS one ORDER BY hashint4(one.id), seed) TO :'lines';
COPY told FROM :'lines';
SELECT omnichannel.tick_sla() \g /dev/null
CREATE TABLE ended AS SELECT seed, way, state_of(who) AS state FROM cast_of;
SELECT is_empty(format($$SELECT one.seed, one.state, other.state FROM ended AS one JOIN ended AS other USING (seed) WHERE one.way = 'one' AND other.way = %L AND one.state <> other.state$$, way), way || ' as one by one')
FROM unnest('{many,copy}'::text[]) AS way;
SELECT cmp_ok(count(DISTINCT state), '>', 100::bigint, 'of histories that differ') FROM ended;
SELECT * FROM finish();
ROLLBACK;
