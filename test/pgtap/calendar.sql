-- Working time against exact cases and against SQL that says the same slowly.
-- The cases of a larger collection are read where the variable cases names its folder; this file's own are always tried.
BEGIN;
SELECT no_plan();

CREATE TEMP TABLE working_case
	(source text, tz text, weekly_hours text, holidays text, start text, op text, arg text, expected text);

-- A date, dates A..B, or part of a day 'date from-to', separated by commas: all closures.
CREATE FUNCTION pg_temp.spans(holidays text) RETURNS omnichannel.calendar_span[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(ROW(CASE
		WHEN part LIKE '%..%' THEN tsrange(split_part(part, '..', 1)::date, split_part(part, '..', 2)::date + 1)
		WHEN part LIKE '% %' THEN tsrange((left(part, 10) || ' ' || split_part(substr(part, 12), '-', 1))::timestamp,
			(left(part, 10) || ' ' || split_part(substr(part, 12), '-', 2))::timestamp)
		ELSE tsrange(part::date, part::date + 1) END, false)::omnichannel.calendar_span), '{}')
	FROM regexp_split_to_table(holidays, '\s*,\s*') AS part WHERE part <> ''
$$;

-- The answer of the table-free form, and of the form by code with the same calendar in the tables.
CREATE FUNCTION pg_temp.answer(c working_case, by_code boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	week omnichannel.working_hours := c.weekly_hours;
	spans omnichannel.calendar_span[] := pg_temp.spans(c.holidays);
BEGIN
	IF by_code THEN
		DELETE FROM omnichannel.calendar WHERE calendar = 'case';
		INSERT INTO omnichannel.calendar VALUES ('case', 'Case', c.tz, week);
		INSERT INTO omnichannel.calendar_exception (calendar, during, open)
		SELECT DISTINCT 'case', span.during, span.open FROM unnest(spans) AS span;
		RETURN CASE c.op
			WHEN 'add' THEN (omnichannel.deadline(c.start::timestamptz, c.arg::interval, 'case') = c.expected::timestamptz)::text
			WHEN 'between' THEN
				(omnichannel.working_time(c.start::timestamptz, c.arg::timestamptz, 'case') = c.expected::interval)::text
			WHEN 'in' THEN (omnichannel.is_working(c.start::timestamptz, 'case') = c.expected::boolean)::text END;
	END IF;
	RETURN CASE c.op
		WHEN 'add' THEN omnichannel.deadline(c.start::timestamptz, c.arg::interval, week, c.tz, spans)::text
		WHEN 'between' THEN omnichannel.working_time(c.start::timestamptz, c.arg::timestamptz, week, c.tz, spans)::text
		WHEN 'in' THEN omnichannel.is_working(c.start::timestamptz, week, c.tz, spans)::text END;
END
$$;
CREATE FUNCTION pg_temp.expected(c working_case) RETURNS text LANGUAGE sql AS $$
	SELECT CASE c.op WHEN 'add' THEN c.expected::timestamptz::text WHEN 'between' THEN c.expected::interval::text
		ELSE c.expected::boolean::text END
$$;

INSERT INTO working_case VALUES
	('a day''s work', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00', '', '2026-11-20T10:00:00+01:00', 'add', 'PT8H', '2026-11-23T10:00:00+01:00'),
	('an hour before a holiday', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00', '2026-11-11', '2026-11-10T16:00:00+01:00', 'add', 'PT2H', '2026-11-12T10:00:00+01:00'),
	('Christmas week', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00', '2026-12-24..2027-01-01', '2026-12-23T16:30:00+01:00', 'add', 'PT1H', '2027-01-04T09:30:00+01:00'),
	('half a day off', 'America/New_York', 'Mo-Fr 09:00-17:00', '2026-11-25 13:00-17:00, 2026-11-26', '2026-11-25T12:00:00-05:00', 'add', 'PT2H', '2026-11-27T10:00:00-05:00'),
	('lunch', 'UTC', 'Mo-Fr 08:00-12:00,13:00-17:00', '', '2026-11-20T11:30:00Z', 'add', 'PT1H', '2026-11-20T13:30:00Z'),
	('night shift over the spring change', 'Europe/Berlin', 'Sa 22:00-06:00', '', '2026-03-28T22:00:00+01:00', 'between', '2026-03-29T06:00:00+02:00', 'PT7H'),
	('night shift over the autumn change', 'Europe/Berlin', 'Sa 22:00-06:00', '', '2026-10-24T22:00:00+02:00', 'between', '2026-10-25T06:00:00+01:00', 'PT9H'),
	('closed at the very end', 'UTC', 'Mo-Fr 09:00-17:00', '', '2026-11-20T17:00:00Z', 'in', '', 'false'),
	('open at the very start', 'UTC', 'Mo-Fr 09:00-17:00', '', '2026-11-20T09:00:00Z', 'in', '', 'true'),
	('the holiday is local', 'Asia/Tokyo', 'Mo-Su 09:00-17:00', '2026-11-23', '2026-11-23T23:30:00Z', 'in', '', 'false'),
	('the day after it too', 'Asia/Tokyo', 'Mo-Su 09:00-17:00', '2026-11-23', '2026-11-24T00:30:00Z', 'in', '', 'true');
\set file :cases '/working_time.tsv'
\setenv CASES_FILE :file
\set given `test -r "$CASES_FILE" && echo 1 || echo 0`
\if :given
	\set rows `tail -n +2 "$CASES_FILE" | awk -F '\t' -v q="'" 'BEGIN {OFS = ","} {for (i = 1; i <= 8; i++) {gsub(q, q q, $i); $i = q $i q} print (NR > 1 ? "," : "") "(" $1, $2, $3, $4, $5, $6, $7, $8 ")"}'`
	INSERT INTO working_case VALUES :rows;
\else
	SELECT skip('the folder of shared cases was not given', 1);
\endif
SELECT is(pg_temp.answer(c, false), pg_temp.expected(c), format('%s: %s %s %s', c.source, c.start, c.op, c.arg))
FROM working_case AS c;
SELECT is(pg_temp.answer(c, true), 'true', format('by code: %s: %s %s %s', c.source, c.start, c.op, c.arg)) FROM working_case AS c;

-- A slow calendar in SQL: the days one by one, AT TIME ZONE for each end, multirange arithmetic for the rest.
CREATE FUNCTION pg_temp.slow_open(zone text, from_time time, to_time time, days int[], closures tsrange[], openings tsrange[],
	first date, last date) RETURNS tstzmultirange LANGUAGE sql AS $$
	WITH spell AS (
		SELECT CASE WHEN (day + from_time) AT TIME ZONE zone < (day + to_time) AT TIME ZONE zone
			THEN tstzrange((day + from_time) AT TIME ZONE zone, (day + to_time) AT TIME ZONE zone) END AS during
		FROM generate_series(first::timestamp, last, '1 day') AS day
		WHERE extract(isodow FROM day)::int = ANY (days)
			AND day AT TIME ZONE zone < (day + interval '1 day') AT TIME ZONE zone
	)
	SELECT coalesce(range_agg(during), '{}')
		- coalesce((SELECT range_agg(tstzrange(lower(c) AT TIME ZONE zone, upper(c) AT TIME ZONE zone)) FROM unnest(closures) AS c), '{}')
		+ coalesce((SELECT range_agg(tstzrange(lower(o) AT TIME ZONE zone, upper(o) AT TIME ZONE zone)) FROM unnest(openings) AS o), '{}')
	FROM spell
$$;
CREATE FUNCTION pg_temp.slow_same(zone text, from_time time, to_time time, first date, last date) RETURNS boolean LANGUAGE sql AS $$
	SELECT pg_temp.slow_open(zone, from_time, to_time, '{1,2,4,5,7}',
			ARRAY[tsrange(first + 20, first + 23), tsrange(first + 30 + time '10:30', first + 30 + time '12:00')],
			ARRAY[tsrange(first + 21 + time '11:00', first + 21 + time '13:00')], first, last)
		* tstzmultirange(tstzrange((first + 2)::timestamp AT TIME ZONE 'UTC', (last - 2)::timestamp AT TIME ZONE 'UTC'))
	= (SELECT coalesce(range_agg(period), '{}') FROM omnichannel.working_periods((first + 2)::timestamp AT TIME ZONE 'UTC',
		(last - 2)::timestamp AT TIME ZONE 'UTC',
		format('Mo-Tu,Th-Fr,Su %s-%s', to_char(from_time, 'HH24:MI'), to_char(to_time, 'HH24:MI'))::omnichannel.working_hours, zone,
		ARRAY[ROW(tsrange(first + 20, first + 23), false),
			ROW(tsrange(first + 30 + time '10:30', first + 30 + time '12:00'), false),
			ROW(tsrange(first + 21 + time '11:00', first + 21 + time '13:00'), true)]::omnichannel.calendar_span[]) AS period)
$$;
SELECT ok(pg_temp.slow_same(zone, from_time, to_time, first, last), format('%s from %s: %s-%s', zone, first, from_time, to_time))
FROM (VALUES
	('Europe/Warsaw', '2026-01-01'::date, '2027-01-10'::date), ('America/New_York', '2026-01-01', '2027-01-10'),
	('Australia/Lord_Howe', '2024-01-01', '2025-01-10'), ('Pacific/Apia', '2011-06-01', '2012-06-01'),
	('America/Sao_Paulo', '2017-06-01', '2019-06-01'), ('Africa/Casablanca', '2026-01-01', '2026-12-31'),
	('Asia/Tehran', '2021-01-01', '2023-01-01'), ('Europe/Dublin', '1968-01-01', '1972-01-01'),
	('America/Nuuk', '2022-06-01', '2024-12-01'), ('Asia/Gaza', '2028-01-01', '2028-12-31'), ('Pacific/Kwajalein', '1993-06-01', '1993-12-01'),
	('Europe/Warsaw', '2399-06-01', '2402-01-01'), ('Europe/Warsaw', '2799-06-01', '2802-01-01'),
	('Europe/Warsaw', '12000-01-01', '12001-01-01'), ('America/New_York', '294270-01-01', '294270-12-31'),
	('Europe/Warsaw', '1880-01-01', '1920-01-01'), ('Asia/Manila', '1844-06-01', '1845-06-01')) AS place (zone, first, last),
	(VALUES ('09:00'::time, '17:00'::time), ('00:00', '24:00'), ('00:30', '02:30'), ('02:15', '02:45')) AS week (from_time, to_time);

-- From 2400 on every zone repeats after 400 years: what far answers rest on.
SELECT is((SELECT string_agg(DISTINCT z.name, ', ')
	FROM pg_timezone_names AS z, generate_series(0, 146097 * 24, 24 * 61 + 7) AS hour,
		LATERAL (SELECT timestamptz '2400-01-01 00:00 UTC' + hour * interval '1 hour' AS at) AS early,
		LATERAL (SELECT early.at + interval '3506328 hours' AS at) AS late
	WHERE z.name !~ '^(posix|right)/'
		AND (early.at AT TIME ZONE z.name) - (early.at AT TIME ZONE 'UTC') <> (late.at AT TIME ZONE z.name) - (late.at AT TIME ZONE 'UTC')),
	NULL, 'every zone repeats after 400 years');

-- Sums agree however they are cut, over any distance.
SELECT is(count(*) FILTER (WHERE whole <> first_part + second_part OR back <> -whole OR due > c OR rest <> '0'), 0::bigint, 'parts add up')
FROM (SELECT omnichannel.working_time(a, c, 'office') AS whole, omnichannel.working_time(a, b, 'office') AS first_part,
		omnichannel.working_time(b, c, 'office') AS second_part, omnichannel.working_time(c, a, 'office') AS back, c,
		omnichannel.deadline(a, omnichannel.working_time(a, c, 'office'), 'office') AS due,
		omnichannel.working_time(omnichannel.deadline(a, omnichannel.working_time(a, c, 'office'), 'office'), c, 'office') AS rest
	FROM (SELECT timestamptz '1900-01-01' + i * interval '37 hours 11.000013 seconds' AS a,
			timestamptz '1950-01-01' + i * interval '71 hours 3.7 seconds' AS b,
			timestamptz '2010-01-01' + i * i * interval '13 hours' AS c FROM generate_series(1, 300) AS i) AS times) AS sums;

-- Exceptions by the thousand, seen through the cache.
INSERT INTO omnichannel.calendar VALUES ('busy', 'Many exceptions', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00');
INSERT INTO omnichannel.calendar_exception (calendar, during, open)
SELECT 'busy', tsrange(day + interval '10 hours', day + interval '11 hours'), extract(isodow FROM day) > 5
FROM generate_series(timestamp '2020-01-01', '2027-12-31', '1 day') AS day;
SELECT is(omnichannel.working_time('2020-01-01', '2028-01-01', 'busy'),
	(SELECT sum(CASE WHEN extract(isodow FROM day) > 5 THEN 1 ELSE 7 END) * interval '1 hour'
	FROM generate_series(timestamp '2020-01-01', '2027-12-31', '1 day') AS day), 'thousands of exceptions');

SELECT * FROM finish();
ROLLBACK;
