/*
 * icalendar.c
 *	  Reads iCalendar text (RFC 5545) with libical: whole days and times, RRULE, RDATE, EXDATE, moved occurrences.
 *
 * libical takes its memory from malloc() and knows nothing of errors that leave by a long jump, so that nothing here
 * calls back into the server but for two questions that cannot fail: the result is collected first and freed as a
 * whole. It cannot be interrupted within one step of a rule either. So rules are cut off at the last year asked for,
 * and those that recur within a day, whose steps without a match would be as many as the seconds up to then, are
 * refused.
 */
#include "calendar/icalendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libical/ical.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

/* A calendar, its events and their alarms are 3. */
#define MAX_DEPTH 16

/* Returns the days from 2000-01-01 of a date of the Gregorian calendar. */
static int64_t
days_of(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730425;
}

/* Returns a time of libical as microseconds on the wall clock. */
static int64_t
wall_time(struct icaltimetype time)
{
	int64_t result = days_of(time.year, time.month, time.day) * DAY;

	if (!time.is_date)
		result += (time.hour * 3600 + time.minute * 60 + time.second) * SECOND;
	return result;
}

static bool
usable(struct icaltimetype time)
{
	return !icaltime_is_null_time(time) && icaltime_is_valid_time(time) && time.year >= 1 && time.year <= 9999 &&
		   time.month >= 1 && time.month <= 12 && time.day >= 1 &&
		   time.day <= icaltime_days_in_month(time.month, time.year);
}

static IcalStatus
problem(IcalReader *reader, IcalStatus status, const char *uid, const char *what)
{
	snprintf(reader->problem, sizeof(reader->problem), "event \"%.100s\" %.200s", uid, what);
	return status;
}

/* Adds a span to the result. */
static IcalStatus
add_span(IcalReader *reader, IcalSpan span)
{
	if (reader->count == ICALENDAR_SPANS_MAX)
		return problem(reader, ICAL_TOO_MUCH, span.uid, "is one occurrence too many");
	if (reader->count == reader->capacity)
	{
		int capacity = reader->capacity == 0 ? 64 : reader->capacity * 2;
		IcalSpan *spans = realloc(reader->spans, (size_t) capacity * sizeof(IcalSpan));

		if (spans == NULL)
			return ICAL_NO_MEMORY;
		reader->spans = spans;
		reader->capacity = capacity;
	}
	reader->spans[reader->count++] = span;
	return ICAL_READ;
}

/* Stands for the time of a whole day; it is less than any. */
#define WHOLE_DAY (-1)

/* An occurrence of the event with that UID that there is not. */
typedef struct Exclusion
{
	const char *uid;
	int64_t day;
	int time; /* seconds after midnight */
} Exclusion;

typedef struct Exclusions
{
	size_t count;
	size_t capacity;
	Exclusion *items;
} Exclusions;

/* An event with what all its occurrences have in common. */
typedef struct Event
{
	IcalReader *reader;
	icalcomponent *component;
	const Exclusions *exclusions;
	const char *uid;
	const char *name;
	const char *zone;             /* as in IcalSpan */
	const icaltimezone *own_zone; /* of the text, to be turned into UTC */
	struct icaltimetype start;
	int64_t length;
} Event;

/* Returns a time in UTC where the event's zone is one of the text's own. */
static int64_t
event_time(const Event *event, struct icaltimetype time)
{
	if (event->own_zone != NULL && !time.is_date)
	{
		time.zone = event->own_zone;
		time = icaltime_convert_to_zone(time, icaltimezone_get_utc_timezone());
	}
	return wall_time(time);
}

/* Orders by UID, day and time of day. */
static int
compare_exclusions(const void *a, const void *b)
{
	const Exclusion *left = a;
	const Exclusion *right = b;
	int order = strcmp(left->uid, right->uid);

	if (order == 0)
		order = (left->day > right->day) - (left->day < right->day);
	if (order == 0)
		order = (left->time > right->time) - (left->time < right->time);
	return order;
}

static Exclusion
make_exclusion(const char *uid, struct icaltimetype time)
{
	Exclusion exclusion = {uid, days_of(time.year, time.month, time.day), WHOLE_DAY};

	if (!time.is_date)
		exclusion.time = time.hour * 3600 + time.minute * 60 + time.second;
	return exclusion;
}

