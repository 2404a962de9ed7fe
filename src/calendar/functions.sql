CREATE TYPE omnichannel.working_hours;

CREATE FUNCTION omnichannel.working_hours_in(cstring) RETURNS omnichannel.working_hours
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_in';
COMMENT ON FUNCTION omnichannel.working_hours_in(cstring) IS
'Input function of working_hours. Raises 22P02 for a malformed week.';

CREATE FUNCTION omnichannel.working_hours_out(omnichannel.working_hours) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_out';
COMMENT ON FUNCTION omnichannel.working_hours_out(omnichannel.working_hours) IS
'Output function of working_hours: the canonical text.';

CREATE FUNCTION omnichannel.working_hours_recv(internal) RETURNS omnichannel.working_hours
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_recv';
COMMENT ON FUNCTION omnichannel.working_hours_recv(internal) IS
'Binary input function of working_hours: the number of spells (int4), then the start and the end of each in minutes since Monday 00:00 (int2 each), sorted, with closed time between them. Raises 22P03 for anything else.';

CREATE FUNCTION omnichannel.working_hours_send(omnichannel.working_hours) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_send';
COMMENT ON FUNCTION omnichannel.working_hours_send(omnichannel.working_hours) IS
'Binary output function of working_hours, as working_hours_recv() reads it.';

