/*
 * timeline_impl.h
 *	  What the files of the timeline share among themselves.
 */
#ifndef CALENDAR_TIMELINE_IMPL_H
#define CALENDAR_TIMELINE_IMPL_H

#include "calendar/timeline.h"

/* 773 chunks of 189 days, 27 whole weeks, are one cycle of 400 years. */
#define CHUNK_DAYS 189
#define CHUNK_TIME (CHUNK_DAYS * ZONE_DAY)
#define CYCLE_CHUNKS (ZONE_CYCLE_DAYS / CHUNK_DAYS)

/* Cycle 0 begins in 2000, cycle 1 in 2400: the first one in which every zone follows its rule. */
#define FIRST_CYCLE (-17)
#define LAST_CYCLE 730
#define CYCLES (LAST_CYCLE - FIRST_CYCLE + 1)
#define MODEL_CYCLE 1

/*
 * Built chunks are kept in this many slots, by number: those of 529 years do not drive each other out. All are dropped
 * past so many bytes; a chunk of one spell a day takes about 4 kB.
 */
#define CHUNK_SLOTS 1024
#define CHUNK_BYTES_MAX (16 * 1024 * 1024)

/* Where ascending keys are: those with key >> shift below b are the first first[b]. */
typedef struct KeyIndex
{
	int shift;
	int *first;
} KeyIndex;

/*
 * The open units of a stretch of 189 days, as runs: spells in microseconds, or single working days.
 * before[i] is the sum of the runs before run i, and before[count] of all, so that run i is as long as their
 * difference.
 */
typedef struct Chunk
{
	int64_t number;
	bool plain; /* without the exceptions */
	int count;
	size_t size;
	int64_t *starts; /* from the chunk's start on */
	int64_t *before;
	int64_t total; /* before[count] */
	KeyIndex by_start;
	KeyIndex by_sum;
} Chunk;

/* How the chunks of a cycle of 400 years are found. */
typedef enum CycleKind
{
	CYCLE_MODEL = 0, /* those of the model cycle, without exceptions */
	CYCLE_OPEN,      /* all open */
	CYCLE_CLOSED,    /* all closed */
	CYCLE_OWN        /* built for themselves */
} CycleKind;

/* Sums over the chunks of a cycle: sums[i], for low <= i <= high, up to the start of chunk i, from some chunk on. */
typedef struct Cycle
{
	int low;
	int high;
	int64_t sums[CYCLE_CHUNKS + 1];
} Cycle;

/* What is summed. */
typedef enum Unit
{
	UNIT_TIME = 0, /* open microseconds, by instant */
	UNIT_DAY       /* working days, by local day */
} Unit;

#define UNITS 2

/* Returns the length of a chunk in ticks of the unit. */
static inline int64_t
chunk_width(Unit unit)
{
	return unit == UNIT_TIME ? CHUNK_TIME : CHUNK_DAYS;
}

typedef struct Series
{
	Cycle *shared[CYCLE_OWN]; /* by kind */
	Cycle *own[CYCLES];
	Chunk *slots[CHUNK_SLOTS];
} Series;

typedef struct SpanList
{
	int count;
	int capacity;
	TimeSpan *spans;
} SpanList;

struct Timeline
{
	TimelineHost host;
	const Zone *zone;
	int day_first[WEEK_DAYS + 1]; /* the spells of weekday d, Monday 0, are day_first[d] .. day_first[d + 1] - 1 */
	TimeSpan *day_spells;         /* microseconds after midnight, to the next midnight at most */
	SpanList closures;            /* instants, sorted, apart from each other */
	SpanList openings;
	SpanList scratch[2];
	size_t chunk_bytes;
	unsigned char kinds[CYCLES];
	Series series[UNITS];
};

/* timeline_chunk.c */
extern const Chunk *timeline_chunk(Timeline *timeline, Unit unit, int64_t number);
extern CycleKind timeline_cycle_kind(const Timeline *timeline, int64_t cycle);
extern int chunk_run_at(const Chunk *chunk, int64_t tick);
extern int chunk_run_with_sum(const Chunk *chunk, int64_t sum);

/* span_list.c */
extern void span_list_add(const TimelineHost *host, SpanList *list, int64_t start, int64_t end);
extern void span_list_tidy(SpanList *list);
extern void span_list_subtract(const TimelineHost *host, SpanList *result, const SpanList *list, const SpanList *taken,
							   TimeSpan within);
extern void span_list_unite(const TimelineHost *host, SpanList *result, const SpanList *list, const SpanList *added,
							TimeSpan within);

#endif /* CALENDAR_TIMELINE_IMPL_H */
