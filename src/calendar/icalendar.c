/*
 * icalendar.c
 *	  Reads iCalendar text (RFC 5545) with libical: whole days and times, RRULE, RDATE, EXDATE, moved occurrences.
 *
 * libical takes its memory from malloc() and knows nothing of errors that leave by a long jump, so that nothing here
 * calls back into the server but for questions that cannot fail: the result is collected first and freed as a
 * whole. It cannot be interrupted within one step of a rule either. So rules are cut off at the last year asked for,
 * and those that recur within a day, whose steps without a match would be as many as the seconds up to then, are
 * refused.
 */
#include "calendar/icalendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calendar/icalendar_time.h"

/* A calendar, its events and their alarms are 3. */
#define MAX_DEPTH 16

/* How many dates libical reads of one line. */
#define DATES_MAX 500

/* Notes what is wrong with an event, and returns the status. */
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

/* How an occurrence that there is not, or not like that, is named. */
typedef enum ExclusionForm
{
	BY_DAY,         /* a date: whatever starts on it */
	BY_TIME_OF_DAY, /* the day of a time: events of whole days */
	BY_WALL_TIME,   /* a time without a zone: on the clock of the event */
	BY_INSTANT,
	BY_PERIOD /* the instant from which RDATE gives another length */
} ExclusionForm;

typedef struct Exclusion
{
	const char *uid;
	ExclusionForm form;
	int64_t at; /* a day, or microseconds */
} Exclusion;

/* An event with what all its occurrences have in common. */
typedef struct Event
{
	IcalReader *reader;
	icalcomponent *component;
	const char *uid;
	const char *name;
	struct icaltimetype start;
	IcalZone zone;
	IcalLength length;
	bool recurs;
} Event;

/* One occurrence of it. */
typedef struct Occurrence
{
	struct icaltimetype time;
	IcalZone zone;
	IcalLength length;
	bool is_period;
} Occurrence;

/* Orders by UID, form and time. */
static int
compare_exclusions(const void *a, const void *b)
{
	const Exclusion *left = a;
	const Exclusion *right = b;
	int order = strcmp(left->uid, right->uid);

	if (order == 0)
		order = (left->form > right->form) - (left->form < right->form);
	if (order == 0)
		order = (left->at > right->at) - (left->at < right->at);
	return order;
}

static bool
is_listed(const Event *event, ExclusionForm form, int64_t at)
{
	Exclusion key = {event->uid, form, at};

	return bsearch(&key, event->reader->exclusions, event->reader->exclusion_count, sizeof(Exclusion),
				   compare_exclusions) != NULL;
}

/* Returns whether an occurrence is taken out by EXDATE, moved by another event with its UID, or lasts otherwise. */
static bool
excluded(const Event *event, const Occurrence *occurrence, int64_t start)
{
	if (event->reader->exclusion_count == 0)
		return false;
	if (is_listed(event, BY_DAY, ical_day(occurrence->time)))
		return true;
	if (occurrence->time.is_date)
		return is_listed(event, BY_TIME_OF_DAY, ical_day(occurrence->time));
	return is_listed(event, BY_INSTANT, start) || is_listed(event, BY_WALL_TIME, ical_wall_time(occurrence->time)) ||
		   (!occurrence->is_period && is_listed(event, BY_PERIOD, start));
}

/* Adds one occurrence, if there is it; `moved`: whatever is taken out. */
static IcalStatus
add_occurrence(const Event *event, const Occurrence *occurrence, bool moved)
{
	IcalSpan span = {.uid = event->uid, .name = event->name, .is_local = occurrence->time.is_date};
	int64_t wall;

	if (!ical_usable(occurrence->time) || (event->recurs && occurrence->time.year > event->reader->last_year))
		return ICAL_READ;
	wall = ical_wall_time(occurrence->time);
	span.start = wall;
	span.end = wall + occurrence->length.days * DAY;
	if (!span.is_local)
	{
		span.start = ical_instant(event->reader, &occurrence->zone, wall);
		span.end = occurrence->length.days == 0 ? span.start : ical_instant(event->reader, &occurrence->zone, span.end);
	}
	span.end += occurrence->length.exact;
	if (span.start >= span.end || (!moved && excluded(event, occurrence, span.start)))
		return ICAL_READ;
	return add_span(event->reader, span);
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

/*
 * Adds the occurrences that a rule makes.
 *
 * libical compares the end of a rule in UTC with times on the wall clock, so that it gets a later one here.
 */
static IcalStatus
add_rule(const Event *event, struct icalrecurrencetype rule)
{
	struct icaltimetype horizon = icaltime_null_date();
	int64_t last = INT64_MAX;
	IcalStatus status = ICAL_READ;
	Occurrence occurrence = {.zone = event->zone, .length = event->length};
	icalrecur_iterator *iterator;

	/* One that never matches takes seconds, and there may be many. */
	if (event->reader->stop())
		return ICAL_STOPPED;
	if (ical_within_a_day(&rule))
		return problem(event->reader, ICAL_UNSUPPORTED, event->uid, "recurs within a day");
	if (ical_usable(rule.until) && icaltime_is_utc(rule.until) && !rule.until.is_date && !event->start.is_date)
	{
		last = ical_wall_time(rule.until);
		icaltime_adjust(&rule.until, 2, 0, 0, 0);
	}

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
		occurrence.time = icalrecur_iterator_next(iterator);
		if (icaltime_is_null_time(occurrence.time) || occurrence.time.year > event->reader->last_year)
			break;
		if (last != INT64_MAX && ical_usable(occurrence.time) &&
			ical_instant(event->reader, &event->zone, ical_wall_time(occurrence.time)) > last)
			break;
		status = event->reader->stop() ? ICAL_STOPPED : add_occurrence(event, &occurrence, false);
	}
	icalrecur_iterator_free(iterator);
	return status;
}

