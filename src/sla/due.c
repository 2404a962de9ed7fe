/*
 * due.c
 *	  When a clock is due, is to be warned of and to be told of, and how long it took.
 *
 * What a pause leaves of the target is counted on from its end, so that any number of pauses is exact to the
 * microsecond, in working time as in elapsed time. Nothing here raises for a calendar that never opens again: a contact
 * must be logged whatever the calendars say, and such a clock is due never, which is infinity.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "calendar/calendar.h"
#include "sla/clock.h"

/* What time is counted by: NULL for elapsed time. Good until the next calendar_get(). */
static Timeline *
ruler_get(const char *calendar)
{
	return calendar == NULL ? NULL : calendar_get(calendar, strlen(calendar)).timeline;
}

/* Returns whether time can be counted by that: a calendar that was stored with a clock may be gone. */
bool
sla_ruler_exists(const char *calendar)
{
	return calendar == NULL || calendar_exists(calendar, strlen(calendar));
}

/* Returns the instant so many microseconds later, or earlier; DT_NOEND or NO_TIME where there is none. */
static TimestampTz
ruler_add(Timeline *ruler, TimestampTz at, int64 amount)
{
	int64 result;

	if (ruler == NULL ? pg_add_s64_overflow(at, amount, &result) : !timeline_add(ruler, at, amount, &result))
		return amount < 0 ? NO_TIME : DT_NOEND;
	if (!IS_VALID_TIMESTAMP(result))
		return amount < 0 ? NO_TIME : DT_NOEND;
	return result;
}

/* Returns how much of the ruler's time lies between two instants, 0 where the second is not the later. */
static int64
ruler_between(Timeline *ruler, TimestampTz from, TimestampTz to)
{
	int64 amount;

	if (to <= from)
		return 0;
	if (ruler == NULL)
		return pg_sub_s64_overflow(to, from, &amount) ? PG_INT64_MAX : amount;
	return timeline_between(ruler, from, to, &amount) ? amount : PG_INT64_MAX;
}

/* Returns where a target ends, forwards or backwards: first its days, then its time. */
static TimestampTz
ruler_add_target(Timeline *ruler, TimestampTz at, const Interval *target, int sign)
{
	TimestampTz result = at;

	if (target->day != 0)
	{
		int64 found;

		if (ruler == NULL)
			result = ruler_add(NULL, at, sign * target->day * USECS_PER_DAY);
		else if (timeline_add_days(ruler, at, (int64) sign * target->day, &found) && IS_VALID_TIMESTAMP(found))
			result = found;
		else
			result = sign < 0 ? NO_TIME : DT_NOEND;
		if (TIMESTAMP_NOT_FINITE(result))
			return result;
	}
	if (target->day == 0 || target->time != 0)
		result = ruler_add(ruler, result, sign * target->time);
	return result;
}

/* Tells the collector the working days of a target that have passed wholly; returns where the last one ended. */
static TimestampTz
collect_days(Timeline *ruler, TimestampTz from, TimestampTz to, int32 days, const SlaCollector *collector)
{
	Interval used = {.day = 1};
	TimestampTz since = from;
	int64 until;

	for (int32 day = 1; day <= days && timeline_add_days(ruler, from, day, &until) && until <= to; day++)
	{
		CHECK_FOR_INTERRUPTS();
		collector->spell(collector->context, since, until, &used);
		since = until;
	}
	return since;
}

/* Tells the collector what used the clock's target up between two instants. */
static void
collect_spells(const SlaClock *clock, Timeline *ruler, TimestampTz from, TimestampTz to, const SlaCollector *collector)
{
	TimeSpan spell;

	if (collector == NULL)
		return;
	to = Min(to, collector->until);
	if (ruler == NULL)
		spell = (TimeSpan){from, to};
	else if (from == clock->started_at)
		from = collect_days(ruler, from, to, clock->policy->target.day, collector);
	while (from < to && (ruler == NULL || timeline_next_spell(ruler, from, to, &spell)))
	{
		Interval used = {.time = spell.end - spell.start};

		CHECK_FOR_INTERRUPTS();
		collector->spell(collector->context, spell.start, spell.end, &used);
		from = spell.end;
	}
}

/* Sets due_at and time_left: the target, and from each pause on what is left of it. */
static void
reckon_due(SlaClock *clock, Timeline *ruler, const SlaCollector *collector)
{
	TimestampTz since = clock->started_at;
	TimestampTz due = ruler_add_target(ruler, since, &clock->policy->target, 1);

	clock->time_left = 0;
	for (int i = 0; i < clock->pause_count && due != DT_NOEND; i++)
	{
		const SlaSpan *pause = &clock->pauses[i];

		/* Past due it can stand still or not. */
		if (due <= pause->from)
			break;
		clock->time_left = ruler_between(ruler, pause->from, due);
		collect_spells(clock, ruler, since, pause->from, collector);
		if (collector != NULL)
			collector->pause(collector->context, pause, clock->time_left, due);
		if (pause->to == DT_NOEND)
		{
			clock->due_at = NO_TIME;
			return;
		}
		since = pause->to;
		due = ruler_add(ruler, since, clock->time_left);
	}
	clock->time_left = 0;
	clock->due_at = due;
	if (due != DT_NOEND)
		collect_spells(clock, ruler, since, due, collector);
}

