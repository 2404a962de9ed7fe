/*
 * skills.c
 *	  Reads, writes and compares sets of skills, in plain C so that it can be fuzzed without a server.
 */
#include "skills.h"

#include <stdlib.h>
#include <string.h>

/* Capitals of the ASCII letters only: a code must not depend on the locale. */
static unsigned char
fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char) (c - 'A' + 'a') : (unsigned char) c;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether a character may stand in a word of a code. */
static bool
is_word(char c)
{
	unsigned char folded = fold(c);

	return (folded >= 'a' && folded <= 'z') || is_digit(c) || folded == '_';
}

/* Whether these characters are a code: words joined by single dots or hyphens, the first begun by a letter. */
static bool
is_code(const char *code, size_t length)
{
	bool after_word = false;

	if (length == 0 || !is_word(code[0]) || is_digit(code[0]) || code[0] == '_')
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (is_word(code[i]))
			after_word = true;
		else if ((code[i] == '.' || code[i] == '-') && after_word)
			after_word = false;
		else
			return false;
	}
	return after_word;
}

/* Compares two codes in byte order, capitals as small letters. */
static int
skill_code_compare(const SkillItem *a, const SkillItem *b)
{
	int common = a->length < b->length ? a->length : b->length;

	for (int i = 0; i < common; i++)
	{
		int difference = (int) fold(a->code[i]) - (int) fold(b->code[i]);

		if (difference != 0)
			return difference;
	}
	return a->length - b->length;
}

static int
compare_items(const void *a, const void *b)
{
	return skill_code_compare(a, b);
}

/* Notes which part of the input is wrong and returns the status. */
static SkillStatus
wrong(SkillStatus status, const char *text, const char *from, const char *to, SkillError *error)
{
	error->at = (size_t) (from - text);
	error->length = (size_t) (to - from);
	return status;
}

/* Returns the end of what a person would take for one piece: up to a comma or white space. */
static const char *
piece_end(const char *at, const char *end)
{
	while (at < end && *at != ',' && !is_space(*at))
		at++;
	return at;
}

/*
 * skill_parse reads "billing:4, lang.pl" into items, sorted by code, which must have room for SKILL_COUNT_MAX.
 *
 * The codes point into the text. A code without a level has level 1. On any status but SKILL_OK the error says where
 * the text is wrong.
 */
SkillStatus
skill_parse(const char *text, size_t size, SkillItem *items, int *count, SkillError *error)
{
	const char *at = text;
	const char *end = text + size;
	int found = 0;

	*count = 0;
	while (at < end && is_space(*at))
		at++;
	if (at == end)
		return SKILL_OK;

	for (;;)
	{
		const char *code = at;
		int level = 1;

		while (at < end && (is_word(*at) || *at == '.' || *at == '-'))
			at++;
		if (!is_code(code, (size_t) (at - code)) || (at < end && !is_space(*at) && *at != ':' && *at != ','))
			return wrong(SKILL_BAD_CODE, text, code, piece_end(at, end), error);
		if (at - code > SKILL_CODE_MAX)
			return wrong(SKILL_LONG_CODE, text, code, at, error);
		if (found == SKILL_COUNT_MAX)
			return wrong(SKILL_TOO_MANY, text, code, at, error);
		items[found].code = code;
		items[found].length = (int) (at - code);

		while (at < end && is_space(*at))
			at++;
		if (at < end && *at == ':')
		{
			const char *digits;

			at++;
			while (at < end && is_space(*at))
				at++;
			digits = at;
			for (level = 0; at < end && is_digit(*at) && level <= SKILL_LEVEL_MAX; at++)
				level = level * 10 + (*at - '0');
			if (at == digits || level < 1 || level > SKILL_LEVEL_MAX || piece_end(at, end) != at)
				return wrong(SKILL_BAD_LEVEL, text, code, piece_end(at, end), error);
			while (at < end && is_space(*at))
				at++;
		}
		items[found++].level = level;

		if (at == end)
			break;
		if (*at != ',')
			return wrong(SKILL_NO_COMMA, text, at, piece_end(at, end), error);
		at++;
		while (at < end && is_space(*at))
			at++;
	}

	qsort(items, (size_t) found, sizeof(SkillItem), compare_items);
	for (int i = 1; i < found; i++)
	{
		if (skill_code_compare(&items[i - 1], &items[i]) == 0)
			return wrong(SKILL_TWICE, text, items[i].code, items[i].code + items[i].length, error);
	}
	*count = found;
	return SKILL_OK;
}

/* Writes the stored form of sorted items and returns its size; with bytes NULL it only counts. */
size_t
skill_encode(const SkillItem *items, int count, unsigned char *bytes)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
	{
		if (bytes != NULL)
		{
			bytes[size] = (unsigned char) items[i].length;
			for (int c = 0; c < items[i].length; c++)
				bytes[size + 1 + (size_t) c] = fold(items[i].code[c]);
			bytes[size + 1 + (size_t) items[i].length] = (unsigned char) items[i].level;
		}
		size += (size_t) items[i].length + 2;
	}
	return size;
}

