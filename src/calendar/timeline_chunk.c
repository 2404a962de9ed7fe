/*
 * timeline_chunk.c
 *	  Builds a timeline's stretches of 189 days when they are asked for, and keeps the last ones.
 */
#include "calendar/timeline_impl.h"

#include <string.h>

/* Days that may be converted without a thought of overflow. */
#define LAST_DAY (INT64_MAX / ZONE_DAY - 10)

/* The last chunk that begins within the range of timestamps; in microseconds, later ones may be no numbers. */
#define LAST_CHUNK ((TIMELINE_END - 1) / CHUNK_TIME)

/* Local times further than this from a change of the offset have one meaning. */
#define CALM_SECONDS (10 * INT64_C(86400))

static const Chunk *source_chunk(Timeline *timeline, Unit unit, int64_t number, bool plain);

/*
 * Returns the last day, from `day` on, up to which the zone keeps one offset, and that offset; day - 1 where a change
 * is near.
 */
static int64_t
calm_until(const Zone *zone, int64_t day, int32_t *offset)
{
	int64_t shift = 0;
	int index;
	int64_t until;

	if (day >= ZONE_FOLD_DAY + ZONE_CYCLE_DAYS)
		shift = (day - ZONE_FOLD_DAY) / ZONE_CYCLE_DAYS * ZONE_CYCLE_DAYS;
	day -= shift;

	index = zone_change_after(zone, (day - 1) * 86400);
	*offset = index == 0 ? zone->first_offset : zone->changes[index - 1].after;
	if (index == zone->count)
		return INT64_MAX;
	until = floor_div(zone->changes[index].at - CALM_SECONDS, 86400);
	return (until < day ? day - 1 : until) + shift;
}

/* Writes the week's spells within a chunk's instants to the list. */
static void
add_week_spells(Timeline *timeline, SpanList *list, TimeSpan within)
{
	const Zone *zone = timeline->zone;
	int64_t margin = zone->widest_offset / 86400 + 2;
	int64_t last = floor_div(within.end - 1, ZONE_DAY) + margin;
	int64_t calm = INT64_MIN;
	int32_t offset = 0;

	list->count = 0;
	if (timeline->day_first[WEEK_DAYS] == 0)
		return;
	if (last > LAST_DAY)
		last = LAST_DAY;
	for (int64_t day = floor_div(within.start, ZONE_DAY) - margin; day <= last; day++)
	{
		/* 2000-01-01 was a Saturday. */
		int weekday = (int) (day + 5 - floor_div(day + 5, WEEK_DAYS) * WEEK_DAYS);

		if (timeline->day_first[weekday] == timeline->day_first[weekday + 1])
			continue;
		if (day > calm)
		{
			calm = calm_until(zone, day, &offset);
			if (day > calm && zone_skips_day(zone, day))
				continue;
		}
		for (int i = timeline->day_first[weekday]; i < timeline->day_first[weekday + 1]; i++)
		{
			int64_t start = day * ZONE_DAY + timeline->day_spells[i].start;
			int64_t end = day * ZONE_DAY + timeline->day_spells[i].end;

			if (day <= calm)
			{
				start -= offset * ZONE_SECOND;
				end -= offset * ZONE_SECOND;
			}
			else
			{
				start = zone_to_utc(zone, start);
				end = zone_to_utc(zone, end);
			}
			span_list_add(&timeline->host, list, start > within.start ? start : within.start,
						  end < within.end ? end : within.end);
		}
	}
	span_list_tidy(list);
}

/* Returns by how much to shift keys up to `last`, so that there are at most twice as many results as keys, and one. */
static int
index_shift(int64_t last, int count)
{
	int shift = 0;

	while (last >> shift > (int64_t) count * 2)
		shift++;
	return shift;
}

/* Returns the number of entries in an index of keys up to `last`. */
static size_t
index_entries(int64_t last, int shift)
{
	return (size_t) (last >> shift) + 2;
}

/* Fills an index of keys up to `last` in. */
static void
fill_index(const KeyIndex *index, int64_t last, const int64_t *keys, int count)
{
	int key = 0;

	for (int64_t i = 0; i <= (last >> index->shift) + 1; i++)
	{
		while (key < count && keys[key] >> index->shift < i)
			key++;
		index->first[i] = key;
	}
}

