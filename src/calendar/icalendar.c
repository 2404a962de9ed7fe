/*
 * icalendar.c
 *	  Reads iCalendar text (RFC 5545): whole days and times, RRULE, RDATE, EXDATE, EXRULE, moved occurrences, versions.
 *
 * libical takes the text apart; what its parts mean is found out here and in the other files of the reader. libical
 * takes its memory from malloc() and knows nothing of errors that leave by a long jump, so that nothing here calls
 * back into the server but for questions that cannot fail: the result is collected first and freed as a whole.
 */
#include "calendar/icalendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calendar/icalendar_impl.h"

/* What texts of some programs begin with, in UTF-8. */
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

/* A calendar, its events and their alarms are 3. */
#define MAX_DEPTH 16

/* How many dates libical reads of one line. */
#define DATES_MAX 500

/* Orders the later of two versions first (RFC 5546, 2.1.5); the same where neither is. */
static int
compare_ages(const IcalEvent *left, const IcalEvent *right)
{
	int order = (left->sequence < right->sequence) - (left->sequence > right->sequence);

	return order != 0 ? order : (left->stamp < right->stamp) - (left->stamp > right->stamp);
}

/* Orders events by what they are a version of, the latest first. */
static int
compare_versions(const void *a, const void *b)
{
	const IcalEvent *left = *(IcalEvent *const *) a;
	const IcalEvent *right = *(IcalEvent *const *) b;
	int order = ical_compare_exclusions(&left->moved, &right->moved);

	return order != 0 ? order : compare_ages(left, right);
}

/* Marks events of which there is a later version; false without memory. */
static bool
supersede(IcalEvent *events, int count)
{
	IcalEvent **order = malloc((size_t) count * sizeof(IcalEvent *));
	IcalEvent *latest;

	if (order == NULL)
		return false;
	for (int i = 0; i < count; i++)
		order[i] = &events[i];
	qsort(order, (size_t) count, sizeof(IcalEvent *), compare_versions);
	latest = order[0];
	for (int i = 1; i < count; i++)
	{
		if (ical_compare_exclusions(&latest->moved, &order[i]->moved) != 0)
			latest = order[i];
		order[i]->superseded = compare_ages(latest, order[i]) != 0;
	}
	free(order);
	return true;
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
		(void) ical_problem(reader, ICAL_MALFORMED, name, "has no UID");
	else
		snprintf(reader->problem, sizeof(reader->problem), "an event without a SUMMARY has no UID either");
	return false;
}

/* Collects what is taken out, then what is there, of events of which none has a later version. */
static IcalStatus
add_events(IcalReader *reader, const IcalEvent *events, int count)
{
	IcalStatus status = ICAL_READ;

	reader->exclusion_count = 0;
	for (int i = 0; i < count && status == ICAL_READ; i++)
		status = events[i].superseded ? ICAL_READ : ical_collect_exclusions(&events[i]);
	if (status == ICAL_READ && reader->exclusion_count > 0)
		qsort(reader->exclusions, reader->exclusion_count, sizeof(IcalExclusion), ical_compare_exclusions);
	for (int i = 0; i < count && status == ICAL_READ; i++)
		status = events[i].superseded ? ICAL_READ : ical_add_occurrences(&events[i]);
	return status;
}

/* Reads the events of a calendar. */
static IcalStatus
read_calendar(IcalReader *reader, icalcomponent *calendar)
{
	int most = icalcomponent_count_components(calendar, ICAL_VEVENT_COMPONENT);
	int count = 0;
	IcalStatus status = ICAL_READ;
	IcalEvent *events;

	if (most == 0)
		return ICAL_READ;
	events = malloc((size_t) most * sizeof(IcalEvent));
	if (events == NULL)
		return ICAL_NO_MEMORY;
	for (icalcompiter i = icalcomponent_begin_component(calendar, ICAL_VEVENT_COMPONENT);
		 status == ICAL_READ && icalcompiter_deref(&i) != NULL; icalcompiter_next(&i))
	{
		if (reader->stop())
			status = ICAL_STOPPED;
		else
			status = has_uid(reader, icalcompiter_deref(&i))
						 ? ical_read_event(reader, icalcompiter_deref(&i), &events[count++])
						 : ICAL_MALFORMED;
	}
	if (status == ICAL_READ)
		status = supersede(events, count) ? add_events(reader, events, count) : ICAL_NO_MEMORY;
	free(events);
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

	if (strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
		text += strlen(BYTE_ORDER_MARK);
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
