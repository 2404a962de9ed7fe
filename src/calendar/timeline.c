/*
 * timeline.c
 *	  Answers about open time in O(log n), whatever the distance.
 *
 * Time is cut into chunks of 189 days. A chunk is built when it is first needed: the week's spells become instants, the
 * closures are taken off, the openings added, and prefix sums are kept beside them. The sums of whole chunks are kept
 * for each cycle of 400 years, around the chunk that was asked for first, so that a question about this month never
 * computes the last century. From 2400 on a cycle without the edge of an exception is like any other: those share one
 * model, which bounds both time and memory up to the year 294276. A question is answered by two searches, in the sums
 * of the cycle and in the chunk, each of which begins where the answer is likely to be, so that rows in no order are
 * not answered much later than rows in the order of time.
 *
 * Working days are counted by the same means: their chunks consist of local days that have any open moment.
 */
#include "calendar/timeline_impl.h"

#include <string.h>

/* Exceptions this near to a cycle's end may touch the other cycle's days. */
#define CYCLE_MARGIN (10 * ZONE_DAY)

#define CYCLE_TIME (CYCLE_CHUNKS * CHUNK_TIME)

/* Which of the places with the same sum is meant. */
typedef enum Side
{
	SIDE_EARLY = 0, /* where the sum is reached: a closing time rather than the next opening */
	SIDE_LATE       /* where it begins to grow: an opening rather than the last closing time */
} Side;

static void *
allocate_zero(const TimelineHost *host, size_t size)
{
	return memset(host->allocate(host->context, size), 0, size);
}

/* Cuts the week's spells at midnight. */
static void
set_week(Timeline *timeline, const WeekSpell *spells, int count)
{
	int used = 0;
	int day = 0;

	timeline->day_spells =
		timeline->host.allocate(timeline->host.context, (size_t) (count + WEEK_DAYS) * sizeof(TimeSpan));
	for (int i = 0; i < count; i++)
	{
		for (int start = spells[i].start; start < spells[i].end;)
		{
			int midnight = (start / WEEK_DAY_MINUTES + 1) * WEEK_DAY_MINUTES;
			int end = spells[i].end < midnight ? spells[i].end : midnight;

			while (day < start / WEEK_DAY_MINUTES)
				timeline->day_first[++day] = used;
			timeline->day_spells[used].start = (start - day * WEEK_DAY_MINUTES) * ZONE_MINUTE;
			timeline->day_spells[used].end = (end - day * WEEK_DAY_MINUTES) * ZONE_MINUTE;
			used++;
			start = end;
		}
	}
	while (day < WEEK_DAYS)
		timeline->day_first[++day] = used;
}

/* Turns exceptions in local time into instants. */
static void
set_exceptions(Timeline *timeline, SpanList *list, const TimeSpan *spans, int count)
{
	for (int i = 0; i < count; i++)
	{
		bool starts = spans[i].start != INT64_MIN;
		bool ends = spans[i].end != INT64_MAX;

		span_list_add(&timeline->host, list, starts ? zone_to_instant(timeline->zone, spans[i].start) : INT64_MIN,
					  ends ? zone_to_instant(timeline->zone, spans[i].end) : INT64_MAX);
	}
	span_list_tidy(list);
}

/* Returns the cycle of an instant, which may lie outside the range of timestamps, kept within those that exist. */
static int
cycle_at(int64_t at)
{
	int64_t cycle = floor_div(at, CYCLE_TIME);

	return cycle < FIRST_CYCLE ? FIRST_CYCLE : cycle > LAST_CYCLE ? LAST_CYCLE : (int) cycle;
}

/* Marks the cycles that lie in a span as being all of that kind. */
static void
mark_covered(Timeline *timeline, const SpanList *list, CycleKind kind)
{
	for (int i = 0; i < list->count; i++)
	{
		int last = cycle_at(list->spans[i].end);

		for (int cycle = cycle_at(list->spans[i].start); cycle <= last; cycle++)
			timeline->kinds[cycle - FIRST_CYCLE] = (unsigned char) kind;
	}
}

