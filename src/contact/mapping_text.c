/*
 * mapping_text.c
 *	  Takes the text of a mapping apart: {column} names a column, anything else stands for itself.
 *
 * Pure, so that it can be fuzzed without a server.
 */
#include <string.h>

#include "contact/mapping_text.h"

/*
 * mapping_next_part finds the stretch that rest begins with and moves rest behind it; returns false at the end.
 *
 * A column's name is what stands between a brace and the next closing one, if anything does. A brace that names no
 * column begins a stretch that stands for itself, up to the next opening one.
 */
bool
mapping_next_part(const char **rest, const char **text, size_t *length, bool *column)
{
	const char *start = *rest;
	const char *close = *start == '{' ? strchr(start, '}') : NULL;

	if (*start == '\0')
		return false;
	*column = close != NULL && close > start + 1;
	*text = *column ? start + 1 : start;
	*length = *column ? (size_t) (close - start) - 1 : 1 + strcspn(start + 1, "{");
	*rest = *column ? close + 1 : start + *length;
	return true;
}
