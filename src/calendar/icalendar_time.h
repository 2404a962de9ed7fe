/*
 * icalendar_time.h
 *	  Times in iCalendar text: in which zone they are, which instants, and how long something lasts from there.
 *
 * Plain C on libical, without the server's headers.
 */
#ifndef CALENDAR_ICALENDAR_TIME_H
#define CALENDAR_ICALENDAR_TIME_H

#include <libical/ical.h>

#include "calendar/icalendar.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

/* How a property gives its times. */
typedef struct IcalZone
{
	enum
	{
		ZONE_NONE, /* a date, or the wall clock wherever one is */
		ZONE_UTC,
		ZONE_KNOWN, /* to the host, by name */
		ZONE_OWN    /* of the text */
	} kind;
	const char *name;
	const icaltimezone *own;
} IcalZone;

/* Days by the calendar come first, then exact time (RFC 5545, 3.3.6): a day may have 23 hours. */
typedef struct IcalLength
{
	int64_t days;
	int64_t exact; /* microseconds */
} IcalLength;

extern bool ical_usable(struct icaltimetype time);
extern int64_t ical_day(struct icaltimetype time);
extern int64_t ical_wall_time(struct icaltimetype time);
extern bool ical_find_zone(const IcalReader *reader, icalproperty *property, struct icaltimetype time, IcalZone *zone);
extern int64_t ical_instant(const IcalReader *reader, const IcalZone *zone, int64_t wall);
extern IcalLength ical_duration(struct icaldurationtype duration);
extern bool ical_within_a_day(const struct icalrecurrencetype *rule);

#endif /* CALENDAR_ICALENDAR_TIME_H */
