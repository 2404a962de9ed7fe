/*
 * calendar.c
 *	  Calendars by code, and the zones and timelines behind them.
 *
 * All calendars are read at once; a calendar's timeline is made when it is first asked for and grows with the questions
 * for as long as the configuration stays the same. Zones never change while a backend lives, so that they are kept for
 * good, apart from any calendar.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "calendar/calendar.h"
#include "calendar/exceptions.h"
#include "calendar/working_hours.h"

SQL_FUNCTION(omnichannel_check_time_zone);

/* Unix time of 2000-01-01. */
#define EPOCH_SECONDS (((int64) POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

typedef struct ZoneEntry
{
	struct ZoneEntry *next;
	pg_tz *tz;
	Zone zone;
} ZoneEntry;

typedef struct CodeKey
{
	const char *code;
	size_t length;
} CodeKey;

typedef struct CalendarEntry
{
	CodeKey key;
	char status; /* of the hash table */
	TimelineRules rules;
	Timeline *timeline; /* NULL until it is asked for */
} CalendarEntry;

#define SH_PREFIX calendar_table
#define SH_ELEMENT_TYPE CalendarEntry
#define SH_KEY_TYPE CodeKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key).code, (int) (key).length)
#define SH_EQUAL(table, a, b) ((a).length == (b).length && memcmp((a).code, (b).code, (a).length) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct CalendarSet
{
	MemoryContext context;
	calendar_table_hash *table;
} CalendarSet;

static void *calendar_build(ConfigCache *cache, MemoryContext context);

static ConfigCache calendar_cache = {
	.name = "calendar",
	.tables = {"calendar", "calendar_exception"},
	.build = calendar_build,
};

static KeptPlan select_calendars = {
	.sql = "SELECT calendar, time_zone, hours FROM omnichannel.calendar",
};

static KeptPlan select_exceptions = {
	.sql = "SELECT calendar, during, open FROM omnichannel.calendar_exception ORDER BY calendar",
};

static ZoneEntry *zones = NULL;

/* The entry that was asked for last. */
static CalendarEntry *last_entry = NULL;
static uint64 last_generation = 0;

/* Adds a change to those of a zone, whose array is in `context` and grows. */
static void
add_change(MemoryContext context, Zone *zone, ZoneChange change)
{
	if (zone->changes == NULL)
		zone->changes = MemoryContextAlloc(context, 256 * sizeof(ZoneChange));
	else if (zone->count >= 256 && (zone->count & (zone->count - 1)) == 0)
		zone->changes = repalloc(zone->changes, (Size) zone->count * 2 * sizeof(ZoneChange));
	zone->changes[zone->count++] = change;
}

/* Reads all changes of a zone that matter, from the beginning of time on. */
static void
read_zone(MemoryContext context, Zone *zone, const pg_tz *tz)
{
	pg_time_t at = TIMELINE_BEGIN / ZONE_SECOND + EPOCH_SECONDS - SECS_PER_DAY;

	memset(zone, 0, sizeof(*zone));
	for (;;)
	{
		long before;
		long after;
		int before_dst;
		int after_dst;
		pg_time_t boundary;
		int found = pg_next_dst_boundary(&at, &before, &before_dst, &boundary, &after, &after_dst, tz);

		if (found < 0)
			elog(ERROR, "could not read the changes of a time zone");
		if (zone->count == 0)
			zone->first_offset = (int32) before;
		if (found == 0 || boundary - EPOCH_SECONDS >= ZONE_CHANGES_END)
			break;
		add_change(context, zone, (ZoneChange){boundary - EPOCH_SECONDS, (int32) before, (int32) after});
		/*
		 * At the last change that the zone's data list, later ones are denied; a second after it, its rule gives them.
		 */
		at = boundary + 1;
	}
	zone_finish(zone);
}

/* Returns a zone by name, kept for the backend's life; raises 22023 for an unknown one. */
const Zone *
calendar_zone(const char *name)
{
	pg_tz *tz = pg_tzset(name);
	MemoryContext context;
	ZoneEntry *entry;

	if (tz == NULL || !pg_tz_acceptable(tz))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" is not known", excerpt(name)),
				 errhint("Use an IANA name, as in 'Europe/Berlin'; pg_timezone_names lists them.")));

	for (entry = zones; entry != NULL; entry = entry->next)
	{
		if (entry->tz == tz)
			return &entry->zone;
	}

	/* Below the caller's until it is whole, so that an error frees it. */
	context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel time zone", ALLOCSET_SMALL_SIZES);
	entry = MemoryContextAlloc(context, sizeof(ZoneEntry));
	entry->tz = tz;
	read_zone(context, &entry->zone, tz);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->next = zones;
	zones = entry;
	return &entry->zone;
}

