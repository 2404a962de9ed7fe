/*
 * working_hours.c
 *	  The type working_hours: its text and binary forms, order, hash and operators.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "calendar/working_hours.h"

/* As much of a literal as an error shows. */
#define SHOWN_MAX 100

SQL_FUNCTION(omnichannel_working_hours_in);
SQL_FUNCTION(omnichannel_working_hours_out);
SQL_FUNCTION(omnichannel_working_hours_recv);
SQL_FUNCTION(omnichannel_working_hours_send);
SQL_FUNCTION(omnichannel_working_hours_eq);
SQL_FUNCTION(omnichannel_working_hours_ne);
SQL_FUNCTION(omnichannel_working_hours_lt);
SQL_FUNCTION(omnichannel_working_hours_le);
SQL_FUNCTION(omnichannel_working_hours_gt);
SQL_FUNCTION(omnichannel_working_hours_ge);
SQL_FUNCTION(omnichannel_working_hours_cmp);
SQL_FUNCTION(omnichannel_working_hours_hash);
SQL_FUNCTION(omnichannel_working_hours_hash_extended);
SQL_FUNCTION(omnichannel_working_hours_union);
SQL_FUNCTION(omnichannel_working_hours_intersection);
SQL_FUNCTION(omnichannel_working_hours_difference);
SQL_FUNCTION(omnichannel_working_hours_total);

/* Returns a new value of that many spells, not yet filled in. */
static WorkingHours *
new_hours(int count)
{
	Size size = offsetof(WorkingHours, spells) + (Size) count * sizeof(WeekSpell);
	WorkingHours *hours = palloc(size);

	SET_VARSIZE(hours, size);
	return hours;
}

/* Returns a new value of the set. */
static WorkingHours *
hours_of_minutes(const WeekMinutes *minutes)
{
	WeekSpell spells[WEEK_MAX_SPELLS];
	int count = week_to_spells(minutes, spells);
	WorkingHours *hours = new_hours(count);

	memcpy(hours->spells, spells, (Size) count * sizeof(WeekSpell));
	return hours;
}

/* Returns the week that a literal says, or NULL after a soft error of 22P02 with as much of it as is fit to show. */
static WorkingHours *
parse_hours(const char *text, Node *context)
{
	WeekMinutes minutes;
	WeekError error;

	if (!week_parse(text, strlen(text), &minutes, &error))
	{
		int shown = pg_mbcliplen(text, (int) strlen(text), SHOWN_MAX);

		ereturn(context, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%.*s%s\"", "working_hours", shown, text,
						text[shown] == '\0' ? "" : "..."),
				 errdetail("Expected %s at character %d.", error.expected,
						   pg_mbstrlen_with_len(text, (int) error.position) + 1),
				 error.hint != NULL
					 ? errhint("%s", error.hint)
					 : errhint("Write it as in \"Mo-Fr 09:00-17:00; Sa 10:00-14:00\", \"24/7\" or \"off\".")));
	}
	return hours_of_minutes(&minutes);
}

/* working_hours_in(cstring): the value; raises 22P02. */
Datum
omnichannel_working_hours_in(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = parse_hours(PG_GETARG_CSTRING(0), fcinfo->context);

	if (hours == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(hours);
}

/* working_hours_out(working_hours): the canonical text. */
Datum
omnichannel_working_hours_out(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = PG_GETARG_WORKING_HOURS(0);
	char *text = palloc(WEEK_TEXT_MAX + 1);

	text[week_format(hours->spells, WORKING_HOURS_COUNT(hours), text)] = '\0';
	PG_RETURN_CSTRING(text);
}

/* working_hours_recv(internal): the value of a number of spells and their minutes; raises 22P03. */
Datum
omnichannel_working_hours_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int32 count = pq_getmsgint(message, 4);
	WorkingHours *hours;
	const char *wrong;

	if (count < 0 || count > WEEK_MAX_SPELLS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid number of spells in external \"working_hours\" value: %d", count),
				 errhint("A week has no more than %d spells.", WEEK_MAX_SPELLS)));

	hours = new_hours(count);
	for (int i = 0; i < count; i++)
	{
		hours->spells[i].start = (uint16) pq_getmsgint(message, 2);
		hours->spells[i].end = (uint16) pq_getmsgint(message, 2);
	}
	wrong = week_check(hours->spells, count);
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid external \"working_hours\" value: %s", wrong),
				 errhint("Send sorted spells of minutes since Monday 00:00, with closed time between them.")));
	PG_RETURN_POINTER(hours);
}

