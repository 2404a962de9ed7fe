/*
 * calendar_answer.c
 *	  The answers about working time, with their errors, for SQL and for other rooms.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "calendar/calendar.h"

/* Raises 22008 for an infinite time. */
static void
check_finite(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("working time at an infinite time is not known: \"%s\"", timestamptz_to_str(at)),
				 errhint("Give a finite time.")));
}

/* Returns the subject of a message. */
static const char *
subject(CalendarRef calendar)
{
	return calendar.code == NULL ? "the calendar" : psprintf("calendar \"%s\"", excerpt(calendar.code));
}

/* Raises 22008 for a time after which, or before which, there is no opening. */
pg_noreturn static void
closed_for_good(CalendarRef calendar, TimestampTz from, bool backwards)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("%s %s open %s %s", subject(calendar), backwards ? "was never" : "is never again",
					backwards ? "before" : "after", timestamptz_to_str(from)),
			 errhint("Give it hours, or an opening as an exception.")));
}

/* Raises 22008 for a target that leads beyond the last opening, or beyond the range of timestamps. */
pg_noreturn static void
unreachable(CalendarRef calendar, TimestampTz from, const Interval *target, bool backwards)
{
	int64 found;

	if (backwards ? !timeline_previous_close(calendar.timeline, from, &found)
				  : !timeline_next_open(calendar.timeline, from, &found))
		closed_for_good(calendar, from, backwards);
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("target \"%s\" from %s leads out of the working time of %s", interval_text(target),
					timestamptz_to_str(from), subject(calendar)),
			 errhint("Give one that ends between the years 4713 BC and 294276, before the calendar closes for good.")));
}

/* Raises 22023 for a target that is not of days and time, 22008 for an infinite one. */
static void
check_target(const Interval *target)
{
	if (INTERVAL_NOT_FINITE(target))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a target cannot be infinite: \"%s\"", interval_text(target)),
				 errhint("Give hours, as in '6 hours', or working days, as in '2 days'.")));
	if (target->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a target cannot have months: \"%s\"", interval_text(target)),
				 errhint("Give hours, as in '6 hours', or working days, as in '2 days'.")));
}

/* Tells the collector each working day between two instants, the second one included. */
static void
collect_days(CalendarRef calendar, TimestampTz start, int32 days, const CalendarCollector *collector)
{
	int64 at = start;

	for (int32 i = 1; i <= abs(days); i++)
	{
		int64 next;

		CHECK_FOR_INTERRUPTS();
		if (!timeline_add_days(calendar.timeline, start, days > 0 ? i : -i, &next))
			return;
		collector->day(collector->context, Min(at, next), Max(at, next), days > 0 ? 1 : -1);
		at = next;
	}
}

/* Tells the collector each spell between two instants, from the first to the second, which may be the earlier one. */
static void
collect_spells(CalendarRef calendar, TimestampTz start, TimestampTz due, const CalendarCollector *collector)
{
	int64 from = Min(start, due);
	int64 limit = Max(start, due);
	List *spells = NIL;
	TimeSpan spell;

	while (timeline_next_spell(calendar.timeline, from, limit, &spell))
	{
		CHECK_FOR_INTERRUPTS();
		if (due >= start)
			collector->spell(collector->context, spell.start, spell.end, spell.end - spell.start);
		else
		{
			TimeSpan *kept = palloc(sizeof(TimeSpan));

			*kept = spell;
			spells = lappend(spells, kept);
		}
		from = spell.end;
	}
	for (int i = list_length(spells) - 1; i >= 0; i--)
	{
		TimeSpan *kept = list_nth(spells, i);

		collector->spell(collector->context, kept->start, kept->end, kept->start - kept->end);
	}
	list_free_deep(spells);
}

/*
 * calendar_deadline returns the instant at which a target that starts at `start` is used up.
 *
 * collector, if not NULL, is told of each part of the way. Raises 22008 for infinite and unreachable times, 22023 for a
 * target with months.
 */
TimestampTz
calendar_deadline(CalendarRef calendar, TimestampTz start, const Interval *target, const CalendarCollector *collector)
{
	int64 from = start;
	int64 due = start;

	check_finite(start);
	check_target(target);

	if (target->day != 0)
	{
		if (!timeline_add_days(calendar.timeline, start, target->day, &from) || !IS_VALID_TIMESTAMP(from))
			unreachable(calendar, start, target, target->day < 0);
		due = from;
		if (collector != NULL)
			collect_days(calendar, start, target->day, collector);
	}
	if (target->day == 0 || target->time != 0)
	{
		if (!timeline_add(calendar.timeline, from, target->time, &due) || !IS_VALID_TIMESTAMP(due))
			unreachable(calendar, start, target, target->time < 0);
		if (collector != NULL)
			collect_spells(calendar, from, due, collector);
	}
	return due;
}

/* Returns the working time from one instant to another, negative where that is the earlier; raises 22008. */
Interval *
calendar_working_time(CalendarRef calendar, TimestampTz from, TimestampTz to)
{
	Interval *amount = palloc0(sizeof(Interval));
	int64 sum;

	check_finite(from);
	check_finite(to);
	if (!timeline_between(calendar.timeline, Min(from, to), Max(from, to), &sum))
	{
		char *from_text = pstrdup(timestamptz_to_str(from));

		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("working time from %s to %s is out of range for an interval", from_text,
						timestamptz_to_str(to)),
				 errhint("Ask for a shorter time.")));
	}
	amount->time = from <= to ? sum : -sum;
	return amount;
}

/* Returns whether an instant is working time; raises 22008 for an infinite one. */
bool
calendar_is_working(CalendarRef calendar, TimestampTz at)
{
	check_finite(at);
	return timeline_is_open(calendar.timeline, at);
}

/* Returns the instant itself if it is working time, else the next opening; raises 22008 where there is none. */
TimestampTz
calendar_next_working(CalendarRef calendar, TimestampTz at)
{
	int64 result;

	check_finite(at);
	if (!timeline_next_open(calendar.timeline, at, &result) || !IS_VALID_TIMESTAMP(result))
		closed_for_good(calendar, at, false);
	return result;
}
