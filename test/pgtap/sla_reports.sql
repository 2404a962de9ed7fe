-- What views say of service levels, on numbers reckoned by hand: in working time, by the clock on the wall, and where
-- something is due never; and that a warning which a late contact belies is withdrawn.
BEGIN;
SELECT plan(13);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('letter', 'Letters', 'mail', false);
INSERT INTO sla_policy (policy, rank, metric, channel, kind, target, calendar) VALUES
	('answer', 1, 'first_response', 'letter', NULL, '6 hours', 'office'),
	('wall', 1, 'resolution', NULL, 'complaint', '6 hours', NULL), ('worked', 1, 'resolution', NULL, 'repair', '4 hours', 'office');
INSERT INTO queue (queue) VALUES ('desk');

-- Friday, 4 June 2021; the office in Warsaw is open from 9 to 17. Of the six only the last is of Saturday, there.
CREATE FUNCTION pg_temp.letter(who text, direction text, at text) RETURNS bigint LANGUAGE sql AS $$
	SELECT omnichannel.log_contact('letter', kind => 'account', value => who, direction => direction, occurred_at => at::timestamp AT TIME ZONE 'Europe/Warsaw') $$;
SELECT pg_temp.letter(who, direction, at) FROM (VALUES
	('a', 'inbound', '2021-06-04 10:00'), ('a', 'outbound', '2021-06-04 12:00'),	-- 2 h, of work 2 h
	('b', 'inbound', '2021-06-04 16:00'), ('b', 'outbound', '2021-06-07 10:00'),	-- 66 h, of work 1 + 1 h
	('c', 'inbound', '2021-06-04 15:00'), ('c', 'outbound', '2021-06-07 16:00'),	-- 73 h, of work 2 + 7 h: too late
	('d', 'inbound', '2021-06-04 11:00'),											-- no answer
	('e', 'inbound', '2021-06-05 00:30'), ('e', 'outbound', '2021-06-06 00:30')		-- 24 h, none of work
	) AS letter (who, direction, at) \g /dev/null

SELECT results_eq(
	$$SELECT day, queue, kind, clocks, still_open, met, breached, cancelled FROM report_service_levels WHERE metric = 'first_response' AND policy = 'answer' AND channel = 'letter' ORDER BY day$$,
	$$VALUES ('2021-06-04'::date, NULL::text, NULL::text, 4::bigint, 1::bigint, 2::bigint, 2::bigint, 0::bigint), ('2021-06-05', NULL, NULL, 1, 0, 1, 0, 0)$$,
	'answers by the company''s days; what is open past due is breached too');
SELECT results_eq(
	$$SELECT mean_elapsed, median_elapsed, p90_elapsed FROM report_service_levels WHERE metric = 'first_response' ORDER BY day$$,
	$$VALUES (interval '47 hours', interval '66 hours', interval '71:36'), ('24 hours', '24 hours', '24 hours')$$,
	'(2 + 66 + 73) / 3 by the clock on the wall');
SELECT results_eq(
	$$SELECT mean_worked, median_worked, p90_worked FROM report_service_levels WHERE metric = 'first_response' ORDER BY day$$,
	$$VALUES (interval '4:20', interval '2 hours', interval '7:36'), ('0', '0', '0')$$, '(2 + 2 + 9) / 3 of work');

