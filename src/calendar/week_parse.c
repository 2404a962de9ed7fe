/*
 * week_parse.c
 *	  Reads a week in the opening_hours notation of OpenStreetMap, the part of it that is about a plain week.
 *
 *	  week  = rule { ";" rule | "," rule }
 *	  rule  = "24/7" | [ days ] hours
 *	  days  = day [ "-" day ] { "," day [ "-" day ] }
 *	  hours = "off" | "closed" | time "-" time { "," time "-" time }
 *
 * A rule after ";" replaces the days that it names, one after "," adds to them; a rule without days is for every day. A
 * spell belongs to the day on which it starts, so that "Fr 22:00-06:00; Sa off" keeps Saturday's first six hours open:
 * they are the end of Friday night.
 */
#include "calendar/week.h"

#include <string.h>

#define ALL_DAYS ((1 << WEEK_DAYS) - 1)
#define NAME_MAX_LENGTH 9 /* wednesday */

/* The minutes of the spells that start on one day; they end on the next at the latest. */
#define DAY_WORDS (2 * WEEK_DAY_MINUTES / 64)

typedef struct Parser
{
	const char *text;
	size_t length;
	size_t at;
	WeekError *error;
	uint64_t days[WEEK_DAYS][DAY_WORDS];
} Parser;

static const char *const full_names[WEEK_DAYS] = {"monday", "tuesday",  "wednesday", "thursday",
												  "friday", "saturday", "sunday"};

static bool
fail(Parser *parser, const char *expected, const char *hint)
{
	parser->error->position = parser->at;
	parser->error->expected = expected;
	parser->error->hint = hint;
	return false;
}

static void
skip_space(Parser *parser)
{
	while (parser->at < parser->length && memchr(" \t\n\r\f\v", parser->text[parser->at], 6) != NULL)
		parser->at++;
}

