/*
 * icalendar_impl.h
 *	  What the files of the iCalendar reader share among themselves.
 *
 * Plain C on libical, without the server's headers.
 */
#ifndef CALENDAR_ICALENDAR_IMPL_H
#define CALENDAR_ICALENDAR_IMPL_H

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

/* How an occurrence that there is not, or not like that, is named. */
typedef enum IcalNameForm
{
	THE_SERIES,     /* none: an event that moves no occurrence */
	BY_DAY,         /* a date: whatever starts on it */
	BY_TIME_OF_DAY, /* the day of a time: events of whole days */
	BY_WALL_TIME,   /* a time without a zone: on the clock of the event */
	BY_INSTANT,
	BY_PERIOD /* the instant from which RDATE gives another length */
} IcalNameForm;

typedef struct IcalExclusion
{
	const char *uid;
	IcalNameForm form;
	int64_t at; /* a day, or microseconds */
} IcalExclusion;

/* An event with what all its occurrences have in common. */
typedef struct IcalEvent
{
	IcalReader *reader;
	icalcomponent *component;
	const char *uid;
	const char *name;
	struct icaltimetype start;
	IcalZone zone;
	IcalLength length;
	bool recurs;
	bool cancelled;
	bool superseded; /* by another version of it */
	IcalExclusion moved;
	int sequence;
	int64_t stamp; /* when this version of it was written; microseconds on the wall clock */
} IcalEvent;

/* The days of a period; a year has the most. */
#define RULE_DAYS_MAX 366

/* Which numbers of a list from -366 to 366 are in a rule; 0 stands for all where there may be none. */
typedef struct RuleNumbers
{
	bool given;
	bool has[2 * RULE_DAYS_MAX + 1];
} RuleNumbers;

/* A rule that was found to be in order. */
typedef struct IcalRule
{
	int frequency; /* of libical */
	int interval;
	int week_start; /* Monday is 0 */
	struct icaltimetype start;
	int64_t start_day;
	bool by_any_day;
	bool by_position_in_month;
	RuleNumbers months;
	RuleNumbers week_numbers;
	RuleNumbers year_days;
	RuleNumbers month_days;
	RuleNumbers weekdays[7];
	RuleNumbers positions;
} IcalRule;

/* icalendar_date.c */
extern int64_t ical_day_number(int year, int month, int day);
extern struct icaltimetype ical_date(int64_t day);
extern int64_t ical_day(struct icaltimetype time);

/* icalendar_event.c */
extern IcalStatus ical_problem(IcalReader *reader, IcalStatus status, const char *uid, const char *what);
extern int ical_compare_exclusions(const void *a, const void *b);
extern IcalStatus ical_read_event(IcalReader *reader, icalcomponent *component, IcalEvent *event);
extern IcalStatus ical_collect_exclusions(const IcalEvent *event);
extern IcalStatus ical_add_occurrences(const IcalEvent *event);

/* icalendar_rule.c */
extern IcalStatus ical_rule_prepare(IcalRule *rule, const struct icalrecurrencetype *parts, struct icaltimetype start,
									const char **wrong);
extern int ical_rule_days(const IcalRule *rule, int64_t period, int64_t last, int64_t *days, int64_t *looked_at);

/* icalendar_time.c */
extern bool ical_usable(struct icaltimetype time);
extern int64_t ical_wall_time(struct icaltimetype time);
extern bool ical_find_zone(const IcalReader *reader, icalproperty *property, struct icaltimetype time, IcalZone *zone);
extern int64_t ical_instant(const IcalReader *reader, const IcalZone *zone, int64_t wall);
extern bool ical_duration(struct icaldurationtype duration, IcalLength *length);

#endif /* CALENDAR_ICALENDAR_IMPL_H */
