-- What views say of queues, offers and presence: on numbers reckoned by hand, of random histories beside an oracle that
-- walks through them row by row, of what the functions write, and over days on which the clocks change.
BEGIN;
SELECT plan(46);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
INSERT INTO queue (queue, hold_for_owner, answer_within) VALUES ('care', '0', '3 minutes'), ('back', '0', NULL);
INSERT INTO agent (agent_id, name) VALUES (1, 'Ewa'), (2, 'Jan'), (3, 'Ola');

-- By hand: Friday, 5 June 2026 in Warsaw, two hours ahead. The last of them begins to wait at 23:59 and is offered on Saturday.
-- Where queued differs from entered, it came from another queue.
CREATE FUNCTION pg_temp.at(said text) RETURNS timestamptz LANGUAGE sql AS $$ SELECT ('2026-06-05'::date + said::interval) AT TIME ZONE 'Europe/Warsaw' $$;
CREATE FUNCTION pg_temp.was(request bigint, agent bigint, queue text, entered text, queued text, offered text, accepted text, ended text, outcome text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, queued_at, offered_at, accepted_at, ended_at, outcome)
	VALUES (request, 100, agent, queue, 'chat', pg_temp.at(entered), pg_temp.at(queued), pg_temp.at(offered), pg_temp.at(accepted), pg_temp.at(ended), outcome) $$;
CREATE FUNCTION pg_temp.left(request bigint, queue text, entered text, queued text, happened text, event text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at, happened_at, event)
	VALUES (request, 100, queue, 'chat', pg_temp.at(entered), pg_temp.at(queued), pg_temp.at(happened), event) $$;
SELECT pg_temp.was(1, 1, 'care', '10:00', '10:00', '10:02', NULL, '10:03', 'declined');				-- first offered after 2, accepted after 5 minutes
SELECT pg_temp.was(1, 2, 'care', '10:00', '10:00', '10:04', '10:05', '10:15', 'transferred');		-- 10 minutes of work
SELECT pg_temp.was(1, 3, 'back', '10:00', '10:15', '10:18', '10:19', '10:59', 'finished');			-- a wait of its own, from 10:15: 3 and 4 minutes
SELECT pg_temp.was(2, 1, 'care', '11:00', '11:00', '11:00', NULL, '11:00:30', 'expired');
SELECT pg_temp.was(2, 2, 'care', '11:00', '11:00', '11:01', NULL, '11:02', 'transferred');			-- passed on before it was accepted
SELECT pg_temp.was(2, 3, 'back', '11:00', '11:02', '11:07', '11:09', '11:29', 'finished');			-- 5 and 7 minutes here, 9 in all
SELECT pg_temp.was(3, 1, 'care', '12:00', '12:00', '12:08', NULL, '12:09', 'abandoned');
SELECT pg_temp.was(3, 1, 'care', '13:00', '13:00', '13:01', '13:01', '13:31', 'finished');			-- the customer came back: 1 minute
SELECT pg_temp.was(4, 2, 'care', '23:59', '23:59', '24:01', '24:02', '24:04', 'finished');
SELECT pg_temp.left(5, 'care', '14:00', '14:00', '14:10', 'overflowed');							-- 10 minutes here
SELECT pg_temp.was(5, 3, 'back', '14:00', '14:10', '14:11', '14:12', '14:20', 'finished');			-- 1 and 2 minutes here, 12 in all
SELECT pg_temp.left(6, 'care', '15:00', '15:00', '15:00:20', 'abandoned');
SELECT pg_temp.left(6, 'care', '15:00', '15:00', '15:20', 'returned');								-- to the place that was kept: 1 and 2 minutes from then
SELECT pg_temp.was(6, 3, 'care', '15:00', '15:00', '15:21', '15:22', '15:32', 'finished');
SELECT pg_temp.was(7, 3, 'care', '16:00', '16:00', '16:01', NULL, '16:02', 'declined');
SELECT pg_temp.left(7, 'care', '16:00', '16:00', '16:05', 'abandoned');								-- after an offer that came to nothing
SELECT pg_temp.left(8, 'care', '17:00', '17:00', '17:03', 'transferred');
SELECT pg_temp.left(8, 'back', '17:00', '17:03', '17:04', 'abandoned');
SELECT results_eq(
	$$SELECT day, queue, channel, entered, answered, abandoned, abandoned_unoffered, overflowed, passed_on, still_waiting, still_offered, offered, declined, expired, transferred, still_in_work FROM report_queue_day ORDER BY queue$$,
	$$VALUES ('2026-06-05'::date, 'back', 'chat', 4::bigint, 3::bigint, 1::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 3::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint),
		('2026-06-05', 'care', 'chat', 10, 4, 3, 1, 1, 2, 0, 0, 9, 2, 1, 1, 0)$$, 'stays and offers by the company''s day on which the stay began');