-- Requests: the pauses are left out, but of what it was for the customer. The office never sees the clock on the wall.
CREATE FUNCTION pg_temp.request(kind text, states text[], times text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	opened bigint := omnichannel.open_request(omnichannel.identify('account', kind || array_to_string(times, ' ')), kind, 'branch',
		queue => 'desk', opened_at => times[1]::timestamp AT TIME ZONE 'Europe/Warsaw');
BEGIN
	FOR i IN 2 .. cardinality(states) LOOP
		UPDATE omnichannel.request SET state = states[i], state_since = times[i]::timestamp AT TIME ZONE 'Europe/Warsaw' WHERE request_id = opened;
	END LOOP;
	RETURN opened;
END
$$;
-- 3 + 2 h with 69 h of waiting
SELECT pg_temp.request('complaint', '{new,waiting_customer,waiting_agent,done}', '{2021-06-04 09:00,2021-06-04 12:00,2021-06-07 09:00,2021-06-07 11:00}');
-- 2 h, and from Monday 10:00 to Tuesday 10:00 24 h, of work 7 + 1
SELECT pg_temp.request('repair', '{new,waiting_customer,waiting_agent,done}', '{2021-06-04 14:00,2021-06-04 16:00,2021-06-07 10:00,2021-06-08 10:00}');
SELECT pg_temp.request('repair', '{new,cancelled}', '{2021-06-04 08:30,2021-06-04 10:00}');
SELECT results_eq(
	$$SELECT policy, outcome, elapsed, worked, from_start_to_stop, due_at AT TIME ZONE 'Europe/Warsaw' FROM report_response_times
		WHERE metric = 'resolution' ORDER BY started_at DESC$$,
	$$VALUES ('worked', 'breached', interval '26 hours', interval '10 hours', interval '3 days 20 hours', timestamp '2021-06-07 12:00'),
		('wall', 'met', '5 hours', NULL, '3 days 2 hours', '2021-06-07 12:00'),
		('worked', 'cancelled', '1:30', '1 hour', '1:30', '2021-06-04 13:00')$$, 'resolutions in both times, without their pauses');
SELECT results_eq(
	$$SELECT policy, day, channel, queue, kind, clocks, still_open, met, breached, cancelled, mean_elapsed, mean_worked FROM report_service_levels
		WHERE metric = 'resolution' ORDER BY policy$$,
	$$VALUES ('wall', '2021-06-04'::date, 'branch', 'desk', 'complaint', 1::bigint, 0::bigint, 1::bigint, 0::bigint, 0::bigint, interval '5 hours', NULL::interval),
		('worked', '2021-06-04', 'branch', 'desk', 'repair', 2, 0, 0, 1, 1, '13:45', '5:30')$$, 'and together by queue and kind');
SELECT results_eq(
	$$SELECT r.elapsed, r.worked FROM report_response_times AS r WHERE metric = 'first_response' ORDER BY elapsed$$,
	$$SELECT c.stopped_at - c.started_at, working_time(c.started_at, c.stopped_at, 'office') FROM sla_clock AS c
		WHERE metric = 'first_response' AND stopped_at IS NOT NULL ORDER BY 1$$, 'as the calendar''s own functions reckon');
SELECT is((SELECT count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
	WHERE c.relname IN ('report_service_levels', 'report_response_times', 'report_sla_events') AND a.attname IN ('customer_id', 'request_id', 'thread')),
	0::bigint, 'and name no customer');

-- A warning that was told at 15:30 of an e-mail that was answered at 11:00, as turns out.
UPDATE sla_policy SET warn_at = '1 hour' WHERE policy = 'answer';
SELECT pg_temp.letter('late', 'inbound', '2026-06-05 10:00') \g /dev/null
SELECT tick_sla('2026-06-05 15:30 Europe/Warsaw') \g /dev/null
CREATE TEMP VIEW warning AS SELECT count(e.event_id) AS told, count(e.withdrawn_at) AS withdrawn, min(c.outcome) AS outcome, count(c.warned_at) AS warned
FROM sla_clock AS c LEFT JOIN sla_event AS e ON e.customer_id = c.customer_id AND e.clock_id = c.clock_id AND e.event = 'warning'
WHERE c.customer_id = identify('account', 'late');
SELECT is(warning, ROW(1, 0, NULL, 1)::warning, 'a warning is told') FROM warning;
SAVEPOINT answered;
SELECT pg_temp.letter('late', 'outbound', '2026-06-05 11:00') \g /dev/null
SELECT is(warning, ROW(1, 1, 'met', 0)::warning, 'a contact from before shows that there was nothing to warn of') FROM warning;
ROLLBACK TO answered;
SELECT pg_temp.letter('late', 'outbound', '2026-06-05 15:45') \g /dev/null
SELECT is(warning, ROW(1, 0, 'met', 1)::warning, 'one from after it does not') FROM warning;

-- A calendar that never opens again: due never, which views can say beside all else.
SELECT pg_temp.letter('never', 'inbound', '2026-06-05 10:00') \g /dev/null
UPDATE calendar SET hours = 'off' WHERE calendar = 'office';
SELECT count(*) FROM recompute_sla() \g /dev/null
SELECT results_eq($$SELECT state, due_at, time_left FROM sla_status WHERE customer_id = identify('account', 'never')$$,
	$$VALUES ('running', timestamptz 'infinity', NULL::interval)$$, 'what is due never has nothing left');
SELECT is((SELECT count(*) FROM report_service_levels WHERE policy = 'answer' AND day = '2026-06-05'), 1::bigint, 'and is counted');
SELECT is((SELECT array_agg(a.attrelid::regclass || '.' || a.attname) FROM pg_attribute AS a WHERE a.attnum > 0
	AND a.attrelid IN ('omnichannel.report_service_levels'::regclass, 'omnichannel.report_response_times'::regclass, 'omnichannel.report_sla_events'::regclass)
	AND col_description(a.attrelid, a.attnum) IS NULL), NULL, 'every column says what it is');
SELECT * FROM finish();
ROLLBACK;
