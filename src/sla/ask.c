/*
 * ask.c
 *	  What was before: asked of the stored moments for all new ones at once.
 *
 * A machine that starts with open clocks only does not know what was said of requests, nor whether the customer has
 * written before. A batch asks once for all its customers, because a statement for each takes longer than all the rest.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "core/look.h"
#include "sla/clock.h"

static KeptPlan requests_read = {
	.sql = "SELECT u.root, m.* FROM unnest($1, $2, $3) AS u (root, request_id, new_id) CROSS JOIN LATERAL"
		   " ((SELECT " SLA_MOMENT_COLUMNS " FROM omnichannel.sla_moment AS m WHERE m.request_id = u.request_id"
		   " AND m.version IS NOT NULL AND m.moment_id <> u.new_id ORDER BY m.at DESC, m.version DESC LIMIT 1)"
		   " UNION ALL SELECT " SLA_CLOSED_COLUMNS " FROM omnichannel.request AS r WHERE r.request_id = u.request_id"
		   " AND r.closed_at IS NOT NULL LIMIT 1) AS m",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan wrote_before = {
	.sql = "SELECT 1 WHERE EXISTS (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = $2"
		   " AND m.what = 'inbound' AND m.outcome <> 'failed' AND m.at < $4"
		   " AND m.customer_id IN (SELECT f.customer_id FROM " SLA_FAMILY " AS f))"
		   " OR EXISTS (SELECT FROM " SLA_FAMILY " AS f"
		   " JOIN omnichannel.sla_moment AS m ON m.customer_id = f.customer_id"
		   " WHERE m.thread = $3 AND m.source IS NOT DISTINCT FROM $5"
		   " AND m.what = 'inbound' AND m.outcome <> 'failed' AND m.at < $4)",
	.nargs = 5,
	.argtypes = {INT8ARRAYOID, INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	.indexed = true,
};

/* The same of a request, in what was logged first. */
static LookUp request_look = {
	.table = "sla_moment",
	.nkeys = 1,
	.ncolumns = 5,
	.columns = (const TableColumn[]){{"request_id", INT8OID},
									 {"what", TEXTOID},
									 {"outcome", TEXTOID},
									 {"at", TIMESTAMPTZOID},
									 {"customer_id", INT8OID}},
};

/* How many moments of a request are looked at before a statement is asked. */
#define FEW_MOMENTS 8

