/*
 * timeline.h
 *	  Open time as a function of time: how much of it lies between two instants, and where some amount of it ends.
 *
 * Plain C without the server's headers. Instants are microseconds since 2000-01-01 00:00 UTC, spans are half-open.
 */
#ifndef CALENDAR_TIMELINE_H
#define CALENDAR_TIMELINE_H

#include "calendar/week.h"
#include "calendar/zone.h"

/* The server's range of timestamps, half-open. */
#define TIMELINE_BEGIN INT64_C(-211813488000000000)
#define TIMELINE_END INT64_C(9223371331200000000)

/* A span of instants or of local times; INT64_MIN and INT64_MAX stand for no bound. */
typedef struct TimeSpan
{
	int64_t start;
	int64_t end;
} TimeSpan;

/* Memory and interrupts. allocate does not return NULL; both it and check_interrupts may leave by a long jump. */
typedef struct TimelineHost
{
	void *(*allocate)(void *context, size_t size);
	void (*release)(void *block);
	void (*check_interrupts)(void);
	void *context;
} TimelineHost;

/* What a timeline is made of. Closures and openings are local times, in any order, and may overlap. */
typedef struct TimelineRules
{
	const Zone *zone; /* must outlive the timeline; the rest is copied */
	const WeekSpell *spells;
	int spell_count;
	const TimeSpan *closures;
	int closure_count;
	const TimeSpan *openings;
	int opening_count;
} TimelineRules;

typedef struct Timeline Timeline;

extern Timeline *timeline_create(const TimelineHost *host, const TimelineRules *rules);

extern bool timeline_is_open(Timeline *timeline, int64_t at);
extern bool timeline_next_open(Timeline *timeline, int64_t at, int64_t *result);
extern bool timeline_previous_close(Timeline *timeline, int64_t at, int64_t *result);
extern bool timeline_next_spell(Timeline *timeline, int64_t from, int64_t limit, TimeSpan *spell);
extern bool timeline_between(Timeline *timeline, int64_t from, int64_t to, int64_t *amount);
extern bool timeline_add(Timeline *timeline, int64_t at, int64_t amount, int64_t *result);
extern bool timeline_add_days(Timeline *timeline, int64_t at, int64_t days, int64_t *result);

#endif /* CALENDAR_TIMELINE_H */
