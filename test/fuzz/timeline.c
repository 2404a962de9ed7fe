/* sources: src/calendar/timeline.c src/calendar/timeline_chunk.c src/calendar/span_list.c src/calendar/zone.c src/calendar/week.c */
/*
 * timeline.c
 *	  The engine of working time against a slow and obvious one, which walks minute by minute.
 *
 * The input makes a zone with a few changes, a week, exceptions and questions, somewhere between 4713 BC and 294276.
 * The walker asks of each minute whether it lies in a spell of one of the days around it. It is slow: of the inputs,
 * those whose hash is a multiple of WALKED are walked.
 */
#include "calendar/timeline.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALKED 128
#define WINDOW_DAYS 5
#define WINDOW_MINUTES (WINDOW_DAYS * 1440)
#define MAX_SPELLS 8
#define MAX_EXCEPTIONS 6
#define MAX_CHANGES 4
#define DAY_SECONDS INT64_C(86400)
#define CYCLE_SECONDS (ZONE_CYCLE_DAYS * DAY_SECONDS)

typedef struct Block
{
	struct Block *next;
	struct Block **link;
} Block;

static Block *blocks;
static const uint8_t *input;
static size_t input_size;

static ZoneChange changes[3 * MAX_CHANGES];
static Zone zone;
static WeekSpell spells[MAX_SPELLS];
static int spell_count;
static TimeSpan closures[MAX_EXCEPTIONS];
static int closure_count;
static TimeSpan openings[MAX_EXCEPTIONS];
static int opening_count;
static int64_t base; /* the day, from 2000-01-01, in whose midst the window begins */
static bool open_minutes[WINDOW_MINUTES];

static void *
allocate(void *context __attribute__((unused)), size_t size)
{
	Block *block = malloc(sizeof(Block) + size);

	if (block == NULL)
		abort();
	memset(block, 0xA5, sizeof(Block) + size);
	block->next = blocks;
	block->link = &blocks;
	if (blocks != NULL)
		blocks->link = &block->next;
	blocks = block;
	return block + 1;
}

static void
release(void *pointer)
{
	Block *block = (Block *) pointer - 1;

	*block->link = block->next;
	if (block->next != NULL)
		block->next->link = block->link;
	free(block);
}

static void
check_interrupts(void)
{
}

/* Returns a number below limit made of the next bytes of the input; 0 past its end. */
static int64_t
take(int64_t limit)
{
	uint64_t number = 0;

	for (int64_t reach = 1; reach < limit; reach *= 256)
	{
		number = number * 256 + (input_size > 0 ? *input : 0);
		if (input_size > 0)
		{
			input++;
			input_size--;
		}
		if (reach > INT64_MAX / 256)
			break;
	}
	return (int64_t) (number % (uint64_t) limit);
}

/* Chooses where the window lies: near borders that the engine has, or anywhere. */
static void
make_base(void)
{
	static const int64_t days[] = {0,          189,    -189,       9500,    146097,   146097 + 189 * 3, 146463,
								   2 * 146097, 292560, 3 * 146097, -146097, -2451500, 146097 * 250,     106751900,
								   100000,     -800000};

	if (take(4) == 0)
		base = -2451500 + take(2451500 + INT64_C(106751900));
	else
		base = days[take(sizeof(days) / sizeof(days[0]))] + take(8) - 4;
}

/* Puts a change in the list and repeats it in each cycle from 2400 to the end of the list. */
static void
make_zone(void)
{
	int32_t offset = (int32_t) (take(105) - 48) * 900;
	int count = (int) take(MAX_CHANGES + 1);
	int64_t around = base * DAY_SECONDS;
	int64_t shift = 0;
	int64_t minute = -1440;
	bool late = around >= 146097 * DAY_SECONDS;
	int used = 0;
	int32_t first = offset;
	ZoneChange made[MAX_CHANGES];

	/* What happens after 2400 happens in every cycle. */
	if (late)
	{
		while (around - shift >= 2 * 146097 * DAY_SECONDS)
			shift += CYCLE_SECONDS;
	}
	for (int i = 0; i < count; i++)
	{
		static const int32_t steps[] = {3600, -3600, 1800, -1800, 7200, 86400, -86400, 0, 82800, -82800};

		minute += 1 + take(3000);
		made[i].at = around - shift + minute * 60;
		made[i].before = offset;
		offset += steps[take(sizeof(steps) / sizeof(steps[0]))];
		made[i].after = offset;
	}
	/* The last one leads back to where the cycle begins. */
	if (late && count > 0)
		made[count - 1].after = first;

	for (int64_t cycle = late ? -1 : 0; cycle <= (late ? 1 : 0); cycle++)
	{
		for (int i = 0; i < count; i++)
		{
			ZoneChange change = made[i];

			change.at += cycle * CYCLE_SECONDS;
			/* What happened in the last days of 2399 bears on the first ones of the cycle. */
			if (late && change.at < (146097 - 30) * DAY_SECONDS)
				continue;
			if (change.at < ZONE_CHANGES_END)
				changes[used++] = change;
		}
	}
	zone.changes = changes;
	zone.count = used;
	zone.first_offset = first;
	zone_finish(&zone);
}