/* Marks the cycles near the edges of spans as being like no other. */
static void
mark_edges(Timeline *timeline, const SpanList *list)
{
	for (int i = 0; i < list->count; i++)
	{
		int64_t edges[] = {list->spans[i].start, list->spans[i].end};

		for (int j = 0; j < 2; j++)
		{
			if (edges[j] == INT64_MIN || edges[j] == INT64_MAX)
				continue;
			timeline->kinds[cycle_at(edges[j] - CYCLE_MARGIN) - FIRST_CYCLE] = CYCLE_OWN;
			timeline->kinds[cycle_at(edges[j]) - FIRST_CYCLE] = CYCLE_OWN;
			timeline->kinds[cycle_at(edges[j] > INT64_MAX - CYCLE_MARGIN ? INT64_MAX : edges[j] + CYCLE_MARGIN) -
							FIRST_CYCLE] = CYCLE_OWN;
		}
	}
}

/* timeline_create makes a timeline in the host's memory; freeing that is all that it takes to be rid of it. */
Timeline *
timeline_create(const TimelineHost *host, const TimelineRules *rules)
{
	Timeline *timeline = allocate_zero(host, sizeof(Timeline));

	timeline->host = *host;
	timeline->zone = rules->zone;
	set_week(timeline, rules->spells, rules->spell_count);
	set_exceptions(timeline, &timeline->closures, rules->closures, rules->closure_count);
	set_exceptions(timeline, &timeline->openings, rules->openings, rules->opening_count);

	/* An edge beats an opening, which beats a closure. */
	mark_covered(timeline, &timeline->closures, CYCLE_CLOSED);
	mark_covered(timeline, &timeline->openings, CYCLE_OPEN);
	mark_edges(timeline, &timeline->closures);
	mark_edges(timeline, &timeline->openings);
	for (int cycle = FIRST_CYCLE; cycle < MODEL_CYCLE; cycle++)
		timeline->kinds[cycle - FIRST_CYCLE] = CYCLE_OWN;
	return timeline;
}

/* Returns the sum over the chunk up to a tick of it. */
static int64_t
chunk_sum_at(const Chunk *chunk, int64_t tick)
{
	int run = chunk_run_at(chunk, tick);
	int64_t sum;

	if (run < 0)
		return 0;
	sum = chunk->before[run] + (tick - chunk->starts[run]);
	return sum < chunk->before[run + 1] ? sum : chunk->before[run + 1];
}

/* Returns the tick of the chunk where its sum is `sum`, which chunk_holds(). */
static int64_t
chunk_tick_at(const Chunk *chunk, int64_t sum, Side side)
{
	int run = chunk_run_with_sum(chunk, side == SIDE_EARLY ? sum - 1 : sum);

	return chunk->starts[run] + (sum - chunk->before[run]);
}

/* Returns whether the place with that sum lies between two others with the sums low and high. */
static bool
holds(int64_t low, int64_t high, int64_t sum, Side side)
{
	return side == SIDE_EARLY ? low < sum && sum <= high : low <= sum && sum < high;
}

/* Returns the sums of a cycle, at least those at one of its chunk borders. */
static Cycle *
get_cycle(Timeline *timeline, Unit unit, int64_t number, int border)
{
	Series *series = &timeline->series[unit];
	CycleKind kind = timeline_cycle_kind(timeline, number);
	Cycle **place = kind == CYCLE_OWN ? &series->own[number - FIRST_CYCLE] : &series->shared[kind];

	if (*place == NULL)
	{
		Cycle *cycle = timeline->host.allocate(timeline->host.context, sizeof(Cycle));

		cycle->low = border;
		cycle->high = border;
		cycle->sums[border] = 0;
		*place = cycle;
	}
	return *place;
}

/* Adds the sum at the next border upwards. */
static void
extend_up(Timeline *timeline, Unit unit, int64_t number, Cycle *cycle)
{
	int64_t total = timeline_chunk(timeline, unit, number * CYCLE_CHUNKS + cycle->high)->total;

	cycle->sums[cycle->high + 1] = cycle->sums[cycle->high] + total;
	cycle->high++;
}

/* Adds the sum at the next border downwards. */
static void
extend_down(Timeline *timeline, Unit unit, int64_t number, Cycle *cycle)
{
	int64_t total = timeline_chunk(timeline, unit, number * CYCLE_CHUNKS + cycle->low - 1)->total;

	cycle->sums[cycle->low - 1] = cycle->sums[cycle->low] - total;
	cycle->low--;
}

/* Returns the sums of a cycle with the one at that border among them. */
static Cycle *
reach_border(Timeline *timeline, Unit unit, int64_t number, int border)
{
	Cycle *cycle = get_cycle(timeline, unit, number, border);

	while (cycle->high < border)
		extend_up(timeline, unit, number, cycle);
	while (cycle->low > border)
		extend_down(timeline, unit, number, cycle);
	return cycle;
}

