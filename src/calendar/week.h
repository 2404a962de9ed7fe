/*
 * week.h
 *	  A week of opening times: its sets of minutes, their algebra and their text form.
 *
 * Plain C without the server's headers, so that it can be fuzzed alone.
 */
#ifndef CALENDAR_WEEK_H
#define CALENDAR_WEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEEK_DAYS 7
#define WEEK_DAY_MINUTES 1440
#define WEEK_MINUTES (WEEK_DAYS * WEEK_DAY_MINUTES)
#define WEEK_MAX_SPELLS (WEEK_MINUTES / 2)
#define WEEK_WORDS ((WEEK_MINUTES + 63) / 64)

/* No canonical text is longer: 12 characters a spell, and names of days. */
#define WEEK_TEXT_MAX 65536

/* A literal longer than this is refused unread. */
#define WEEK_LITERAL_MAX (1024 * 1024)

/* A spell of open minutes, counted from Monday 00:00; half-open. */
typedef struct WeekSpell
{
	uint16_t start;
	uint16_t end;
} WeekSpell;

/* The same as a set: bit m is the minute m of the week. Bits past the week are zero. */
typedef struct WeekMinutes
{
	uint64_t words[WEEK_WORDS];
} WeekMinutes;

typedef struct WeekError
{
	size_t position;      /* of the offending byte, from 0 */
	const char *expected; /* "a day's name", … */
	const char *hint;     /* a sentence, or NULL where the form as such is in question */
} WeekError;

extern bool week_parse(const char *text, size_t length, WeekMinutes *minutes, WeekError *error);
extern size_t week_format(const WeekSpell *spells, int count, char *text);

extern void week_from_spells(WeekMinutes *minutes, const WeekSpell *spells, int count);
extern int week_to_spells(const WeekMinutes *minutes, WeekSpell *spells);
extern const char *week_check(const WeekSpell *spells, int count);
extern int week_total(const WeekSpell *spells, int count);

#endif /* CALENDAR_WEEK_H */
