/* sources: src/calendar/week.c src/calendar/week_parse.c */
/*
 * working_hours.c
 *	  Reads any bytes as a week, in its text form and in its binary form, and takes each that is one there and back.
 */
#include "calendar/week.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Ends the program unless the spells are canonical and their text reads back to the same. */
static void
there_and_back(const WeekSpell *spells, int count)
{
	static char text[WEEK_TEXT_MAX];
	static WeekSpell again[WEEK_MAX_SPELLS];
	WeekMinutes minutes;
	WeekError error;
	size_t length;

	if (week_check(spells, count) != NULL)
		abort();
	length = week_format(spells, count, text);
	if (length > WEEK_TEXT_MAX || !week_parse(text, length, &minutes, &error))
		abort();
	if (week_to_spells(&minutes, again) != count || memcmp(spells, again, (size_t) count * sizeof(WeekSpell)) != 0)
		abort();
	if (week_total(spells, count) < 0 || week_total(spells, count) > WEEK_MINUTES)
		abort();
	week_from_spells(&minutes, spells, count);
	if (week_to_spells(&minutes, again) != count || memcmp(spells, again, (size_t) count * sizeof(WeekSpell)) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static WeekSpell spells[WEEK_MAX_SPELLS];
	WeekMinutes minutes;
	WeekError error;

	if (week_parse((const char *) bytes, size, &minutes, &error))
		there_and_back(spells, week_to_spells(&minutes, spells));
	else if (error.position > size || error.expected == NULL)
		abort();

	if (size % sizeof(WeekSpell) == 0 && size <= sizeof(spells))
	{
		int count = (int) (size / sizeof(WeekSpell));

		memcpy(spells, bytes, size);
		if (week_check(spells, count) == NULL)
			there_and_back(spells, count);

		/* Any numbers, put in order, as spells of a week. */
		for (int i = 0; i < count; i++)
		{
			spells[i].start %= WEEK_MINUTES;
			spells[i].end %= WEEK_MINUTES + 1;
		}
		week_from_spells(&minutes, spells, count);
		there_and_back(spells, week_to_spells(&minutes, spells));
	}
	return 0;
}
