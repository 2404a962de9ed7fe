/*
 * reject_find.c
 *	  Rows that could not be logged and wait, found by the keys of what is logged now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/tracked.h"
#include "core/look.h"

static KeptPlan any_select = {
	.sql = "SELECT FROM unnest($2, $3) AS u (source, source_key) "
		   "CROSS JOIN LATERAL (SELECT FROM omnichannel.contact_reject AS t"
		   " WHERE t.tracking = $1 AND t.source = u.source AND t.source_key = u.source_key OFFSET 0) AS one LIMIT 1",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan new_select = {
	.sql = "SELECT FROM omnichannel.contact_reject WHERE tracking = $1 AND source = $2 AND source_key = $3"
		   " AND NOT updated",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

static LookUp any_look = {
	.table = "contact_reject",
	.nkeys = 3,
	.seldom = true,
	.ncolumns = 3,
	.columns = (const TableColumn[]){{"tracking", TEXTOID}, {"source", TEXTOID}, {"source_key", TEXTOID}},
};

/*
 * reject_waits returns whether a row waits under one of the entries' keys. Asks for no other: those that waited stay in
 * the table while anybody may see them. Needs an SPI scope of the log's owner.
 */
bool
reject_waits(const Tracking *tracking, const ContactEntry *entries, int count)
{
	Datum *sources = palloc(sizeof(Datum) * count);
	Datum *keys = palloc(sizeof(Datum) * count);
	Datum values[3] = {CStringGetTextDatum(tracking->code)};
	LookScan scan;
	Datum row[3];
	bool nulls[3];
	bool found = false;
	int asked = 0;

	for (int i = 0; i < count; i++)
		if (entries[i].source_key != NULL)
		{
			sources[asked] = CStringGetTextDatum(entries[i].source);
			keys[asked++] = CStringGetTextDatum(entries[i].source_key);
		}
	if (asked == 0)
		return false;
	if (!look_open(&scan, &any_look, 3, NULL))
	{
		values[1] = array_of(sources, NULL, asked, TEXTOID);
		values[2] = array_of(keys, NULL, asked, TEXTOID);
		return kept_plan_run(&any_select, values, NULL, false, 1) > 0;
	}
	for (int i = 0; i < asked && !found; i++)
	{
		values[1] = sources[i];
		values[2] = keys[i];
		look_find(&scan, values);
		found = look_next(&scan, false, row, nulls);
	}
	look_end(&scan);
	return found;
}

/*
 * reject_is_new returns whether a row waits under a key of which no contact is known to have been logged. Needs an SPI
 * scope of the log's owner.
 */
bool
reject_is_new(const Tracking *tracking, const char *source, const char *source_key)
{
	const ContactEntry entry = {.source = source, .source_key = source_key};
	Datum values[3] = {CStringGetTextDatum(tracking->code), CStringGetTextDatum(source),
					   CStringGetTextDatum(source_key)};

	return reject_waits(tracking, &entry, 1) && kept_plan_run(&new_select, values, NULL, false, 1) > 0;
}