/* Returns the byte that comes next, or 0 at the end (a zero byte in the text is no token either). */
static char
peek(const Parser *parser)
{
	return parser->at < parser->length ? parser->text[parser->at] : '\0';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Takes the sign c, and the space before it, if that is what comes next. */
static bool
accept(Parser *parser, char c)
{
	size_t before = parser->at;

	skip_space(parser);
	if (peek(parser) == c)
	{
		parser->at++;
		return true;
	}
	parser->at = before;
	return false;
}

/* Copies the letters that come next to word in lower case and returns their number, 0 where it is none or too many. */
static size_t
peek_word(const Parser *parser, char *word)
{
	size_t length = 0;

	while (parser->at + length < parser->length && is_letter(parser->text[parser->at + length]))
	{
		if (length == NAME_MAX_LENGTH)
			return 0;
		word[length] = (char) (parser->text[parser->at + length] | 0x20);
		length++;
	}
	word[length] = '\0';
	return length;
}

/* Takes "off" or "closed" if that is what comes next. */
static bool
accept_off(Parser *parser)
{
	char word[NAME_MAX_LENGTH + 1];
	size_t length = peek_word(parser, word);

	if (length == 0 || (strcmp(word, "off") != 0 && strcmp(word, "closed") != 0))
		return false;
	parser->at += length;
	return true;
}

/* Takes "24/7" if that is what comes next. */
static bool
accept_always(Parser *parser)
{
	if (parser->length - parser->at < 4 || memcmp(parser->text + parser->at, "24/7", 4) != 0 ||
		(parser->length - parser->at > 4 && is_digit(parser->text[parser->at + 4])))
		return false;
	parser->at += 4;
	return true;
}

/* Reads a day's English name, two letters of it at least. */
static bool
parse_day(Parser *parser, int *day)
{
	char word[NAME_MAX_LENGTH + 1];
	size_t length = peek_word(parser, word);

	if (length >= 2)
	{
		for (*day = 0; *day < WEEK_DAYS; ++*day)
		{
			if (strncmp(word, full_names[*day], length) == 0)
			{
				parser->at += length;
				return true;
			}
		}
		if (strcmp(word, "ph") == 0 || strcmp(word, "sh") == 0)
			return fail(parser, "a day of the week", "Holidays are exceptions of a calendar: see add_holiday().");
	}
	return fail(parser, "a day of the week", NULL);
}

/* Reads days and ranges of days; a range may go over the end of the week. */
static bool
parse_days(Parser *parser, int *days)
{
	*days = 0;
	do
	{
		int day;
		int last;

		skip_space(parser);
		if (!parse_day(parser, &day))
			return false;
		last = day;
		if (accept(parser, '-'))
		{
			skip_space(parser);
			if (!parse_day(parser, &last))
				return false;
		}
		*days |= 1 << day;
		while (day != last)
		{
			day = (day + 1) % WEEK_DAYS;
			*days |= 1 << day;
		}
	} while (accept(parser, ','));
	return true;
}

/* Reads H:MM or HH:MM, at most 24:00, as minutes after midnight. */
static bool
parse_time(Parser *parser, int *minutes)
{
	size_t start = parser->at;
	int hour = 0;
	int minute = 0;
	int digits = 0;

	for (; is_digit(peek(parser)) && digits < 2; digits++)
		hour = hour * 10 + parser->text[parser->at++] - '0';
	if (digits == 0)
		return fail(parser, "a time", NULL);
	if (peek(parser) != ':')
		return fail(parser, "\":\" and minutes", "Times are hours and minutes, as in 09:00.");
	parser->at++;
	for (digits = 0; is_digit(peek(parser)) && digits < 2; digits++)
		minute = minute * 10 + parser->text[parser->at++] - '0';
	if (digits != 2 || is_digit(peek(parser)))
		return fail(parser, "two digits of minutes", "Times are hours and minutes, as in 09:00.");
	if (peek(parser) == ':')
		return fail(parser, "no seconds", "Times are hours and minutes, as in 09:00.");
	if (hour > 24 || minute > 59 || (hour == 24 && minute > 0))
	{
		parser->at = start;
		return fail(parser, "a time from 00:00 to 24:00", "Hours after midnight follow a dash: 22:00-02:00.");
	}
	*minutes = hour * 60 + minute;
	return true;
}

/* Adds the minutes from start to end to the set of a day. */
static void
add_minutes(uint64_t *words, int start, int end)
{
	while (start < end)
	{
		int bit = start % 64;
		int count = 64 - bit < end - start ? 64 - bit : end - start;

		words[start / 64] |= (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << bit;
		start += count;
	}
}

/* Adds the minutes from start to end to those of the days. */
static void
add_spell(Parser *parser, int days, int start, int end)
{
	for (int day = 0; day < WEEK_DAYS; day++)
	{
		if (days & (1 << day))
			add_minutes(parser->days[day], start, end);
	}
}

/* Forgets what earlier rules said of the days. */
static void
clear_days(Parser *parser, int days)
{
	for (int day = 0; day < WEEK_DAYS; day++)
	{
		if (days & (1 << day))
			memset(parser->days[day], 0, sizeof(parser->days[day]));
	}
}

/* Reads spells up to the end of the rule; one that does not end after its start ends on the next day. */
static bool
parse_spells(Parser *parser, int days)
{
	for (;;)
	{
		size_t start_at;
		size_t comma;
		int start;
		int end;

		skip_space(parser);
		start_at = parser->at;
		if (!parse_time(parser, &start))
			return false;
		if (start == WEEK_DAY_MINUTES)
		{
			parser->at = start_at;
			return fail(parser, "a start before 24:00", "A spell that starts at midnight starts at 00:00.");
		}
		if (!accept(parser, '-'))
		{
			skip_space(parser);
			return fail(parser, "\"-\" and the time of closing", NULL);
		}
		skip_space(parser);
		if (!parse_time(parser, &end))
			return false;
		if (start == end)
		{
			parser->at = start_at;
			return fail(parser, "a spell that ends after it starts", "The whole day is 00:00-24:00.");
		}
		add_spell(parser, days, start, start < end ? end : end + WEEK_DAY_MINUTES);

		comma = parser->at;
		if (!accept(parser, ','))
			return true;
		skip_space(parser);
		if (is_letter(peek(parser)))
		{
			/* The comma leads to a further rule. */
			parser->at = comma;
			return true;
		}
	}
}

/* Reads one rule. */
static bool
parse_rule(Parser *parser, bool additional)
{
	int days = ALL_DAYS;

	skip_space(parser);
	if (accept_always(parser))
	{
		add_spell(parser, days, 0, WEEK_DAY_MINUTES);
		return true;
	}
	if (accept_off(parser))
	{
		clear_days(parser, days);
		return true;
	}
	if (is_letter(peek(parser)))
	{
		if (!parse_days(parser, &days))
			return false;
		skip_space(parser);
		if (accept_off(parser))
		{
			clear_days(parser, days);
			return true;
		}
		if (!is_digit(peek(parser)))
			return fail(parser, "a time or \"off\"", NULL);
	}
	else if (!is_digit(peek(parser)))
		return fail(parser, "a day of the week, a time, \"24/7\" or \"off\"", NULL);

	if (!additional)
		clear_days(parser, days);
	return parse_spells(parser, days);
}

/* Joins the days' minutes to a week; what goes past its end is the start of Monday. */
static void
join_days(const Parser *parser, WeekMinutes *minutes)
{
	memset(minutes, 0, sizeof(*minutes));
	for (int day = 0; day < WEEK_DAYS; day++)
	{
		for (int word = 0; word < DAY_WORDS; word++)
		{
			for (uint64_t bits = parser->days[day][word]; bits != 0; bits &= bits - 1)
			{
				int minute = day * WEEK_DAY_MINUTES + word * 64 + __builtin_ctzll(bits);

				minute %= WEEK_MINUTES;
				minutes->words[minute / 64] |= UINT64_C(1) << (minute % 64);
			}
		}
	}
}

/* week_parse reads a week from text of any bytes; returns false and fills in *error where it is malformed. */
bool
week_parse(const char *text, size_t length, WeekMinutes *minutes, WeekError *error)
{
	Parser parser = {.text = text, .length = length, .error = error};
	bool additional = false;

	if (length > WEEK_LITERAL_MAX)
	{
		parser.at = WEEK_LITERAL_MAX;
		return fail(&parser, "at most a megabyte of text", "A week has no more than 5,040 spells.");
	}
	for (;;)
	{
		if (!parse_rule(&parser, additional))
			return false;
		if (accept(&parser, ';'))
			additional = false;
		else if (accept(&parser, ','))
			additional = true;
		else
			break;
	}
	skip_space(&parser);
	if (parser.at < length)
		return fail(&parser, "\";\" and the next days, or the end", NULL);
	join_days(&parser, minutes);
	return true;
}
