/*
 * zone.h
 *	  A time zone as the list of its changes, with the meaning that AT TIME ZONE gives to local times.
 *
 * Plain C without the server's headers. Times are microseconds since 2000-01-01 00:00, in UTC or local.
 */
#ifndef CALENDAR_ZONE_H
#define CALENDAR_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#define ZONE_SECOND INT64_C(1000000)
#define ZONE_MINUTE (60 * ZONE_SECOND)
#define ZONE_DAY (86400 * ZONE_SECOND)

/* The Gregorian calendar repeats after 400 years, which are also whole weeks. */
#define ZONE_CYCLE_DAYS 146097

/*
 * Zones follow a plain rule long before 2400, so that later years are read as those of the cycle 2401 to 2801. The list
 * of changes must reach to ZONE_CHANGES_END.
 */
#define ZONE_FOLD_DAY INT64_C(146463) /* 2401-01-01 */
#define ZONE_CHANGES_END ((ZONE_FOLD_DAY + ZONE_CYCLE_DAYS + 800) * 86400)

typedef struct ZoneChange
{
	int64_t at;     /* seconds since 2000-01-01 00:00 UTC */
	int32_t before; /* offsets in seconds east of UTC */
	int32_t after;
} ZoneChange;

typedef struct Zone
{
	int count;
	int32_t first_offset;  /* before the first change */
	int32_t widest_offset; /* the largest by amount */
	bool skips_days;       /* some local day may never have been */
	ZoneChange *changes;   /* by time, also those that leave the offset as it was */
} Zone;

extern void zone_finish(Zone *zone);
extern int zone_change_after(const Zone *zone, int64_t seconds);
extern int64_t zone_to_utc(const Zone *zone, int64_t local);
extern int64_t zone_to_instant(const Zone *zone, int64_t local);
extern int64_t zone_to_local(const Zone *zone, int64_t utc);
extern int64_t zone_to_local_start(const Zone *zone, int64_t utc);
extern bool zone_skips_day(const Zone *zone, int64_t day);

/* Returns a / b rounded down; b is positive. */
static inline int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

#endif /* CALENDAR_ZONE_H */