/*
 * Returns the chunk of a cycle that holds the sum, which lies between the lowest and the highest border known.
 *
 * Most chunks are about equally open: from where it would be if all were, steps that double lead to it.
 */
static int
chunk_with_sum(const Cycle *cycle, int64_t sum, Side side)
{
	const int64_t *sums = cycle->sums;
	int low = cycle->low;
	int high = cycle->high;
	double share;
	int place;

	if (side == SIDE_EARLY)
		sum--;
	share = (double) (sum - sums[low]) / (double) (sums[high] - sums[low]);
	place = low + 1 + (int) (share * (high - low - 1));
	for (int step = 1; low < place && place < high; step *= 2)
	{
		if (sums[place] <= sum)
		{
			low = place;
			place += step;
		}
		else
		{
			high = place;
			place -= step;
		}
	}
	while (high - low > 1)
	{
		int middle = low + (high - low) / 2;

		if (sums[middle] <= sum)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/*
 * Finds the tick at which the sum has grown by amount, which may be negative, since `from`; false where there is none
 * up to the ends of time.
 */
static bool
locate(Timeline *timeline, Unit unit, int64_t from, int64_t amount, Side side, int64_t *result)
{
	int64_t width = chunk_width(unit);
	int64_t number = floor_div(from, width);
	const Chunk *chunk = timeline_chunk(timeline, unit, number);
	int64_t sum = chunk_sum_at(chunk, from - number * width);
	int64_t cycle_number;
	int border;

	/* The sum looked for, counted from the start of the chunk. */
	if (__builtin_add_overflow(sum, amount, &sum))
		return false;
	if (holds(0, chunk->total, sum, side))
	{
		*result = number * width + chunk_tick_at(chunk, sum, side);
		return true;
	}

	cycle_number = floor_div(number, CYCLE_CHUNKS);
	border = (int) (number - cycle_number * CYCLE_CHUNKS);
	while (cycle_number >= FIRST_CYCLE && cycle_number <= LAST_CYCLE)
	{
		Cycle *cycle = reach_border(timeline, unit, cycle_number, border);
		int64_t target;

		/* Sums far outside any cycle's total stand for themselves: no overflow decides. */
		if (__builtin_add_overflow(cycle->sums[border], sum, &target))
			target = sum < 0 ? INT64_MIN : INT64_MAX;

		while (cycle->high < CYCLE_CHUNKS &&
			   (side == SIDE_EARLY ? cycle->sums[cycle->high] < target : cycle->sums[cycle->high] <= target))
			extend_up(timeline, unit, cycle_number, cycle);
		while (cycle->low > 0 &&
			   (side == SIDE_EARLY ? cycle->sums[cycle->low] >= target : cycle->sums[cycle->low] > target))
			extend_down(timeline, unit, cycle_number, cycle);

		if (holds(cycle->sums[cycle->low], cycle->sums[cycle->high], target, side))
		{
			int place = chunk_with_sum(cycle, target, side);

			number = cycle_number * CYCLE_CHUNKS + place;
			target -= cycle->sums[place];
			chunk = timeline_chunk(timeline, unit, number);
			return !__builtin_mul_overflow(number, width, result) &&
				   !__builtin_add_overflow(*result, chunk_tick_at(chunk, target, side), result);
		}
		if (side == SIDE_EARLY ? target > cycle->sums[cycle->high] : target >= cycle->sums[cycle->high])
		{
			sum -= cycle->sums[CYCLE_CHUNKS] - cycle->sums[border];
			cycle_number++;
			border = 0;
		}
		else
		{
			sum += cycle->sums[border] - cycle->sums[0];
			cycle_number--;
			border = CYCLE_CHUNKS;
		}
	}
	return false;
}

/* Returns whether the instant is open. */
bool
timeline_is_open(Timeline *timeline, int64_t at)
{
	int64_t number = floor_div(at, CHUNK_TIME);
	int64_t tick = at - number * CHUNK_TIME;
	const Chunk *chunk = timeline_chunk(timeline, UNIT_TIME, number);
	int run = chunk_run_at(chunk, tick);

	return run >= 0 && tick - chunk->starts[run] < chunk->before[run + 1] - chunk->before[run];
}

/* Finds the first open instant, at the earliest `at` itself; false where none is left. */
bool
timeline_next_open(Timeline *timeline, int64_t at, int64_t *result)
{
	return locate(timeline, UNIT_TIME, at, 0, SIDE_LATE, result);
}

/* Finds the last closing time, at the latest `at` itself; false where there was none. */
bool
timeline_previous_close(Timeline *timeline, int64_t at, int64_t *result)
{
	return locate(timeline, UNIT_TIME, at, 0, SIDE_EARLY, result);
}

/*
 * timeline_next_spell finds the spell that is open at `from` or opens next, before limit; false where there is none.
 *
 * It starts at `from` at the earliest, and ends with the first closing time, or at limit.
 */
bool
timeline_next_spell(Timeline *timeline, int64_t from, int64_t limit, TimeSpan *spell)
{
	int64_t number;

	if (from >= limit || !timeline_next_open(timeline, from, &spell->start) || spell->start >= limit)
		return false;

	number = floor_div(spell->start, CHUNK_TIME);
	spell->end = spell->start;
	for (;;)
	{
		const Chunk *chunk = timeline_chunk(timeline, UNIT_TIME, number);
		int64_t tick = spell->end - number * CHUNK_TIME;
		int run = chunk_run_at(chunk, tick);
		int64_t left;

		if (run < 0)
			return true;
		left = chunk->starts[run] + (chunk->before[run + 1] - chunk->before[run]) - tick;
		if (left <= 0)
			return true;
		if ((uint64_t) limit - (uint64_t) spell->end <= (uint64_t) left)
		{
			spell->end = limit;
			return true;
		}
		spell->end += left;
		if (tick + left < CHUNK_TIME)
			return true;
		number++;
	}
}

/* Finds the open time from one instant to a later one; false where it is too much for a number. */
bool
timeline_between(Timeline *timeline, int64_t from, int64_t to, int64_t *amount)
{
	int64_t first = floor_div(from, CHUNK_TIME);
	int64_t last = floor_div(to, CHUNK_TIME);
	int64_t first_cycle = floor_div(first, CYCLE_CHUNKS);
	int64_t last_cycle = floor_div(last, CYCLE_CHUNKS);
	int first_border = (int) (first - first_cycle * CYCLE_CHUNKS);
	int last_border = (int) (last - last_cycle * CYCLE_CHUNKS);

	*amount = -chunk_sum_at(timeline_chunk(timeline, UNIT_TIME, first), from - first * CHUNK_TIME);
	for (int64_t number = first_cycle; number <= last_cycle && first != last; number++)
	{
		int low = number == first_cycle ? first_border : 0;
		int high = number == last_cycle ? last_border : CYCLE_CHUNKS;
		int64_t start = reach_border(timeline, UNIT_TIME, number, low)->sums[low];
		int64_t end = reach_border(timeline, UNIT_TIME, number, high)->sums[high];

		if (__builtin_add_overflow(*amount, end - start, amount))
			return false;
	}
	return !__builtin_add_overflow(
		*amount, chunk_sum_at(timeline_chunk(timeline, UNIT_TIME, last), to - last * CHUNK_TIME), amount);
}

/*
 * timeline_add finds where an amount of open time that starts at `at` is used up; false where there is not so much.
 *
 * Used up exactly at a closing time, it ends there. No amount leads to `at` itself if it is open, else to the next
 * opening. A negative one is counted backwards, to an opening time where it is used up exactly there.
 */
bool
timeline_add(Timeline *timeline, int64_t at, int64_t amount, int64_t *result)
{
	return locate(timeline, UNIT_TIME, at, amount, amount > 0 ? SIDE_EARLY : SIDE_LATE, result);
}

/*
 * timeline_add_days finds the same local time on the n-th later (or, negative, earlier) day with any open moment; false
 * where there are not so many. days is not zero.
 *
 * Where that time is closed, the next opening is meant, or, backwards, the last closing time.
 */
bool
timeline_add_days(Timeline *timeline, int64_t at, int64_t days, int64_t *result)
{
	int64_t local = zone_to_local(timeline->zone, at);
	int64_t today = floor_div(local, ZONE_DAY);
	int64_t day;
	int64_t time;

	if (!locate(timeline, UNIT_DAY, days > 0 ? today + 1 : today, days > 0 ? days - 1 : days, SIDE_LATE, &day))
		return false;
	if (__builtin_mul_overflow(day, ZONE_DAY, &time))
		return false;
	time = zone_to_utc(timeline->zone, time + (local - today * ZONE_DAY));
	if (time < TIMELINE_BEGIN || time >= TIMELINE_END)
		return false;
	if (days < 0 && !timeline_is_open(timeline, time))
		return timeline_previous_close(timeline, time, result);
	return timeline_next_open(timeline, time, result);
}
