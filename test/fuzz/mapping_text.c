/* sources: src/contact/mapping_text.c */
/*
 * mapping_text.c
 *	  Any text as a mapping: its stretches, put together again, are the text, and are those that a slow reader finds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contact/mapping_text.h"
#include "fuzz.h"

/* What the driver tries; a longer text has nothing new. */
#define MAX_TEXT 300

/* Returns the length of the column's name that stands in braces at the start of text, or 0. */
static size_t
slow_column(const char *text)
{
	size_t length = 0;

	if (text[0] != '{')
		return 0;
	for (size_t i = 1; text[i] != '}'; i++)
	{
		if (text[i] == '\0')
			return 0;
		length++;
	}
	return length;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text;
	char again[MAX_TEXT + 1] = "";
	size_t used = 0;
	const char *rest;
	const char *part;
	size_t length;
	bool column;

	if (size > MAX_TEXT)
		return 0;
	text = malloc(size + 1);
	memcpy(text, bytes, size);
	text[size] = '\0';
	rest = text;
	while (mapping_next_part(&rest, &part, &length, &column))
	{
		const char *start = text + used;
		size_t expected = slow_column(start);

		CHECK(length > 0);
		CHECK(column == (expected > 0));
		if (column)
		{
			CHECK(length == expected && memchr(part, '}', length) == NULL && part == start + 1);
			sprintf(again + used, "{%.*s}", (int) length, part);
			used += length + 2;
		}
		else
		{
			/* It ends where a brace begins something else, and nowhere before. */
			CHECK(part == start && memchr(part + 1, '{', length - 1) == NULL &&
				  (part[length] == '\0' || part[length] == '{'));
			sprintf(again + used, "%.*s", (int) length, part);
			used += length;
		}
		CHECK(rest == text + used);
	}
	CHECK(*rest == '\0' && strcmp(again, text) == 0);
	free(text);
	return 0;
}
