/*
 * zone.c
 *	  Local time and UTC in one time zone.
 *
 * The server's own functions search the zone's data at each call and need its headers. Here the changes are one sorted
 * array, read once; the rule for local times that are skipped or come twice is the server's, word for word: the change
 * that counts is the first one later than a day before the local time taken as UTC; a local time that it skips is read
 * with the offset from before it, one that comes twice with the offset from after it.
 */
#include "calendar/zone.h"

#include <stddef.h>

#define DAY_SECONDS INT64_C(86400)
#define CYCLE_SECONDS (ZONE_CYCLE_DAYS * DAY_SECONDS)
#define FOLD_END ((ZONE_FOLD_DAY + ZONE_CYCLE_DAYS) * DAY_SECONDS)

/* Works out what depends on the changes; call it once they are complete. */
void
zone_finish(Zone *zone)
{
	zone->widest_offset = zone->first_offset < 0 ? -zone->first_offset : zone->first_offset;
	zone->skips_days = false;
	for (int i = 0; i < zone->count; i++)
	{
		int32_t offset = zone->changes[i].after;

		if (offset < 0)
			offset = -offset;
		if (offset > zone->widest_offset)
			zone->widest_offset = offset;
		/* One change skips a day, or two so near to each other that both bear on one. */
		if (zone->changes[i].after - zone->changes[i].before >= DAY_SECONDS ||
			(i > 0 && zone->changes[i].at - zone->changes[i - 1].at < 5 * DAY_SECONDS))
			zone->skips_days = true;
	}
}

/* Returns the index of the first change later than that time, or the number of changes. */
int
zone_change_after(const Zone *zone, int64_t seconds)
{
	int low = 0;
	int high = zone->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (zone->changes[middle].at > seconds)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Returns the seconds to take off a time so that it falls into the years that the changes cover. */
static int64_t
fold(int64_t seconds)
{
	if (seconds < FOLD_END)
		return 0;
	return ((seconds - FOLD_END) / CYCLE_SECONDS + 1) * CYCLE_SECONDS;
}

/* Returns the offset in force before the change with that index. */
static int32_t
offset_before(const Zone *zone, int index)
{
	return index == 0 ? zone->first_offset : zone->changes[index - 1].after;
}

/* Returns the offset of a local time given in seconds. */
static int32_t
local_offset(const Zone *zone, int64_t local)
{
	const ZoneChange *change;
	int64_t before;
	int64_t after;
	int index;

	local -= fold(local);
	index = zone_change_after(zone, local - DAY_SECONDS);
	if (index == zone->count)
		return offset_before(zone, index);

	change = &zone->changes[index];
	before = local - change->before;
	after = local - change->after;
	if (before < change->at && after < change->at)
		return change->before;
	if (before > change->at && after >= change->at)
		return change->after;
	return before > after ? change->before : change->after;
}

/* Returns the instant that a local time means: what AT TIME ZONE says. */
int64_t
zone_to_utc(const Zone *zone, int64_t local)
{
	return local - local_offset(zone, floor_div(local, ZONE_SECOND)) * ZONE_SECOND;
}

/* Returns whether no moment ever was of that local day, counted from 2000-01-01. */
bool
zone_skips_day(const Zone *zone, int64_t day)
{
	return zone->skips_days && zone_to_utc(zone, (day + 1) * ZONE_DAY) <= zone_to_utc(zone, day * ZONE_DAY);
}

/* As zone_to_utc(), but all times of a skipped day are the moment at which it was skipped. */
int64_t
zone_to_instant(const Zone *zone, int64_t local)
{
	int64_t day = floor_div(local, ZONE_DAY);

	return zone_to_utc(zone, zone_skips_day(zone, day) ? day * ZONE_DAY : local);
}

/* Returns the local time at an instant. */
int64_t
zone_to_local(const Zone *zone, int64_t utc)
{
	int64_t seconds = floor_div(utc, ZONE_SECOND);

	seconds -= fold(seconds);
	return utc + offset_before(zone, zone_change_after(zone, seconds)) * ZONE_SECOND;
}

/*
 * Returns the local time at an instant, or, where that time came twice and means the second one, the last one before it
 * that came once: what begins then is not yet missed.
 */
int64_t
zone_to_local_start(const Zone *zone, int64_t utc)
{
	int64_t local = zone_to_local(zone, utc);
	int64_t seconds = floor_div(utc, ZONE_SECOND);
	const ZoneChange *change;

	if (zone_to_utc(zone, local) <= utc)
		return local;
	change = &zone->changes[zone_change_after(zone, seconds - fold(seconds))];
	return (change->at + change->after + fold(seconds)) * ZONE_SECOND - 1;
}
