/* sources: src/routing/skills.c */
/*
 * skill_set.c
 *	  Any bytes as the text and as the stored form of a set of skills.
 *
 * What is accepted must come back the same: a text through its stored form and its canonical text, a stored form
 * through its text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/routing/skills.h"
#include "fuzz.h"

/* Formats a valid stored form, reads the text back and compares. */
static void
check_round_trip(const unsigned char *bytes, size_t size)
{
	SkillItem *items = malloc(SKILL_COUNT_MAX * sizeof(SkillItem));
	char *text = malloc(SKILL_TEXT_MAX(size));
	unsigned char *again = malloc(size + 1);
	SkillError error;
	int count;
	size_t length = skill_format(bytes, size, text);

	CHECK(length < SKILL_TEXT_MAX(size));
	CHECK(skill_parse(text, length, items, &count, &error) == SKILL_OK);
	CHECK(skill_encode(items, count, NULL) == size);
	CHECK(skill_encode(items, count, again) == size);
	CHECK(memcmp(bytes, again, size) == 0);
	CHECK(skill_compare(bytes, size, again, size) == 0);
	CHECK(skill_contains(bytes, size, again, size));
	for (int i = 0; i < count; i++)
		CHECK(skill_find(bytes, size, items[i].code, (size_t) items[i].length) == items[i].level);
	free(items);
	free(text);
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SkillItem *items = malloc(SKILL_COUNT_MAX * sizeof(SkillItem));
	SkillError error = {0};
	int count;

	if (skill_parse((const char *) data, size, items, &count, &error) == SKILL_OK)
	{
		size_t stored_size = skill_encode(items, count, NULL);
		unsigned char *stored = malloc(stored_size + 1);

		skill_encode(items, count, stored);
		CHECK(skill_validate(stored, stored_size, &error) == SKILL_OK);
		check_round_trip(stored, stored_size);
		free(stored);
	}
	else
		CHECK(error.at <= size && error.length <= size - error.at);

	if (skill_validate(data, size, &error) == SKILL_OK)
	{
		/* Any two beginnings of it that are sets themselves can be compared. */
		check_round_trip(data, size);
		for (size_t part = 0; part < size && part < 256; part++)
		{
			if (skill_validate(data, part, &error) == SKILL_OK)
				CHECK(skill_contains(data, size, data, part) && skill_compare(data, part, data, size) < 0);
		}
	}
	else
		CHECK(error.at <= size && error.length <= size - error.at);

	free(items);
	return 0;
}