/* The same for many moments, by place. */
static KeptPlan earlier_read = {
	.sql = "SELECT u.place FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY"
		   " AS u (root, request_id, thread, at, source, place)"
		   " WHERE EXISTS (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = u.request_id"
		   " AND m.what = 'inbound' AND m.outcome <> 'failed' AND m.at < u.at AND (m.customer_id = u.root OR EXISTS"
		   " (SELECT FROM omnichannel.customer AS k WHERE k.customer_id = m.customer_id AND k.merged_into = u.root)))"
		   " OR (u.thread IS NOT NULL AND EXISTS (SELECT FROM (SELECT u.root AS customer_id UNION ALL"
		   " SELECT k.customer_id FROM omnichannel.customer AS k WHERE k.merged_into = u.root) AS f"
		   " CROSS JOIN LATERAL (SELECT FROM omnichannel.sla_moment AS m WHERE m.customer_id = f.customer_id"
		   " AND m.thread = u.thread AND m.source IS NOT DISTINCT FROM u.source"
		   " AND m.what = 'inbound' AND m.outcome <> 'failed' AND m.at < u.at OFFSET 0) AS m))",
	.nargs = 5,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

/* Which of these requests are no more. */
static KeptPlan gone_select = {
	.sql = "SELECT DISTINCT u.id FROM unnest($1) AS u (id) WHERE NOT EXISTS"
		   " (SELECT FROM omnichannel.request AS r WHERE r.request_id = u.id) ORDER BY u.id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * sla_requests_gone sets orphaned of the family's clocks that have stopped and whose requests were deleted, with all
 * that was said of them. The family is read. Needs an SPI scope.
 */
void
sla_requests_gone(SlaFamily *family)
{
	int64 *said = palloc_extended(sizeof(int64) * Max(family->moment_count, 1), MCXT_ALLOC_HUGE);
	SlaColumn ids = {.type = INT8OID};
	Datum values[1];
	int64 *gone;
	int said_count = 0;
	int count;

	for (int i = 0; i < family->moment_count; i++)
		if (family->moments[i]->what == MOMENT_REQUEST)
			said[said_count++] = family->moments[i]->request_id;
	qsort(said, said_count, sizeof(int64), id_compare);
	for (int i = 0; i < family->clock_count; i++)
	{
		const SlaClock *clock = family->clocks[i];

		if (clock->request_id != 0 && clock->stopped_at != NO_TIME && !clock->settled &&
			bsearch(&clock->request_id, said, said_count, sizeof(int64), id_compare) == NULL)
			sla_column_add_id(&ids, clock->request_id);
	}
	pfree(said);
	if (ids.count == 0)
		return;
	values[0] = sla_column_array(&ids);
	count = (int) kept_plan_run(&gone_select, values, NULL, false, 0);
	gone = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		gone[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < family->clock_count; i++)
	{
		SlaClock *clock = family->clocks[i];

		clock->orphaned =
			clock->stopped_at != NO_TIME && bsearch(&clock->request_id, gone, count, sizeof(int64), id_compare) != NULL;
		clock->stays |= clock->orphaned;
	}
}

/*
 * sla_requests_read sets said: of each request that a new moment names, what was said of it last before.
 *
 * The families are sorted by root, and only move open clocks on: at most one new moment tells of a request. Needs an
 * SPI scope.
 */
void
sla_requests_read(SlaFamily *families, int count)
{
	SlaColumn columns[3] = {{.type = INT8OID}, {.type = INT8OID}, {.type = INT8OID}};
	Datum values[3];
	uint64 rows;

	for (int i = 0; i < count; i++)
	{
		SlaFamily *family = &families[i];
		SlaMoment **named = palloc(sizeof(SlaMoment *) * family->moment_count);
		int found = 0;

		for (int j = 0; j < family->moment_count; j++)
			if (family->moments[j]->request_id != 0)
				named[found++] = family->moments[j];
		qsort(named, found, sizeof(SlaMoment *), sla_moment_compare_requests);
		for (int j = 0; j < found; j++)
		{
			int64 told = named[j]->what == MOMENT_REQUEST ? named[j]->moment_id : 0;

			if (j > 0 && named[j]->request_id == named[j - 1]->request_id)
				continue;
			sla_column_add_id(&columns[0], family->root);
			sla_column_add_id(&columns[1], named[j]->request_id);
			sla_column_add(&columns[2], Int64GetDatum(told), false);
		}
		/* There are not more requests than moments that name one. */
		family->said = named;
		family->said_count = 0;
	}
	if (columns[0].count == 0)
		return;
	for (int i = 0; i < 3; i++)
		values[i] = sla_column_array(&columns[i]);
	requests_read.runs += columns[0].count - 1;
	rows = kept_plan_run(&requests_read, values, NULL, false, 0);
	for (uint64 i = 0; i < rows; i++)
	{
		SlaFamily *family = sla_family_find(families, count, spi_id(i, 1));

		family->said[family->said_count++] = sla_moment_from_row(i, 2);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * sla_earlier_read sets wrote_before of the new moments of which sla_wrote_before() will be asked, at once where they
 * are several; of others it will find out. Needs an SPI scope.
 */
void
sla_earlier_read(SlaFamily *families, int count)
{
	SlaColumn columns[5] = {
		{.type = INT8OID}, {.type = INT8OID}, {.type = TEXTOID}, {.type = TIMESTAMPTZOID}, {.type = TEXTOID}};
	SlaMoment **asked = NULL;
	Datum values[5];
	uint64 rows;
	int total = 0;

	for (int i = 0; i < count; i++)
		total += families[i].moment_count;
	asked = palloc(sizeof(SlaMoment *) * Max(total, 1));
	total = 0;
	for (int i = 0; i < count; i++)
	{
		const SlaMoment *before = NULL;

		for (int j = 0; j < families[i].moment_count; j++)
		{
			SlaMoment *moment = families[i].moments[j];

			if (moment->what != MOMENT_INBOUND || strcmp(moment->outcome, "failed") == 0 ||
				(moment->request_id == 0 && moment->thread == NULL))
				continue;
			/* Who goes on in the same conversation has written in it. */
			if (before == NULL || before->request_id != moment->request_id ||
				!sla_same_thread(before->thread, before->source, moment->thread, moment->source))
			{
				asked[total++] = moment;
				sla_column_add_id(&columns[0], families[i].root);
				sla_column_add_id(&columns[1], moment->request_id);
				sla_column_add_text(&columns[2], moment->thread);
				sla_column_add_time(&columns[3], moment->at);
				sla_column_add_text(&columns[4], moment->source);
			}
			before = moment;
		}
	}
	if (total < 2)
		return;
	for (int i = 0; i < 5; i++)
		values[i] = sla_column_array(&columns[i]);
	for (int i = 0; i < total; i++)
		asked[i]->wrote_before = SLA_NO;
	earlier_read.runs += total - 1;
	rows = kept_plan_run(&earlier_read, values, NULL, false, 0);
	for (uint64 i = 0; i < rows; i++)
		asked[spi_id(i, 1) - 1]->wrote_before = SLA_YES;
	SPI_freetuptable(SPI_tuptable);
}

/* Returns whether one of the first moments of the moment's request says that the customer wrote in it before. */
static bool
is_seen(const SlaMoment *moment)
{
	Datum keys[1] = {Int64GetDatum(moment->request_id)};
	bool seen = false;
	LookScan scan;
	Datum row[5];
	bool nulls[5];

	if (moment->request_id == 0 || !look_begin(&scan, &request_look, keys, 1, NULL))
		return false;
	for (int i = 0; i < FEW_MOMENTS && !seen && look_next(&scan, false, row, nulls); i++)
		seen = text_equals(row[1], "inbound") && !nulls[2] && !text_equals(row[2], "failed") &&
			   DatumGetTimestampTz(row[3]) < moment->at && DatumGetInt64(row[4]) == moment->customer_id;
	look_end(&scan);
	return seen;
}

/* Returns whether the customer wrote in the moment's request or thread before it. Needs an SPI scope. */
bool
sla_wrote_before(SlaMachine *machine, const SlaMoment *moment)
{
	SlaColumn roots = {.type = INT8OID};
	Datum values[5] = {(Datum) 0, Int64GetDatum(moment->request_id), (Datum) 0, TimestampTzGetDatum(moment->at)};
	char nulls[5] = {' ', moment->request_id == 0 ? 'n' : ' ', 'n', ' ', 'n'};

	if (moment->wrote_before != SLA_NOT_ASKED)
		return moment->wrote_before == SLA_YES;
	if (is_seen(moment))
		return true;
	sla_column_add_id(&roots, machine->root);
	values[0] = sla_column_array(&roots);
	if (moment->thread != NULL)
	{
		values[2] = CStringGetTextDatum(moment->thread);
		nulls[2] = ' ';
	}
	if (moment->source != NULL)
	{
		values[4] = CStringGetTextDatum(moment->source);
		nulls[4] = ' ';
	}
	return kept_plan_run(&wrote_before, values, nulls, false, 1) > 0;
}
