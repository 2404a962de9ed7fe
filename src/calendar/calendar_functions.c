/*
 * calendar_functions.c
 *	  The functions about working time that SQL calls, by a calendar's code and by value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "calendar/calendar.h"

SQL_FUNCTION(omnichannel_deadline);
SQL_FUNCTION(omnichannel_deadline_given);
SQL_FUNCTION(omnichannel_working_time);
SQL_FUNCTION(omnichannel_working_time_given);
SQL_FUNCTION(omnichannel_is_working);
SQL_FUNCTION(omnichannel_is_working_given);
SQL_FUNCTION(omnichannel_next_working);
SQL_FUNCTION(omnichannel_next_working_given);
SQL_FUNCTION(omnichannel_working_periods);
SQL_FUNCTION(omnichannel_working_periods_given);
SQL_FUNCTION(omnichannel_explain_deadline);
SQL_FUNCTION(omnichannel_explain_deadline_given);

/* Returns the calendar whose code is an argument. */
static CalendarRef
calendar_argument(FunctionCallInfo fcinfo, int n)
{
	text *code = PG_GETARG_TEXT_PP(n);

	return calendar_get(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));
}

/* Returns the calendar whose hours, zone and exceptions are arguments from n on. */
static CalendarRef
given_argument(FunctionCallInfo fcinfo, int n)
{
	return calendar_given(PG_GETARG_DATUM(n), PG_GETARG_DATUM(n + 1), PG_GETARG_DATUM(n + 2));
}

/* deadline(start, target, calendar) */
Datum
omnichannel_deadline(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(
		calendar_deadline(calendar_argument(fcinfo, 2), PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INTERVAL_P(1), NULL));
}

/* deadline(start, target, hours, time_zone, exceptions) */
Datum
omnichannel_deadline_given(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(
		calendar_deadline(given_argument(fcinfo, 2), PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INTERVAL_P(1), NULL));
}

/* working_time(a, b, calendar) */
Datum
omnichannel_working_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_INTERVAL_P(
		calendar_working_time(calendar_argument(fcinfo, 2), PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1)));
}

/* working_time(a, b, hours, time_zone, exceptions) */
Datum
omnichannel_working_time_given(PG_FUNCTION_ARGS)
{
	PG_RETURN_INTERVAL_P(
		calendar_working_time(given_argument(fcinfo, 2), PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_TIMESTAMPTZ(1)));
}

/* is_working(at, calendar) */
Datum
omnichannel_is_working(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(calendar_is_working(calendar_argument(fcinfo, 1), PG_GETARG_TIMESTAMPTZ(0)));
}

/* is_working(at, hours, time_zone, exceptions) */
Datum
omnichannel_is_working_given(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(calendar_is_working(given_argument(fcinfo, 1), PG_GETARG_TIMESTAMPTZ(0)));
}

/* next_working(at, calendar) */
Datum
omnichannel_next_working(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(calendar_next_working(calendar_argument(fcinfo, 1), PG_GETARG_TIMESTAMPTZ(0)));
}

/* next_working(at, hours, time_zone, exceptions) */
Datum
omnichannel_next_working_given(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(calendar_next_working(given_argument(fcinfo, 1), PG_GETARG_TIMESTAMPTZ(0)));
}

/* Returns a tstzrange of two instants, the second one outside unless they are the same. */
static Datum
instants_range(TimestampTz from, TimestampTz to)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	RangeBound lower = {.val = TimestampTzGetDatum(from), .inclusive = true, .lower = true};
	RangeBound upper = {.val = TimestampTzGetDatum(to), .inclusive = from == to};

	return RangeTypePGetDatum(make_range(type, &lower, &upper, false, NULL));
}

/* Prepares the tuplestore of a function that returns a set of tstzrange. */
static void
begin_range_set(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller;

	if (result == NULL || !IsA(result, ReturnSetInfo) || (result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	result->returnMode = SFRM_Materialize;
	result->setDesc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(result->setDesc, 1, "working_periods", TSTZRANGEOID, -1, 0);
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(caller);
}

/* Puts the open spells between two instants into the result. */
static Datum
return_periods(FunctionCallInfo fcinfo, CalendarRef calendar)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz from = PG_GETARG_TIMESTAMPTZ(0);
	TimestampTz to = PG_GETARG_TIMESTAMPTZ(1);
	TimeSpan spell;

	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("working periods without a finite %s are endless",
						TIMESTAMP_NOT_FINITE(from) ? "start" : "end"),
				 errhint("Give finite times.")));
	while (timeline_next_spell(calendar.timeline, from, to, &spell))
	{
		Datum range = instants_range(spell.start, spell.end);
		bool isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, &range, &isnull);
		pfree(DatumGetPointer(range));
		from = spell.end;
	}
	return (Datum) 0;
}

/* working_periods(a, b, calendar) */
Datum
omnichannel_working_periods(PG_FUNCTION_ARGS)
{
	begin_range_set(fcinfo);
	return return_periods(fcinfo, calendar_argument(fcinfo, 2));
}

/* working_periods(a, b, hours, time_zone, exceptions) */
Datum
omnichannel_working_periods_given(PG_FUNCTION_ARGS)
{
	begin_range_set(fcinfo);
	return return_periods(fcinfo, given_argument(fcinfo, 2));
}

typedef struct Explanation
{
	ReturnSetInfo *result;
	Interval left;
} Explanation;

/* Adds a row: the part's kind, its instants, what it used up and what was then left. */
static void
explain_row(Explanation *explanation, const char *part, TimestampTz from, TimestampTz to, const Interval *used)
{
	Datum values[4];
	bool nulls[4] = {false};

	explanation->left.day -= used->day;
	explanation->left.time -= used->time;
	values[0] = CStringGetTextDatum(part);
	values[1] = instants_range(from, to);
	values[2] = IntervalPGetDatum(used);
	values[3] = IntervalPGetDatum(&explanation->left);
	tuplestore_putvalues(explanation->result->setResult, explanation->result->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
	pfree(DatumGetPointer(values[1]));
}

static void
explain_day(void *context, TimestampTz from, TimestampTz to, int64 days)
{
	Interval used = {.day = (int32) days};

	explain_row(context, "day", from, to, &used);
}

static void
explain_spell(void *context, TimestampTz from, TimestampTz to, int64 amount)
{
	Interval used = {.time = amount};

	explain_row(context, "spell", from, to, &used);
}

/* Puts the parts of a target, and its end, into the result. */
static Datum
return_explanation(FunctionCallInfo fcinfo, CalendarRef calendar)
{
	const Interval *target = PG_GETARG_INTERVAL_P(1);
	Explanation explanation = {.result = (ReturnSetInfo *) fcinfo->resultinfo, .left = *target};
	CalendarCollector collector = {.day = explain_day, .spell = explain_spell, .context = &explanation};
	Interval nothing = {0};
	TimestampTz due = calendar_deadline(calendar, PG_GETARG_TIMESTAMPTZ(0), target, &collector);

	explain_row(&explanation, "due", due, due, &nothing);
	return (Datum) 0;
}

/* explain_deadline(start, target, calendar) */
Datum
omnichannel_explain_deadline(PG_FUNCTION_ARGS)
{
	init_materialized_srf(fcinfo);
	return return_explanation(fcinfo, calendar_argument(fcinfo, 2));
}

/* explain_deadline(start, target, hours, time_zone, exceptions) */
Datum
omnichannel_explain_deadline_given(PG_FUNCTION_ARGS)
{
	init_materialized_srf(fcinfo);
	return return_explanation(fcinfo, given_argument(fcinfo, 2));
}
