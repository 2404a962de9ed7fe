/*
 * given.c
 *	  Calendars given by value: hours, zone and exceptions in the call itself.
 *
 * Such a calendar means the same for ever, so that the timelines of the last few are kept for the backend's life, found
 * by the very bytes of the arguments. A calendar too large to be worth it lives as long as the caller's context.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "omnichannel.h"
#include "calendar/calendar.h"
#include "calendar/exceptions.h"
#include "calendar/working_hours.h"

#define KEPT_CALENDARS 16
#define KEPT_ARGUMENTS_MAX (64 * 1024)

/* The arguments, without headers that may differ between equal ones. */
typedef struct GivenKey
{
	Size sizes[3];
	const char *bytes[3];
} GivenKey;

typedef struct GivenCalendar
{
	MemoryContext context; /* NULL where the place is free */
	GivenKey key;
	Timeline *timeline;
	uint64 used; /* when it was asked for last */
} GivenCalendar;

static GivenCalendar kept[KEPT_CALENDARS];
static uint64 uses = 0;

static bool
same_key(const GivenKey *a, const GivenKey *b)
{
	for (int i = 0; i < 3; i++)
	{
		if (a->sizes[i] != b->sizes[i] || memcmp(a->bytes[i], b->bytes[i], a->sizes[i]) != 0)
			return false;
	}
	return true;
}

/* Makes the timeline and a copy of the key in a new context below the current one. */
static void
make_given(GivenCalendar *given, const GivenKey *key, ArrayType *exceptions)
{
	TimelineRules rules = {0};
	SpanSet spans = {0};
	char *zone = pnstrdup(key->bytes[1], key->sizes[1]);

	given->context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel calendar by value", ALLOCSET_SMALL_SIZES);
	rules.zone = calendar_zone(zone);
	rules.spells = (const WeekSpell *) key->bytes[0];
	rules.spell_count = (int) (key->sizes[0] / sizeof(WeekSpell));
	span_set_add_array(&spans, exceptions);
	span_set_copy(CurrentMemoryContext, &spans, &rules);
	given->timeline = calendar_make_timeline(given->context, &rules);

	for (int i = 0; i < 3; i++)
	{
		char *copy = MemoryContextAlloc(given->context, key->sizes[i] + 1);

		memcpy(copy, key->bytes[i], key->sizes[i]);
		given->key.sizes[i] = key->sizes[i];
		given->key.bytes[i] = copy;
	}
}

/*
 * calendar_given returns the calendar of those hours (working_hours) in that zone (text) with those exceptions
 * (calendar_span[]).
 *
 * Raises 22023 for an unknown zone, 22004 for an exception with a NULL.
 */
CalendarRef
calendar_given(Datum hours_datum, Datum time_zone_datum, Datum exceptions_datum)
{
	WorkingHours *hours = DatumGetWorkingHours(hours_datum);
	text *zone = DatumGetTextPP(time_zone_datum);
	ArrayType *exceptions = DatumGetArrayTypeP(exceptions_datum);
	GivenKey key = {
		.sizes = {(Size) WORKING_HOURS_COUNT(hours) * sizeof(WeekSpell), VARSIZE_ANY_EXHDR(zone),
				  VARSIZE(exceptions) - VARHDRSZ},
		.bytes = {(const char *) hours->spells, VARDATA_ANY(zone), VARDATA(exceptions)},
	};
	GivenCalendar *oldest = &kept[0];
	GivenCalendar made = {0};

	for (int i = 0; i < KEPT_CALENDARS; i++)
	{
		if (kept[i].context != NULL && same_key(&kept[i].key, &key))
		{
			kept[i].used = ++uses;
			return (CalendarRef){kept[i].timeline, NULL};
		}
		if (kept[i].used < oldest->used)
			oldest = &kept[i];
	}

	make_given(&made, &key, exceptions);
	if (key.sizes[0] + key.sizes[1] + key.sizes[2] <= KEPT_ARGUMENTS_MAX)
	{
		MemoryContext evicted = oldest->context;

		made.used = ++uses;
		MemoryContextSetParent(made.context, CacheMemoryContext);
		*oldest = made;
		if (evicted != NULL)
			MemoryContextDelete(evicted);
	}
	return (CalendarRef){made.timeline, NULL};
}
