/*
 * icalendar_date.c
 *	  Dates of iCalendar text as numbers of days: libical has no arithmetic of days that covers the years 1 to 9999.
 */
#include "calendar/icalendar_impl.h"

#define CYCLE_DAYS 146097 /* of the Gregorian calendar, in 400 years */

/* Returns the days from 2000-01-01 of a date of the Gregorian calendar. */
int64_t
ical_day_number(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * CYCLE_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730425;
}

/* Returns the date of a day from 2000-01-01 on, the reverse of ical_day_number(). */
struct icaltimetype
ical_date(int64_t number)
{
	struct icaltimetype date = icaltime_null_date();
	int64_t day = number + 730425; /* from 0000-03-01 */
	int64_t era = (day >= 0 ? day : day - (CYCLE_DAYS - 1)) / CYCLE_DAYS;
	int day_of_era = (int) (day - era * CYCLE_DAYS);
	int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (CYCLE_DAYS - 1)) / 365;
	int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int month = (5 * day_of_year + 2) / 153; /* from March */

	date.year = (int) (era * 400) + year_of_era + (month >= 10);
	date.month = month < 10 ? month + 3 : month - 9;
	date.day = day_of_year - (153 * month + 2) / 5 + 1;
	return date;
}

/* Returns the day of a time of libical on the wall clock, counted from 2000-01-01. */
int64_t
ical_day(struct icaltimetype time)
{
	return ical_day_number(time.year, time.month, time.day);
}