/* Notes that the zone of a time is not known. */
static IcalStatus
no_zone(IcalReader *reader, const char *uid)
{
	return problem(reader, ICAL_MALFORMED, uid, "is in a time zone neither known nor well defined in the text");
}

/* Adds the occurrence that an RDATE gives: a time, or a period with its own end or duration. */
static IcalStatus
add_further(const Event *event, icalproperty *property)
{
	struct icaldatetimeperiodtype further = icalproperty_get_rdate(property);
	Occurrence occurrence = {.time = further.time, .length = event->length};
	struct icaltimetype end = further.period.end;
	IcalZone end_zone;

	occurrence.is_period = icaltime_is_null_time(further.time);
	if (occurrence.is_period)
		occurrence.time = further.period.start;
	if (!ical_find_zone(event->reader, property, occurrence.time, &occurrence.zone))
		return no_zone(event->reader, event->uid);
	if (occurrence.is_period && ical_usable(end) && ical_usable(occurrence.time))
	{
		if (!ical_find_zone(event->reader, property, end, &end_zone))
			return no_zone(event->reader, event->uid);
		occurrence.length.days = 0;
		occurrence.length.exact = ical_instant(event->reader, &end_zone, ical_wall_time(end)) -
								  ical_instant(event->reader, &occurrence.zone, ical_wall_time(occurrence.time));
	}
	else if (occurrence.is_period)
		occurrence.length = ical_duration(further.period.duration);
	return add_occurrence(event, &occurrence, false);
}

/* Adds an event's occurrences, or one span without length where it has none. */
static IcalStatus
add_occurrences(const Event *event)
{
	IcalReader *reader = event->reader;
	Occurrence first = {.time = event->start, .zone = event->zone, .length = event->length};
	int before = reader->count;
	IcalStatus status = ICAL_READ;
	icalproperty *property;
	bool moved = icalcomponent_get_first_property(event->component, ICAL_RECURRENCEID_PROPERTY) != NULL;
	bool cancelled = icalcomponent_get_status(event->component) == ICAL_STATUS_CANCELLED;

	if (!cancelled && moved)
		status = add_occurrence(event, &first, true);
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
			status = add_occurrence(event, &first, false);
		for (property = icalcomponent_get_first_property(event->component, ICAL_RDATE_PROPERTY);
			 status == ICAL_READ && property != NULL;
			 property = icalcomponent_get_next_property(event->component, ICAL_RDATE_PROPERTY))
			status = add_further(event, property);
	}
	if (status == ICAL_READ && reader->count == before)
	{
		IcalSpan none = {.uid = event->uid, .name = event->name, .is_local = true};

		status = add_span(reader, none);
	}
	return status;
}

/* Returns the length of an event: to its end, of its duration, or a whole day. */
static IcalLength
event_length(const Event *event)
{
	icalproperty *end = icalcomponent_get_first_property(event->component, ICAL_DTEND_PROPERTY);
	icalproperty *duration = icalcomponent_get_first_property(event->component, ICAL_DURATION_PROPERTY);

	if (end != NULL && ical_usable(icalproperty_get_dtend(end)))
	{
		int64_t start_wall = ical_wall_time(event->start);
		int64_t end_wall = ical_wall_time(icalproperty_get_dtend(end));

		if (event->start.is_date)
			return (IcalLength){0, end_wall - start_wall};
		return (IcalLength){0, ical_instant(event->reader, &event->zone, end_wall) -
								   ical_instant(event->reader, &event->zone, start_wall)};
	}
	if (duration != NULL)
		return ical_duration(icalproperty_get_duration(duration));
	return (IcalLength){event->start.is_date, 0};
}

