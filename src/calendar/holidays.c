/*
 * holidays.c
 *	  read_holidays(): the events of an iCalendar text in the local time of a zone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "calendar/calendar.h"
#include "calendar/icalendar.h"

SQL_FUNCTION(omnichannel_read_holidays);

#define FIRST_YEAR 1
#define LAST_YEAR 9999

/* These are called by icalendar_read() and must not raise. A known zone is read here, so that to_utc() cannot fail. */
static bool
zone_known(const char *name)
{
	pg_tz *tz = pg_tzset(name);

	return tz != NULL && pg_tz_acceptable(tz) && calendar_zone(name) != NULL;
}

static int64_t
to_utc(const IcalReader *reader, const char *zone, int64_t wall)
{
	return zone_to_utc(zone == NULL ? reader->host : calendar_zone(zone), wall);
}

static bool
stop_reading(void)
{
	return QueryCancelPending || ProcDiePending;
}

/* Raises what a status stands for. */
pg_noreturn static void
unreadable(IcalStatus status, const char *problem)
{
	switch (status)
	{
		case ICAL_READ:
			break;
		case ICAL_MALFORMED:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid iCalendar text: %s", problem),
					 errhint("It is the content of an .ics file (RFC 5545).")));
			break;
		case ICAL_UNSUPPORTED:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("iCalendar text is of no use for holidays: %s", problem),
					 errhint("Holidays recur by whole days of the Gregorian calendar, end in the zone that they "
							 "start in, and move one by one.")));
			break;
		case ICAL_TOO_MUCH:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("iCalendar text is too much: %s", problem),
					 errhint("A text has %d bytes and %d occurrences at most, and a UID %d bytes: import parts, or "
							 "fewer years; its rules go through %d days at most.",
							 ICALENDAR_TEXT_MAX, ICALENDAR_SPANS_MAX, ICALENDAR_UID_MAX, (int) ICALENDAR_DAYS_MAX)));
			break;
		case ICAL_STOPPED:
			CHECK_FOR_INTERRUPTS();
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("reading iCalendar text was interrupted"),
					 errhint("Try again.")));
			break;
		case ICAL_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while reading iCalendar text.")));
			break;
	}
	elog(ERROR, "iCalendar status %d is no failure", status);
}

/* Returns text of the file as a value, or NULL where cutting and unfolding left no valid text. */
static text *
text_of(const char *string)
{
	if (string == NULL || *string == '\0' || !pg_verifymbstr(string, (int) strlen(string), true))
		return NULL;
	return cstring_to_text(string);
}

/* Adds the row of a span; without a range where it has no length. */
static void
put_span(ReturnSetInfo *result, const IcalSpan *span, const Zone *zone)
{
	TypeCacheEntry *type = lookup_type_cache(TSRANGEOID, TYPECACHE_RANGE_INFO);
	text *uid = text_of(span->uid);
	text *name = text_of(span->name);
	int64 start = span->is_local ? span->start : zone_to_local_start(zone, span->start);
	int64 end = span->is_local ? span->end : zone_to_local(zone, span->end);
	RangeBound lower = {.val = TimestampGetDatum(start), .inclusive = true, .lower = true};
	RangeBound upper = {.val = TimestampGetDatum(end)};
	Datum values[3];
	bool nulls[3] = {false, start >= end, name == NULL};

	if (uid == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid iCalendar text: a UID is not in the database's encoding"),
				 errhint("It is the content of an .ics file (RFC 5545).")));
	values[0] = PointerGetDatum(uid);
	values[1] = nulls[1] ? (Datum) 0 : RangeTypePGetDatum(make_range(type, &lower, &upper, false, NULL));
	values[2] = PointerGetDatum(name);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* read_holidays(icalendar, time_zone, last_year): a row for each occurrence. */
Datum
omnichannel_read_holidays(PG_FUNCTION_ARGS)
{
	char *icalendar = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const Zone *zone = calendar_zone(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	int32 last_year = PG_GETARG_INT32(2);
	IcalReader reader = {
		.zone_known = zone_known, .to_utc = to_utc, .stop = stop_reading, .host = zone, .last_year = last_year};

	if (last_year < FIRST_YEAR || last_year > LAST_YEAR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("holidays cannot be read up to the year %d", last_year),
				 errhint("Give a year from %d to %d.", FIRST_YEAR, LAST_YEAR)));
	init_materialized_srf(fcinfo);
	PG_TRY();
	{
		IcalStatus status = icalendar_read(&reader, icalendar);

		if (status != ICAL_READ)
			unreadable(status, pstrdup(reader.problem));
		for (int i = 0; i < reader.count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			put_span((ReturnSetInfo *) fcinfo->resultinfo, &reader.spans[i], zone);
		}
	}
	PG_FINALLY();
	{
		icalendar_free(&reader);
	}
	PG_END_TRY();
	return (Datum) 0;
}
