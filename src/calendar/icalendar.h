/*
 * icalendar.h
 *	  The events of an iCalendar text (RFC 5545) as spans of wall-clock time.
 *
 * Plain C on libical, without the server's headers.
 */
#ifndef CALENDAR_ICALENDAR_H
#define CALENDAR_ICALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Larger texts and longer lists are refused. */
#define ICALENDAR_TEXT_MAX (4 * 1024 * 1024)
#define ICALENDAR_SPANS_MAX 50000

/* One occurrence of an event, or, without a length, an event that was cancelled or never takes place. */
typedef struct IcalSpan
{
	const char *uid;
	const char *name; /* NULL where it has none */
	const char *zone; /* NULL: wall-clock time wherever one is; else the name of the zone of both times, or UTC */
	int64_t start;    /* microseconds since 2000-01-01 00:00 */
	int64_t end;
} IcalSpan;

typedef enum IcalStatus
{
	ICAL_READ = 0,
	ICAL_MALFORMED,   /* it is no iCalendar text, or an event of it is broken */
	ICAL_UNSUPPORTED, /* an event recurs within a day */
	ICAL_TOO_MUCH,    /* too long a text, or too many occurrences */
	ICAL_STOPPED,     /* stop() said so */
	ICAL_NO_MEMORY
} IcalStatus;

typedef struct IcalReader
{
	bool (*zone_known)(const char *name); /* by the host; a zone that is not must be defined by the text */
	bool (*stop)(void);
	int last_year; /* of occurrences */

	/* filled in by icalendar_read(), which see */
	IcalSpan *spans;
	int count;
	int capacity;
	char problem[400]; /* for people, where the status is not ICAL_READ */
	void *root;
} IcalReader;

extern IcalStatus icalendar_read(IcalReader *reader, const char *text);
extern void icalendar_free(IcalReader *reader);

#endif /* CALENDAR_ICALENDAR_H */
