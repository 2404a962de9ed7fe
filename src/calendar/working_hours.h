/*
 * working_hours.h
 *	  The type working_hours as it is stored. Include it after postgres.h.
 */
#ifndef CALENDAR_WORKING_HOURS_H
#define CALENDAR_WORKING_HOURS_H

#include "fmgr.h"

#include "calendar/week.h"

/* Spells as week_check() wants them. */
typedef struct WorkingHours
{
	int32 vl_len_; /* varlena header; do not touch directly */
	WeekSpell spells[FLEXIBLE_ARRAY_MEMBER];
} WorkingHours;

#define WORKING_HOURS_COUNT(hours) ((int) ((VARSIZE(hours) - offsetof(WorkingHours, spells)) / sizeof(WeekSpell)))

#define DatumGetWorkingHours(datum) ((WorkingHours *) PG_DETOAST_DATUM(datum))
#define PG_GETARG_WORKING_HOURS(n) DatumGetWorkingHours(PG_GETARG_DATUM(n))

#endif /* CALENDAR_WORKING_HOURS_H */
