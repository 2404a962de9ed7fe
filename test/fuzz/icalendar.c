/* sources: src/calendar/icalendar.c src/calendar/icalendar_date.c src/calendar/icalendar_event.c src/calendar/icalendar_rule.c src/calendar/icalendar_time.c -lical */
/*
 * icalendar.c
 *	  Reads any bytes as iCalendar text; what comes out must be spans with an end after the start, or without length.
 *
 * libical takes most of the time: of the inputs, those whose hash is a multiple of TRIED are tried.
 */
#include "calendar/icalendar.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#define TRIED 32

static bool
zone_known(const char *name)
{
	return strcmp(name, "Europe/Berlin") == 0;
}

/* Changes its offset every half year. */
static int64_t
to_utc(const IcalReader *reader, const char *zone, int64_t wall)
{
	int64_t hour = INT64_C(3600000000);

	return wall - hour * (1 + (wall / (182 * 24 * hour)) % 2);
}

static bool
stop(void)
{
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	IcalReader reader = {.zone_known = zone_known, .to_utc = to_utc, .stop = stop, .last_year = 2040};
	uint32_t hash = 2166136261u;
	IcalStatus status;
	char *text;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	if (hash % TRIED != 0)
		return 0;

	text = malloc(size + 1);
	if (text == NULL)
		abort();
	memcpy(text, bytes, size);
	text[size] = '\0';
	status = icalendar_read(&reader, text);
	if (status != ICAL_READ && reader.problem[0] == '\0')
		abort();
	for (int i = 0; i < reader.count; i++)
	{
		const IcalSpan *span = &reader.spans[i];

		if (span->uid == NULL || span->end < span->start)
			abort();
		if (strlen(span->uid) > size || (span->name != NULL && strlen(span->name) > size))
			abort();
	}
	icalendar_free(&reader);
	free(text);
	return 0;
}
