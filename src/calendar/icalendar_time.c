/*
 * icalendar_time.c
 *	  Times in iCalendar text: in which zone they are, which instants, and how long something lasts from there.
 *
 * Properties of one event may give the same time in different forms, so that what they say is compared by instant. The
 * host answers for the zones that it knows, as holidays are told in its local time in the end; libical only for those
 * that nothing but the text defines.
 */
#include "calendar/icalendar_impl.h"

/* A zone whose history is told in full has about ten; one that never matches takes 0.1 s. */
#define ZONE_RULES_MAX 50

/* Returns the time of libical that a wall-clock time is; the reverse of ical_wall_time(). */
static struct icaltimetype
time_of(int64_t wall)
{
	int64_t day = wall / DAY - (wall % DAY < 0);
	int seconds = (int) ((wall - day * DAY) / SECOND);
	struct icaltimetype time = ical_date(day);

	time.is_date = 0;
	time.hour = seconds / 3600;
	time.minute = seconds / 60 % 60;
	time.second = seconds % 60;
	return time;
}

/* Returns whether a time of libical is one, in the years 1 to 9999; 24:00 and leap seconds are. */
bool
ical_usable(struct icaltimetype time)
{
	return time.year >= 1 && time.year <= 9999 && time.month >= 1 && time.month <= 12 && time.day >= 1 &&
		   time.day <= icaltime_days_in_month(time.month, time.year) &&
		   (time.is_date || (time.hour >= 0 && time.minute >= 0 && time.minute <= 59 && time.second >= 0 &&
							 time.second <= 60 && time.hour * 3600 + time.minute * 60 + time.second <= 86400));
}

/* Returns a time of libical as microseconds on the wall clock. */
int64_t
ical_wall_time(struct icaltimetype time)
{
	int64_t result = ical_day(time) * DAY;

	if (!time.is_date)
		result += (time.hour * 3600 + time.minute * 60 + time.second) * SECOND;
	return result;
}

/* Returns whether the changes of a zone of the text are few rules by the year: libical follows them all in one step. */
static bool
changes_seldom(icalcomponent *zone)
{
	int rules = 0;

	for (icalcompiter i = icalcomponent_begin_component(zone, ICAL_ANY_COMPONENT); icalcompiter_deref(&i) != NULL;
		 icalcompiter_next(&i))
	{
		icalcomponent *part = icalcompiter_deref(&i);

		for (icalproperty *property = icalcomponent_get_first_property(part, ICAL_RRULE_PROPERTY); property != NULL;
			 property = icalcomponent_get_next_property(part, ICAL_RRULE_PROPERTY))
		{
			struct icalrecurrencetype parts = icalproperty_get_rrule(property);
			struct icaltimetype start = icalcomponent_get_dtstart(part);
			IcalRule rule;
			const char *wrong;

			if (!ical_usable(start) || parts.freq != ICAL_YEARLY_RECURRENCE || ++rules > ZONE_RULES_MAX ||
				ical_rule_prepare(&rule, &parts, start, &wrong) != ICAL_READ)
				return false;
		}
	}
	return true;
}

/* Finds the zone of a time that a property gives; false where it is not known. */
bool
ical_find_zone(const IcalReader *reader, icalproperty *property, struct icaltimetype time, IcalZone *zone)
{
	icalparameter *parameter = icalproperty_get_first_parameter(property, ICAL_TZID_PARAMETER);
	const char *name = parameter == NULL ? NULL : icalparameter_get_tzid(parameter);

	*zone = (IcalZone){ZONE_NONE, NULL, NULL};
	if (time.is_date)
		return true;
	if (icaltime_is_utc(time))
		zone->kind = ZONE_UTC;
	else if (name != NULL && reader->zone_known(name))
	{
		zone->kind = ZONE_KNOWN;
		zone->name = name;
	}
	else if (name != NULL)
	{
		zone->kind = ZONE_OWN;
		zone->own = icalcomponent_get_timezone(reader->root, name);
		return zone->own != NULL && changes_seldom(icaltimezone_get_component((icaltimezone *) zone->own));
	}
	return true;
}

/* Returns the instant of a wall-clock time in a zone, without one in the host's. */
int64_t
ical_instant(const IcalReader *reader, const IcalZone *zone, int64_t wall)
{
	struct icaltimetype time;

	if (zone->kind == ZONE_UTC)
		return wall;
	if (zone->kind != ZONE_OWN)
		return reader->to_utc(reader, zone->name, wall);
	time = time_of(wall);
	time.zone = zone->own;
	return ical_wall_time(icaltime_convert_to_zone(time, icaltimezone_get_utc_timezone()));
}

/* Reads a duration as a length; false where it is negative or absurd. */
bool
ical_duration(struct icaldurationtype duration, IcalLength *length)
{
	if (duration.is_neg || duration.days > 1000000 || duration.weeks > 100000 || duration.hours > 100000000 ||
		duration.minutes > INT32_MAX || duration.seconds > INT32_MAX)
		return false;
	length->days = duration.days + INT64_C(7) * duration.weeks;
	length->exact = (INT64_C(3600) * duration.hours + INT64_C(60) * duration.minutes + duration.seconds) * SECOND;
	return true;
}
