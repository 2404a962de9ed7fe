-- import_holidays() and read_holidays(): holidays from iCalendar text; and what the planner is told of working time.
\set SHOW_CONTEXT never
SET search_path = omnichannel, public;
SET timezone = 'Europe/Warsaw';
SET datestyle = iso;

\set yearly 'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:xmas@example\r\nDTSTART;VALUE=DATE:20201225\r\nRRULE:FREQ=YEARLY\r\nEXDATE;VALUE=DATE:20221225\r\nSUMMARY:Christmas\\, first\r\n  day\r\nTRANSP:TRANSPARENT\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:thanks@example\r\nDTSTART;VALUE=DATE:20201126\r\nDTEND;VALUE=DATE:20201128\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n'
SELECT * FROM read_holidays(:'yearly', 'Europe/Warsaw', 2024);

-- Times: floating, in a zone, in UTC, with a duration; a moved occurrence, a further one, and one long after the last year.
SELECT * FROM read_holidays(E'BEGIN:VCALENDAR
BEGIN:VEVENT
UID:training
DTSTART;TZID=America/New_York:20260105T090000
DTEND;TZID=America/New_York:20260105T110000
RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=4
RDATE;TZID=America/New_York:20260320T090000
SUMMARY:Training
END:VEVENT
BEGIN:VEVENT
UID:training
RECURRENCE-ID;TZID=America/New_York:20260112T090000
DTSTART;TZID=America/New_York:20260113T100000
DURATION:PT1H30M
SUMMARY:Training on Tuesday
END:VEVENT
BEGIN:VEVENT
UID:floating
DTSTART:20261224T130000
DTEND:20261224T240000
END:VEVENT
BEGIN:VEVENT
UID:utc
DTSTART:20260701T120000Z
DURATION:P1DT2H
END:VEVENT
BEGIN:VEVENT
UID:later
DTSTART;VALUE=DATE:20990101
END:VEVENT
BEGIN:VEVENT
UID:cancelled
DTSTART;VALUE=DATE:20260101
STATUS:CANCELLED
END:VEVENT
END:VCALENDAR', 'Europe/Warsaw', 2026) ORDER BY uid, during;

-- A zone that only the text knows.
SELECT * FROM read_holidays(E'BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Factory time
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0500
TZOFFSETTO:+0500
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:shift
DTSTART;TZID=Factory time:20260704T090000
DTEND;TZID=Factory time:20260704T110000
END:VEVENT
END:VCALENDAR', 'UTC', 2026);

-- What names an occurrence does so by its instant, in whatever form: in UTC, in another zone, on the event's clock, by its day.
CREATE FUNCTION pg_temp.event(properties text, last_year integer DEFAULT 2026, zone text DEFAULT 'America/New_York')
RETURNS TABLE (during tsrange, name text) LANGUAGE sql AS $$
	SELECT read.during, read.name FROM omnichannel.read_holidays(E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\n' || properties ||
		E'\nEND:VEVENT\nEND:VCALENDAR', zone, last_year) AS read ORDER BY read.during
$$;
-- Each takes out or moves the second of four, the 17th, at 10:00 in New York or 14:00 in UTC.
SELECT start, other, string_agg(to_char(lower(event.during), 'DD HH24'), ', ') AS days
FROM unnest(ARRAY[';TZID=America/New_York:20260310T100000', ':20260310T140000Z', ':20260310T100000', ';VALUE=DATE:20260310'])
	WITH ORDINALITY AS starts (start, i),
	unnest(ARRAY['EXDATE:20260317T140000Z', 'EXDATE;TZID=America/New_York:20260317T100000', 'EXDATE;TZID=Europe/Berlin:20260317T150000',
		'EXDATE;TZID=UTC:20260317T140000', 'EXDATE;VALUE=DATE:20260317', 'EXDATE:20260324T150000Z,20260317T140000Z',
		E'RDATE:20260319T140000Z\nEXDATE;TZID=America/New_York:20260317T100000,20260319T100000', 'EXDATE:20260317T100000Z',
		E'STATUS:CONFIRMED\nEND:VEVENT\nBEGIN:VEVENT\nUID:a\nRECURRENCE-ID:20260317T140000Z\nDTSTART:20260318T140000Z\nDURATION:PT1H',
		E'STATUS:CONFIRMED\nEND:VEVENT\nBEGIN:VEVENT\nUID:a\nRECURRENCE-ID;TZID=Asia/Tokyo:20260317T230000\nDTSTART:20260317T140000Z\nSTATUS:CANCELLED'])
	WITH ORDINALITY AS others (other, j),
	pg_temp.event('DTSTART' || start || E'\nDURATION:' || CASE WHEN start ~ 'DATE' THEN 'P1D' ELSE 'PT1H' END || E'\nRRULE:FREQ=WEEKLY;COUNT=4\n' || other) AS event
GROUP BY i, start, j, other ORDER BY i, j;
-- On the event's clock, in UTC in the last case.
SELECT string_agg(to_char(lower(during), 'DD HH24'), ', ') AS days
FROM pg_temp.event(E'DTSTART;TZID=Europe/Berlin:20260310T100000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE:20260317T100000')
UNION ALL
SELECT string_agg(to_char(lower(during), 'DD HH24'), ', ')
FROM pg_temp.event(E'DTSTART:20260310T100000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE:20260317T100000');
-- In the hour that an autumn night has twice a local time is the second: what begins in the first is not lost.
SELECT start, during, during_utc <= start AND during_utc > start - interval '1 hour' AS covers
FROM unnest('{2026-10-24 23:59:59Z,2026-10-25 00:00Z,2026-10-25 00:30Z,2026-10-25 01:00Z}'::timestamptz[]) WITH ORDINALITY AS starts (start, i),
	pg_temp.event('DTSTART:' || to_char(start AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') || E'\nDURATION:PT1H', 2026, 'Europe/Warsaw') AS event,
	LATERAL (SELECT lower(during) AT TIME ZONE 'Europe/Warsaw') AS begins (during_utc)
ORDER BY i;
SELECT during FROM pg_temp.event(E'DTSTART:20260404T143000Z\nDURATION:PT30M\nRRULE:FREQ=YEARLY;COUNT=2', 2027, 'Australia/Lord_Howe');
-- A text may begin with a byte order mark.
SELECT * FROM read_holidays(U&'\FEFF' || E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20260501\nEND:VEVENT\nEND:VCALENDAR', 'UTC', 2026);
-- In a zone of the text: 10:00 there is 05:00 in UTC, and the end of a rule is an instant too.
SELECT during FROM read_holidays(E'BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Factory time
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0500
TZOFFSETTO:+0500
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:shift
DTSTART;TZID=Factory time:20260704T100000
DURATION:P1DT2H
RRULE:FREQ=WEEKLY;COUNT=3
RDATE;TZID=Factory time:20260801T100000
EXDATE:20260711T050000Z
END:VEVENT
END:VCALENDAR', 'UTC', 2026);
SELECT during FROM pg_temp.event(E'DTSTART;TZID=Europe/Berlin:20260105T003000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260106T233000Z', 2026, 'Europe/Berlin');
SELECT during FROM pg_temp.event(E'DTSTART;TZID=America/New_York:20260105T200000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260107T005959Z');

-- Periods have their own length, by an end or a duration, also where the event takes place anyway.
SELECT during FROM pg_temp.event(E'DTSTART:20260203T100000Z\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20260205T100000Z/20260205T180000Z,20260206T100000Z/PT4H', 2026, 'UTC');
SELECT during FROM pg_temp.event(E'DTSTART;TZID=America/New_York:20260203T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260207T150000Z
RDATE;VALUE=PERIOD;TZID=America/New_York:20260204T100000/PT30M,20260206T100000/20260206T180000,20260207T100000/PT4H');

-- What a rule and dates name more than once is one occurrence; a period of another length replaces it.
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;COUNT=3\nRRULE:FREQ=DAILY;COUNT=2\nRDATE;VALUE=DATE:20260105,20260102,20260102,20260105');
SELECT during FROM pg_temp.event(E'DTSTART:20260203T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2\nRDATE;TZID=Europe/Berlin:20260204T110000
RDATE;VALUE=PERIOD:20260203T100000Z/PT4H,20260203T100000Z/20260203T140000Z', 2026, 'UTC');

-- Days are added on the clock, hours as time that passes: over a change of the clocks, and in a time without a zone.
SELECT start, duration, during
FROM unnest(ARRAY[';TZID=America/New_York:20260308T010000', ';TZID=America/New_York:20260307T090000', ':20260308T010000',
	';TZID=America/New_York:20261031T210000', ';TZID=America/New_York:20261031T210000', ';VALUE=DATE:20260308'],
	ARRAY['DURATION:PT3H', 'DURATION:P1DT2H', 'DURATION:PT3H', 'DURATION:PT6H', 'DTEND;TZID=America/New_York:20261101T030000', 'DURATION:P1D'])
	AS given (start, duration), pg_temp.event('DTSTART' || start || E'\n' || duration);
-- Occurrences last as long as the first one: a duration of a day by the clock, to an end exactly.
SELECT during FROM pg_temp.event(E'DTSTART;TZID=America/New_York:20260307T000000\nDURATION:P1D\nRRULE:FREQ=DAILY;COUNT=2');
SELECT during FROM pg_temp.event(E'DTSTART;TZID=America/New_York:20260307T000000\nDTEND;TZID=America/New_York:20260307T080000\nRRULE:FREQ=DAILY;COUNT=2');

-- EXRULE takes out what it makes, in the form of the event.
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=MONTHLY;COUNT=4\nEXRULE:FREQ=MONTHLY;INTERVAL=2');
SELECT during FROM pg_temp.event(E'DTSTART;TZID=America/New_York:20260306T090000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=5\nEXRULE:FREQ=WEEKLY;BYDAY=SA,MO');
-- COUNT counts what is taken out; the end of a rule is a day, a time on the clock of the event, or an instant.
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20260102');
SELECT until, count(*) FROM unnest(ARRAY['20260103', '20260103T085959', '20260103T090000', '20260103T135959Z', '20260103T140000Z', '99991231T235959Z']) WITH ORDINALITY AS u (until, i),
	pg_temp.event(E'DTSTART;TZID=America/New_York:20260101T090000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=' || until) GROUP BY until, i ORDER BY i;

-- Of versions of one event, or of one moved occurrence, the highest SEQUENCE counts, then the latest DTSTAMP; the same are both there.
SELECT one, other, string_agg(to_char(lower(event.during), 'MM-DD'), ', ') AS days
FROM (VALUES ('SEQUENCE:1', 'SEQUENCE:0'), ('SEQUENCE:1', 'SEQUENCE:2'), ('DTSTAMP:20260101T000000Z', 'DTSTAMP:20260101T000001Z'),
		(E'SEQUENCE:1\nDTSTAMP:20260101T000000Z', 'DTSTAMP:20260101T000001Z'), ('SEQUENCE:1', E'SEQUENCE:2\nSTATUS:CANCELLED'),
		('SEQUENCE:1', 'SEQUENCE:1'), (E'SEQUENCE:1\nRRULE:FREQ=DAILY;COUNT=3', E'SEQUENCE:0\nRECURRENCE-ID;VALUE=DATE:20260502'),
		(E'SEQUENCE:1\nRECURRENCE-ID;VALUE=DATE:20260502', E'SEQUENCE:0\nRECURRENCE-ID;VALUE=DATE:20260502')) AS versions (one, other),
	pg_temp.event(E'DTSTART;VALUE=DATE:20260501\n' || one || E'\nEND:VEVENT\nBEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20260601\n' || other) AS event
GROUP BY one, other ORDER BY one, other;

-- A date that ends with itself is a whole day; years after 3000 are years.
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260101')
UNION ALL SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:30001231\nDTEND;VALUE=DATE:30010102');

-- The last year cuts off what recurs, nothing else.
SELECT during FROM pg_temp.event('DTSTART;VALUE=DATE:20330101');
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nRDATE;VALUE=DATE:20270101');
SELECT during FROM pg_temp.event(E'DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY');

-- Imported, and imported again: an event is known by its UID, and what another UID closed stays.
INSERT INTO calendar VALUES ('imports', 'Imports', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00');
SELECT add_holiday('imports', '2023-12-25', 'By hand');
SELECT import_holidays('imports', :'yearly', 2024);
SELECT during, open, name, uid FROM calendar_exception WHERE calendar = 'imports' ORDER BY during, uid;
SELECT import_holidays('imports', :'yearly', 2024);
SELECT count(*), working_time('2023-12-20', '2023-12-30', 'imports') FROM calendar_exception WHERE calendar = 'imports';
SELECT import_holidays('imports', replace(:'yearly', '20201225', '20201224'), 2022);
SELECT during, name FROM calendar_exception WHERE calendar = 'imports' AND uid = 'xmas@example' ORDER BY during;
SELECT import_holidays('imports', replace(:'yearly', 'TRANSP:TRANSPARENT', 'STATUS:CANCELLED'), 2022);
SELECT count(*) FROM calendar_exception WHERE calendar = 'imports' AND uid = 'xmas@example';
SELECT import_holidays('imports', :'yearly') > 9 AS more;
SELECT max(extract(year FROM lower(during))) = extract(year FROM now()) + 5 AS five_years_on FROM calendar_exception WHERE calendar = 'imports';
DELETE FROM calendar WHERE calendar = 'imports';

-- What is no such text: SQLSTATE, what is wrong, and a hint.
DO $$
DECLARE
	event text;
	hint text;
BEGIN
	FOREACH event IN ARRAY ARRAY[
		'', 'hello', E'BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VCALENDAR', E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR',
		repeat(E'BEGIN:VCALENDAR\n', 100000), E'BEGIN:VEVENT\nUID:a\nDTSTART:20260101\nEND:VEVENT',
		'DTSTART;VALUE=DATE:20260101', E'DTSTART;VALUE=DATE:20260101\nSUMMARY:New Year', 'UID:a', E'UID:a\nDTSTART;VALUE=DATE:20260231', E'UID:a\nDTSTART:tomorrow', E'UID:a\nDTSTART:',
		E'UID:a\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=NEVER', E'UID:a\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;BYMONTH=13',
		E'UID:a\nDTSTART;TZID=Atlantis:20260101T090000\nDURATION:PT1H',
		E'UID:a\nDTSTART:20260101T090000\nRRULE:FREQ=SECONDLY', E'UID:a\nDTSTART:20260101T090000\nRRULE:FREQ=DAILY;BYHOUR=9,10',
		E'UID:a\nDTSTART;TZID=Europe/Berlin:20260101T090000\nDTEND;TZID=Asia/Tokyo:20260101T190000',
		E'UID:a\nDTSTART:20260101T090000\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260101T100000',
		E'UID:a\nDTSTART:20260101T090000Z\nRRULE:FREQ=DAILY\nEXDATE;TZID=Atlantis:20260102T090000',
		E'UID:a\nDTSTART;VALUE=DATE:00010101\nRRULE:FREQ=DAILY', repeat('X', 5000000), format(E'UID:%s\nDTSTART;VALUE=DATE:20260101', repeat('u', 1025)),
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nDTEND;VALUE=DATE:20260101', E'UID:a\nDTSTART;VALUE=DATE:20260102\nDTEND;VALUE=DATE:20260231',
		E'UID:a\nDTSTART:20260102T100000\nDTEND:20260102T095959', E'UID:a\nDTSTART:20260102T100000\nDTEND:20260102T250000',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nDTEND:20260103T100000Z', E'UID:a\nDTSTART:20260102T100000Z\nDTEND;VALUE=DATE:20260103',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nDURATION:-P1D', E'UID:a\nDTSTART;VALUE=DATE:20260102\nDURATION:P999999999W',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nRDATE;VALUE=DATE:20260103,20261301', E'UID:a\nDTSTART;VALUE=DATE:20260102\nEXDATE;VALUE=DATE:20260199',
		E'UID:a\nDTSTART:20260102T100000\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20260205T180000/20260205T100000',
		E'UID:a\nDTSTART:20260102T100000\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20260205T180000/-PT4H',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nRECURRENCE-ID;VALUE=DATE:20260230', E'UID:a\nDTSTART;VALUE=DATE:20260102\nRRULE:FREQ=DAILY;UNTIL=20260231',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nRRULE:FREQ=DAILY;UNTIL=20260101', E'UID:a\nDTSTART:20260102T100000\nRRULE:FREQ=DAILY;UNTIL=20260102T095959Z',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nRRULE:FREQ=WEEKLY;BYMONTHDAY=1', E'UID:a\nDTSTART;VALUE=DATE:20260102\nRRULE:FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO',
		E'UID:a\nDTSTART;VALUE=DATE:20260102\nRRULE:RSCALE=HEBREW;FREQ=YEARLY', E'UID:a\nDTSTART;VALUE=DATE:20260102\nEXRULE:FREQ=HOURLY',
		E'UID:a\nDTSTART;VALUE=DATE:00010101\nEXRULE:FREQ=DAILY' || repeat(E'\nEXRULE:FREQ=DAILY', 3)]
	LOOP
		BEGIN
			IF event ~ '(UID|DTSTART)' AND event !~ 'BEGIN' THEN
				event := E'BEGIN:VCALENDAR\nBEGIN:VEVENT\n' || event || E'\nEND:VEVENT\nEND:VCALENDAR';
			END IF;
			RAISE NOTICE '% occurrences', (SELECT count(*) FROM omnichannel.read_holidays(event, 'UTC', 2026));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
			RAISE NOTICE '% % | %', sqlstate, sqlerrm, hint;
		END;
	END LOOP;
END
$$;
DO $$
DECLARE
	statement text;
BEGIN
	FOREACH statement IN ARRAY ARRAY[
		'SELECT omnichannel.import_holidays(''nowhere'', '''')', 'SELECT omnichannel.import_holidays(''office'', NULL)',
		'SELECT omnichannel.import_holidays(''office'', '''', 0)', 'SELECT omnichannel.import_holidays(''office'', '''', 10000)',
		'SELECT omnichannel.read_holidays('''', ''Europe/Atlantis'', 2026)']
	LOOP
		BEGIN
			EXECUTE statement;
			RAISE NOTICE 'no error: %', statement;
		EXCEPTION WHEN OTHERS THEN
			RAISE NOTICE '% %', sqlstate, sqlerrm;
		END;
	END LOOP;
END
$$;
-- The context of such an error does not repeat the whole import.
DO $$
DECLARE
	context text;
BEGIN
	PERFORM omnichannel.import_holidays('office', 'hello');
EXCEPTION WHEN invalid_text_representation THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RAISE NOTICE 'the context repeats the import: %', context ~ 'INSERT';
END
$$;
-- Rules that hardly ever come true are given up after so many days.
SELECT public.raised(format($$SELECT count(*) FROM omnichannel.read_holidays(%L, 'UTC', 9999)$$,
	E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:rare\nDTSTART;VALUE=DATE:00010101' || repeat(E'\nRRULE:FREQ=DAILY;BYDAY=MO;BYMONTH=2;BYMONTHDAY=29', 40) || E'\nEND:VEVENT\nEND:VCALENDAR'));
-- A rule that never comes true ends.
SELECT count(during) FROM read_holidays(E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\nEND:VEVENT\nEND:VCALENDAR', 'UTC', 2030);

-- The planner knows the rows of the sets, how often it is working time, and that calendars made anew in each row cost.
CREATE TEMP TABLE moment AS
SELECT timestamptz '2020-01-01' + i * interval '17 minutes' AS at, working_hours '24/7' AS hours FROM generate_series(1, 10000) AS i;
ANALYZE moment;
CREATE FUNCTION pg_temp.estimate(query text, what text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> what;
END
$$;
SELECT query, pg_temp.estimate(query, 'Plan Rows') AS rows FROM unnest(ARRAY[
	'SELECT * FROM omnichannel.working_periods(''2026-01-05'', ''2026-01-19'', ''office'')',
	'SELECT * FROM omnichannel.working_periods(''2026-01-05'', ''2026-01-19'', ''10:00-12:00,13:00-15:00'', ''UTC'')',
	'SELECT * FROM omnichannel.working_periods(''2026-01-19'', ''2026-01-05'', ''office'')',
	'SELECT * FROM omnichannel.explain_deadline(''2026-01-05'', ''2 days 16 hours'', ''office'')',
	'SELECT * FROM moment WHERE omnichannel.is_working(at, ''office'')',
	'SELECT * FROM moment WHERE omnichannel.is_working(at, ''Sa 10:00-14:00'', ''UTC'')']) AS query;
SELECT pg_temp.estimate('SELECT * FROM moment WHERE omnichannel.deadline(at, ''6 hours'', hours, ''UTC'') < now()', 'Total Cost')
	> 5 * pg_temp.estimate('SELECT * FROM moment WHERE omnichannel.deadline(at, ''6 hours'', ''office'') < now()', 'Total Cost') AS anew_costs;
-- Statistics on a deadline tell how many rows a condition on it leaves.
CREATE STATISTICS pg_temp.due ON (omnichannel.deadline(at, '6 hours', 'office')) FROM moment;
ANALYZE moment;
SELECT before, round(pg_temp.estimate(format('SELECT * FROM moment WHERE omnichannel.deadline(at, ''6 hours'', ''office'') < %L', before), 'Plan Rows')
	/ (SELECT count(*) FROM moment WHERE deadline(at, '6 hours', 'office') < before::timestamptz), 1) AS of_actual
FROM unnest(ARRAY['2020-01-20', '2020-02-15', '2020-04-15']) AS before;
-- More dates than are read of one line are not passed over in silence.
SELECT public.raised(format($$SELECT count(*) FROM omnichannel.read_holidays(%L, 'UTC', 2030)$$,
	E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:long\nDTSTART;VALUE=DATE:20200101\nRDATE;VALUE=DATE:' || string_agg(to_char(day, 'YYYYMMDD'), ',') || E'\nEND:VEVENT\nEND:VCALENDAR'))
FROM generate_series(timestamp '2020-01-02', '2021-05-16', '1 day') AS day;
SELECT count(*) FROM omnichannel.read_holidays((SELECT
	E'BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:long\nDTSTART;VALUE=DATE:20200101\nRDATE;VALUE=DATE:' || string_agg(to_char(day, 'YYYYMMDD'), ',') || E'\nEND:VEVENT\nEND:VCALENDAR'
	FROM generate_series(timestamp '2020-01-02', '2021-05-15', '1 day') AS day), 'UTC', 2030);
