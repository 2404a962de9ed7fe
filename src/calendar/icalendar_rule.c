/*
 * icalendar_rule.c
 *	  The days of a recurrence rule (RFC 5545, 3.3.10), one period after the other: a year, month, week or day.
 *
 * libical reads the rules, and is not asked to follow them: it is wrong about BYWEEKNO, about BYSETPOS of weeks and
 * days, about days counted from the end of a month in daily rules and about yearly ones without a month, refuses others
 * that are right, and looks for seconds for what never comes, in one step that nothing can interrupt. What the standard
 * says by expanding and limiting comes to this: a day of a period is one of the rule if it is in each list of the rule.
 */
#include "calendar/icalendar_impl.h"

#include <string.h>

#define WEEK 7

/* The most that a number of a list may be, either way. */
#define MONTHS 12
#define MONTH_DAYS 31
#define YEAR_WEEKS 53

static bool
has_number(const RuleNumbers *numbers, int number)
{
	return numbers->has[RULE_DAYS_MAX + number];
}

/* Returns whether a list has a place that is counted from the front, or from the back, in so many. */
static bool
has_place(const RuleNumbers *numbers, int place, int of)
{
	return has_number(numbers, place) || has_number(numbers, place - of - 1);
}

static void
add_number(RuleNumbers *numbers, int number)
{
	numbers->given = true;
	numbers->has[RULE_DAYS_MAX + number] = true;
}

/* Reads a list of libical; returns whether all its numbers are in order. */
static bool
read_numbers(RuleNumbers *numbers, const short *list, int size, int most)
{
	for (int i = 0; i < size && list[i] != ICAL_RECURRENCE_ARRAY_MAX; i++)
	{
		if (list[i] == 0 || list[i] < -most || list[i] > most)
			return false;
		add_number(numbers, list[i]);
	}
	return true;
}

/* Returns the weekday of a day, Monday 0; 2000-01-01 was a Saturday. */
static int
weekday_of(int64_t day)
{
	return (int) (((day + 5) % WEEK + WEEK) % WEEK);
}

/* Returns the first day of the week that a day is in. */
static int64_t
week_of(const IcalRule *rule, int64_t day)
{
	return day - (weekday_of(day) - rule->week_start + WEEK) % WEEK;
}

/* Reads the weekdays, with the places that they may have in a month or year. */
static bool
read_weekdays(IcalRule *rule, const struct icalrecurrencetype *parts, bool may_have_places)
{
	for (int i = 0; i < ICAL_BY_DAY_SIZE && parts->by_day[i] != ICAL_RECURRENCE_ARRAY_MAX; i++)
	{
		int weekday = icalrecurrencetype_day_day_of_week(parts->by_day[i]);
		int place = icalrecurrencetype_day_position(parts->by_day[i]);

		if (weekday < ICAL_SUNDAY_WEEKDAY || weekday > ICAL_SATURDAY_WEEKDAY || place < -YEAR_WEEKS ||
			place > YEAR_WEEKS || (place != 0 && !may_have_places))
			return false;
		add_number(&rule->weekdays[(weekday + 5) % WEEK], place);
		rule->by_any_day = true;
	}
	return true;
}

/* What a rule does not say is as at the start of the event. */
static void
fill_in(IcalRule *rule)
{
	bool by_day = rule->by_any_day || rule->month_days.given || rule->year_days.given;

	if (by_day || rule->frequency == ICAL_DAILY_RECURRENCE)
		return;
	if (rule->frequency == ICAL_WEEKLY_RECURRENCE || rule->week_numbers.given)
	{
		add_number(&rule->weekdays[weekday_of(rule->start_day)], 0);
		rule->by_any_day = true;
		return;
	}
	add_number(&rule->month_days, rule->start.day);
	if (rule->frequency == ICAL_YEARLY_RECURRENCE && !rule->months.given)
		add_number(&rule->months, rule->start.month);
}

