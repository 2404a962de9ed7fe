/*
 * icalendar_event.c
 *	  One event of iCalendar text: what it says, which occurrences it takes out, and which it has.
 *
 * Whatever a property says must be a time, or the text is refused: an occurrence that is passed over would be a day
 * on which a calendar is open by mistake, or closed.
 */
#include "calendar/icalendar_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One occurrence of an event. */
typedef struct Occurrence
{
	struct icaltimetype time;
	IcalZone zone;
	IcalLength length;
	bool is_period;
} Occurrence;

/* What is done with each occurrence of a rule. */
typedef IcalStatus (*OccurrenceAction)(const IcalEvent *event, const Occurrence *occurrence);

/* Notes what is wrong with an event, and returns the status. */
IcalStatus
ical_problem(IcalReader *reader, IcalStatus status, const char *uid, const char *what)
{
	snprintf(reader->problem, sizeof(reader->problem), "event \"%.100s\" %.200s", uid, what);
	return status;
}

/* Notes that a property of an event is something that it must not be. */
static IcalStatus
ical_bad_value(IcalReader *reader, const char *uid, icalproperty *property, const char *what)
{
	const char *value = icalproperty_get_value_as_string(property);
	char wrong[200];

	snprintf(wrong, sizeof(wrong), "has %.20s \"%.100s\", which is %.60s", icalproperty_get_property_name(property),
			 value == NULL ? "" : value, what);
	return ical_problem(reader, ICAL_MALFORMED, uid, wrong);
}

/* Orders by UID, form and time. */
int
ical_compare_exclusions(const void *a, const void *b)
{
	const IcalExclusion *left = a;
	const IcalExclusion *right = b;
	int order = strcmp(left->uid, right->uid);

	if (order == 0)
		order = (left->form > right->form) - (left->form < right->form);
	if (order == 0)
		order = (left->at > right->at) - (left->at < right->at);
	return order;
}