SELECT results_eq(
	$$SELECT mean_wait, median_wait, p90_wait, p95_wait, longest_wait, mean_answer, median_answer, p90_answer, p95_answer, mean_whole_wait, date_trunc('second', mean_abandoned), mean_handled FROM report_queue_day ORDER BY queue$$,
	$$VALUES (interval '0:02:30', interval '0:02', interval '0:04:24', interval '0:04:42', interval '0:05', interval '0:04:20', interval '0:04', interval '0:06:24', interval '0:06:42', interval '0:08:20', interval '0:01', interval '0:22:40'),
		('0:02:50', '0:01:30', '0:08:12', '0:09:06', '0:10', '0:02:45', '0:02:30', '0:04:24', '0:04:42', '0:02:45', '0:04:46', '0:13')$$,
	'(2 + 0 + 8 + 1 + 2 + 10 + 1/3 + 1 + 1 + 3) / 10 to the first offer or the end, (5 + 1 + 3 + 2) / 4 to the answer, (10 + 30 + 2 + 10) / 4 of work');
SELECT results_eq(
	'SELECT answered_in_time, abandoned_in_time, service_level, abandonment_rate FROM report_queue_day ORDER BY queue',
	'VALUES (NULL::bigint, NULL::bigint, NULL::numeric, 0.25), (3, 1, 0.4286, 0.4286)', '3 of 4 answered within 3 minutes, 1 of 3 gave up in that time: 3 / 7');
SELECT results_eq(
	$$SELECT day, agent_id, offered, accepted, declined, expired, abandoned, passed_on, transferred, mean_answer, mean_handled FROM report_agent_day ORDER BY day, agent_id$$,
	$$VALUES ('2026-06-05'::date, 1::bigint, 4::bigint, 1::bigint, 1::bigint, 1::bigint, 1::bigint, 0::bigint, 0::bigint, interval '0', interval '30 minutes'),
		('2026-06-05', 2, 2, 1, 0, 0, 0, 1, 1, '1 minute', '10 minutes'), ('2026-06-05', 3, 5, 4, 1, 0, 0, 0, 0, '0:01:15', '0:19:30'),
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
SELECT results_eq('SELECT day, lasted FROM report_agent_presence', $$VALUES ('2026-11-01'::date, interval '30 minutes')$$, 'the first of two hours after midnight is part of the day that has both');
UPDATE presence SET during = '[2026-10-31 20:00Z, 2026-11-02 20:00Z)';
SELECT results_eq('SELECT day, lasted FROM report_agent_presence ORDER BY day', $$VALUES ('2026-10-31'::date, interval '8 hours'), ('2026-11-01', '25 hours'), ('2026-11-02', '15 hours')$$, 'which is 25 hours long');
-- In Apia there was no 30 December 2011, in Asuncion the clocks go back from midnight to 23:00, in Cairo forward from midnight.
CREATE TEMP VIEW day_oracle AS SELECT (minute.at AT TIME ZONE (SELECT time_zone FROM company))::date AS day, count(*) * interval '10 minutes' AS lasted
FROM presence AS p CROSS JOIN LATERAL generate_series(lower(p.during), upper(p.during) - interval '10 minutes', '10 minutes') AS minute (at) GROUP BY 1;
CREATE FUNCTION pg_temp.days(zone text, around timestamptz) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.company SET time_zone = zone;
	UPDATE omnichannel.presence SET during = tstzrange(around - interval '3 days', around + interval '3 days');
	RETURN public.results_eq('SELECT day, lasted FROM omnichannel.report_agent_presence ORDER BY day', 'SELECT * FROM pg_temp.day_oracle ORDER BY day', 'days of ' || zone);
END
$$;
SELECT pg_temp.days(zone, around) FROM (VALUES ('Pacific/Apia', '2011-12-30 10:00Z'::timestamptz), ('America/Asuncion', '2024-03-24 03:00Z'), ('Africa/Cairo', '2024-04-25 22:00Z'),
	('Africa/Cairo', '2024-10-31 21:00Z'), ('Atlantic/Azores', '2025-10-26 01:00Z'), ('Atlantic/Azores', '2025-03-30 01:00Z'), ('Asia/Beirut', '2025-03-29 22:00Z'), ('America/Santiago', '2025-04-06 03:00Z'), ('America/Santiago', '2025-09-07 04:00Z')) AS t (zone, around);
-- Nobody was there for ever.
SELECT throws_ok($$INSERT INTO presence (agent_id, state, during) VALUES (2, 'busy', tstzrange('-infinity', '2026-01-01'))$$, '23514', NULL, 'presence begins at a time');
SELECT throws_ok(format($$INSERT INTO waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at, happened_at, event) VALUES (1, 1, 'care', 'chat', %L, %L, %L, 'cancelled')$$,
	CASE n WHEN 1 THEN '-infinity' ELSE now() END, CASE n WHEN 2 THEN '-infinity' ELSE now() END, CASE n WHEN 3 THEN 'infinity' ELSE now() END), '23514', NULL, 'and who leaves a queue does') FROM generate_series(1, 3) AS n;
