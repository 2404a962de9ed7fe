/*
 * calendar.h
 *	  What the calendar offers to other rooms: working time by a calendar's code. Include it after postgres.h.
 *
 * The room's files, from below. Plain C, which is fuzzed: week and week_parse (a week and its notation), zone (local
 * time and UTC), span_list, timeline_chunk and timeline (open time, in O(log n)), and the reader of .ics files:
 * icalendar_time, icalendar_rule (recurrence), icalendar_event, icalendar. On the server: working_hours (the type),
 * exceptions, calendar and given (calendars by code, by value), calendar_answer (the answers and their errors),
 * calendar_functions and holidays (for SQL), support (for the planner).
 */
#ifndef CALENDAR_CALENDAR_H
#define CALENDAR_CALENDAR_H

#include "datatype/timestamp.h"

#include "calendar/timeline.h"

/* One calendar in one call; good until the next calendar_get() or config_cache_get(). */
typedef struct CalendarRef
{
	Timeline *timeline;
	const char *code; /* NULL where it has none */
} CalendarRef;

/* Told of each part of a target when asked to explain: the instants it took and what it used up. */
typedef struct CalendarCollector
{
	void (*day)(void *context, TimestampTz from, TimestampTz to, int64 days);
	void (*spell)(void *context, TimestampTz from, TimestampTz to, int64 amount);
	void *context;
} CalendarCollector;

/* calendar.c */
extern bool calendar_exists(const char *code, size_t length);
extern CalendarRef calendar_get(const char *code, size_t length);
extern const Zone *calendar_zone(const char *name);
extern Timeline *calendar_make_timeline(MemoryContext context, const TimelineRules *rules);

/* given.c */
extern CalendarRef calendar_given(Datum hours, Datum time_zone, Datum exceptions);

/* calendar_answer.c */
extern TimestampTz calendar_deadline(CalendarRef calendar, TimestampTz start, const Interval *target,
									 const CalendarCollector *collector);
extern Interval *calendar_working_time(CalendarRef calendar, TimestampTz from, TimestampTz to);
extern bool calendar_is_working(CalendarRef calendar, TimestampTz at);
extern TimestampTz calendar_next_working(CalendarRef calendar, TimestampTz at);

#endif /* CALENDAR_CALENDAR_H */
