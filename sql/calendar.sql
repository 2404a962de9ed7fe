-- Working time by a calendar's code and by value: what each rule of it means, and its errors.
\set SHOW_CONTEXT never
SET search_path = omnichannel, public;
SET timezone = 'Europe/Warsaw';
SET datestyle = iso;

SELECT calendar, name, time_zone, hours FROM calendar ORDER BY calendar;
INSERT INTO calendar VALUES ('desk', 'Service desk', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00; Sa 10:00-14:00');

-- Inside, outside, exactly at closing time, nothing, backwards.
SELECT deadline('2026-11-20 10:00', '6 hours', 'desk') AS inside,
	deadline('2026-11-20 15:00', '6 hours', 'desk') AS over_saturday,
	deadline('2026-11-22 12:00', '1 hour', 'desk') AS from_sunday,
	deadline('2026-11-20 09:00', '8 hours', 'desk') AS at_closing;
SELECT deadline('2026-11-20 16:59:59.999999', '0', 'desk') AS open, deadline('2026-11-20 17:00', '0', 'desk') AS closed,
	deadline('2026-11-20 10:00', '-2 hours', 'desk') AS back, deadline('2026-11-20 10:00', '-1 hour', 'desk') AS back_to_opening,
	deadline('2026-11-22 12:00', '-1 hour', 'desk') AS back_from_sunday;
SELECT deadline('2026-11-20 16:59:59.999999', '00:00:00.000002', 'desk') AS a_microsecond_over;

-- Days are working days: the same local time, moved to the next opening (backwards: the last closing time) if closed.
SELECT deadline('2026-11-20 10:00', '1 day', 'desk') AS saturday, deadline('2026-11-20 16:00', '1 day', 'desk') AS monday,
	deadline('2026-11-21 12:00', '1 day', 'desk') AS past_sunday, deadline('2026-11-20 10:00', '5 days 2 hours', 'desk') AS both;
SELECT deadline('2026-11-23 10:00', '-1 day', 'desk') AS saturday, deadline('2026-11-23 16:00', '-1 day', 'desk') AS its_closing,
	deadline('2026-11-23 10:00', '-1 day -1 hour', 'desk') AS both, deadline('2026-11-23 10:00', '1 day -2 hours', 'desk') AS mixed;

-- working_time() in both directions, is_working(), next_working(), working_periods().
SELECT working_time('2026-11-20 16:00', '2026-11-23 10:30', 'desk') AS there,
	working_time('2026-11-23 10:30', '2026-11-20 16:00', 'desk') AS back,
	working_time('2026-11-22', '2026-11-22 12:00', 'desk') AS none, working_time('2026-01-01', '2027-01-01', 'desk') AS a_year;
SELECT is_working('2026-11-20 09:00', 'desk') AS at_opening, is_working('2026-11-20 17:00', 'desk') AS at_closing,
	next_working('2026-11-20 17:00', 'desk'), next_working('2026-11-20 12:00', 'desk') AS itself;
SELECT * FROM working_periods('2026-11-20 12:00', '2026-11-23 12:00', 'desk');
SELECT count(*) FROM working_periods('2026-11-23', '2026-11-20', 'desk');
SELECT * FROM working_periods('2026-01-01', '2027-06-01', '24/7');
SELECT * FROM explain_deadline('2026-11-20 16:00', '1 day 6 hours', 'desk');
SELECT * FROM explain_deadline('2026-11-23 10:00', '-3 hours', 'desk');
SELECT * FROM explain_deadline('2026-11-23 10:00', '-1 day', 'desk');

-- Holidays, part of a day, a special opening, which beats a closure, and one for good.
SELECT add_holiday('desk', '2026-12-25', 'Christmas Day'), add_holiday('desk', '2026-12-25', 'Christmas');
INSERT INTO calendar_exception (calendar, during, open, name) VALUES
	('desk', '[2026-12-24 14:00, 2026-12-26 24:00)', false, 'Christmas break'),
	('desk', '[2026-12-26 10:00, 2026-12-26 12:00)', true, 'Returns'),
	('desk', '[2026-11-22 10:00, 2026-11-22 16:00)', true, 'Sale'),
	('desk', '[2030-01-01,)', false, 'Closed down');
SELECT during, open, name FROM calendar_exception WHERE calendar = 'desk' ORDER BY during, open;
SELECT * FROM working_periods('2026-12-23', '2026-12-29', 'desk');
SELECT deadline('2026-11-21 13:00', '3 hours', 'desk') AS sale, deadline('2026-12-24 10:00', '2 days', 'desk') AS returns_count;
SELECT next_working('2029-12-29 12:00', 'desk'), is_working('2031-01-02 12:00', 'desk'), working_time('2029-12-31', '2100-01-01', 'desk');
SELECT deadline('2026-11-20 10:00', '6 hours', 'Mo-Fr 09:00-17:00', 'Europe/Warsaw',
	ARRAY[ROW('[2026-11-20 11:00,2026-11-20 15:00]', false), ROW('(2026-11-20 12:00,2026-11-20 13:00]', true)]::calendar_span[]);

-- Both nights of daylight saving time: local times mean what AT TIME ZONE says.
SELECT working_time('2026-03-29', '2026-03-30', '24/7') AS spring, working_time('2026-10-25', '2026-10-26', '24/7') AS autumn;
SELECT * FROM working_periods('2026-03-29', '2026-03-30', '01:30-03:30', 'Europe/Warsaw');
SELECT * FROM working_periods('2026-03-29', '2026-03-30', '02:15-02:45', 'Europe/Warsaw');
SELECT * FROM working_periods('2026-03-29', '2026-03-30', '02:30-03:15', 'Europe/Warsaw');
SELECT * FROM working_periods('2026-10-25', '2026-10-26', '02:00-02:30', 'Europe/Warsaw');
SELECT * FROM working_periods('2026-10-25', '2026-10-26', '01:30-03:00', 'Europe/Warsaw');
-- Samoa skipped Friday, 30 December 2011.
SELECT working_time('2011-12-29 12:00 Pacific/Apia', '2011-12-31 12:00 Pacific/Apia', 'Th 22:00-06:00; Fr 08:00-16:00; Sa 10:00-11:00', 'Pacific/Apia');
SELECT deadline('2011-12-29 12:00 Pacific/Apia', '1 day', '09:00-17:00', 'Pacific/Apia') AT TIME ZONE 'Pacific/Apia' AS saturday;
-- Lord Howe Island moves by half an hour.
SELECT working_time('2024-04-07 00:00 Australia/Lord_Howe', '2024-04-08 00:00 Australia/Lord_Howe', '24/7', 'Australia/Lord_Howe');

-- Any distance.
SELECT deadline('2026-11-20 10:00', '1000000 hours', 'office') AS "2505", deadline('2026-11-20 10:00', '2000 hours', 'office') AS "2027";
SELECT deadline('2026-11-20 10:00', '596520 hours', '24/7') - timestamptz '2026-11-20 10:00' AS elapsed;
SELECT deadline('294276-12-31 23:00', '59 minutes', '24/7', 'UTC'), deadline('4713-01-01 00:00 BC', '1 hour', '24/7', 'UTC');
SELECT next_working('4713-01-01 00:00 BC', 'office'), deadline('20000-01-01', '-100000 days', 'office');
SELECT * FROM working_periods('4713-01-01 BC', '294276-12-31', 'off', 'UTC', ARRAY[ROW('["4000-02-01 BC","4000-02-02 BC")', true),
	ROW('[2026-01-01,2026-01-02)', true), ROW('[290000-01-01,290000-01-02)', true)]::calendar_span[]);

-- NULL is NULL.
SELECT deadline(NULL, '1 hour', 'office') IS NULL AND deadline(now(), NULL, 'office') IS NULL AND deadline(now(), '1 hour', NULL) IS NULL
	AND working_time(now(), NULL, 'office') IS NULL AND is_working(NULL, 'office') IS NULL AND next_working(now(), NULL) IS NULL
	AND deadline(now(), '1 hour', NULL, 'UTC') IS NULL AND deadline(now(), '1 hour', '24/7', NULL) IS NULL
	AND deadline(now(), '1 hour', '24/7', 'UTC', NULL) IS NULL AS all_null;
SELECT count(*) FROM working_periods(NULL, now(), 'office');

-- Errors, by SQLSTATE.
DO $$
DECLARE
	statement text;
	hint text;
BEGIN
	FOREACH statement IN ARRAY ARRAY[
		'SELECT omnichannel.deadline(now(), ''1 hour'', ''nowhere'')',
		'SELECT omnichannel.add_holiday(''nowhere'', ''2026-12-25'')',
		'SELECT omnichannel.add_holiday(''office'', ''infinity'')',
		'SELECT omnichannel.add_holiday(''office'', NULL)', 'SELECT omnichannel.add_holiday(''office'', ''294276-12-31'')',
		'SELECT omnichannel.add_holiday(''office'', ''5874897-12-31'')', 'SELECT omnichannel.deadline(''2026-11-20'', ''1 hour'', repeat(''x'', 200))',
		-- the message names the start that was given, and a target only where there is one
		'SELECT omnichannel.deadline(''2026-11-20'', ''300000 days 2562047788 hours'', ''office'')',
		'SELECT omnichannel.deadline(''2026-11-20'', ''-300000 days -2562047788 hours'', ''office'')',
		'SELECT omnichannel.next_working(''294276-12-31 23:59:59+00'', ''office'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''1 mon'', ''office'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''1 year 2 days'', ''office'')',
		'SELECT omnichannel.deadline(''infinity'', ''1 hour'', ''office'')',
		'SELECT omnichannel.deadline(''-infinity'', ''1 hour'', ''office'')',
		'SELECT omnichannel.working_time(''2026-01-01'', ''infinity'', ''office'')',
		'SELECT omnichannel.is_working(''infinity'', ''office'')',
		'SELECT omnichannel.is_working(''-infinity'', ''office'')',
		'SELECT omnichannel.next_working(''infinity'', ''office'')',
		'SELECT omnichannel.next_working(''-infinity'', ''office'')',
		'SELECT omnichannel.is_working(''2026-01-01'', ''24/7'', repeat(''Z'', 1000))',
		'SELECT * FROM omnichannel.working_periods(''2026-01-01'', ''infinity'', ''office'')',
		'SELECT * FROM omnichannel.working_periods(''-infinity'', ''2026-01-01'', ''office'')',
		'SELECT omnichannel.deadline(''2031-01-01'', ''1 hour'', ''desk'')',
		'SELECT omnichannel.next_working(''2031-01-01'', ''desk'')',
		'SELECT omnichannel.deadline(''2029-12-31'', ''100 hours'', ''desk'')',
		'SELECT omnichannel.deadline(''2029-12-01'', ''100 days'', ''desk'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''0'', ''off'', ''UTC'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''-1 hour'', ''off'', ''UTC'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''1 day'', ''off'', ''UTC'')',
		'SELECT omnichannel.deadline(''294276-12-31 23:00'', ''2 hours'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''2562047788:00:54.775807'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''2147483647 days'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.deadline(''2026-01-01'', ''-2147483648 days'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.deadline(''4713-01-01 BC'', ''-1000 hours'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.working_time(''4713-01-01 BC'', ''294276-12-31'', ''24/7'', ''UTC'')',
		'SELECT omnichannel.is_working(now(), ''24/7'', ''Europe/Atlantis'')',
		'SELECT omnichannel.is_working(now(), ''24/7'', '''')',
		'SELECT omnichannel.is_working(now(), ''24/7'', ''UTC'', ARRAY[NULL]::omnichannel.calendar_span[])',
		'SELECT omnichannel.is_working(now(), ''24/7'', ''UTC'', ARRAY[ROW(NULL, true)]::omnichannel.calendar_span[])',
		'SELECT omnichannel.is_working(now(), ''24/7'', ''UTC'', ARRAY[ROW(''empty'', NULL)]::omnichannel.calendar_span[])',
		'INSERT INTO omnichannel.calendar VALUES (''x'', ''X'', ''Europe/Atlantis'', ''24/7'')',
		'INSERT INTO omnichannel.calendar VALUES (''x'', ''X'', ''UTC'', ''Mo 8-9'')',
		'INSERT INTO omnichannel.calendar_exception VALUES (''nowhere'', ''[2026-01-01,2026-01-02)'')',
		'INSERT INTO omnichannel.calendar_exception VALUES (''office'', ''empty'')',
		'INSERT INTO omnichannel.calendar_exception VALUES (''office'', NULL)',
		'UPDATE omnichannel.calendar_exception SET during = ''[2026-01-01,2026-01-01)'' WHERE calendar = ''desk''',
		'INSERT INTO omnichannel.calendar_exception VALUES (''office'', ''[2026-01-02,2026-01-01)'')'
	] LOOP
		BEGIN
			EXECUTE statement;
			RAISE NOTICE 'no error: %', statement;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
			-- Before 15 the longest intervals do not print as they are.
			RAISE NOTICE '% % | %', sqlstate, regexp_replace(sqlerrm, '"[^"]*\d{10}[^"]*"', '"…"'), hint;
		END;
	END LOOP;
END
$$;

-- A calendar's code follows its row; its exceptions go with it.
UPDATE calendar SET calendar = 'counter' WHERE calendar = 'desk';
SELECT count(*) FROM calendar_exception WHERE calendar = 'counter';
DELETE FROM calendar WHERE calendar = 'counter';
SELECT count(*) FROM calendar_exception WHERE calendar IN ('desk', 'counter');

-- Labels: by code the answer follows the tables, by value it never changes; strict and parallel safe.
SELECT p.oid::regprocedure AS function, p.provolatile, p.proparallel, p.proisstrict
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = 'omnichannel' AND p.proname IN ('deadline', 'working_time', 'is_working', 'next_working', 'working_periods', 'explain_deadline')
ORDER BY p.proname, p.pronargs;
-- What the planner makes of a deadline in a condition: it costs little more than an operator, the calendar is read once,
-- and statistics on the expression tell how many rows it leaves; without them the planner takes a third.
BEGIN;
CREATE FUNCTION pg_temp.plan(condition text, OUT rows numeric, OUT cost numeric) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) SELECT FROM pg_temp.request_of WHERE ' || condition INTO plan;
	rows := plan->0->'Plan'->>'Plan Rows';
	cost := plan->0->'Plan'->>'Total Cost';