SELECT throws_ok(format($$INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, queued_at, offered_at, accepted_at, ended_at, outcome)
	VALUES (999, 100, 1, 'care', 'chat', %L, %L, %L, %L, %L, 'finished')$$, t[1], t[2], t[3], t[4], t[5]), '23514', NULL, 'what was offered has its times: ' || t::text)
FROM (SELECT ARRAY[CASE n WHEN 1 THEN '-infinity' ELSE '2026-06-05' END, CASE n WHEN 2 THEN '-infinity' ELSE '2026-06-05' END, CASE n WHEN 3 THEN '-infinity' ELSE '2026-06-05' END,
	CASE n WHEN 4 THEN '-infinity' ELSE '2026-06-05' END, CASE n WHEN 5 THEN 'infinity' ELSE '2026-06-05' END] AS t FROM generate_series(1, 5) AS n) AS one;
ROLLBACK TO havana;

-- Random histories, whose oracle keeps for each request when it began to wait, and looks at presence and work by the minute.
CREATE TEMP TABLE expected (day date, queue text, outcome text, offers integer, wait interval, answer interval, whole interval, worked interval);
CREATE FUNCTION pg_temp.history(seed double precision) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
	came timestamptz;
	queued timestamptz;
	since timestamptz;
	began timestamptz;		-- of the wait, in whatever queue
	wait interval;
	offers integer;
	q text;
	ends timestamptz;
	what text;
BEGIN
	PERFORM setseed(seed);
	DELETE FROM omnichannel.assignment_history;
	DELETE FROM omnichannel.waiting_history;
	DELETE FROM omnichannel.presence;
	DELETE FROM pg_temp.expected;
	FOR request IN 1 .. 60 LOOP
		t := timestamptz '2026-10-24 20:00Z' + floor(random() * 3000) * interval '1 minute';
		FOR stay IN 1 .. 1 + floor(random() * 2)::integer LOOP
			came := t; queued := t; since := t; began := t; offers := 0; wait := NULL;
			q := (ARRAY['care', 'back'])[1 + floor(random() * 2)::integer];
			LOOP
				t := t + (1 + floor(random() * 15)) * interval '1 minute';
				what := (ARRAY['finished', 'declined', 'expired', 'transferred', 'abandoned', 'passed on', 'overflowed', 'moved', 'gave up', 'done_elsewhere', 'done', 'cancelled', 'spam'])[1 + floor(random() * 13)::integer];
				IF what IN ('overflowed', 'moved', 'gave up', 'done', 'spam') THEN
					PERFORM pg_temp.left_at(request, q, came, queued, t, CASE what WHEN 'moved' THEN 'transferred' WHEN 'gave up' THEN 'abandoned' WHEN 'done' THEN 'done_elsewhere' WHEN 'spam' THEN 'cancelled' ELSE what END);
					PERFORM pg_temp.expect(since, q, CASE what WHEN 'moved' THEN 'passed_on' WHEN 'gave up' THEN 'abandoned' WHEN 'done' THEN 'done_elsewhere' WHEN 'spam' THEN 'cancelled' ELSE what END, offers, coalesce(wait, t - since));
					EXIT WHEN what IN ('done', 'spam');
					IF what = 'gave up' THEN
						EXIT WHEN random() < 0.5;
						t := t + (1 + floor(random() * 15)) * interval '1 minute';
						PERFORM pg_temp.left_at(request, q, came, queued, t, 'returned');
						began := t;
					ELSE
						q := CASE q WHEN 'care' THEN 'back' ELSE 'care' END;
						queued := t;
					END IF;
					since := t; offers := 0; wait := NULL;
					CONTINUE;
				END IF;
				ends := t + (1 + floor(random() * 40)) * interval '1 minute';
				PERFORM pg_temp.was_at(request, 1 + floor(random() * 3)::integer, q, came, queued, t, CASE WHEN what IN ('finished', 'transferred') THEN t END, ends, replace(what, 'passed on', 'transferred'));
				offers := offers + 1;
				wait := coalesce(wait, t - since);
				IF what IN ('finished', 'transferred') THEN
					PERFORM pg_temp.expect(since, q, 'answered', offers, wait, t - since, t - began, ends - t);
					since := ends; began := ends; offers := 0; wait := NULL;
				ELSIF what IN ('abandoned', 'done_elsewhere', 'cancelled') THEN
					PERFORM pg_temp.expect(since, q, what, offers, wait);
				END IF;
				EXIT WHEN what IN ('finished', 'abandoned', 'done_elsewhere', 'cancelled');
				IF what IN ('transferred', 'passed on') AND random() < 0.7 THEN
					IF what = 'passed on' THEN
						PERFORM pg_temp.expect(since, q, 'passed_on', offers, wait);
					END IF;
					q := CASE q WHEN 'care' THEN 'back' ELSE 'care' END;
					queued := ends; since := ends; offers := 0; wait := NULL;
				END IF;
				t := ends;
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
CREATE FUNCTION pg_temp.was_at(request bigint, agent bigint, queue text, entered timestamptz, queued timestamptz, offered timestamptz, accepted timestamptz, ended timestamptz, outcome text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, queued_at, offered_at, accepted_at, ended_at, outcome)
	VALUES (request, 100, agent, queue, 'chat', entered, queued, offered, accepted, ended, outcome) $$;