/* Makes a rule ready to be followed from the start of an event; if it is not ICAL_READ, says what is wrong. */
IcalStatus
ical_rule_prepare(IcalRule *rule, const struct icalrecurrencetype *parts, struct icaltimetype start, const char **wrong)
{
	bool yearly = parts->freq == ICAL_YEARLY_RECURRENCE;

	memset(rule, 0, sizeof(*rule));
	*wrong = "recurs within a day";
	if (parts->freq == ICAL_SECONDLY_RECURRENCE || parts->freq == ICAL_MINUTELY_RECURRENCE ||
		parts->freq == ICAL_HOURLY_RECURRENCE || parts->by_hour[0] != ICAL_RECURRENCE_ARRAY_MAX ||
		parts->by_minute[0] != ICAL_RECURRENCE_ARRAY_MAX || parts->by_second[0] != ICAL_RECURRENCE_ARRAY_MAX)
		return ICAL_UNSUPPORTED;
	*wrong = "recurs by another calendar than the Gregorian one, or moves days that there are not";
	if ((parts->rscale != NULL && strcasecmp(parts->rscale, "GREGORIAN") != 0) || parts->skip != ICAL_SKIP_OMIT)
		return ICAL_UNSUPPORTED;

	rule->frequency = parts->freq;
	rule->interval = parts->interval > 0 ? parts->interval : 1;
	rule->week_start = (parts->week_start + 5) % WEEK;
	rule->start = start;
	rule->start_day = ical_day(start);
	*wrong = "a rule that cannot be followed";
	if (!read_numbers(&rule->months, parts->by_month, ICAL_BY_MONTH_SIZE, MONTHS) ||
		!read_numbers(&rule->week_numbers, parts->by_week_no, ICAL_BY_WEEKNO_SIZE, YEAR_WEEKS) ||
		!read_numbers(&rule->year_days, parts->by_year_day, ICAL_BY_YEARDAY_SIZE, RULE_DAYS_MAX) ||
		!read_numbers(&rule->month_days, parts->by_month_day, ICAL_BY_MONTHDAY_SIZE, MONTH_DAYS) ||
		!read_numbers(&rule->positions, parts->by_set_pos, ICAL_BY_SETPOS_SIZE, RULE_DAYS_MAX) ||
		!read_weekdays(rule, parts, (yearly && !rule->week_numbers.given) || parts->freq == ICAL_MONTHLY_RECURRENCE))
		return ICAL_MALFORMED;
	if ((rule->week_numbers.given && !yearly) || (rule->year_days.given && !yearly) ||
		(rule->month_days.given && parts->freq == ICAL_WEEKLY_RECURRENCE))
		return ICAL_MALFORMED;
	rule->by_position_in_month = !yearly || rule->months.given;
	fill_in(rule);
	return ICAL_READ;
}

/* Returns whether a day is in one of the weeks of a year, the first of which has at least four days of it. */
static bool
in_weeks(const IcalRule *rule, int64_t day)
{
	int64_t fourth = week_of(rule, day) + 3;
	int year = ical_date(fourth).year;
	int64_t year_starts = ical_day_number(year, 1, 1);
	int64_t first = week_of(rule, year_starts + 3);
	int64_t next = week_of(rule, ical_day_number(year + 1, 1, 1) + 3);

	return has_place(&rule->week_numbers, (int) (fourth - year_starts) / WEEK + 1, (int) (next - first) / WEEK);
}

/* Returns whether a day is in each list of the rule. */
static bool
is_day_of(const IcalRule *rule, int64_t day)
{
	struct icaltimetype date = ical_date(day);
	const RuleNumbers *places = &rule->weekdays[weekday_of(day)];
	int month_days = icaltime_days_in_month(date.month, date.year);
	int year_days = icaltime_days_in_year(date.year);
	int year_day = (int) (day - ical_day_number(date.year, 1, 1)) + 1;
	int place = rule->by_position_in_month ? date.day : year_day;
	int days = rule->by_position_in_month ? month_days : year_days;

	return (!rule->months.given || has_number(&rule->months, date.month)) &&
		   (!rule->month_days.given || has_place(&rule->month_days, date.day, month_days)) &&
		   (!rule->year_days.given || has_place(&rule->year_days, year_day, year_days)) &&
		   (!rule->by_any_day || has_number(places, 0) || has_number(places, (place - 1) / WEEK + 1) ||
			has_number(places, -((days - place) / WEEK + 1))) &&
		   (!rule->week_numbers.given || in_weeks(rule, day));
}

/* Finds a period, the 0th being that of the start, and its number of days. */
static int
find_period(const IcalRule *rule, int64_t period, int64_t *first)
{
	int64_t steps = period * rule->interval;
	int64_t month;

	switch (rule->frequency)
	{
		case ICAL_YEARLY_RECURRENCE:
			*first = ical_day_number((int) (rule->start.year + steps), 1, 1);
			return icaltime_days_in_year((int) (rule->start.year + steps));
		case ICAL_MONTHLY_RECURRENCE:
			month = rule->start.month - 1 + steps;
			*first = ical_day_number((int) (rule->start.year + month / MONTHS), (int) (month % MONTHS) + 1, 1);
			return icaltime_days_in_month((int) (month % MONTHS) + 1, (int) (rule->start.year + month / MONTHS));
		case ICAL_WEEKLY_RECURRENCE:
			*first = week_of(rule, rule->start_day) + WEEK * steps;
			return WEEK;
		default:
			*first = rule->start_day + steps;
			return 1;
	}
}

/*
 * Fills in the days of a period in order, up to RULE_DAYS_MAX, from the start of the event on, and returns their
 * number; -1 for a period that begins after the last day, as all later ones do. Adds to the number of days looked at.
 */
int
ical_rule_days(const IcalRule *rule, int64_t period, int64_t last, int64_t *days, int64_t *looked_at)
{
	int64_t first;
	int length = find_period(rule, period, &first);
	int count = 0;
	int kept = 0;

	if (first > last)
		return -1;
	*looked_at += length;
	for (int i = 0; i < length; i++)
	{
		if (is_day_of(rule, first + i))
			days[count++] = first + i;
	}
	for (int i = 0; i < count; i++)
	{
		if (days[i] >= rule->start_day && (!rule->positions.given || has_place(&rule->positions, i + 1, count)))
			days[kept++] = days[i];
	}
	return kept;
}