/* Returns UTC of a local time as the server says it, step by step. */
static int64_t
slow_to_utc(int64_t local_minute)
{
	int64_t local = local_minute * 60;
	int64_t folded = 0;

	while (local - folded >= (ZONE_FOLD_DAY + ZONE_CYCLE_DAYS) * DAY_SECONDS)
		folded +=
			((local - folded - (ZONE_FOLD_DAY + ZONE_CYCLE_DAYS) * DAY_SECONDS) / CYCLE_SECONDS + 1) * CYCLE_SECONDS;
	local -= folded;
	for (int i = 0; i < zone.count; i++)
	{
		int64_t before = local - changes[i].before;
		int64_t after = local - changes[i].after;

		if (changes[i].at <= local - DAY_SECONDS)
			continue;
		if (before < changes[i].at && after < changes[i].at)
			return (before + folded) / 60;
		if (before > changes[i].at && after >= changes[i].at)
			return (after + folded) / 60;
		return ((before > after ? before : after) + folded) / 60;
	}
	return (local - (zone.count > 0 ? changes[zone.count - 1].after : zone.first_offset) + folded) / 60;
}

static bool
slow_day_skipped(int64_t day)
{
	return slow_to_utc((day + 1) * 1440) <= slow_to_utc(day * 1440);
}

static bool
slow_covers(const TimeSpan *spans, int count, int64_t minute)
{
	for (int i = 0; i < count; i++)
	{
		int64_t ends[2] = {spans[i].start, spans[i].end};

		for (int j = 0; j < 2; j++)
		{
			if (ends[j] == INT64_MIN || ends[j] == INT64_MAX)
				continue;
			if (slow_day_skipped(floor_div(ends[j], ZONE_DAY)))
				ends[j] = floor_div(ends[j], ZONE_DAY) * ZONE_DAY;
			ends[j] = slow_to_utc(floor_div(ends[j], ZONE_MINUTE)) * ZONE_MINUTE;
		}
		if (ends[0] <= minute * ZONE_MINUTE && minute * ZONE_MINUTE < ends[1])
			return true;
	}
	return false;
}

/* Returns whether a minute of UTC is open. */
static bool
slow_is_open(int64_t minute)
{
	bool open = false;
	int64_t today = floor_div(minute, 1440);

	for (int64_t day = today - 4; day <= today + 4 && !open; day++)
	{
		int64_t monday = 2 + 7 * floor_div(day - 2, 7);

		if (slow_day_skipped(day))
			continue;
		for (int i = 0; i < spell_count && !open; i++)
		{
			int64_t start = monday * 1440 + spells[i].start;
			int64_t end = monday * 1440 + spells[i].end;

			/* The part of the spell that is this day's. */
			if (start < day * 1440)
				start = day * 1440;
			if (end > (day + 1) * 1440)
				end = (day + 1) * 1440;
			open = start < end && slow_to_utc(start) <= minute && minute < slow_to_utc(end);
		}
	}
	if (slow_covers(closures, closure_count, minute))
		open = false;
	return open || slow_covers(openings, opening_count, minute);
}

static void
make_week(void)
{
	int minute = 0;

	spell_count = 0;
	if (take(16) == 0)
	{
		spells[spell_count++] = (WeekSpell){0, WEEK_MINUTES};
		return;
	}
	for (int i = (int) take(MAX_SPELLS + 1); i > 0; i--)
	{
		int start = minute + (minute == 0 ? 0 : 1) + (int) take(2000);
		int end = start + 1 + (int) take(2000);

		if (end > WEEK_MINUTES)
			break;
		spells[spell_count++] = (WeekSpell){(uint16_t) start, (uint16_t) end};
		minute = end;
	}
}

