-- What views say of queues, offers and presence: on numbers reckoned by hand, of random histories beside an oracle that
-- walks through them row by row, of what the functions write, and over days on which the clocks change.
BEGIN;
SELECT plan(23);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
INSERT INTO queue (queue, hold_for_owner) VALUES ('care', '0'), ('back', '0');
INSERT INTO agent (agent_id, name) VALUES (1, 'Ewa'), (2, 'Jan'), (3, 'Ola');

-- By hand: Friday, 5 June 2026 in Warsaw, two hours ahead. The last of them begins to wait at 23:59 and is offered on Saturday.
CREATE FUNCTION pg_temp.was(request bigint, agent bigint, queue text, entered text, offered text, accepted text, ended text, outcome text, day text DEFAULT '2026-06-05')
RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, offered_at, accepted_at, ended_at, outcome)
	SELECT request, 100, agent, queue, 'chat', t[1], t[2], t[3], t[4], outcome
	FROM (SELECT array_agg((day::date + said::interval) AT TIME ZONE 'Europe/Warsaw' ORDER BY n) AS t
		FROM unnest(ARRAY[entered, offered, accepted, ended]) WITH ORDINALITY AS s (said, n)) AS times $$;
SELECT pg_temp.was(1, 1, 'care', '10:00', '10:02', NULL, '10:03', 'declined');				-- first offered after 2, accepted after 5 minutes
SELECT pg_temp.was(1, 2, 'care', '10:00', '10:04', '10:05', '10:15', 'transferred');		-- 10 minutes of work
SELECT pg_temp.was(1, 3, 'back', '10:00', '10:18', '10:19', '10:59', 'finished');			-- a wait of its own, from 10:15: 3 and 4 minutes
SELECT pg_temp.was(2, 1, 'care', '11:00', '11:00', NULL, '11:00:30', 'expired');
SELECT pg_temp.was(2, 2, 'care', '11:00', '11:01', NULL, '11:02', 'transferred');			-- passed on before it was accepted
SELECT pg_temp.was(2, 3, 'back', '11:00', '11:07', '11:09', '11:29', 'finished');			-- the same wait: 9 minutes, here
SELECT pg_temp.was(3, 1, 'care', '12:00', '12:08', NULL, '12:09', 'abandoned');
SELECT pg_temp.was(3, 1, 'care', '13:00', '13:01', '13:01', '13:31', 'finished');			-- the customer came back: 1 minute
SELECT pg_temp.was(4, 2, 'care', '23:59', '24:01', '24:02', '24:04', 'finished');
SELECT results_eq(
	$$SELECT day, queue, channel, arrived, still_waiting, offered, accepted, declined, expired, abandoned, passed_on, still_offered, transferred, still_in_work FROM report_queue_day ORDER BY queue$$,
	$$VALUES ('2026-06-05'::date, 'back', 'chat', 2::bigint, 0::bigint, 2::bigint, 2::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint),
		('2026-06-05', 'care', 'chat', 5, 0, 7, 3, 1, 1, 1, 1, 0, 1, 0)$$, 'waits and offers by the company''s day on which the wait began');
SELECT results_eq(
	$$SELECT mean_wait, median_wait, p90_wait, mean_answer, median_answer, p90_answer, mean_handled FROM report_queue_day ORDER BY queue$$,
	$$VALUES (interval '3 minutes', interval '3 minutes', interval '3 minutes', interval '0:06:30', interval '0:06:30', interval '0:08:30', interval '0:30'),
		('0:02:36', '0:02', '0:05:36', '0:03', '0:03', '0:04:36', '0:14')$$,
	'(2 + 0 + 8 + 1 + 2) / 5 to the first offer, (5 + 1 + 3) / 3 to the answer, (10 + 30 + 2) / 3 of work');
SELECT results_eq(
	$$SELECT day, agent_id, offered, accepted, declined, expired, abandoned, passed_on, transferred, mean_answer, mean_handled FROM report_agent_day ORDER BY day, agent_id$$,
	$$VALUES ('2026-06-05'::date, 1::bigint, 4::bigint, 1::bigint, 1::bigint, 1::bigint, 1::bigint, 0::bigint, 0::bigint, interval '0', interval '30 minutes'),
		('2026-06-05', 2, 2, 1, 0, 0, 0, 1, 1, '1 minute', '10 minutes'), ('2026-06-05', 3, 2, 2, 0, 0, 0, 0, 0, '0:01:30', '0:30'),
		('2026-06-06', 2, 1, 1, 0, 0, 0, 0, 0, '1 minute', '2 minutes')$$, 'offers by the day on which they were made');