/* working_hours_send(working_hours): number of spells, int4, and the start and end of each, int2. */
Datum
omnichannel_working_hours_send(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = PG_GETARG_WORKING_HOURS(0);
	int count = WORKING_HOURS_COUNT(hours);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendint32(&message, (uint32) count);
	for (int i = 0; i < count; i++)
	{
		pq_sendint16(&message, hours->spells[i].start);
		pq_sendint16(&message, hours->spells[i].end);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* Orders weeks by their open time, then by the first spell that differs: the earlier one is less. */
static int
compare_hours(const WorkingHours *a, const WorkingHours *b)
{
	int a_count = WORKING_HOURS_COUNT(a);
	int b_count = WORKING_HOURS_COUNT(b);
	int difference = week_total(a->spells, a_count) - week_total(b->spells, b_count);

	for (int i = 0; difference == 0 && i < a_count && i < b_count; i++)
	{
		difference = a->spells[i].start - b->spells[i].start;
		if (difference == 0)
			difference = a->spells[i].end - b->spells[i].end;
	}
	return difference != 0 ? difference : a_count - b_count;
}

static int
compare_arguments(FunctionCallInfo fcinfo)
{
	return compare_hours(PG_GETARG_WORKING_HOURS(0), PG_GETARG_WORKING_HOURS(1));
}

Datum
omnichannel_working_hours_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
omnichannel_working_hours_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
omnichannel_working_hours_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
omnichannel_working_hours_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
omnichannel_working_hours_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
omnichannel_working_hours_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
omnichannel_working_hours_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

Datum
omnichannel_working_hours_hash(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = PG_GETARG_WORKING_HOURS(0);

	return hash_any((unsigned char *) hours->spells, WORKING_HOURS_COUNT(hours) * (int) sizeof(WeekSpell));
}

Datum
omnichannel_working_hours_hash_extended(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = PG_GETARG_WORKING_HOURS(0);

	return hash_any_extended((unsigned char *) hours->spells, WORKING_HOURS_COUNT(hours) * (int) sizeof(WeekSpell),
							 (uint64) PG_GETARG_INT64(1));
}

/* Reads both arguments as sets. */
static void
argument_sets(FunctionCallInfo fcinfo, WeekMinutes *a, WeekMinutes *b)
{
	WorkingHours *left = PG_GETARG_WORKING_HOURS(0);
	WorkingHours *right = PG_GETARG_WORKING_HOURS(1);

	week_from_spells(a, left->spells, WORKING_HOURS_COUNT(left));
	week_from_spells(b, right->spells, WORKING_HOURS_COUNT(right));
}

/* working_hours + working_hours: open when either is. */
Datum
omnichannel_working_hours_union(PG_FUNCTION_ARGS)
{
	WeekMinutes a;
	WeekMinutes b;

	argument_sets(fcinfo, &a, &b);
	for (int i = 0; i < WEEK_WORDS; i++)
		a.words[i] |= b.words[i];
	PG_RETURN_POINTER(hours_of_minutes(&a));
}

/* working_hours * working_hours: open when both are. */
Datum
omnichannel_working_hours_intersection(PG_FUNCTION_ARGS)
{
	WeekMinutes a;
	WeekMinutes b;

	argument_sets(fcinfo, &a, &b);
	for (int i = 0; i < WEEK_WORDS; i++)
		a.words[i] &= b.words[i];
	PG_RETURN_POINTER(hours_of_minutes(&a));
}

/* working_hours - working_hours: open when the first is and the second is not. */
Datum
omnichannel_working_hours_difference(PG_FUNCTION_ARGS)
{
	WeekMinutes a;
	WeekMinutes b;

	argument_sets(fcinfo, &a, &b);
	for (int i = 0; i < WEEK_WORDS; i++)
		a.words[i] &= ~b.words[i];
	PG_RETURN_POINTER(hours_of_minutes(&a));
}

/* working_hours_total(working_hours): the open time of a week, in hours and minutes. */
Datum
omnichannel_working_hours_total(PG_FUNCTION_ARGS)
{
	WorkingHours *hours = PG_GETARG_WORKING_HOURS(0);
	Interval *total = palloc0(sizeof(Interval));

	total->time = week_total(hours->spells, WORKING_HOURS_COUNT(hours)) * USECS_PER_MINUTE;
	PG_RETURN_INTERVAL_P(total);
}