/* Returns the first exclusion that is not less, or NULL. */
static const Exclusion *
exclusion_from(const Exclusions *exclusions, const Exclusion *key)
{
	size_t low = 0;
	size_t high = exclusions->count;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (compare_exclusions(&exclusions->items[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < exclusions->count ? &exclusions->items[low] : NULL;
}

/* Returns whether an occurrence is taken out by EXDATE, or moved by another event with the same UID. */
static bool
excluded(const Event *event, struct icaltimetype time)
{
	Exclusion key = make_exclusion(event->uid, time);
	Exclusion day = {key.uid, key.day, WHOLE_DAY};
	const Exclusion *found = exclusion_from(event->exclusions, &day);

	if (found == NULL || strcmp(found->uid, key.uid) != 0 || found->day != key.day)
		return false;
	if (found->time == WHOLE_DAY || key.time == WHOLE_DAY)
		return true;
	found = exclusion_from(event->exclusions, &key);
	return found != NULL && compare_exclusions(found, &key) == 0;
}

/* Adds one occurrence. */
static IcalStatus
add_occurrence(const Event *event, struct icaltimetype time)
{
	IcalSpan span = {event->uid, event->name, event->zone, 0, 0};

	if (!usable(time) || time.year > event->reader->last_year || excluded(event, time))
		return ICAL_READ;
	span.start = event_time(event, time);
	span.end = span.start + event->length;
	return span.start < span.end ? add_span(event->reader, span) : ICAL_READ;
}

/* Returns whether libical put a complaint about a property that matters here in place of it. */
static bool
is_broken(icalcomponent *component, const char **what)
{
	static const char *const properties[] = {"DTSTART", "DTEND",  "DURATION",      "RRULE", "RDATE",
											 "EXDATE",  "EXRULE", "RECURRENCE-ID", "UID",   "STATUS"};

	for (icalproperty *property = icalcomponent_get_first_property(component, ICAL_XLICERROR_PROPERTY);
		 property != NULL; property = icalcomponent_get_next_property(component, ICAL_XLICERROR_PROPERTY))
	{
		const char *complaint = icalproperty_get_xlicerror(property);

		for (size_t i = 0; complaint != NULL && i < sizeof(properties) / sizeof(properties[0]); i++)
		{
			if (strstr(complaint, properties[i]) != NULL)
			{
				*what = complaint;
				return true;
			}
		}
	}
	return false;
}

/* Returns whether a rule comes true more than once a day. */
static bool
within_a_day(const struct icalrecurrencetype *rule)
{
	return rule->freq == ICAL_SECONDLY_RECURRENCE || rule->freq == ICAL_MINUTELY_RECURRENCE ||
		   rule->freq == ICAL_HOURLY_RECURRENCE || rule->by_hour[0] != ICAL_RECURRENCE_ARRAY_MAX ||
		   rule->by_minute[0] != ICAL_RECURRENCE_ARRAY_MAX || rule->by_second[0] != ICAL_RECURRENCE_ARRAY_MAX;
}

/* Adds the occurrences that a rule makes. */
static IcalStatus
add_rule(const Event *event, struct icalrecurrencetype rule)
{
	struct icaltimetype horizon = icaltime_null_date();
	IcalStatus status = ICAL_READ;
	struct icaltimetype time;
	icalrecur_iterator *iterator;

	if (within_a_day(&rule))
		return problem(event->reader, ICAL_UNSUPPORTED, event->uid, "recurs within a day");

	/* A rule that never matches is followed to its end: without one, for seconds. */
	horizon.year = event->reader->last_year + 1;
	horizon.month = horizon.day = 1;
	horizon.is_date = event->start.is_date;
	if (icaltime_is_null_time(rule.until) || icaltime_compare(horizon, rule.until) < 0)
		rule.until = horizon;

	iterator = icalrecur_iterator_new(rule, event->start);
	if (iterator == NULL)
		return problem(event->reader, ICAL_MALFORMED, event->uid, "has a rule that cannot be followed");
	while (status == ICAL_READ)
	{
		time = icalrecur_iterator_next(iterator);
		if (icaltime_is_null_time(time) || time.year > event->reader->last_year)
			break;
		if (event->reader->stop())
			status = ICAL_STOPPED;
		else
			status = add_occurrence(event, time);
	}
	icalrecur_iterator_free(iterator);
	return status;
}

/* Adds an event's occurrences, or one span without length where it has none. */
static IcalStatus
add_occurrences(const Event *event)
{
	IcalReader *reader = event->reader;
	int before = reader->count;
	IcalStatus status = ICAL_READ;
	icalproperty *property;
	bool moved = icalcomponent_get_first_property(event->component, ICAL_RECURRENCEID_PROPERTY) != NULL;
	bool cancelled = icalcomponent_get_status(event->component) == ICAL_STATUS_CANCELLED;

	if (!cancelled && moved)
	{
		IcalSpan span = {event->uid, event->name, event->zone, 0, 0};

		span.start = event_time(event, event->start);
		span.end = span.start + event->length;
		if (span.start < span.end && event->start.year <= reader->last_year)
			status = add_span(reader, span);
	}
	else if (!cancelled)
	{
		bool ruled = false;

		for (property = icalcomponent_get_first_property(event->component, ICAL_RRULE_PROPERTY);
			 status == ICAL_READ && property != NULL;
			 property = icalcomponent_get_next_property(event->component, ICAL_RRULE_PROPERTY))
		{
			status = add_rule(event, icalproperty_get_rrule(property));
			ruled = true;
		}
		if (!ruled)
			status = add_occurrence(event, event->start);
		for (property = icalcomponent_get_first_property(event->component, ICAL_RDATE_PROPERTY);
			 status == ICAL_READ && property != NULL;
			 property = icalcomponent_get_next_property(event->component, ICAL_RDATE_PROPERTY))
		{
			struct icaldatetimeperiodtype more = icalproperty_get_rdate(property);

			status = add_occurrence(event, icaltime_is_null_time(more.time) ? more.period.start : more.time);
		}
	}
	if (status == ICAL_READ && reader->count == before)
	{
		IcalSpan none = {event->uid, event->name, NULL, 0, 0};

		status = add_span(reader, none);
	}
	return status;
}

/* Returns the name of the zone that a property names, or NULL. */
static const char *
property_zone(icalproperty *property)
{
	icalparameter *parameter = icalproperty_get_first_parameter(property, ICAL_TZID_PARAMETER);

	return parameter == NULL ? NULL : icalparameter_get_tzid(parameter);
}

/* Returns whether all changes of a zone of the text are yearly: libical follows any rule of them at once. */
static bool
changes_yearly(icalcomponent *zone)
{
	for (icalcompiter i = icalcomponent_begin_component(zone, ICAL_ANY_COMPONENT); icalcompiter_deref(&i) != NULL;
		 icalcompiter_next(&i))
	{
		icalcomponent *part = icalcompiter_deref(&i);

		for (icalproperty *property = icalcomponent_get_first_property(part, ICAL_RRULE_PROPERTY); property != NULL;
			 property = icalcomponent_get_next_property(part, ICAL_RRULE_PROPERTY))
		{
			struct icalrecurrencetype rule = icalproperty_get_rrule(property);

			if (rule.freq != ICAL_YEARLY_RECURRENCE || within_a_day(&rule))
				return false;
		}
	}
	return true;
}

/* Finds the zone of the event's start; false where it is not known. */
static bool
find_zone(Event *event, icalproperty *start)
{
	const char *name = property_zone(start);

	event->zone = NULL;
	event->own_zone = NULL;
	if (event->start.is_date)
		return true;
	if (icaltime_is_utc(event->start))
		event->zone = "UTC";
	else if (name != NULL && event->reader->zone_known(name))
		event->zone = name;
	else if (name != NULL)
	{
		event->own_zone = icalcomponent_get_timezone(event->reader->root, name);
		event->zone = "UTC";
		return event->own_zone != NULL && changes_yearly(icaltimezone_get_component((icaltimezone *) event->own_zone));
	}
	return true;
}

/* Returns the length of an event in microseconds: to its end, of its duration, or a whole day. */
static int64_t
event_length(const Event *event)
{
	icalproperty *end = icalcomponent_get_first_property(event->component, ICAL_DTEND_PROPERTY);
	icalproperty *duration = icalcomponent_get_first_property(event->component, ICAL_DURATION_PROPERTY);

	if (end != NULL && usable(icalproperty_get_dtend(end)))
		return event_time(event, icalproperty_get_dtend(end)) - event_time(event, event->start);
	if (duration != NULL)
	{
		struct icaldurationtype length = icalproperty_get_duration(duration);

		if (length.is_neg || length.days > 10000000 || length.weeks > 1000000 || length.hours > 100000000)
			return 0;
		return (length.days + INT64_C(7) * length.weeks) * DAY +
			   (INT64_C(3600) * length.hours + INT64_C(60) * length.minutes + length.seconds) * SECOND;
	}
	return event->start.is_date ? DAY : 0;
}

/* Returns whether the event ends in the zone in which it starts. */
static bool
ends_in_zone(const Event *event, icalproperty *start)
{
	icalproperty *end = icalcomponent_get_first_property(event->component, ICAL_DTEND_PROPERTY);
	const char *start_zone = property_zone(start);
	const char *end_zone = end == NULL ? start_zone : property_zone(end);

	if (end == NULL || event->start.is_date || icalproperty_get_dtend(end).is_date)
		return true;
	return icaltime_is_utc(event->start) == icaltime_is_utc(icalproperty_get_dtend(end)) &&
		   strcmp(start_zone == NULL ? "" : start_zone, end_zone == NULL ? "" : end_zone) == 0;
}

/* Reads one event. */
static IcalStatus
read_event(IcalReader *reader, icalcomponent *component, const Exclusions *exclusions)
{
	icalproperty *start = icalcomponent_get_first_property(component, ICAL_DTSTART_PROPERTY);
	Event event = {.reader = reader, .component = component, .exclusions = exclusions};
	const char *complaint;

	event.uid = icalcomponent_get_uid(component);
	event.name = icalcomponent_get_summary(component);
	if (event.uid == NULL || *event.uid == '\0')
		return problem(reader, ICAL_MALFORMED, event.name == NULL ? "" : event.name, "has no UID");
	if (is_broken(component, &complaint))
		return problem(reader, ICAL_MALFORMED, event.uid, complaint);
	if (start == NULL)
		return problem(reader, ICAL_MALFORMED, event.uid, "has no DTSTART");
	event.start = icalproperty_get_dtstart(start);
	if (!usable(event.start))
		return problem(reader, ICAL_MALFORMED, event.uid, "has no DTSTART that is a time");
	if (!find_zone(&event, start))
		return problem(reader, ICAL_MALFORMED, event.uid,
					   "is in a time zone neither known nor well defined in the text");
	if (!ends_in_zone(&event, start))
		return problem(reader, ICAL_UNSUPPORTED, event.uid, "ends in another time zone than it starts in");
	event.length = event_length(&event);
	return add_occurrences(&event);
}

/* Adds an exclusion; false without memory. */
static bool
add_exclusion(Exclusions *exclusions, const char *uid, struct icaltimetype time)
{
	if (uid == NULL || !usable(time))
		return true;
	if (exclusions->count == exclusions->capacity)
	{
		size_t capacity = exclusions->capacity == 0 ? 64 : exclusions->capacity * 2;
		Exclusion *items = realloc(exclusions->items, capacity * sizeof(Exclusion));

		if (items == NULL)
			return false;
		exclusions->items = items;
		exclusions->capacity = capacity;
	}
	exclusions->items[exclusions->count++] = make_exclusion(uid, time);
	return true;
}

/* Collects what EXDATE takes out and what other events move; false without memory. */
static bool
collect_exclusions(icalcomponent *calendar, Exclusions *exclusions)
{
	for (icalcompiter i = icalcomponent_begin_component(calendar, ICAL_VEVENT_COMPONENT);
		 icalcompiter_deref(&i) != NULL; icalcompiter_next(&i))
	{
		icalcomponent *component = icalcompiter_deref(&i);
		const char *uid = icalcomponent_get_uid(component);
		icalproperty *moved = icalcomponent_get_first_property(component, ICAL_RECURRENCEID_PROPERTY);

		if (moved != NULL && !add_exclusion(exclusions, uid, icalproperty_get_recurrenceid(moved)))
			return false;
		for (icalproperty *property = icalcomponent_get_first_property(component, ICAL_EXDATE_PROPERTY);
			 property != NULL; property = icalcomponent_get_next_property(component, ICAL_EXDATE_PROPERTY))
		{
			if (!add_exclusion(exclusions, uid, icalproperty_get_exdate(property)))
				return false;
		}
	}
	if (exclusions->count > 0)
		qsort(exclusions->items, exclusions->count, sizeof(Exclusion), compare_exclusions);
	return true;
}

/* Reads the events of a calendar. */
static IcalStatus
read_calendar(IcalReader *reader, icalcomponent *calendar)
{
	Exclusions exclusions = {0};
	IcalStatus status = collect_exclusions(calendar, &exclusions) ? ICAL_READ : ICAL_NO_MEMORY;

	for (icalcompiter i = icalcomponent_begin_component(calendar, ICAL_VEVENT_COMPONENT);
		 status == ICAL_READ && icalcompiter_deref(&i) != NULL; icalcompiter_next(&i))
		status = reader->stop() ? ICAL_STOPPED : read_event(reader, icalcompiter_deref(&i), &exclusions);
	free(exclusions.items);
	return status;
}

/* Returns the place after folds: line breaks that are followed by a blank belong to the line. */
static const char *
skip_folds(const char *at)
{
	for (;;)
	{
		size_t length = at[0] == '\r' && at[1] == '\n' ? 2 : at[0] == '\n' || at[0] == '\r' ? 1 : 0;

		if (length == 0 || (at[length] != ' ' && at[length] != '\t'))
			return at;
		at += length + 1;
	}
}

/* Returns whether a line begins with that word in capitals, in whatever case. */
static bool
line_begins(const char *at, const char *word)
{
	for (; *word != '\0'; word++, at++)
	{
		at = skip_folds(at);
		if ((*at >= 'a' && *at <= 'z' ? *at & ~0x20 : *at) != *word)
			return false;
	}
	return true;
}

/* Returns what is wrong with the nesting of components, or NULL: libical frees deep ones recursively. */
static const char *
nesting_problem(const char *text)
{
	int depth = 0;

	for (const char *at = text; at != NULL; at = strpbrk(at, "\r\n"))
	{
		at += strspn(at, "\r\n \t");
		if ((line_begins(at, "BEGIN:") || line_begins(at, "BEGIN;")) && ++depth > MAX_DEPTH)
			return "its components stand too deep in one another";
		if ((line_begins(at, "END:") || line_begins(at, "END;")) && --depth < 0)
			return "it has an END without a BEGIN";
	}
	return depth > 0 ? "it has a BEGIN without an END" : NULL;
}

/*
 * icalendar_read collects the spans of all events of a text.
 *
 * Whatever it returns, icalendar_free() frees what the reader then holds, also the texts that the spans point to.
 */
IcalStatus
icalendar_read(IcalReader *reader, const char *text)
{
	IcalStatus status = ICAL_READ;
	int calendars = 0;
	const char *wrong;
	icalcomponent *root;

	if (strlen(text) > ICALENDAR_TEXT_MAX)
	{
		snprintf(reader->problem, sizeof(reader->problem), "it is longer than %d bytes", ICALENDAR_TEXT_MAX);
		return ICAL_TOO_MUCH;
	}
	wrong = nesting_problem(text);
	if (wrong != NULL)
	{
		snprintf(reader->problem, sizeof(reader->problem), "%s", wrong);
		return ICAL_MALFORMED;
	}
	icalerror_set_errors_are_fatal(0);
	root = icalparser_parse_string(text);
	reader->root = root;
	if (root != NULL && icalcomponent_isa(root) == ICAL_VCALENDAR_COMPONENT)
	{
		calendars++;
		status = read_calendar(reader, root);
	}
	else if (root != NULL && icalcomponent_isa(root) == ICAL_XROOT_COMPONENT)
	{
		for (icalcompiter i = icalcomponent_begin_component(root, ICAL_VCALENDAR_COMPONENT);
			 status == ICAL_READ && icalcompiter_deref(&i) != NULL; icalcompiter_next(&i), calendars++)
			status = read_calendar(reader, icalcompiter_deref(&i));
	}
	if (calendars == 0)
	{
		snprintf(reader->problem, sizeof(reader->problem), "there is no VCALENDAR in it");
		status = ICAL_MALFORMED;
	}
	return status;
}

/* Frees what the reader holds. */
void
icalendar_free(IcalReader *reader)
{
	if (reader->root != NULL)
		icalcomponent_free(reader->root);
	free(reader->spans);
	icalmemory_free_ring();
	reader->root = NULL;
	reader->spans = NULL;
	reader->count = reader->capacity = 0;
}