-- Presence by hand: Jan is there over midnight, Ola over the night in which the clocks go back.
INSERT INTO presence (agent_id, state, during) VALUES
	(2, 'available', '[2026-06-05 08:00+02, 2026-06-05 10:10+02)'), (2, 'break', '[2026-06-05 10:10+02, 2026-06-05 23:00+02)'),
	(2, 'available', '[2026-06-05 23:00+02, 2026-06-06 00:03+02)'), (2, 'offline', '[2026-06-06 00:03+02, 2026-06-06 02:00+02)'),
	(3, 'busy', '[2026-10-24 22:00+02, 2026-10-26 01:00+01)'), (1, 'busy', '[2026-03-28 22:00+01, 2026-03-30 00:00+02)');
SELECT results_eq(
	$$SELECT day, state, begun, lasted, with_work FROM report_agent_presence WHERE agent_id = 2 ORDER BY day, state$$,
	$$VALUES ('2026-06-05'::date, 'available', 2::bigint, interval '3:10', interval '5 minutes'), ('2026-06-05', 'break', 1, '12:50', '5 minutes'),
		('2026-06-06', 'available', 0, '3 minutes', '1 minute'), ('2026-06-06', 'offline', 1, '1:57', '1 minute')$$,
	'a spell over midnight is part of both days and begins on one; what was accepted goes on through a break');
SELECT results_eq(
	$$SELECT agent_id, day, begun, lasted, with_work FROM report_agent_presence WHERE agent_id IN (1, 3) ORDER BY day$$,
	$$VALUES (1::bigint, '2026-03-28'::date, 1::bigint, interval '2 hours', interval '0'), (1, '2026-03-29', 0, '23 hours', '0'),
		(3, '2026-10-24', 1, '2 hours', '0'), (3, '2026-10-25', 0, '25 hours', '0'), (3, '2026-10-26', 0, '1 hour', '0')$$,
	'days of 23 and 25 hours, and none for a spell that ends at midnight');
SAVEPOINT havana;
-- There the clocks go back from 1:00 to midnight: no time is lost between the days.
UPDATE company SET time_zone = 'America/Havana';
DELETE FROM presence;
INSERT INTO presence (agent_id, state, during) VALUES (1, 'busy', '[2026-11-01 04:10Z, 2026-11-01 04:40Z)');
SELECT is((SELECT sum(lasted) FROM report_agent_presence), interval '30 minutes', 'in the first of two hours after midnight');
ROLLBACK TO havana;

-- Random histories, whose oracle keeps for each request when it began to wait, and looks at presence and work by the minute.
CREATE TEMP TABLE expected (day date, queue text, waits integer DEFAULT 0, offers integer DEFAULT 0, taken integer DEFAULT 0, waited interval[] DEFAULT '{}', answered interval[] DEFAULT '{}', worked interval[] DEFAULT '{}', PRIMARY KEY (day, queue));
CREATE FUNCTION pg_temp.history(seed double precision) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
	came timestamptz;
	began timestamptz;
	offered boolean;
	seen text[];
	q text;
	ends timestamptz;
	what text;
	on_day date;