CREATE FUNCTION pg_temp.left_at(request bigint, queue text, entered timestamptz, queued timestamptz, happened timestamptz, event text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO omnichannel.waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at, happened_at, event)
	VALUES (request, 100, queue, 'chat', entered, queued, happened, event) $$;
CREATE FUNCTION pg_temp.expect(since timestamptz, queue text, outcome text, offers integer, wait interval, answer interval DEFAULT NULL, whole interval DEFAULT NULL, worked interval DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$ INSERT INTO pg_temp.expected VALUES ((since AT TIME ZONE 'Europe/Warsaw')::date, queue, outcome, offers, wait, answer, whole, worked) $$;
CREATE TEMP VIEW oracle_queue AS SELECT day, queue, count(*) AS entered, count(*) FILTER (WHERE outcome = 'answered') AS answered, count(*) FILTER (WHERE outcome = 'abandoned') AS abandoned,
	count(*) FILTER (WHERE outcome = 'abandoned' AND offers = 0) AS abandoned_unoffered, count(*) FILTER (WHERE outcome = 'done_elsewhere') AS done_elsewhere, count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled, count(*) FILTER (WHERE outcome = 'overflowed') AS overflowed,
	count(*) FILTER (WHERE outcome = 'passed_on') AS passed_on, sum(offers)::bigint AS offered, avg(wait) AS mean_wait, percentile_cont(0.95) WITHIN GROUP (ORDER BY wait) AS p95_wait,
	max(wait) AS longest_wait, avg(answer) AS mean_answer, percentile_cont(0.5) WITHIN GROUP (ORDER BY answer) AS median_answer, percentile_cont(0.9) WITHIN GROUP (ORDER BY answer) AS p90_answer,
	avg(whole) AS mean_whole_wait, avg(worked) AS mean_handled
FROM pg_temp.expected GROUP BY day, queue;
CREATE TEMP VIEW oracle_presence AS SELECT (minute.at AT TIME ZONE 'Europe/Warsaw')::date AS day, p.agent_id, p.state, count(*) FILTER (WHERE minute.at = lower(p.during)) AS begun,
	count(*) * interval '1 minute' AS lasted, count(*) FILTER (WHERE EXISTS (SELECT FROM assignment_history AS h
		WHERE h.agent_id = p.agent_id AND h.accepted_at <= minute.at AND minute.at < h.ended_at)) * interval '1 minute' AS with_work
FROM presence AS p CROSS JOIN generate_series(timestamptz '2026-10-24 20:00Z', '2026-10-27 20:00Z', '1 minute') AS minute (at)
WHERE p.during @> minute.at GROUP BY 1, 2, 3;
CREATE FUNCTION pg_temp.compare(seed double precision) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.history(seed);
	RETURN NEXT results_eq('SELECT day, queue, entered, answered, abandoned, abandoned_unoffered, done_elsewhere, cancelled, overflowed, passed_on, offered, mean_wait, p95_wait, longest_wait, mean_answer, median_answer, p90_answer, mean_whole_wait, mean_handled FROM report_queue_day ORDER BY day, queue',
		'SELECT * FROM oracle_queue ORDER BY day, queue', 'queues of history ' || seed);
	RETURN NEXT results_eq('SELECT day, agent_id, state, begun, lasted, with_work FROM report_agent_presence ORDER BY 1, 2, 3',
		'SELECT * FROM oracle_presence ORDER BY 1, 2, 3', 'presence of history ' || seed);
END
$$;
SELECT pg_temp.compare(seed) FROM unnest('{0.1,0.2,0.3}'::double precision[]) AS seed;
SELECT is((SELECT count(*) FROM report_queue_day WHERE entered <> answered + abandoned + done_elsewhere + cancelled + overflowed + passed_on + still_waiting + still_offered OR transferred > answered), 0::bigint, 'no stay is left out of a queue');
SELECT is((SELECT sum(offered) FROM report_queue_day), (SELECT count(*)::numeric FROM assignment_history), 'no offer is left out of those of a queue');
SELECT is((SELECT sum(offered) FROM report_agent_day), (SELECT count(*)::numeric FROM assignment_history), 'nor of those of an agent');

-- What the functions write: two that wait, of whom one is offered, accepted and passed on, and one that is only offered.
DELETE FROM assignment_history;
DELETE FROM waiting_history;
DELETE FROM presence;
INSERT INTO agent_channel (agent_id, channel) SELECT agent_id, 'chat' FROM agent;
INSERT INTO queue_member (queue, agent_id) VALUES ('care', 1), ('back', 2);
SELECT open_request(identify('account', 'first'), 'question', 'chat', 'care') AS first \gset
SELECT route(:first) \g /dev/null
CREATE TEMP VIEW standing AS SELECT queue, format('%s: %s answered, %s/%s abandoned, %s overflowed, %s passed on, %s waiting, %s offered, %s offers, %s transferred, %s in work', entered, answered, abandoned, abandoned_unoffered,
	overflowed, passed_on, still_waiting, still_offered, offered, transferred, still_in_work) AS stands, mean_wait IS NOT NULL AS w, mean_answer IS NOT NULL AS a, mean_handled IS NOT NULL AS h FROM report_queue_day ORDER BY queue;
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', '1: 0 answered, 0/0 abandoned, 0 overflowed, 0 passed on, 1 waiting, 0 offered, 0 offers, 0 transferred, 0 in work', false, false, false)$$, 'who waits has not waited for anything yet');
SELECT set_presence(1, 'available') \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', '1: 0 answered, 0/0 abandoned, 0 overflowed, 0 passed on, 0 waiting, 1 offered, 1 offers, 0 transferred, 0 in work', true, false, false)$$, 'offered');
SELECT accept_request(:first, 1) \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('care', '1: 1 answered, 0/0 abandoned, 0 overflowed, 0 passed on, 0 waiting, 0 offered, 1 offers, 0 transferred, 1 in work', true, true, false)$$, 'in work');
SELECT transfer_request(:first, queue => 'back') \g /dev/null
SELECT results_eq('SELECT * FROM standing', $$VALUES ('back', '1: 0 answered, 0/0 abandoned, 0 overflowed, 0 passed on, 1 waiting, 0 offered, 0 offers, 0 transferred, 0 in work', false, false, false),
	('care', '1: 1 answered, 0/0 abandoned, 0 overflowed, 0 passed on, 0 waiting, 0 offered, 1 offers, 1 transferred, 0 in work', true, true, true)$$, 'passed on: it waits anew, there');
UPDATE presence SET during = tstzrange(now() - interval '1 hour', NULL);
SELECT results_eq('SELECT agent_id, state, sum(begun), sum(lasted) FROM report_agent_presence GROUP BY 1, 2', $$VALUES (1::bigint, 'available', 1::numeric, interval '1 hour')$$, 'presence that lasts is reckoned up to now');

-- What was imported ends when it may.
SELECT is(sum(with_work) < sum(lasted), true, 'an agent is in work for a while') FROM report_agent_presence WHERE agent_id = 1;
SET LOCAL statement_timeout = '60s';
INSERT INTO assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, queued_at, offered_at, accepted_at, ended_at, outcome)
SELECT 9999, 1, 1, 'care', 'chat', t, t, t, t, '200000-01-01', 'finished' FROM (VALUES (timestamptz '4000-01-01 BC')) AS v (t);
SELECT is(sum(with_work), sum(lasted), 'or for ever, which is as long as he was there') FROM report_agent_presence WHERE agent_id = 1;
DELETE FROM assignment_history WHERE request_id = 9999;

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
