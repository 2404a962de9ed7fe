/*
 * icalendar_time.c
 *	  Times in iCalendar text: in which zone they are, which instants, and how long something lasts from there.
 *
 * Properties of one event may give the same time in different forms, so that what they say is compared by instant. The
 * host answers for the zones that it knows, as holidays are told in its local time in the end; libical only for those
 * that nothing but the text defines.
 */
#include "calendar/icalendar_time.h"

#define CYCLE_DAYS 146097 /* of the Gregorian calendar, in 400 years */

/* Returns the days from 2000-01-01 of a date of the Gregorian calendar. */
static int64_t
days_of(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * CYCLE_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730425;
}

/* Returns the time of libical that a wall-clock time from the year 1 on is; the reverse of ical_wall_time(). */
static struct icaltimetype
time_of(int64_t wall)
{
	struct icaltimetype time = icaltime_null_time();
	int64_t days = wall / DAY - (wall % DAY < 0);
	int seconds = (int) ((wall - days * DAY) / SECOND);
	int64_t day = days + 730425; /* from 0000-03-01 */
	int64_t era = (day >= 0 ? day : day - (CYCLE_DAYS - 1)) / CYCLE_DAYS;
	int day_of_era = (int) (day - era * CYCLE_DAYS);
	int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (CYCLE_DAYS - 1)) / 365;
	int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int month = (5 * day_of_year + 2) / 153; /* from March */

	time.year = (int) (era * 400) + year_of_era + (month >= 10);
	time.month = month < 10 ? month + 3 : month - 9;
	time.day = day_of_year - (153 * month + 2) / 5 + 1;
	time.hour = seconds / 3600;
	time.minute = seconds / 60 % 60;
	time.second = seconds % 60;
	return time;
}

/* Returns whether a time of libical is one, in the years 1 to 9999. */
bool
ical_usable(struct icaltimetype time)
{
	return !icaltime_is_null_time(time) && icaltime_is_valid_time(time) && time.year >= 1 && time.year <= 9999 &&
		   time.month >= 1 && time.month <= 12 && time.day >= 1 &&
		   time.day <= icaltime_days_in_month(time.month, time.year);
}

/* Returns the day of a time of libical on the wall clock, counted from 2000-01-01. */
int64_t
ical_day(struct icaltimetype time)
{
	return days_of(time.year, time.month, time.day);
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

/* Returns whether a rule comes true more than once a day. */
bool
ical_within_a_day(const struct icalrecurrencetype *rule)
{
	return rule->freq == ICAL_SECONDLY_RECURRENCE || rule->freq == ICAL_MINUTELY_RECURRENCE ||
		   rule->freq == ICAL_HOURLY_RECURRENCE || rule->by_hour[0] != ICAL_RECURRENCE_ARRAY_MAX ||
		   rule->by_minute[0] != ICAL_RECURRENCE_ARRAY_MAX || rule->by_second[0] != ICAL_RECURRENCE_ARRAY_MAX;
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

			if (rule.freq != ICAL_YEARLY_RECURRENCE || ical_within_a_day(&rule))
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
		return zone->own != NULL && changes_yearly(icaltimezone_get_component((icaltimezone *) zone->own));
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

/* Returns a duration as a length; none where it is negative or absurd. */
IcalLength
ical_duration(struct icaldurationtype duration)
{
	if (duration.is_neg || duration.days > 1000000 || duration.weeks > 100000 || duration.hours > 100000000)
		return (IcalLength){0, 0};
	return (IcalLength){duration.days + INT64_C(7) * duration.weeks,
						(INT64_C(3600) * duration.hours + INT64_C(60) * duration.minutes + duration.seconds) * SECOND};
}