CREATE TYPE omnichannel.working_hours (
	INPUT = omnichannel.working_hours_in,
	OUTPUT = omnichannel.working_hours_out,
	RECEIVE = omnichannel.working_hours_recv,
	SEND = omnichannel.working_hours_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE omnichannel.working_hours IS
'A week of opening times, to the minute, in local time: ''Mo-Fr 09:00-17:00; Sa 10:00-14:00'', several spells a day ''Mo 07:00-12:00,13:00-18:00'', over midnight ''Fr 22:00-06:00'', ''24/7'', ''off''. No days are every day; a later rule after a semicolon replaces the days that it names, one after a comma adds to them; a spell belongs to the day on which it starts. Notation: the part of OpenStreetMap''s opening_hours that is about a plain week; English names of days of any length. Overlaps count once; the output is canonical.';

CREATE FUNCTION omnichannel.working_hours_eq(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_eq';
COMMENT ON FUNCTION omnichannel.working_hours_eq(omnichannel.working_hours, omnichannel.working_hours) IS
'Whether two weeks are open at the same times.';

CREATE FUNCTION omnichannel.working_hours_ne(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_ne';
COMMENT ON FUNCTION omnichannel.working_hours_ne(omnichannel.working_hours, omnichannel.working_hours) IS
'Whether two weeks differ.';

CREATE FUNCTION omnichannel.working_hours_lt(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_lt';
COMMENT ON FUNCTION omnichannel.working_hours_lt(omnichannel.working_hours, omnichannel.working_hours) IS
'Compares two weeks by their open time, then by the first spell that differs, the earlier one being less.';

CREATE FUNCTION omnichannel.working_hours_le(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_le';
COMMENT ON FUNCTION omnichannel.working_hours_le(omnichannel.working_hours, omnichannel.working_hours) IS
'Compares two weeks by their open time, then by the first spell that differs, the earlier one being less.';

CREATE FUNCTION omnichannel.working_hours_gt(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_gt';
COMMENT ON FUNCTION omnichannel.working_hours_gt(omnichannel.working_hours, omnichannel.working_hours) IS
'Compares two weeks by their open time, then by the first spell that differs, the earlier one being less.';

CREATE FUNCTION omnichannel.working_hours_ge(omnichannel.working_hours, omnichannel.working_hours) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_ge';
COMMENT ON FUNCTION omnichannel.working_hours_ge(omnichannel.working_hours, omnichannel.working_hours) IS
'Compares two weeks by their open time, then by the first spell that differs, the earlier one being less.';

CREATE OPERATOR omnichannel.= (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_eq,
	COMMUTATOR = OPERATOR(omnichannel.=), NEGATOR = OPERATOR(omnichannel.<>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR omnichannel.= (omnichannel.working_hours, omnichannel.working_hours) IS 'equal';

CREATE OPERATOR omnichannel.<> (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_ne,
	COMMUTATOR = OPERATOR(omnichannel.<>), NEGATOR = OPERATOR(omnichannel.=), RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR omnichannel.<> (omnichannel.working_hours, omnichannel.working_hours) IS 'not equal';

CREATE OPERATOR omnichannel.< (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_lt,
	COMMUTATOR = OPERATOR(omnichannel.>), NEGATOR = OPERATOR(omnichannel.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR omnichannel.< (omnichannel.working_hours, omnichannel.working_hours) IS 'less';

CREATE OPERATOR omnichannel.<= (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_le,
	COMMUTATOR = OPERATOR(omnichannel.>=), NEGATOR = OPERATOR(omnichannel.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR omnichannel.<= (omnichannel.working_hours, omnichannel.working_hours) IS 'less or equal';

CREATE OPERATOR omnichannel.> (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_gt,
	COMMUTATOR = OPERATOR(omnichannel.<), NEGATOR = OPERATOR(omnichannel.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR omnichannel.> (omnichannel.working_hours, omnichannel.working_hours) IS 'greater';

CREATE OPERATOR omnichannel.>= (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_ge,
	COMMUTATOR = OPERATOR(omnichannel.<=), NEGATOR = OPERATOR(omnichannel.<), RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR omnichannel.>= (omnichannel.working_hours, omnichannel.working_hours) IS 'greater or equal';

CREATE FUNCTION omnichannel.working_hours_cmp(omnichannel.working_hours, omnichannel.working_hours) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_cmp';
COMMENT ON FUNCTION omnichannel.working_hours_cmp(omnichannel.working_hours, omnichannel.working_hours) IS
'Support function of B-tree indexes: less than, equal to or greater than zero.';

CREATE FUNCTION omnichannel.working_hours_hash(omnichannel.working_hours) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_hash';
COMMENT ON FUNCTION omnichannel.working_hours_hash(omnichannel.working_hours) IS
'Support function of hash indexes and hash joins.';

CREATE FUNCTION omnichannel.working_hours_hash_extended(omnichannel.working_hours, bigint) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_hash_extended';
COMMENT ON FUNCTION omnichannel.working_hours_hash_extended(omnichannel.working_hours, bigint) IS
'Support function of hash partitioning: a hash with a seed.';

CREATE OPERATOR CLASS omnichannel.working_hours_ops DEFAULT FOR TYPE omnichannel.working_hours USING btree AS
	OPERATOR 1 omnichannel.<,
	OPERATOR 2 omnichannel.<=,
	OPERATOR 3 omnichannel.=,
	OPERATOR 4 omnichannel.>=,
	OPERATOR 5 omnichannel.>,
	FUNCTION 1 omnichannel.working_hours_cmp(omnichannel.working_hours, omnichannel.working_hours);
COMMENT ON OPERATOR CLASS omnichannel.working_hours_ops USING btree IS
'Weeks by their open time, then by the first spell that differs.';

CREATE OPERATOR CLASS omnichannel.working_hours_ops DEFAULT FOR TYPE omnichannel.working_hours USING hash AS
	OPERATOR 1 omnichannel.=,
	FUNCTION 1 omnichannel.working_hours_hash(omnichannel.working_hours),
	FUNCTION 2 omnichannel.working_hours_hash_extended(omnichannel.working_hours, bigint);
COMMENT ON OPERATOR CLASS omnichannel.working_hours_ops USING hash IS
'Weeks that are open at the same times.';

CREATE FUNCTION omnichannel.working_hours_union(omnichannel.working_hours, omnichannel.working_hours) RETURNS omnichannel.working_hours
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_union';
COMMENT ON FUNCTION omnichannel.working_hours_union(omnichannel.working_hours, omnichannel.working_hours) IS
'Open when either week is.';

CREATE OPERATOR omnichannel.+ (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_union, COMMUTATOR = OPERATOR(omnichannel.+)
);
COMMENT ON OPERATOR omnichannel.+ (omnichannel.working_hours, omnichannel.working_hours) IS 'open when either week is';

CREATE FUNCTION omnichannel.working_hours_intersection(omnichannel.working_hours, omnichannel.working_hours) RETURNS omnichannel.working_hours
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_intersection';
COMMENT ON FUNCTION omnichannel.working_hours_intersection(omnichannel.working_hours, omnichannel.working_hours) IS
'Open when both weeks are.';

CREATE OPERATOR omnichannel.* (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_intersection, COMMUTATOR = OPERATOR(omnichannel.*)
);
COMMENT ON OPERATOR omnichannel.* (omnichannel.working_hours, omnichannel.working_hours) IS 'open when both weeks are';

CREATE FUNCTION omnichannel.working_hours_difference(omnichannel.working_hours, omnichannel.working_hours) RETURNS omnichannel.working_hours
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_difference';
COMMENT ON FUNCTION omnichannel.working_hours_difference(omnichannel.working_hours, omnichannel.working_hours) IS
'Open when the first week is and the second one is not.';

CREATE OPERATOR omnichannel.- (
	LEFTARG = omnichannel.working_hours, RIGHTARG = omnichannel.working_hours, FUNCTION = omnichannel.working_hours_difference
);
COMMENT ON OPERATOR omnichannel.- (omnichannel.working_hours, omnichannel.working_hours) IS 'open when the first week is and the second one is not';

CREATE FUNCTION omnichannel.working_hours_total(h omnichannel.working_hours) RETURNS interval
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_working_hours_total';
COMMENT ON FUNCTION omnichannel.working_hours_total(omnichannel.working_hours) IS
'The open time of a week, as hours and minutes.';

CREATE TYPE omnichannel.calendar_span AS (during tsrange, open boolean);
COMMENT ON TYPE omnichannel.calendar_span IS
'An exception of a calendar given by value: a closure, or an opening where open is true, in local time.';

CREATE FUNCTION omnichannel.check_time_zone(time_zone text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_check_time_zone';
COMMENT ON FUNCTION omnichannel.check_time_zone(text) IS
'True for a time zone that AT TIME ZONE knows by name; raises 22023 for any other.';

CREATE FUNCTION omnichannel.calendar_support(internal) RETURNS internal
LANGUAGE c STRICT
AS 'MODULE_PATHNAME', 'omnichannel_calendar_support';
COMMENT ON FUNCTION omnichannel.calendar_support(internal) IS
'Planner support function of those about working time: cost of a call, number of rows, and how often is_working() is true.';

CREATE FUNCTION omnichannel.deadline(start timestamptz, target interval, calendar text)
RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_deadline';
COMMENT ON FUNCTION omnichannel.deadline(timestamptz, interval, text) IS
'The instant at which a target that starts at start is used up, counted inside working time. A start outside it moves to the next opening; used up exactly at closing time, it is due then; a target of zero is due at the start if open, else at the next opening; a negative one counts backwards. Days are working days: the same local time on the n-th later day with any opening, moved to the next opening if closed then. Raises 23503 for an unknown calendar, 22008 for an infinite time or one that no opening reaches, 22023 for a target with months, 55000 before setup().';

CREATE FUNCTION omnichannel.deadline(start timestamptz, target interval, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_deadline_given';
COMMENT ON FUNCTION omnichannel.deadline(timestamptz, interval, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time or one that no opening reaches, 22023 for a target with months.';

CREATE FUNCTION omnichannel.working_time(a timestamptz, b timestamptz, calendar text)
RETURNS interval
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_working_time';
COMMENT ON FUNCTION omnichannel.working_time(timestamptz, timestamptz, text) IS
'The working time from a to b in hours, minutes and seconds, to the microsecond; negative where b is earlier. Raises 23503 for an unknown calendar, 22008 for an infinite time, 55000 before setup().';

CREATE FUNCTION omnichannel.working_time(a timestamptz, b timestamptz, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS interval
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_working_time_given';
COMMENT ON FUNCTION omnichannel.working_time(timestamptz, timestamptz, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time.';

CREATE FUNCTION omnichannel.is_working(at timestamptz, calendar text)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_is_working';
COMMENT ON FUNCTION omnichannel.is_working(timestamptz, text) IS
'Whether an instant is working time; a closing time is not. Raises 23503 for an unknown calendar, 22008 for an infinite time, 55000 before setup().';

CREATE FUNCTION omnichannel.is_working(at timestamptz, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_is_working_given';
COMMENT ON FUNCTION omnichannel.is_working(timestamptz, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time.';

CREATE FUNCTION omnichannel.next_working(at timestamptz, calendar text)
RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_next_working';
COMMENT ON FUNCTION omnichannel.next_working(timestamptz, text) IS
'The instant itself if it is working time, else the next opening. Raises 23503 for an unknown calendar, 22008 for an infinite time or after the last opening, 55000 before setup().';

CREATE FUNCTION omnichannel.next_working(at timestamptz, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS timestamptz
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_next_working_given';
COMMENT ON FUNCTION omnichannel.next_working(timestamptz, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time or after the last opening.';

CREATE FUNCTION omnichannel.working_periods(a timestamptz, b timestamptz, calendar text)
RETURNS SETOF tstzrange
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_working_periods';
COMMENT ON FUNCTION omnichannel.working_periods(timestamptz, timestamptz, text) IS
'The spells of working time between a and b in order, cut there; none where b is not later. Raises 23503 for an unknown calendar, 22008 for an infinite time, 55000 before setup().';

CREATE FUNCTION omnichannel.working_periods(a timestamptz, b timestamptz, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS SETOF tstzrange
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_working_periods_given';
COMMENT ON FUNCTION omnichannel.working_periods(timestamptz, timestamptz, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time.';

CREATE FUNCTION omnichannel.explain_deadline(start timestamptz, target interval, calendar text)
RETURNS TABLE (part text, during tstzrange, used interval, remaining interval)
LANGUAGE c STABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_explain_deadline';
COMMENT ON FUNCTION omnichannel.explain_deadline(timestamptz, interval, text) IS
'The way of deadline() through the same code: a row for each working day counted (part day), for each spell with what it used up (part spell), and for the end (part due). Raises 23503 for an unknown calendar, 22008 for an infinite time or one that no opening reaches, 22023 for a target with months, 55000 before setup().';

CREATE FUNCTION omnichannel.explain_deadline(start timestamptz, target interval, hours omnichannel.working_hours, time_zone text,
	exceptions omnichannel.calendar_span[] DEFAULT '{}')
RETURNS TABLE (part text, during tstzrange, used interval, remaining interval)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SUPPORT omnichannel.calendar_support
AS 'MODULE_PATHNAME', 'omnichannel_explain_deadline_given';
COMMENT ON FUNCTION omnichannel.explain_deadline(timestamptz, interval, omnichannel.working_hours, text, omnichannel.calendar_span[]) IS
'As the function of that name by code, for a calendar given by value: hours in local time of the zone, less the closures, plus the openings. Raises 22023 for an unknown zone, 22004 for NULL in an exception, 22008 for an infinite time or one that no opening reaches, 22023 for a target with months.';

CREATE FUNCTION omnichannel.guard_calendar_exception() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'an exception of calendar "%" cannot be during %', NEW.calendar, quote_nullable(NEW.during)
		USING ERRCODE = CASE WHEN NEW.during IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			HINT = 'Give a start and a later end in local time, as in ''[2026-12-24 12:00,2026-12-25)'', or leave out one of them.';
END
$$;
COMMENT ON FUNCTION omnichannel.guard_calendar_exception() IS
'Trigger function of calendar_exception: refuses NULL with 22004 and times without length with 22023.';

CREATE FUNCTION omnichannel.add_holiday(calendar text, day date, name text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_writer('add_holiday()', 'calendar_exception', 'INSERT');
	IF calendar IS NULL OR day IS NULL THEN
		RAISE EXCEPTION 'a holiday needs a calendar and a day'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give both, as in add_holiday(''office'', ''2026-12-25'').';
	END IF;
	IF NOT isfinite(day) OR day > '294276-12-30' THEN
		RAISE EXCEPTION 'a holiday cannot be on day "%"', day
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give a date before 294276-12-31.';
	END IF;
	IF NOT EXISTS (SELECT FROM omnichannel.calendar AS known WHERE known.calendar = add_holiday.calendar) THEN
		RAISE EXCEPTION 'calendar "%" does not exist', calendar
			USING ERRCODE = 'foreign_key_violation', HINT = 'The table omnichannel.calendar lists them.';
	END IF;
	INSERT INTO omnichannel.calendar_exception AS known (calendar, during, open, name)
	VALUES (add_holiday.calendar, tsrange(day, day + 1), false, add_holiday.name)
	ON CONFLICT ON CONSTRAINT calendar_exception_pkey
	DO UPDATE SET name = excluded.name WHERE known.name IS DISTINCT FROM excluded.name;
END
$$;
COMMENT ON FUNCTION omnichannel.add_holiday(text, date, text) IS
'Closes a calendar for a whole local day; a second call for the day changes its name only. Raises 23503 for an unknown calendar, 22004 for NULLs, 22008 for an infinite day or one after 294276-12-30, 25006 in a read-only transaction, 42501 for who may not write calendar_exception, 55000 before setup().';

CREATE FUNCTION omnichannel.read_holidays(icalendar text, time_zone text, last_year integer)
RETURNS TABLE (uid text, during tsrange, name text)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'omnichannel_read_holidays';
COMMENT ON FUNCTION omnichannel.read_holidays(text, text, integer) IS
'The occurrences of the events in an iCalendar text (RFC 5545), in local time of the zone: whole days and times, RRULE, RDATE with periods, EXDATE, EXRULE, moved occurrences; during is NULL for an event that was cancelled or has none.

Events that recur are followed up to the end of the last year; a start that their rule does not name is no occurrence.
Of versions of one event (UID, RECURRENCE-ID) the one with the highest SEQUENCE counts, then with the latest DTSTAMP. What an event names twice is one occurrence.
Times of a zone are converted, those without one are local time of the zone given; EXDATE and RECURRENCE-ID name an occurrence by its instant in whatever form, by its day, or without a zone by the clock of the event.
A duration of days is by the clock, hours are time that passes, also over a change of the clocks, and occurrences up to a DTEND last exactly as long as the first; a date that ends with itself is a whole day.
Of the hour that a night has twice a local time means the second; what begins in the first lasts from before that hour here.

Raises 22P02 for malformed text, a date that there is not, an end, or that of a rule, before the start;
0A000 for an event that recurs within a day or by another calendar (RSCALE), ends in another zone or moves all later occurrences (RANGE);
54000 for a text over 4 MB, more than 50,000 occurrences or 500 dates on a line, rules that go through more than 100,000,000 days, or a UID over 1,024 bytes;
22023 for an unknown zone or a year outside 1 to 9999.';

CREATE FUNCTION omnichannel.import_holidays(calendar text, icalendar text, last_year integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	zone text;
	uids text[];
	times tsrange[];
	names text[];
	imported bigint;
BEGIN
	PERFORM omnichannel.require_writer('import_holidays()', 'calendar_exception', 'DELETE');
	IF calendar IS NULL OR icalendar IS NULL THEN
		RAISE EXCEPTION 'an import of holidays needs a calendar and a text'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give its code, and the content of an .ics file.';
	END IF;
	-- The lock keeps two imports of the same events in order.
	SELECT known.time_zone INTO zone FROM omnichannel.calendar AS known
	WHERE known.calendar = import_holidays.calendar FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'calendar "%" does not exist', calendar
			USING ERRCODE = 'foreign_key_violation', HINT = 'The table omnichannel.calendar lists them.';
	END IF;
	-- On its own, so that the context of an error is short.
	SELECT array_agg(read.uid), array_agg(read.during), array_agg(read.name) INTO uids, times, names
	FROM omnichannel.read_holidays(icalendar, zone, coalesce(last_year, extract(year FROM now())::integer + 5)) AS read;
	WITH event AS MATERIALIZED (
		SELECT DISTINCT ON (read.uid, read.during) read.uid, read.during, read.name
		FROM unnest(uids, times, names) AS read (uid, during, name)
		ORDER BY read.uid, read.during, read.name
	), gone AS (
		DELETE FROM omnichannel.calendar_exception AS held
		WHERE held.calendar = import_holidays.calendar AND held.uid IN (SELECT event.uid FROM event) AND NOT EXISTS (
			SELECT FROM event WHERE event.uid = held.uid AND event.during = held.during AND NOT held.open)
	), written AS (
		INSERT INTO omnichannel.calendar_exception AS held (calendar, during, open, name, uid)
		SELECT import_holidays.calendar, event.during, false, event.name, event.uid FROM event WHERE event.during IS NOT NULL
		ON CONFLICT ON CONSTRAINT calendar_exception_pkey
		DO UPDATE SET name = excluded.name WHERE held.name IS DISTINCT FROM excluded.name
	)
	SELECT count(event.during) INTO imported FROM event;
	RETURN imported;
END
$$;
COMMENT ON FUNCTION omnichannel.import_holidays(text, text, integer) IS
'Closes a calendar during the events of an iCalendar text, the content of an .ics file, and returns the number of closures that they are. last_year: of events that recur, by default five years on. An event is known by its UID: imported again, it replaces what it was before, and goes where it was cancelled; closures of other events stay. Raises 23503 for an unknown calendar, 22004 for NULLs, what read_holidays() raises, 25006 in a read-only transaction, 42501 for who may not write calendar_exception, 55000 before setup().';