/* Returns whether the event ends in the zone in which it starts. */
static bool
ends_in_zone(const Event *event)
{
	icalproperty *property = icalcomponent_get_first_property(event->component, ICAL_DTEND_PROPERTY);
	IcalZone zone;

	if (property == NULL || event->start.is_date || icalproperty_get_dtend(property).is_date)
		return true;
	return ical_find_zone(event->reader, property, icalproperty_get_dtend(property), &zone) &&
		   zone.kind == event->zone.kind && zone.own == event->zone.own &&
		   (zone.kind != ZONE_KNOWN || strcmp(zone.name, event->zone.name) == 0);
}

/* Returns whether an event stands for all later occurrences too. */
static bool
moves_all_later(icalcomponent *component)
{
	icalproperty *moved = icalcomponent_get_first_property(component, ICAL_RECURRENCEID_PROPERTY);

	return moved != NULL && icalproperty_get_first_parameter(moved, ICAL_RANGE_PARAMETER) != NULL;
}

/* Reads one event. */
static IcalStatus
read_event(IcalReader *reader, icalcomponent *component)
{
	icalproperty *start = icalcomponent_get_first_property(component, ICAL_DTSTART_PROPERTY);
	Event event = {.reader = reader, .component = component};
	const char *complaint;

	event.uid = icalcomponent_get_uid(component);
	event.name = icalcomponent_get_summary(component);
	if (is_broken(component, &complaint))
		return problem(reader, ICAL_MALFORMED, event.uid, complaint);
	if (start == NULL)
		return problem(reader, ICAL_MALFORMED, event.uid, "has no DTSTART");
	event.start = icalproperty_get_dtstart(start);
	if (!ical_usable(event.start))
		return problem(reader, ICAL_MALFORMED, event.uid, "has no DTSTART that is a time");
	if (!ical_find_zone(reader, start, event.start, &event.zone))
		return no_zone(reader, event.uid);
	if (!ends_in_zone(&event))
		return problem(reader, ICAL_UNSUPPORTED, event.uid, "ends in another time zone than it starts in");
	if (moves_all_later(component))
		return problem(reader, ICAL_UNSUPPORTED, event.uid, "moves all later occurrences too (RANGE)");
	event.length = event_length(&event);
	event.recurs = icalcomponent_get_first_property(component, ICAL_RRULE_PROPERTY) != NULL ||
				   icalcomponent_get_first_property(component, ICAL_RDATE_PROPERTY) != NULL ||
				   icalcomponent_get_first_property(component, ICAL_RECURRENCEID_PROPERTY) != NULL;
	return add_occurrences(&event);
}

/* Adds an exclusion. */
static IcalStatus
add_exclusion(IcalReader *reader, Exclusion exclusion)
{
	Exclusion *items = reader->exclusions;

	if (reader->exclusion_count == reader->exclusion_capacity)
	{
		size_t capacity = reader->exclusion_capacity == 0 ? 64 : reader->exclusion_capacity * 2;

		items = realloc(items, capacity * sizeof(Exclusion));
		if (items == NULL)
			return ICAL_NO_MEMORY;
		reader->exclusions = items;
		reader->exclusion_capacity = capacity;
	}
	items[reader->exclusion_count++] = exclusion;
	return ICAL_READ;
}

/* Adds what EXDATE or RECURRENCE-ID names. */
static IcalStatus
exclude(IcalReader *reader, const char *uid, icalproperty *property, struct icaltimetype time)
{
	Exclusion exclusion = {uid, BY_DAY, 0};
	IcalZone zone;
	IcalStatus status;

	if (!ical_usable(time))
		return ICAL_READ;
	if (!ical_find_zone(reader, property, time, &zone))
		return no_zone(reader, uid);
	exclusion.at = ical_day(time);
	if (time.is_date)
		return add_exclusion(reader, exclusion);

	exclusion.form = BY_TIME_OF_DAY;
	status = add_exclusion(reader, exclusion);
	if (status != ICAL_READ)
		return status;
	exclusion.at = ical_wall_time(time);
	exclusion.form = BY_WALL_TIME;
	if (zone.kind != ZONE_NONE)
	{
		exclusion.at = ical_instant(reader, &zone, exclusion.at);
		exclusion.form = BY_INSTANT;
	}
	return add_exclusion(reader, exclusion);
}