/* Adds a span to the result. */
static IcalStatus
add_span(IcalReader *reader, IcalSpan span)
{
	if (reader->count == ICALENDAR_SPANS_MAX)
		return ical_problem(reader, ICAL_TOO_MUCH, span.uid, "has one occurrence too many");
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

/* Adds an exclusion. */
static IcalStatus
add_exclusion(IcalReader *reader, IcalExclusion exclusion)
{
	IcalExclusion *items = reader->exclusions;

	if (reader->exclusion_count == ICALENDAR_EXCLUSIONS_MAX)
		return ical_problem(reader, ICAL_TOO_MUCH, exclusion.uid, "takes one occurrence too many out");
	if (reader->exclusion_count == reader->exclusion_capacity)
	{
		size_t capacity = reader->exclusion_capacity == 0 ? 64 : reader->exclusion_capacity * 2;

		items = realloc(items, capacity * sizeof(IcalExclusion));
		if (items == NULL)
			return ICAL_NO_MEMORY;
		reader->exclusions = items;
		reader->exclusion_capacity = capacity;
	}
	items[reader->exclusion_count++] = exclusion;
	return ICAL_READ;
}

static bool
is_listed(const IcalEvent *event, IcalNameForm form, int64_t at)
{
	IcalExclusion key = {event->uid, form, at};

	return bsearch(&key, event->reader->exclusions, event->reader->exclusion_count, sizeof(IcalExclusion),
				   ical_compare_exclusions) != NULL;
}

/* Returns whether an occurrence is taken out by EXDATE, moved by another event with its UID, or lasts otherwise. */
static bool
excluded(const IcalEvent *event, const Occurrence *occurrence, int64_t start)
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

/* Adds one occurrence, if there is it. */
static IcalStatus
add_occurrence(const IcalEvent *event, const Occurrence *occurrence)
{
	IcalSpan span = {.uid = event->uid, .name = event->name, .is_local = occurrence->time.is_date};
	int64_t wall;

	if (event->recurs && occurrence->time.year > event->reader->last_year)
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
	if (span.start >= span.end || (event->moved.form == THE_SERIES && excluded(event, occurrence, span.start)))
		return ICAL_READ;
	return add_span(event->reader, span);
}

/* Takes out one occurrence. */
static IcalStatus
exclude_occurrence(const IcalEvent *event, const Occurrence *occurrence)
{
	IcalExclusion exclusion = {event->uid, BY_DAY, ical_day(occurrence->time)};

	if (!occurrence->time.is_date)
	{
		exclusion.form = BY_INSTANT;
		exclusion.at = ical_instant(event->reader, &occurrence->zone, ical_wall_time(occurrence->time));
	}
	return add_exclusion(event->reader, exclusion);
}

/* Returns whether an occurrence of a rule is after the end of the rule: a day, a time on the clock or an instant. */
static bool
is_after(const IcalEvent *event, struct icaltimetype time, struct icaltimetype until)
{
	if (time.is_date || until.is_date)
		return ical_day(time) > ical_day(until);
	if (icaltime_is_utc(until))
		return ical_instant(event->reader, &event->zone, ical_wall_time(time)) > ical_wall_time(until);
	return ical_wall_time(time) > ical_wall_time(until);
}

/* Does something with each occurrence that a rule makes, up to the last year. */
static IcalStatus
follow_rule(const IcalEvent *event, icalproperty *property, struct icalrecurrencetype parts, OccurrenceAction act)
{
	IcalReader *reader = event->reader;
	Occurrence occurrence = {.zone = event->zone, .length = event->length};
	int64_t last = ical_day_number(reader->last_year, 12, 31);
	bool ends = !icaltime_is_null_time(parts.until);
	int64_t days[RULE_DAYS_MAX];
	int64_t made = 0;
	const char *wrong;
	IcalRule rule;
	IcalStatus status = ical_rule_prepare(&rule, &parts, event->start, &wrong);

	if (status == ICAL_UNSUPPORTED)
		return ical_problem(reader, status, event->uid, wrong);
	if (status == ICAL_READ && ends && !ical_usable(parts.until))
	{
		wrong = "a rule with an end that is no time";
		status = ICAL_MALFORMED;
	}
	if (status == ICAL_READ && ends && is_after(event, event->start, parts.until))
	{
		wrong = "a rule that ends before DTSTART";
		status = ICAL_MALFORMED;
	}
	if (status != ICAL_READ)
		return ical_bad_value(reader, event->uid, property, wrong);
	if (ends && ical_day(parts.until) + 1 < last)
		last = ical_day(parts.until) + 1; /* its end may be the day before by the clock of the event */

	for (int64_t period = 0; status == ICAL_READ; period++)
	{
		int count;

		if (reader->stop())
			return ICAL_STOPPED;
		if (reader->days > ICALENDAR_DAYS_MAX)
			return ical_problem(reader, ICAL_TOO_MUCH, event->uid, "recurs too rarely for all the days to look at");
		count = ical_rule_days(&rule, period, last, days, &reader->days);
		if (count < 0)
			break;
		for (int i = 0; i < count && status == ICAL_READ; i++)
		{
			struct icaltimetype date = ical_date(days[i]);

			occurrence.time = event->start;
			occurrence.time.year = date.year;
			occurrence.time.month = date.month;
			occurrence.time.day = date.day;
			if ((parts.count > 0 && made == parts.count) || (ends && is_after(event, occurrence.time, parts.until)))
				return ICAL_READ;
			made++;
			status = act(event, &occurrence);
		}
	}
	return status;
}

/* Notes that the zone of a time is not known. */
static IcalStatus
no_zone(IcalReader *reader, const char *uid)
{
	return ical_problem(reader, ICAL_MALFORMED, uid, "is in a time zone neither known nor well defined in the text");
}

/* Finds what RDATE gives: a time, or a period with its own end or duration. */
static IcalStatus
read_further(const IcalEvent *event, icalproperty *property, Occurrence *further)
{
	struct icaldatetimeperiodtype given = icalproperty_get_rdate(property);
	IcalZone end_zone;

	*further = (Occurrence){.time = given.time, .length = event->length};
	further->is_period = icaltime_is_null_time(given.time);
	if (further->is_period)
		further->time = given.period.start;
	if (!ical_usable(further->time))
		return ical_bad_value(event->reader, event->uid, property, "no time");
	if (!ical_find_zone(event->reader, property, further->time, &further->zone))
		return no_zone(event->reader, event->uid);
	if (!further->is_period)
		return ICAL_READ;

	if (icaltime_is_null_time(given.period.end))
	{
		if (!ical_duration(given.period.duration, &further->length))
			return ical_bad_value(event->reader, event->uid, property, "no time that passes");
		return ICAL_READ;
	}
	if (!ical_usable(given.period.end))
		return ical_bad_value(event->reader, event->uid, property, "no time");
	if (!ical_find_zone(event->reader, property, given.period.end, &end_zone))
		return no_zone(event->reader, event->uid);
	further->length.days = 0;
	further->length.exact = ical_instant(event->reader, &end_zone, ical_wall_time(given.period.end)) -
							ical_instant(event->reader, &further->zone, ical_wall_time(further->time));
	return further->length.exact < 0 ? ical_bad_value(event->reader, event->uid, property, "no time that passes")
									 : ICAL_READ;
}

/* Finds what EXDATE or RECURRENCE-ID names. */
static IcalStatus
read_name(const IcalEvent *event, icalproperty *property, struct icaltimetype time, IcalExclusion *name)
{
	IcalZone zone;

	if (!ical_usable(time))
		return ical_bad_value(event->reader, event->uid, property, "no time");
	if (!ical_find_zone(event->reader, property, time, &zone))
		return no_zone(event->reader, event->uid);
	*name = (IcalExclusion){event->uid, BY_DAY, ical_day(time)};
	if (!time.is_date)
	{
		name->form = BY_WALL_TIME;
		name->at = ical_wall_time(time);
	}
	if (zone.kind != ZONE_NONE)
	{
		name->form = BY_INSTANT;
		name->at = ical_instant(event->reader, &zone, name->at);
	}
	return ICAL_READ;
}

/* Adds what EXDATE or RECURRENCE-ID names, of whole days by its day. */
static IcalStatus
exclude(const IcalEvent *event, icalproperty *property, struct icaltimetype time)
{
	IcalExclusion name;
	IcalStatus status = read_name(event, property, time, &name);

	if (status == ICAL_READ && !time.is_date)
		status = add_exclusion(event->reader, (IcalExclusion){event->uid, BY_TIME_OF_DAY, ical_day(time)});
	return status == ICAL_READ ? add_exclusion(event->reader, name) : status;
}

/* Adds the start of a period of RDATE: what the event itself has there does not last as long. */
static IcalStatus
exclude_period(const IcalEvent *event, icalproperty *property)
{
	Occurrence further;
	IcalStatus status = read_further(event, property, &further);

	if (status != ICAL_READ || !further.is_period)
		return status;
	return add_exclusion(event->reader,
						 (IcalExclusion){event->uid, BY_PERIOD,
										 ical_instant(event->reader, &further.zone, ical_wall_time(further.time))});
}

/* Collects what an event takes out of those with its UID, itself among them. */
IcalStatus
ical_collect_exclusions(const IcalEvent *event)
{
	icalproperty *property = icalcomponent_get_first_property(event->component, ICAL_RECURRENCEID_PROPERTY);
	IcalStatus status = ICAL_READ;

	if (property != NULL)
		status = exclude(event, property, icalproperty_get_recurrenceid(property));
	for (property = icalcomponent_get_first_property(event->component, ICAL_EXDATE_PROPERTY);
		 status == ICAL_READ && property != NULL;
		 property = icalcomponent_get_next_property(event->component, ICAL_EXDATE_PROPERTY))
		status = exclude(event, property, icalproperty_get_exdate(property));
	for (property = icalcomponent_get_first_property(event->component, ICAL_EXRULE_PROPERTY);
		 status == ICAL_READ && property != NULL;
		 property = icalcomponent_get_next_property(event->component, ICAL_EXRULE_PROPERTY))
		status = follow_rule(event, property, icalproperty_get_exrule(property), exclude_occurrence);
	for (property = icalcomponent_get_first_property(event->component, ICAL_RDATE_PROPERTY);
		 status == ICAL_READ && property != NULL;
		 property = icalcomponent_get_next_property(event->component, ICAL_RDATE_PROPERTY))
		status = exclude_period(event, property);
	return status;
}

/* Orders by time. */
static int
compare_spans(const void *a, const void *b)
{
	const IcalSpan *left = a;
	const IcalSpan *right = b;
	int order = (left->start > right->start) - (left->start < right->start);

	if (order == 0)
		order = (left->end > right->end) - (left->end < right->end);
	return order != 0 ? order : left->is_local - right->is_local;
}

/* Drops spans of one event, which are those from the first on, that are there already (RFC 5545, 3.8.5.2). */
static void
drop_duplicates(IcalReader *reader, int first)
{
	int kept = first;

	if (reader->count == first)
		return;
	qsort(&reader->spans[first], (size_t) (reader->count - first), sizeof(IcalSpan), compare_spans);
	for (int i = first + 1; i < reader->count; i++)
	{
		if (compare_spans(&reader->spans[kept], &reader->spans[i]) != 0)
			reader->spans[++kept] = reader->spans[i];
	}
	reader->count = kept + 1;
}

/* Adds an event's occurrences, or one span without length where it has none. */
IcalStatus
ical_add_occurrences(const IcalEvent *event)
{
	IcalReader *reader = event->reader;
	Occurrence occurrence = {.time = event->start, .zone = event->zone, .length = event->length};
	int before = reader->count;
	IcalStatus status = ICAL_READ;
	icalproperty *property;

	if (!event->cancelled && event->moved.form != THE_SERIES)
		status = add_occurrence(event, &occurrence);
	else if (!event->cancelled)
	{
		bool ruled = false;

		for (property = icalcomponent_get_first_property(event->component, ICAL_RRULE_PROPERTY);
			 status == ICAL_READ && property != NULL;
			 property = icalcomponent_get_next_property(event->component, ICAL_RRULE_PROPERTY))
		{
			status = follow_rule(event, property, icalproperty_get_rrule(property), add_occurrence);
			ruled = true;
		}
		if (!ruled)
			status = add_occurrence(event, &occurrence);
		for (property = icalcomponent_get_first_property(event->component, ICAL_RDATE_PROPERTY);
			 status == ICAL_READ && property != NULL;
			 property = icalcomponent_get_next_property(event->component, ICAL_RDATE_PROPERTY))
		{
			status = read_further(event, property, &occurrence);
			if (status == ICAL_READ)
				status = add_occurrence(event, &occurrence);
		}
	}
	drop_duplicates(reader, before);
	if (status == ICAL_READ && reader->count == before)
	{
		IcalSpan none = {.uid = event->uid, .name = event->name, .is_local = true};

		status = add_span(reader, none);
	}
	return status;
}

/* Returns whether two times are in one zone. */
static bool
is_same_zone(const IcalZone *one, const IcalZone *other)
{
	return one->kind == other->kind && one->own == other->own &&
		   (one->kind != ZONE_KNOWN || strcmp(one->name, other->name) == 0);
}

/* Finds the length of an event: to its end, of its duration, or a whole day. */
static IcalStatus
read_length(IcalEvent *event)
{
	icalproperty *end = icalcomponent_get_first_property(event->component, ICAL_DTEND_PROPERTY);
	icalproperty *duration = icalcomponent_get_first_property(event->component, ICAL_DURATION_PROPERTY);

	if (end != NULL)
	{
		struct icaltimetype time = icalproperty_get_dtend(end);
		IcalZone zone;

		if (!ical_usable(time))
			return ical_bad_value(event->reader, event->uid, end, "no time");
		if (time.is_date != event->start.is_date)
			return ical_bad_value(event->reader, event->uid, end,
								  time.is_date ? "a date where DTSTART is a time" : "a time where DTSTART is a date");
		if (!ical_find_zone(event->reader, end, time, &zone) || !is_same_zone(&zone, &event->zone))
			return ical_problem(event->reader, ICAL_UNSUPPORTED, event->uid,
								"ends in another time zone than it starts in");
		event->length.exact = ical_instant(event->reader, &event->zone, ical_wall_time(time)) -
							  ical_instant(event->reader, &event->zone, ical_wall_time(event->start));
		if (time.is_date)
			event->length.exact = ical_wall_time(time) - ical_wall_time(event->start);
		if (event->length.exact < 0)
			return ical_bad_value(event->reader, event->uid, end, "before DTSTART");
	}
	else if (duration != NULL && !ical_duration(icalproperty_get_duration(duration), &event->length))
		return ical_bad_value(event->reader, event->uid, duration, "no time that passes");
	if (event->start.is_date && event->length.days == 0 && event->length.exact == 0)
		event->length.days = 1;
	return ICAL_READ;
}

/* Finds which version of what an event is. */
static IcalStatus
read_version(IcalEvent *event)
{
	icalproperty *moved = icalcomponent_get_first_property(event->component, ICAL_RECURRENCEID_PROPERTY);
	icalproperty *stamp = icalcomponent_get_first_property(event->component, ICAL_DTSTAMP_PROPERTY);

	event->sequence = icalcomponent_get_sequence(event->component);
	if (stamp != NULL && ical_usable(icalproperty_get_dtstamp(stamp)))
		event->stamp = ical_wall_time(icalproperty_get_dtstamp(stamp));
	event->moved = (IcalExclusion){event->uid, THE_SERIES, 0};
	if (moved == NULL)
		return ICAL_READ;
	if (icalproperty_get_first_parameter(moved, ICAL_RANGE_PARAMETER) != NULL)
		return ical_problem(event->reader, ICAL_UNSUPPORTED, event->uid, "moves all later occurrences too (RANGE)");
	return read_name(event, moved, icalproperty_get_recurrenceid(moved), &event->moved);
}

/* Notes the first property that libical could not read and put a complaint in place of, if it matters here. */
static IcalStatus
check_properties(const IcalEvent *event)
{
	static const char *const properties[] = {"DTSTART", "DTEND",  "DURATION",      "RRULE", "RDATE",
											 "EXDATE",  "EXRULE", "RECURRENCE-ID", "UID",   "STATUS"};

	for (icalproperty *property = icalcomponent_get_first_property(event->component, ICAL_XLICERROR_PROPERTY);
		 property != NULL; property = icalcomponent_get_next_property(event->component, ICAL_XLICERROR_PROPERTY))
	{
		const char *complaint = icalproperty_get_xlicerror(property);
		const char *value = complaint == NULL ? NULL : strstr(complaint, "property: ");

		for (size_t i = 0; complaint != NULL && i < sizeof(properties) / sizeof(properties[0]); i++)
		{
			char what[200];

			if (strstr(complaint, properties[i]) == NULL)
				continue;
			snprintf(what, sizeof(what), "has %s \"%.100s\", which cannot be read", properties[i],
					 value == NULL ? "" : value + strlen("property: "));
			return ical_problem(event->reader, ICAL_MALFORMED, event->uid, what);
		}
	}
	return ICAL_READ;
}

/* Reads what an event says; it has a UID. */
IcalStatus
ical_read_event(IcalReader *reader, icalcomponent *component, IcalEvent *event)
{
	icalproperty *start = icalcomponent_get_first_property(component, ICAL_DTSTART_PROPERTY);
	IcalStatus status;

	*event = (IcalEvent){.reader = reader, .component = component};
	event->uid = icalcomponent_get_uid(component);
	event->name = icalcomponent_get_summary(component);
	if (strlen(event->uid) > ICALENDAR_UID_MAX)
		return ical_problem(reader, ICAL_TOO_MUCH, event->uid, "has too long a UID");
	status = check_properties(event);
	if (status != ICAL_READ)
		return status;
	if (start == NULL)
		return ical_problem(reader, ICAL_MALFORMED, event->uid, "has no DTSTART");
	event->start = icalproperty_get_dtstart(start);
	if (!ical_usable(event->start))
		return ical_bad_value(reader, event->uid, start, "no time");
	if (!ical_find_zone(reader, start, event->start, &event->zone))
		return no_zone(reader, event->uid);
	event->cancelled = icalcomponent_get_status(component) == ICAL_STATUS_CANCELLED;
	event->recurs = icalcomponent_get_first_property(component, ICAL_RRULE_PROPERTY) != NULL ||
					icalcomponent_get_first_property(component, ICAL_RDATE_PROPERTY) != NULL ||
					icalcomponent_get_first_property(component, ICAL_RECURRENCEID_PROPERTY) != NULL;
	status = read_length(event);
	return status == ICAL_READ ? read_version(event) : status;
}