BEGIN
	PERFORM setseed(seed);
	DELETE FROM omnichannel.assignment_history;
	DELETE FROM omnichannel.presence;
	DELETE FROM pg_temp.expected;
	FOR request IN 1 .. 60 LOOP
		t := timestamptz '2026-10-24 20:00Z' + floor(random() * 3000) * interval '1 minute';
		FOR stay IN 1 .. 1 + floor(random() * 2)::integer LOOP
			came := t; began := t; offered := false; seen := '{}';
			q := (ARRAY['care', 'back'])[1 + floor(random() * 2)::integer];
			LOOP
				t := t + floor(random() * 15) * interval '1 minute';
				on_day := (began AT TIME ZONE 'Europe/Warsaw')::date;
				INSERT INTO pg_temp.expected (day, queue) VALUES (on_day, q) ON CONFLICT DO NOTHING;
				what := (ARRAY['finished', 'declined', 'expired', 'transferred', 'abandoned', 'passed on'])[1 + floor(random() * 6)::integer];
				ends := t + floor(random() * 40) * interval '1 minute';
				PERFORM pg_temp.was_at(request, 1 + floor(random() * 3)::integer, q, came, t, CASE WHEN what IN ('finished', 'transferred') THEN t END, ends, replace(what, 'passed on', 'transferred'));
				UPDATE pg_temp.expected SET offers = offers + 1, waits = waits + (q <> ALL (seen))::integer, taken = taken + (what IN ('finished', 'transferred'))::integer,
					waited = CASE WHEN offered THEN waited ELSE waited || (t - began) END,
					answered = CASE WHEN what IN ('finished', 'transferred') THEN answered || (t - began) ELSE answered END,
					worked = CASE WHEN what IN ('finished', 'transferred') THEN worked || (ends - t) ELSE worked END
				WHERE expected.day = on_day AND expected.queue = q;
				offered := true; seen := seen || q; t := ends;
				EXIT WHEN what IN ('finished', 'abandoned');
				IF what = 'transferred' THEN began := ends; offered := false; seen := '{}'; END IF;
				IF what IN ('transferred', 'passed on') THEN q := (ARRAY['care', 'back'])[1 + floor(random() * 2)::integer]; END IF;
			END LOOP;
			t := t + interval '1 hour';
		END LOOP;
	END LOOP;
	FOR agent IN 1 .. 3 LOOP
		t := timestamptz '2026-10-24 20:00Z';
		WHILE t < '2026-10-26 20:00Z' LOOP
			ends := t + (1 + floor(random() * 600)) * interval '1 minute';
			INSERT INTO omnichannel.presence VALUES (agent, (ARRAY['available', 'busy', 'break', 'offline'])[1 + floor(random() * 4)::integer], tstzrange(t, ends));
			t := ends + floor(random() * 2) * interval '20 minutes';
		END LOOP;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.was_at(request bigint, agent bigint, queue text, entered timestamptz, offered timestamptz, accepted timestamptz, ended timestamptz, outcome text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, offered_at, accepted_at, ended_at, outcome)
	VALUES (request, 100, agent, queue, 'chat', entered, offered, accepted, ended, outcome) $$;
CREATE TEMP VIEW oracle_queue AS SELECT day, queue, waits::bigint AS arrived, offers::bigint AS offered, taken::bigint AS accepted,
	(SELECT avg(w) FROM unnest(waited) AS w) AS mean_wait, (SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY w) FROM unnest(waited) AS w) AS p90_wait,
	(SELECT avg(w) FROM unnest(answered) AS w) AS mean_answer, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY w) FROM unnest(answered) AS w) AS median_answer,
	(SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY w) FROM unnest(answered) AS w) AS p90_answer, (SELECT avg(w) FROM unnest(worked) AS w) AS mean_handled
FROM pg_temp.expected;
CREATE TEMP VIEW oracle_presence AS SELECT (minute.at AT TIME ZONE 'Europe/Warsaw')::date AS day, p.agent_id, p.state, count(*) FILTER (WHERE minute.at = lower(p.during)) AS begun,
	count(*) * interval '1 minute' AS lasted, count(*) FILTER (WHERE EXISTS (SELECT FROM assignment_history AS h
		WHERE h.agent_id = p.agent_id AND h.accepted_at <= minute.at AND minute.at < h.ended_at)) * interval '1 minute' AS with_work
FROM presence AS p CROSS JOIN generate_series(timestamptz '2026-10-24 20:00Z', '2026-10-27 20:00Z', '1 minute') AS minute (at)
WHERE p.during @> minute.at GROUP BY 1, 2, 3;
CREATE FUNCTION pg_temp.compare(seed double precision) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.history(seed);
	RETURN NEXT results_eq('SELECT day, queue, arrived, offered, accepted, mean_wait, p90_wait, mean_answer, median_answer, p90_answer, mean_handled FROM report_queue_day ORDER BY day, queue',
		'SELECT * FROM oracle_queue ORDER BY day, queue', 'queues of history ' || seed);
	RETURN NEXT results_eq('SELECT day, agent_id, state, begun, lasted, with_work FROM report_agent_presence ORDER BY 1, 2, 3',
		'SELECT * FROM oracle_presence ORDER BY 1, 2, 3', 'presence of history ' || seed);