/* Returns a new chunk with room for the runs, whose sum is total; index_chunk() completes it. */
static Chunk *
new_chunk(Timeline *timeline, Unit unit, int64_t number, bool plain, int count, int64_t total)
{
	int64_t width = chunk_width(unit);
	int start_shift = index_shift(width, count);
	int sum_shift = index_shift(total, count);
	size_t start_entries = index_entries(width, start_shift);
	size_t size = sizeof(Chunk) + ((size_t) count * 2 + 1) * sizeof(int64_t) +
				  (start_entries + index_entries(total, sum_shift)) * sizeof(int);
	Chunk *chunk = timeline->host.allocate(timeline->host.context, size);

	chunk->number = number;
	chunk->plain = plain;
	chunk->count = count;
	chunk->size = size;
	chunk->starts = (int64_t *) (chunk + 1);
	chunk->before = chunk->starts + count;
	chunk->total = total;
	chunk->by_start.shift = start_shift;
	chunk->by_start.first = (int *) (chunk->before + count + 1);
	chunk->by_sum.shift = sum_shift;
	chunk->by_sum.first = chunk->by_start.first + start_entries;
	return chunk;
}

/* Completes a chunk whose runs are set. */
static Chunk *
index_chunk(Chunk *chunk, Unit unit)
{
	fill_index(&chunk->by_start, chunk_width(unit), chunk->starts, chunk->count);
	fill_index(&chunk->by_sum, chunk->total, chunk->before, chunk->count);
	return chunk;
}

/* Builds the open spells of a chunk: (hours - closures) + openings, or the hours alone where it is to be plain. */
static Chunk *
build_time_chunk(Timeline *timeline, int64_t number, bool plain)
{
	SpanList *list = &timeline->scratch[0];
	int64_t total = 0;
	int64_t sum = 0;
	TimeSpan within;
	Chunk *chunk;

	within.start = number * CHUNK_TIME;
	within.end = within.start > INT64_MAX - CHUNK_TIME ? INT64_MAX : within.start + CHUNK_TIME;

	add_week_spells(timeline, list, within);
	if (!plain)
	{
		span_list_subtract(&timeline->host, &timeline->scratch[1], list, &timeline->closures, within);
		span_list_unite(&timeline->host, list, &timeline->scratch[1], &timeline->openings, within);
	}

	for (int i = 0; i < list->count; i++)
		total += list->spans[i].end - list->spans[i].start;
	chunk = new_chunk(timeline, UNIT_TIME, number, plain, list->count, total);
	for (int i = 0; i < list->count; i++)
	{
		chunk->starts[i] = list->spans[i].start - within.start;
		chunk->before[i] = sum;
		sum += list->spans[i].end - list->spans[i].start;
	}
	chunk->before[list->count] = total;
	return index_chunk(chunk, UNIT_TIME);
}

/* Returns whether any moment from start to end is open. */
static bool
any_open(Timeline *timeline, int64_t start, int64_t end, bool plain)
{
	while (start < end)
	{
		int64_t number = floor_div(start, CHUNK_TIME);
		const Chunk *chunk =
			plain ? source_chunk(timeline, UNIT_TIME, number, true) : timeline_chunk(timeline, UNIT_TIME, number);
		int64_t from = start - number * CHUNK_TIME;
		int64_t length = end - start;
		int run = chunk_run_at(chunk, from);

		if (run >= 0 && from - chunk->starts[run] < chunk->before[run + 1] - chunk->before[run])
			return true;
		if (run + 1 < chunk->count && chunk->starts[run + 1] - from < length)
			return true;
		if (length <= CHUNK_TIME - from)
			return false;
		start += CHUNK_TIME - from;
	}
	return false;
}

/* Builds the working days of a chunk: the local days with any open moment. */
static Chunk *
build_day_chunk(Timeline *timeline, int64_t number, bool plain)
{
	int64_t open[CHUNK_DAYS];
	int count = 0;
	Chunk *chunk;

	for (int i = 0; i < CHUNK_DAYS; i++)
	{
		int64_t day = number * CHUNK_DAYS + i;

		if (day < LAST_DAY && any_open(timeline, zone_to_utc(timeline->zone, day * ZONE_DAY),
									   zone_to_utc(timeline->zone, (day + 1) * ZONE_DAY), plain))
			open[count++] = i;
	}
	chunk = new_chunk(timeline, UNIT_DAY, number, plain, count, count);
	for (int i = 0; i < count; i++)
	{
		chunk->starts[i] = open[i];
		chunk->before[i] = i;
	}
	chunk->before[count] = count;
	return index_chunk(chunk, UNIT_DAY);
}