/* Reads the next item of a valid stored form and moves on; returns false at its end. */
bool
skill_next(const unsigned char **next, const unsigned char *end, SkillItem *item)
{
	if (*next >= end)
		return false;
	item->length = (*next)[0];
	item->code = (const char *) *next + 1;
	item->level = (*next)[1 + item->length];
	*next += item->length + 2;
	return true;
}

/* Returns whether these bytes, which may be any, are a stored form; the error says where they are not. */
SkillStatus
skill_validate(const unsigned char *bytes, size_t size, SkillError *error)
{
	const unsigned char *end = bytes + size;
	const unsigned char *next = bytes;
	SkillItem before = {0};
	SkillItem item;
	int count = 0;

	while (next < end)
	{
		error->at = (size_t) (next - bytes);
		error->length = (size_t) (end - next);
		if (error->length < (size_t) next[0] + 2)
			return SKILL_CUT_SHORT;
		error->length = (size_t) next[0] + 2;
		if (next[0] > SKILL_CODE_MAX)
			return SKILL_LONG_CODE;
		(void) skill_next(&next, end, &item);
		if (!is_code(item.code, (size_t) item.length))
			return SKILL_BAD_CODE;
		for (int i = 0; i < item.length; i++)
		{
			if (fold(item.code[i]) != (unsigned char) item.code[i])
				return SKILL_BAD_CODE;
		}
		if (item.level < 1 || item.level > SKILL_LEVEL_MAX)
			return SKILL_BAD_LEVEL;
		if (count > 0 && skill_code_compare(&before, &item) >= 0)
			return skill_code_compare(&before, &item) == 0 ? SKILL_TWICE : SKILL_NOT_SORTED;
		if (++count > SKILL_COUNT_MAX)
			return SKILL_TOO_MANY;
		before = item;
	}
	return SKILL_OK;
}

/* Writes the canonical text of a stored form, terminated; returns its length without the terminator. */
size_t
skill_format(const unsigned char *bytes, size_t size, char *text)
{
	const unsigned char *next = bytes;
	const unsigned char *end = bytes + size;
	char *out = text;
	SkillItem item;

	while (skill_next(&next, end, &item))
	{
		if (out != text)
		{
			*out++ = ',';
			*out++ = ' ';
		}
		memcpy(out, item.code, (size_t) item.length);
		out += item.length;
		*out++ = ':';
		if (item.level >= 10)
			*out++ = (char) ('0' + item.level / 10);
		*out++ = (char) ('0' + item.level % 10);
	}
	*out = '\0';
	return (size_t) (out - text);
}

/* Returns the level of a code, in capitals or not, or 0 where the set has no such skill. */
int
skill_find(const unsigned char *bytes, size_t size, const char *code, size_t length)
{
	const unsigned char *next = bytes;
	const unsigned char *end = bytes + size;
	SkillItem wanted = {.code = code, .length = (int) length};
	SkillItem item;

	if (length > SKILL_CODE_MAX)
		return 0;
	while (skill_next(&next, end, &item))
	{
		int order = skill_code_compare(&item, &wanted);

		if (order >= 0)
			return order == 0 ? item.level : 0;
	}
	return 0;
}

/* Returns whether the one set has every skill of the other, each at its level or above. */
bool
skill_contains(const unsigned char *has, size_t has_size, const unsigned char *asked, size_t asked_size)
{
	const unsigned char *has_end = has + has_size;
	const unsigned char *asked_end = asked + asked_size;
	SkillItem wanted;
	SkillItem item;

	while (skill_next(&asked, asked_end, &wanted))
	{
		int order = -1;

		while (order < 0 && skill_next(&has, has_end, &item))
		{
			int common = item.length < wanted.length ? item.length : wanted.length;

			order = memcmp(item.code, wanted.code, (size_t) common);
			if (order == 0)
				order = item.length - wanted.length;
		}
		if (order != 0 || item.level < wanted.level)
			return false;
	}
	return true;
}

/* Compares item by item: code, then level; a set that is the beginning of another comes before it. */
int
skill_compare(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size)
{
	const unsigned char *a_end = a + a_size;
	const unsigned char *b_end = b + b_size;
	SkillItem x;
	SkillItem y;

	for (;;)
	{
		bool more_a = skill_next(&a, a_end, &x);
		bool more_b = skill_next(&b, b_end, &y);
		int order;

		if (!more_a || !more_b)
			return (int) more_a - (int) more_b;
		order = skill_code_compare(&x, &y);
		if (order == 0)
			order = x.level - y.level;
		if (order != 0)
			return order;
	}
}