static void
make_exceptions(void)
{
	closure_count = opening_count = 0;
	for (int i = (int) take(MAX_EXCEPTIONS + 1); i > 0; i--)
	{
		TimeSpan span;

		span.start = base * ZONE_DAY + (take(WINDOW_MINUTES) - 720) * ZONE_MINUTE;
		span.end = span.start + take(3000) * ZONE_MINUTE;
		switch (take(16))
		{
			case 0:
				span.start = INT64_MIN;
				break;
			case 1:
				span.end = INT64_MAX;
				break;
			case 2:
				if (span.end < TIMELINE_END - 400 * 366 * ZONE_DAY)
					span.end += 400 * 366 * ZONE_DAY;
				break;
		}
		if (take(2) == 0)
			closures[closure_count++] = span;
		else
			openings[opening_count++] = span;
	}
}

/* Compares the engine's answers from `at` on, a minute of the window, with those of the walk. */
static void
compare_from(Timeline *timeline, int64_t first, int at)
{
	int64_t fraction = take(ZONE_MINUTE);
	int64_t start = (first + at) * ZONE_MINUTE + fraction;
	int64_t target = take(600) * take(120) * 1000000 + take(1000000);
	int64_t left = target;
	int64_t expected = INT64_MAX;
	int64_t sum = 0;
	int64_t answer;

	CHECK(timeline_is_open(timeline, start) == open_minutes[at]);

	/* Forwards: used up, at the latest, at the end of a minute. */
	for (int i = at; i < WINDOW_MINUTES && expected == INT64_MAX; i++)
	{
		int64_t from = i == at ? fraction : 0;

		if (!open_minutes[i])
			continue;
		if (target == 0 || left <= ZONE_MINUTE - from)
			expected = (first + i) * ZONE_MINUTE + from + left;
		left -= ZONE_MINUTE - from;
	}
	if (expected != INT64_MAX)
	{
		CHECK(timeline_add(timeline, start, target, &answer) && answer == expected);
		CHECK(timeline_between(timeline, start, answer, &sum) && sum == target);
	}
	else
		CHECK(!timeline_add(timeline, start, target, &answer) || answer >= (first + WINDOW_MINUTES) * ZONE_MINUTE);

	/* Backwards. */
	if (target > 0)
	{
		left = target;
		expected = INT64_MAX;
		for (int i = at; i >= 0 && expected == INT64_MAX; i--)
		{
			int64_t to = i == at ? fraction : ZONE_MINUTE;

			if (!open_minutes[i])
				continue;
			if (left <= to && to > 0)
				expected = (first + i) * ZONE_MINUTE + to - left;
			left -= to;
		}
		if (expected != INT64_MAX)
			CHECK(timeline_add(timeline, start, -target, &answer) && answer == expected);
		else
			CHECK(!timeline_add(timeline, start, -target, &answer) || answer < first * ZONE_MINUTE);
	}
}

/* Compares the spells of the window with those of the walk. */
static void
compare_spells(Timeline *timeline, int64_t first)
{
	int64_t at = first * ZONE_MINUTE;
	int64_t end = (first + WINDOW_MINUTES) * ZONE_MINUTE;
	int64_t sum;
	int64_t walked = 0;
	TimeSpan spell;
	int i = 0;

	while (timeline_next_spell(timeline, at, end, &spell))
	{
		while (i < WINDOW_MINUTES && !open_minutes[i])
			i++;
		CHECK(spell.start == (first + i) * ZONE_MINUTE);
		while (i < WINDOW_MINUTES && open_minutes[i])
			i++;
		CHECK(spell.end == (first + i) * ZONE_MINUTE);
		walked += spell.end - spell.start;
		at = spell.end;
	}
	while (i < WINDOW_MINUTES && !open_minutes[i])
		i++;
	CHECK(i == WINDOW_MINUTES);
	CHECK(timeline_between(timeline, first * ZONE_MINUTE, end, &sum) && sum == walked);
}

