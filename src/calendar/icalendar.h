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
#define ICALENDAR_EXCLUSIONS_MAX 1000000
#define ICALENDAR_UID_MAX 1024

/* So many days, in some seconds, are looked at for those of rules. */
#define ICALENDAR_DAYS_MAX INT64_C(100000000)

/* One occurrence of an event, or, without a length, an event that was cancelled or never takes place. */
typedef struct IcalSpan
{
	const char *uid;
	const char *name; /* NULL where it has none */
	bool is_local;    /* whole days on the wall clock; else both times are in UTC */
	int64_t start;    /* microseconds since 2000-01-01 00:00 */
	int64_t end;
} IcalSpan;

typedef enum IcalStatus
{
	ICAL_READ = 0,
	ICAL_MALFORMED,   /* it is no iCalendar text, or an event of it is broken */
	ICAL_UNSUPPORTED, /* an event recurs within a day, ends in another zone, or has another of the things not read */
	ICAL_TOO_MUCH,    /* too long a text or UID, too many occurrences, or too few in too many days */
	ICAL_STOPPED,     /* stop() said so */
	ICAL_NO_MEMORY
} IcalStatus;

typedef struct IcalReader
{
	bool (*zone_known)(const char *name); /* by the host; a zone that is not must be defined by the text */
	/* The instant of a wall-clock time in a known zone; NULL: in that of times without one. */
	int64_t (*to_utc)(const struct IcalReader *reader, const char *zone, int64_t wall);
	bool (*stop)(void);
	const void *host; /* for to_utc() */
	int last_year;    /* of events that recur */

	/* filled in by icalendar_read(), which see */
	IcalSpan *spans;
	int count;
	int capacity;
	char problem[400]; /* for people, where the status is not ICAL_READ */
	void *root;

	/* while it reads */
	struct IcalExclusion *exclusions;
	size_t exclusion_count;
	size_t exclusion_capacity;
	int64_t days; /* that were looked at */
} IcalReader;

extern IcalStatus icalendar_read(IcalReader *reader, const char *text);
extern void icalendar_free(IcalReader *reader);

#endif /* CALENDAR_ICALENDAR_H */