/* check_time_zone(text): true, or raises 22023 for an unknown zone. */
Datum
omnichannel_check_time_zone(PG_FUNCTION_ARGS)
{
	(void) calendar_zone(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_BOOL(true);
}

static void *
timeline_allocate(void *context, size_t size)
{
	return MemoryContextAlloc(context, size);
}

static void
timeline_check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

/* Returns a timeline in a context of its own below that one. */
Timeline *
calendar_make_timeline(MemoryContext context, const TimelineRules *rules)
{
	TimelineHost host = {
		.allocate = timeline_allocate,
		.release = pfree,
		.check_interrupts = timeline_check_interrupts,
		.context = AllocSetContextCreate(context, "omnichannel timeline", ALLOCSET_DEFAULT_SIZES),
	};

	return timeline_create(&host, rules);
}

/* Reads the calendars without their exceptions. */
static void
read_calendars(CalendarSet *set)
{
	uint64 count = kept_plan_run(&select_calendars, NULL, NULL, true, 0);

	for (uint64 i = 0; i < count; i++)
	{
		char *code = spi_text(i, 1, set->context);
		char *zone = spi_text(i, 2, CurrentMemoryContext);
		CodeKey key = {code, strlen(code)};
		CalendarEntry *entry;
		WorkingHours *hours;
		WeekSpell *spells;
		bool found;
		bool isnull;

		hours = DatumGetWorkingHours(spi_datum(i, 3, &isnull));
		spells = MemoryContextAlloc(set->context, (Size) WORKING_HOURS_COUNT(hours) * sizeof(WeekSpell) + 1);
		memcpy(spells, hours->spells, (Size) WORKING_HOURS_COUNT(hours) * sizeof(WeekSpell));

		entry = calendar_table_insert(set->table, key, &found);
		entry->timeline = NULL;
		memset(&entry->rules, 0, sizeof(entry->rules));
		entry->rules.zone = calendar_zone(zone);
		entry->rules.spells = spells;
		entry->rules.spell_count = WORKING_HOURS_COUNT(hours);
	}
}

/* Gives a calendar its exceptions. */
static void
set_exceptions(CalendarSet *set, const char *code, const SpanSet *spans)
{
	CodeKey key = {code, strlen(code)};
	CalendarEntry *entry = calendar_table_lookup(set->table, key);

	/* Row-level security may hide the calendar and not its exceptions. */
	if (entry != NULL)
		span_set_copy(set->context, spans, &entry->rules);
}

/* Reads the exceptions, which come by calendar. */
static void
read_exceptions(CalendarSet *set)
{
	uint64 count = kept_plan_run(&select_exceptions, NULL, NULL, true, 0);
	SpanSet spans = {0};
	char *code = NULL;

	for (uint64 i = 0; i < count; i++)
	{
		char *row_code = spi_text(i, 1, CurrentMemoryContext);
		bool isnull;
		Datum during = spi_datum(i, 2, &isnull);
		bool open = DatumGetBool(spi_datum(i, 3, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (code != NULL && strcmp(code, row_code) != 0)
		{
			set_exceptions(set, code, &spans);
			span_set_clear(&spans);
		}
		code = row_code;
		span_set_add(&spans, during, open);
	}
	if (code != NULL)
		set_exceptions(set, code, &spans);
}

/* Reads all calendars. */
static void *
calendar_build(ConfigCache *cache, MemoryContext context)
{
	CalendarSet *set = MemoryContextAllocZero(context, sizeof(CalendarSet));

	set->context = context;
	set->table = calendar_table_create(context, 16, NULL);
	read_calendars(set);
	read_exceptions(set);
	return set;
}

/* Returns whether there is a calendar with that code, which need not be terminated. */
bool
calendar_exists(const char *code, size_t length)
{
	CalendarSet *set = (CalendarSet *) config_cache_get(&calendar_cache);

	return calendar_table_lookup(set->table, (CodeKey){code, length}) != NULL;
}

/*
 * calendar_get returns the calendar with that code, which need not be terminated.
 *
 * Raises 23503 for an unknown one, and what config_cache_get() raises.
 */
CalendarRef
calendar_get(const char *code, size_t length)
{
	CalendarSet *set = (CalendarSet *) config_cache_get(&calendar_cache);
	CalendarEntry *entry = last_entry;

	if (unlikely(last_generation != calendar_cache.generation || entry == NULL || entry->key.length != length ||
				 memcmp(entry->key.code, code, length) != 0))
	{
		CodeKey key = {code, length};

		last_entry = NULL;
		entry = calendar_table_lookup(set->table, key);
		if (entry == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					 errmsg("calendar \"%s\" does not exist", excerpt(pnstrdup(code, length))),
					 errhint("The table omnichannel.calendar lists them.")));
		if (entry->timeline == NULL)
			entry->timeline = calendar_make_timeline(set->context, &entry->rules);
		last_entry = entry;
		last_generation = calendar_cache.generation;
	}
	return (CalendarRef){entry->timeline, entry->key.code};
}