/* Compares working days: a day counts where one of its minutes is open. */
static void
compare_days(Timeline *timeline, int64_t first)
{
	/* In the midst of the window: there are two days to either side. */
	int64_t start = (first + 2 * 1440 + take(1440)) * ZONE_MINUTE;
	int64_t local = zone_to_local(&zone, start);
	int64_t day = floor_div(local, ZONE_DAY);
	int64_t minute_of_day = (local - day * ZONE_DAY) / ZONE_MINUTE;
	int64_t days = 1 + take(2);
	int64_t step = take(2) == 0 ? 1 : -1;
	int64_t answer;
	int64_t expected;

	for (int64_t found = 0; found < days;)
	{
		int64_t from;
		int64_t to;
		bool open = false;

		day += step;
		from = slow_to_utc(day * 1440) - first;
		to = slow_to_utc((day + 1) * 1440) - first;
		if (from < 0 || to > WINDOW_MINUTES)
			return;
		for (int64_t i = from; i < to && !open; i++)
			open = open_minutes[i];
		if (open)
			found++;
	}
	expected = slow_to_utc(day * 1440 + minute_of_day) - first;
	if (expected < 0 || expected >= WINDOW_MINUTES)
		return;
	/* Closed then: the next opening, or backwards the last closing time. */
	if (step > 0 || open_minutes[expected])
		while (expected < WINDOW_MINUTES && !open_minutes[expected])
			expected++;
	else
		while (expected > 0 && !open_minutes[expected - 1])
			expected--;
	if (expected > 0 && expected < WINDOW_MINUTES)
		CHECK(timeline_add_days(timeline, start, step * days, &answer) && answer == (first + expected) * ZONE_MINUTE);
}

/* Checks what must hold between any instants, however far apart. */
static void
check_far(Timeline *timeline)
{
	int64_t at[3];
	int64_t ab;
	int64_t bc;
	int64_t ac;
	int64_t answer;

	for (int i = 0; i < 3; i++)
	{
		at[i] = take(2) == 0 ? (base - 1000) * ZONE_DAY + take(1000 * ZONE_DAY)
							 : (TIMELINE_BEGIN / ZONE_DAY + take(109203480)) * ZONE_DAY + take(ZONE_DAY);
		if (at[i] >= TIMELINE_END)
			at[i] = TIMELINE_END - 1;
		if (at[i] < TIMELINE_BEGIN)
			at[i] = TIMELINE_BEGIN;
	}
	for (int i = 0; i < 3; i++)
	{
		for (int j = i + 1; j < 3; j++)
		{
			if (at[j] < at[i])
			{
				int64_t swap = at[i];

				at[i] = at[j];
				at[j] = swap;
			}
		}
	}
	if (!timeline_between(timeline, at[0], at[1], &ab) || !timeline_between(timeline, at[1], at[2], &bc) ||
		!timeline_between(timeline, at[0], at[2], &ac))
		return;
	CHECK(ab >= 0 && bc >= 0 && (uint64_t) ab <= (uint64_t) at[1] - (uint64_t) at[0] && ac == ab + bc);
	if (ab < at[1] / 2 - at[0] / 2)
	{
		TimeSpan spell;

		if (timeline_next_spell(timeline, at[0], at[2], &spell))
		{
			CHECK(at[0] <= spell.start && spell.start < spell.end && spell.end <= at[2]);
			CHECK(timeline_between(timeline, spell.start, spell.end, &bc) && bc == spell.end - spell.start);
			CHECK(spell.end == at[2] || !timeline_is_open(timeline, spell.end));
		}
	}
	if (ab > 0)
	{
		/* The moment when that much is used up is at most the other end, with nothing open between. */
		CHECK(timeline_add(timeline, at[0], ab, &answer) && answer <= at[1] && answer > at[0]);
		CHECK(timeline_between(timeline, answer, at[1], &bc) && bc == 0);
		CHECK(timeline_add(timeline, at[1], -ab, &answer) && answer >= at[0] && answer < at[1]);
		CHECK(timeline_between(timeline, at[0], answer, &bc) && bc == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	TimelineHost host = {allocate, release, check_interrupts, NULL};
	uint32_t hash = 2166136261u;
	TimelineRules rules;
	Timeline *timeline;
	int64_t first;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	if (hash % WALKED != 0)
		return 0;

	input = bytes;
	input_size = size;
	make_base();
	make_zone();
	make_week();
	make_exceptions();
	rules = (TimelineRules){&zone, spells, spell_count, closures, closure_count, openings, opening_count};
	timeline = timeline_create(&host, &rules);

	first = base * 1440;
	for (int i = 0; i < WINDOW_MINUTES; i++)
		open_minutes[i] = slow_is_open(first + i);

	for (int i = 0; i < 8; i++)
		compare_from(timeline, first, (int) take(WINDOW_MINUTES));
	compare_spells(timeline, first);
	compare_days(timeline, first);
	if (take(200) == 0)
		check_far(timeline);

	while (blocks != NULL)
		release(blocks + 1);
	return 0;
}
