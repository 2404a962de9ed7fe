/*
 * week.c
 *	  Weeks as sets of minutes and as spells, and the canonical text of one.
 *
 * The set is what the parser and the operators work on, because rules that overlap need no thought there; the sorted
 * spells are what is stored, compared and walked.
 */
#include "calendar/week.h"

#include <string.h>

static const char *const day_names[WEEK_DAYS] = {"Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"};

/* Makes the set of the spells' minutes. */
void
week_from_spells(WeekMinutes *minutes, const WeekSpell *spells, int count)
{
	memset(minutes, 0, sizeof(*minutes));
	for (int i = 0; i < count; i++)
	{
		for (int minute = spells[i].start; minute < spells[i].end;)
		{
			if (minute % 64 == 0 && spells[i].end - minute >= 64)
			{
				minutes->words[minute / 64] = UINT64_MAX;
				minute += 64;
			}
			else
			{
				minutes->words[minute / 64] |= UINT64_C(1) << (minute % 64);
				minute++;
			}
		}
	}
}

/* Returns the first minute from `from` on that is in the set, or not in it where invert is all ones. */
static int
next_minute(const WeekMinutes *minutes, int from, uint64_t invert)
{
	int word = from / 64;
	uint64_t bits;

	if (from >= WEEK_MINUTES)
		return WEEK_MINUTES;
	bits = (minutes->words[word] ^ invert) & (UINT64_MAX << (from % 64));
	while (bits == 0)
	{
		if (++word == WEEK_WORDS)
			return WEEK_MINUTES;
		bits = minutes->words[word] ^ invert;
	}
	from = word * 64 + __builtin_ctzll(bits);
	return from < WEEK_MINUTES ? from : WEEK_MINUTES;
}

/* Writes the set as sorted spells that neither overlap nor touch, WEEK_MAX_SPELLS at most; returns their number. */
int
week_to_spells(const WeekMinutes *minutes, WeekSpell *spells)
{
	int count = 0;
	int start;
	int end = 0;

	while ((start = next_minute(minutes, end, 0)) < WEEK_MINUTES)
	{
		end = next_minute(minutes, start, UINT64_MAX);
		spells[count].start = (uint16_t) start;
		spells[count].end = (uint16_t) end;
		count++;
	}
	return count;
}

/* Returns NULL where the spells are as week_to_spells() writes them, else what is wrong. */
const char *
week_check(const WeekSpell *spells, int count)
{
	if (count < 0 || count > WEEK_MAX_SPELLS)
		return "the number of spells is out of range";
	for (int i = 0; i < count; i++)
	{
		if (spells[i].end > WEEK_MINUTES)
			return "a spell ends after the week";
		if (spells[i].start >= spells[i].end)
			return "a spell ends before it starts";
		if (i > 0 && spells[i].start <= spells[i - 1].end)
			return "spells touch, overlap or are out of order";
	}
	return NULL;
}

/* Returns the open minutes of a week. */
int
week_total(const WeekSpell *spells, int count)
{
	int total = 0;

	for (int i = 0; i < count; i++)
		total += spells[i].end - spells[i].start;
	return total;
}

/* A spell as it is written: of the day on which it starts, its end possibly on the next one. */
typedef struct DaySpell
{
	uint16_t start;
	uint16_t end;
} DaySpell;

typedef struct DaySpells
{
	int first[WEEK_DAYS + 1]; /* the spells of day d are first[d] .. first[d + 1] - 1 */
	DaySpell spells[WEEK_MAX_SPELLS + WEEK_DAYS];
} DaySpells;