END
$$;
SELECT pg_temp.compare(seed) FROM unnest('{0.1,0.2,0.3}'::double precision[]) AS seed;
SELECT is((SELECT count(*) FROM report_queue_day WHERE offered <> accepted + declined + expired + abandoned + passed_on + still_offered OR transferred > accepted), 0::bigint, 'no offer is left out of a queue');
SELECT is((SELECT sum(offered) FROM report_agent_day), (SELECT count(*)::numeric FROM assignment_history), 'nor of those of an agent');

-- What the functions write: two that wait, of whom one is offered, accepted and passed on, and one that is only offered.
DELETE FROM assignment_history;
DELETE FROM presence;
INSERT INTO agent_channel (agent_id, channel) SELECT agent_id, 'chat' FROM agent;
INSERT INTO queue_member (queue, agent_id) VALUES ('care', 1), ('back', 2);
SELECT open_request(identify('account', 'first'), 'question', 'chat', 'care') AS first \gset
SELECT route(:first) \g /dev/null
CREATE TEMP VIEW standing AS SELECT queue, arrived, still_waiting, offered, accepted, declined, expired, abandoned, passed_on, still_offered, transferred, still_in_work,
	mean_wait IS NOT NULL AS w, mean_answer IS NOT NULL AS a, mean_handled IS NOT NULL AS h FROM report_queue_day ORDER BY queue;
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', 1::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false, false, false)$$, 'who waits has not waited for anything yet');
SELECT set_presence(1, 'available') \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', 1::bigint, 0::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 1::bigint, 0::bigint, 0::bigint, true, false, false)$$, 'offered');
SELECT accept_request(:first, 1) \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', 1::bigint, 0::bigint, 1::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 1::bigint, true, true, false)$$, 'in work');
SELECT transfer_request(:first, queue => 'back') \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('back', 1::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false, false, false),
	('care', 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, true, true, true)$$, 'passed on: it waits anew, there');
UPDATE presence SET during = tstzrange(now() - interval '1 hour', NULL);
SELECT results_eq('SELECT agent_id, state, sum(begun), sum(lasted) FROM report_agent_presence GROUP BY 1, 2', $$VALUES (1::bigint, 'available', 1::numeric, interval '1 hour')$$, 'presence that lasts is reckoned up to now');

-- For whom it is, and what it does not say.
CREATE ROLE queue_analyst;
SELECT grant_access('queue_analyst', 'bi') \g /dev/null
SET LOCAL ROLE queue_analyst;
SELECT count(*) AS queues FROM omnichannel.report_queue_day \gset
SELECT count(*) AS agents FROM omnichannel.report_agent_day \gset
SELECT count(DISTINCT agent_id) AS presence FROM omnichannel.report_agent_presence \gset
RESET ROLE;
SELECT is(ARRAY[:queues, :agents, :presence], '{2,1,1}', 'an analyst reads all three');
CREATE TEMP VIEW reported AS SELECT a.attrelid, a.attnum, a.attname FROM pg_attribute AS a
WHERE a.attrelid IN ('report_queue_day'::regclass, 'report_agent_day'::regclass, 'report_agent_presence'::regclass) AND a.attnum > 0;
SELECT is((SELECT count(*) FROM reported WHERE attname IN ('customer_id', 'request_id')), 0::bigint, 'and no customer in them');
SELECT is((SELECT array_agg(attrelid::regclass || '.' || attname) FROM reported WHERE col_description(attrelid, attnum) IS NULL), NULL, 'every column says what it is');
SELECT is((SELECT count(*) FROM unnest('{report_queue_day,report_agent_day,report_agent_presence}'::regclass[]) AS v WHERE obj_description(v, 'pg_class') IS NULL), 0::bigint, 'and every view');
SELECT * FROM finish();
ROLLBACK;