END
$$;
CREATE TEMP TABLE request_of AS SELECT timestamptz '2026-06-01 00:00Z' + g * interval '1 hour' AS opened_at FROM generate_series(0, 999) AS g;
ANALYZE request_of;
SELECT by_code.rows, by_code.cost < plain.cost * 1.5 AS cheap, by_value.rows AS by_value_rows, by_value.cost < plain.cost * 1.5 AS by_value_cheap
FROM pg_temp.plan($$opened_at < '2026-06-10'$$) AS plain, pg_temp.plan($$omnichannel.deadline(opened_at, '6 hours', 'office') < '2026-06-10'$$) AS by_code,
	pg_temp.plan($$omnichannel.deadline(opened_at, '6 hours', 'Mo-Fr 09:00-17:00', 'Europe/Warsaw') < '2026-06-10'$$) AS by_value;
CREATE STATISTICS pg_temp.due ON (omnichannel.deadline(opened_at, '6 hours', 'office')) FROM request_of;
ANALYZE request_of;
SELECT abs(planned.rows - actual.rows) < 20 AS right_rows
FROM pg_temp.plan($$omnichannel.deadline(opened_at, '6 hours', 'office') < '2026-06-10'$$) AS planned,
	(SELECT count(*) FROM request_of WHERE omnichannel.deadline(opened_at, '6 hours', 'office') < '2026-06-10') AS actual (rows);
ROLLBACK;