/* Drops all chunks that are kept. */
static void
drop_chunks(Timeline *timeline)
{
	for (int unit = 0; unit < UNITS; unit++)
	{
		for (int slot = 0; slot < CHUNK_SLOTS; slot++)
		{
			Chunk *chunk = timeline->series[unit].slots[slot];

			timeline->series[unit].slots[slot] = NULL;
			if (chunk != NULL)
				timeline->host.release(chunk);
		}
	}
	timeline->chunk_bytes = 0;
}

/* Returns a chunk as built of the hours, and of the exceptions unless plain; good until the next one is fetched. */
static const Chunk *
source_chunk(Timeline *timeline, Unit unit, int64_t number, bool plain)
{
	Chunk **slot = &timeline->series[unit].slots[(uint64_t) number % CHUNK_SLOTS];
	Chunk *chunk = *slot;

	if (chunk != NULL && chunk->number == number && chunk->plain == plain)
		return chunk;

	timeline->host.check_interrupts();
	chunk = unit == UNIT_TIME ? build_time_chunk(timeline, number, plain) : build_day_chunk(timeline, number, plain);

	if (timeline->chunk_bytes + chunk->size > CHUNK_BYTES_MAX)
		drop_chunks(timeline);
	if (*slot != NULL)
	{
		timeline->chunk_bytes -= (*slot)->size;
		timeline->host.release(*slot);
	}
	*slot = chunk;
	timeline->chunk_bytes += chunk->size;
	return chunk;
}

/* Returns how the chunks of a cycle are found. */
CycleKind
timeline_cycle_kind(const Timeline *timeline, int64_t cycle)
{
	if (cycle < FIRST_CYCLE || cycle > LAST_CYCLE)
		return CYCLE_OWN;
	return (CycleKind) timeline->kinds[cycle - FIRST_CYCLE];
}

/* Returns a chunk, good until the next one is fetched. */
const Chunk *
timeline_chunk(Timeline *timeline, Unit unit, int64_t number)
{
	static int64_t starts[] = {0};
	static int64_t all_time[] = {0, CHUNK_TIME};
	static int64_t all_days[] = {0, CHUNK_DAYS};
	static int64_t nothing[] = {0};
	static int one_key[] = {0, 1};
	static int no_key[] = {0, 0};
	static const Chunk open_chunks[UNITS] = {
		{.count = 1,
		 .starts = starts,
		 .before = all_time,
		 .total = CHUNK_TIME,
		 .by_start = {62, one_key},
		 .by_sum = {62, one_key}},
		{.count = 1,
		 .starts = starts,
		 .before = all_days,
		 .total = CHUNK_DAYS,
		 .by_start = {62, one_key},
		 .by_sum = {62, one_key}},
	};
	static const Chunk closed_chunk = {
		.starts = starts, .before = nothing, .by_start = {62, no_key}, .by_sum = {62, no_key}};

	int64_t cycle = floor_div(number, CYCLE_CHUNKS);

	switch (timeline_cycle_kind(timeline, cycle))
	{
		case CYCLE_MODEL:
			return source_chunk(timeline, unit, number + (MODEL_CYCLE - cycle) * CYCLE_CHUNKS, true);
		case CYCLE_OPEN:
			return &open_chunks[unit];
		case CYCLE_CLOSED:
			return &closed_chunk;
		case CYCLE_OWN:
			break;
	}
	return number > LAST_CHUNK ? &closed_chunk : source_chunk(timeline, unit, number, false);
}

/* Returns the last key that is not larger than that one, or -1. */
static int
last_key(const KeyIndex *index, const int64_t *keys, int64_t key)
{
	const int *place = &index->first[key >> index->shift];
	int low = place[0];
	int high = place[1];

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (keys[middle] > key)
			high = middle;
		else
			low = middle + 1;
	}
	return low - 1;
}

/* Returns the last run that starts at or before a tick of the chunk, or -1. */
int
chunk_run_at(const Chunk *chunk, int64_t tick)
{
	return last_key(&chunk->by_start, chunk->starts, tick);
}

/* Returns the run within which the sum grows beyond that one, which is below the total. */
int
chunk_run_with_sum(const Chunk *chunk, int64_t sum)
{
	return last_key(&chunk->by_sum, chunk->before, sum);
}
