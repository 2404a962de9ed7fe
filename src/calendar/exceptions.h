/*
 * exceptions.h
 *	  Exceptions of a calendar as they come from SQL. Include it after postgres.h.
 */
#ifndef CALENDAR_EXCEPTIONS_H
#define CALENDAR_EXCEPTIONS_H

#include "utils/array.h"

#include "calendar/timeline.h"

/* Closures and openings, in the current memory context; all zeros is an empty one. */
typedef struct SpanSet
{
	int counts[2]; /* closures, openings */
	int capacities[2];
	TimeSpan *spans[2];
} SpanSet;

extern void span_set_add(SpanSet *set, Datum during, bool open);
extern void span_set_add_array(SpanSet *set, ArrayType *array);
extern void span_set_clear(SpanSet *set);
extern void span_set_copy(MemoryContext context, const SpanSet *set, TimelineRules *rules);

#endif /* CALENDAR_EXCEPTIONS_H */