/* Adds the start of a period of RDATE: what the event itself has there does not last as long. */
static IcalStatus
exclude_period(IcalReader *reader, const char *uid, icalproperty *property)
{
	struct icaltimetype start = icalproperty_get_rdate(property).period.start;
	Exclusion exclusion = {uid, BY_PERIOD, 0};
	IcalZone zone;

	if (!icaltime_is_null_time(icalproperty_get_rdate(property).time) || !ical_usable(start))
		return ICAL_READ;
	if (!ical_find_zone(reader, property, start, &zone))
		return no_zone(reader, uid);
	exclusion.at = ical_instant(reader, &zone, ical_wall_time(start));
	return add_exclusion(reader, exclusion);
}

/* Collects what an event takes out of those with its UID, itself among them. */
static IcalStatus
collect_exclusions(IcalReader *reader, icalcomponent *component)
{
	const char *uid = icalcomponent_get_uid(component);
	icalproperty *property = icalcomponent_get_first_property(component, ICAL_RECURRENCEID_PROPERTY);
	IcalStatus status = ICAL_READ;

	if (property != NULL)
		status = exclude(reader, uid, property, icalproperty_get_recurrenceid(property));
	for (property = icalcomponent_get_first_property(component, ICAL_EXDATE_PROPERTY);
		 status == ICAL_READ && property != NULL;
		 property = icalcomponent_get_next_property(component, ICAL_EXDATE_PROPERTY))
		status = exclude(reader, uid, property, icalproperty_get_exdate(property));
	for (property = icalcomponent_get_first_property(component, ICAL_RDATE_PROPERTY);
		 status == ICAL_READ && property != NULL;
		 property = icalcomponent_get_next_property(component, ICAL_RDATE_PROPERTY))
		status = exclude_period(reader, uid, property);
	return status;
}

/* Returns whether an event has a UID, or notes that it has none. */
static bool
has_uid(IcalReader *reader, icalcomponent *component)
{
	const char *uid = icalcomponent_get_uid(component);
	const char *name = icalcomponent_get_summary(component);

	if (uid != NULL && *uid != '\0')
		return true;
	if (name != NULL && *name != '\0')
		(void) problem(reader, ICAL_MALFORMED, name, "has no UID");
	else
		snprintf(reader->problem, sizeof(reader->problem), "an event without a SUMMARY has no UID either");
	return false;
}

/* Reads the events of a calendar. */
static IcalStatus
read_calendar(IcalReader *reader, icalcomponent *calendar)
{
	IcalStatus status = ICAL_READ;

	reader->exclusion_count = 0;
	for (icalcompiter i = icalcomponent_begin_component(calendar, ICAL_VEVENT_COMPONENT);
		 status == ICAL_READ && icalcompiter_deref(&i) != NULL; icalcompiter_next(&i))
		status = has_uid(reader, icalcompiter_deref(&i)) ? collect_exclusions(reader, icalcompiter_deref(&i))
														 : ICAL_MALFORMED;
	if (status == ICAL_READ && reader->exclusion_count > 0)
		qsort(reader->exclusions, reader->exclusion_count, sizeof(Exclusion), compare_exclusions);
	for (icalcompiter i = icalcomponent_begin_component(calendar, ICAL_VEVENT_COMPONENT);
		 status == ICAL_READ && icalcompiter_deref(&i) != NULL; icalcompiter_next(&i))
		status = reader->stop() ? ICAL_STOPPED : read_event(reader, icalcompiter_deref(&i));
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

/* Returns whether a line has more dates than libical reads of one: it passes over those that follow. */
static bool
has_long_list(const char *text)
{
	for (const char *at = text; at != NULL; at = strpbrk(at, "\r\n"))
	{
		int dates = 1;

		at += strspn(at, "\r\n \t");
		if (!line_begins(at, "RDATE") && !line_begins(at, "EXDATE"))
			continue;
		for (at = skip_folds(at); *at != '\0' && *at != '\r' && *at != '\n'; at = skip_folds(at + 1))
			dates += *at == ',';
		if (dates > DATES_MAX)
			return true;
	}
	return false;
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
	if (has_long_list(text))
	{
		snprintf(reader->problem, sizeof(reader->problem), "a line of it has more than %d dates", DATES_MAX);
		return ICAL_TOO_MUCH;
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
	free(reader->exclusions);
	icalmemory_free_ring();
	reader->root = NULL;
	reader->spans = NULL;
	reader->exclusions = NULL;
	reader->exclusion_count = reader->exclusion_capacity = 0;
	reader->count = reader->capacity = 0;
}