/* Returns when the warning is due: so much before due_at, without the pauses; not before the start. */
static TimestampTz
reckon_warning(const SlaClock *clock, Timeline *ruler)
{
	TimestampTz warn = ruler_add_target(ruler, clock->due_at, &clock->policy->warn_before, -1);
	TimestampTz at = clock->due_at;
	int64 before;

	if (clock->pause_count > 0 && warn != NO_TIME && warn < clock->pauses[clock->pause_count - 1].to)
	{
		before = ruler_between(ruler, warn, at);
		for (int i = clock->pause_count - 1; i >= 0; i--)
		{
			const SlaSpan *pause = &clock->pauses[i];
			int64 available;

			if (pause->from >= at)
				continue;
			available = ruler_between(ruler, pause->to, at);
			if (available >= before)
				break;
			before -= available;
			at = pause->from;
		}
		warn = ruler_add(ruler, at, -before);
	}
	return Max(warn, clock->started_at);
}

/* Returns the instant itself, or the next opening of the calendar of notices; where there is none, the instant. */
static TimestampTz
hold(Timeline *notices, TimestampTz at)
{
	int64 opening;

	if (notices == NULL || TIMESTAMP_NOT_FINITE(at) || !timeline_next_open(notices, at, &opening) ||
		!IS_VALID_TIMESTAMP(opening))
		return at;
	return opening;
}

/* Returns the ruler's time from start to stop without the pauses. */
static int64
reckon_taken(const SlaClock *clock, Timeline *ruler)
{
	int64 taken = ruler_between(ruler, clock->started_at, clock->stopped_at);

	for (int i = 0; i < clock->pause_count; i++)
		taken -= ruler_between(ruler, clock->pauses[i].from, Min(clock->pauses[i].to, clock->stopped_at));
	return Max(taken, 0);
}

/*
 * sla_reckon sets what follows of a clock's moments and its policy as of now.
 *
 * A clock whose policy is gone keeps what is stored. collector, if not NULL, is told what used the target up. Raises
 * what calendar_get() raises.
 */
void
sla_reckon(SlaClock *clock, TimestampTz now, const SlaCollector *collector)
{
	const SlaPolicy *policy = clock->policy;
	bool stopped = clock->stopped_at != NO_TIME;

	clock->elapsed = stopped ? reckon_taken(clock, NULL) : 0;
	clock->worked = -1;
	if (policy != NULL)
	{
		Timeline *ruler = ruler_get(policy->calendar);
		Timeline *notices;

		clock->policy_code = policy->code;
		clock->target = policy->target;
		clock->calendar = policy->calendar;
		reckon_due(clock, ruler, collector);
		clock->warn_at = NO_TIME;
		if (policy->warns && !TIMESTAMP_NOT_FINITE(clock->due_at))
			clock->warn_at = reckon_warning(clock, ruler);
		if (stopped && ruler != NULL)
			clock->worked = reckon_taken(clock, ruler);

		notices = ruler_get(policy->notice_calendar);
		clock->tell_at = TIMESTAMP_NOT_FINITE(clock->due_at) ? NO_TIME : hold(notices, clock->due_at);
		if (clock->warn_at != NO_TIME)
			clock->warn_at = hold(notices, clock->warn_at);
	}
	else if (stopped && clock->calendar != NULL && sla_ruler_exists(clock->calendar))
		clock->worked = reckon_taken(clock, ruler_get(clock->calendar));

	if (stopped && clock->due_at != NO_TIME && clock->stopped_at > clock->due_at)
		clock->outcome = SLA_BREACHED;
	else if (stopped)
		clock->outcome = clock->cancelled ? SLA_CANCELLED : SLA_MET;
	else
		clock->outcome = SLA_OPEN;

	/* What was told stands for as long as it is true. */
	if (clock->breached_at != NO_TIME && clock->outcome != SLA_BREACHED &&
		(stopped || clock->due_at == NO_TIME || clock->due_at >= now))
		clock->breached_at = NO_TIME;
	if (clock->breached_at != NO_TIME)
		clock->outcome = SLA_BREACHED;
	if (clock->warned_at != NO_TIME && clock->due_at != NO_TIME && clock->warn_at > (stopped ? clock->stopped_at : now))
		clock->warned_at = NO_TIME;
}