/* Cuts the spells into those of each day. One under 24 hours stays whole over midnight, a longer one is cut there. */
static void
split_days(const WeekSpell *spells, int count, DaySpells *days)
{
	int used = 0;
	int day = 0;
	bool wraps = count > 1 && spells[0].start == 0 && spells[count - 1].end == WEEK_MINUTES &&
				 spells[count - 1].end - spells[count - 1].start + spells[0].end < WEEK_DAY_MINUTES;

	days->first[0] = 0;
	for (int i = wraps ? 1 : 0; i < count; i++)
	{
		int start = spells[i].start;
		int end = spells[i].end;

		if (wraps && i == count - 1)
			end += spells[0].end;
		while (start < end)
		{
			int midnight = (start / WEEK_DAY_MINUTES + 1) * WEEK_DAY_MINUTES;
			int part_end = end <= midnight || end - start < WEEK_DAY_MINUTES ? end : midnight;

			while (day < start / WEEK_DAY_MINUTES)
				days->first[++day] = used;
			days->spells[used].start = (uint16_t) (start % WEEK_DAY_MINUTES);
			days->spells[used].end = (uint16_t) (start % WEEK_DAY_MINUTES + part_end - start);
			used++;
			start = part_end;
		}
	}
	while (day < WEEK_DAYS)
		days->first[++day] = used;
}

static bool
same_day(const DaySpells *days, int a, int b)
{
	int count = days->first[a + 1] - days->first[a];

	return count == days->first[b + 1] - days->first[b] &&
		   memcmp(&days->spells[days->first[a]], &days->spells[days->first[b]], (size_t) count * sizeof(DaySpell)) == 0;
}

static char *
put_text(char *out, const char *text)
{
	size_t length = strlen(text);

	memcpy(out, text, length);
	return out + length;
}

/* Writes HH:MM of minutes after midnight; the next day's hours start again at 00. */
static char *
put_time(char *out, int minutes)
{
	if (minutes > WEEK_DAY_MINUTES)
		minutes -= WEEK_DAY_MINUTES;
	out[0] = (char) ('0' + minutes / 600);
	out[1] = (char) ('0' + minutes / 60 % 10);
	out[2] = ':';
	out[3] = (char) ('0' + minutes % 60 / 10);
	out[4] = (char) ('0' + minutes % 10);
	return out + 5;
}

/* Writes the names of the days from `day` on that are like it, and marks them as written. */
static char *
put_days(char *out, const DaySpells *days, int day, bool *written)
{
	const char *separator = "";

	for (int from = day; from < WEEK_DAYS; from++)
	{
		int to = from;

		if (written[from] || !same_day(days, day, from))
			continue;
		while (to + 1 < WEEK_DAYS && same_day(days, day, to + 1))
			to++;
		out = put_text(out, separator);
		out = put_text(out, day_names[from]);
		if (to > from)
		{
			*out++ = '-';
			out = put_text(out, day_names[to]);
		}
		for (int i = from; i <= to; i++)
			written[i] = true;
		separator = ",";
		from = to;
	}
	return out;
}

/*
 * week_format writes the canonical text, not terminated, and returns its length.
 *
 * text has room for WEEK_TEXT_MAX bytes. What it writes, week_parse() reads back to the same spells.
 */
size_t
week_format(const WeekSpell *spells, int count, char *text)
{
	DaySpells days;
	bool written[WEEK_DAYS] = {false};
	char *out = text;

	if (count == 0)
		return (size_t) (put_text(out, "off") - text);
	if (count == 1 && spells[0].start == 0 && spells[0].end == WEEK_MINUTES)
		return (size_t) (put_text(out, "24/7") - text);

	split_days(spells, count, &days);
	for (int day = 0; day < WEEK_DAYS; day++)
	{
		const char *separator = " ";

		if (written[day] || days.first[day] == days.first[day + 1])
			continue;
		if (out > text)
			out = put_text(out, "; ");
		out = put_days(out, &days, day, written);
		for (int i = days.first[day]; i < days.first[day + 1]; i++)
		{
			out = put_text(out, separator);
			out = put_time(out, days.spells[i].start);
			*out++ = '-';
			out = put_time(out, days.spells[i].end);
			separator = ",";
		}
	}
	return (size_t) (out - text);
}
