/*
 * array.c
 *	  Columns of rows, gathered for statements over arrays.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

/* Adds a value to a column. */
void
sla_column_add(SlaColumn *column, Datum value, bool isnull)
{
	if (column->count == column->room)
	{
		column->room = Max(4, column->room * 2);
		column->values = column->values == NULL ? palloc(sizeof(Datum) * column->room)
												: repalloc(column->values, sizeof(Datum) * column->room);
		column->nulls = column->nulls == NULL ? palloc(sizeof(bool) * column->room)
											  : repalloc(column->nulls, sizeof(bool) * column->room);
	}
	column->values[column->count] = value;
	column->nulls[column->count++] = isnull;
}

/* Adds a text, NULL for NULL. */
void
sla_column_add_text(SlaColumn *column, const char *value)
{
	sla_column_add(column, value == NULL ? (Datum) 0 : CStringGetTextDatum(value), value == NULL);
}

/* Adds an id, NULL for 0. */
void
sla_column_add_id(SlaColumn *column, int64 value)
{
	sla_column_add(column, Int64GetDatum(value), value == 0);
}

/* Adds a time, NULL for NO_TIME. */
void
sla_column_add_time(SlaColumn *column, TimestampTz value)
{
	sla_column_add(column, TimestampTzGetDatum(value), value == NO_TIME);
}

/* Adds an interval. */
void
sla_column_add_microseconds(SlaColumn *column, int64 value, bool isnull)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = value;
	sla_column_add(column, IntervalPGetDatum(interval), isnull);
}

/* Returns the column as an array. */
Datum
sla_column_array(const SlaColumn *column)
{
	return array_of(column->values, column->nulls, column->count, column->type);
}
