/*
 * duplicate.c
 *	  Tells the row that a key was logged of from another row under the same key.
 *
 * A key is logged once, and an application may well send a row again. But the keys of a table can start again, when it
 * is emptied or made anew; a new row would then be taken for the old one and its contact be lost. So the row is
 * compared with what was logged: with its time and customer, and with all of it where it does not say when it occurred.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/mapping.h"
#include "customer/customer.h"

/*
 * Which keys are logged of another time, and which of another customer, whom merges and erasures since do not make.
 */
static KeptPlan logged_select = {
	.sql = "SELECT d.n, k.occurred_at <> d.occurred_at, coalesce(coalesce(a.merged_into, a.customer_id)"
		   " <> coalesce(b.merged_into, b.customer_id) AND a.erased_at IS NULL, false) "
		   "FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS d (source, source_key, occurred_at, customer_id, n) "
		   "JOIN omnichannel.contact_key AS k ON k.source = d.source AND k.source_key = d.source_key "
		   "LEFT JOIN omnichannel.customer AS a ON a.customer_id = k.customer_id "
		   "LEFT JOIN omnichannel.customer AS b ON b.customer_id = d.customer_id",
	.nargs = 4,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

/* Whether what is logged under a key says anything else; of who was erased nobody can tell. */
static KeptPlan content_select = {
	.sql = "SELECT 1 FROM omnichannel.contact_key AS k JOIN omnichannel.customer AS a ON a.customer_id = k.customer_id "
		   "JOIN omnichannel.contact AS c ON c.customer_id = k.customer_id AND c.occurred_at = k.occurred_at"
		   " AND c.contact_id = k.contact_id "
		   "WHERE k.source = $1 AND k.source_key = $2 AND a.erased_at IS NULL"
		   " AND (c.channel, c.direction, c.outcome, c.agent_id, c.thread, c.subject, c.body, c.payload)"
		   " IS DISTINCT FROM ($3, $4, $5, $6, $7, $8, $9, $10)",
	.nargs = 10,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	.indexed = true,
};

/* Gives a contact another key, if nothing is logged under that; those of erased customers are not for this. */
static KeptPlan key_update = {
	.sql = "UPDATE omnichannel.contact_key AS k SET source_key = $3 FROM omnichannel.customer AS who"
		   " WHERE k.source = $1 AND k.source_key = $2"
		   " AND who.customer_id = k.customer_id AND who.erased_at IS NULL"
		   " AND NOT EXISTS (SELECT FROM omnichannel.contact_key AS t WHERE t.source = $1 AND t.source_key = $3)"
		   " AND NOT EXISTS (SELECT FROM omnichannel.contact_key AS t"
		   " WHERE t.source = '" MASKED_SOURCE "' AND t.source_key = $4)"
		   " RETURNING k.customer_id, k.occurred_at, k.contact_id",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan contact_key_update = {
	.sql = "UPDATE omnichannel.contact SET source_key = $4"
		   " WHERE customer_id = $1 AND occurred_at = $2 AND contact_id = $3",
	.nargs = 4,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID},
	.indexed = true,
};

/* Which transaction and command wrote what is known of a key, which may be its digest. */
static KeptPlan written_select = {
	.sql = "SELECT xmin, cmin FROM omnichannel.contact_key WHERE source = $1 AND source_key = $2 UNION ALL "
		   "SELECT xmin, cmin FROM omnichannel.contact_key WHERE source = '" MASKED_SOURCE "' AND source_key = $3",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

/* Returns whether what is logged under the entry's key says anything else. */
static bool
other_content(const ContactEntry *entry)
{
	Datum values[10] = {0};
	char nulls[10];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(entry->source);
	values[1] = CStringGetTextDatum(entry->source_key);
	values[2] = CStringGetTextDatum(entry->channel);
	values[3] = CStringGetTextDatum(entry->direction);
	values[4] = CStringGetTextDatum(entry->outcome);
	values[5] = Int64GetDatum(entry->agent_id);
	if (entry->agent_id == 0)
		nulls[5] = 'n';
	if (entry->thread != NULL)
		values[6] = CStringGetTextDatum(entry->thread);
	else
		nulls[6] = 'n';
	values[7] = PointerGetDatum(entry->subject);
	values[8] = PointerGetDatum(entry->body);
	values[9] = PointerGetDatum(entry->payload);
	for (int i = 7; i < 10; i++)
		if (DatumGetPointer(values[i]) == NULL)
			nulls[i] = 'n';
	return kept_plan_run(&content_select, values, nulls, false, 1) > 0;
}

/*
 * find_other_rows returns how many of the duplicates are not the rows that their keys were logged of, and marks them.
 *
 * Needs an SPI scope.
 */
int
find_other_rows(const ContactEntry *entries, int count, bool *other)
{
	Datum *sources = palloc(sizeof(Datum) * count);
	Datum *keys = palloc(sizeof(Datum) * count);
	Datum *times = palloc(sizeof(Datum) * count);
	Datum *customers = palloc(sizeof(Datum) * count);
	int *places = palloc(sizeof(int) * count);
	Datum values[4];
	uint64 rows;
	int asked = 0;
	int found = 0;

	memset(other, 0, sizeof(bool) * count);
	for (int i = 0; i < count; i++)
	{
		if (!entries[i].duplicate || entries[i].source_key == NULL)
			continue;
		places[asked] = i;
		sources[asked] = CStringGetTextDatum(entries[i].source);
		keys[asked] = CStringGetTextDatum(entries[i].source_key);
		times[asked] = TimestampTzGetDatum(entries[i].occurred_at);
		customers[asked++] = Int64GetDatum(entries[i].named ? entries[i].customer_id : 0);
	}
	if (asked == 0)
		return 0;

	values[0] = array_of(sources, NULL, asked, TEXTOID);
	values[1] = array_of(keys, NULL, asked, TEXTOID);
	values[2] = array_of(times, NULL, asked, TIMESTAMPTZOID);
	values[3] = array_of(customers, NULL, asked, INT8OID);
	rows = kept_plan_run(&logged_select, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		int i = places[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];
		bool other_time = DatumGetBool(spi_datum(row, 2, &isnull));

		other[i] = entries[i].stranger || (entries[i].timed && other_time) || DatumGetBool(spi_datum(row, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0; i < count; i++)
	{
		if (entries[i].duplicate && entries[i].source_key != NULL && !entries[i].timed && !other[i])
			other[i] = other_content(&entries[i]);
		found += other[i];
	}
	return found;
}

/*
 * logged_of returns whether what is logged under a key, if anything is, was logged of the checked row, or what the row
 * has been. Needs an SPI scope.
 */
bool
logged_of(const ContactEntry *row, const char *source, const char *source_key)
{
	ContactEntry probe = *row;
	bool other;

	probe.source = source;
	probe.source_key = source_key;
	probe.duplicate = true;
	if (probe.kind != NULL && probe.customer_id == 0)
	{
		probe.customer_id = customer_match(probe.kind, probe.value, false, NULL);
		/* Of an identity that nobody has nothing was logged. */
		if (probe.customer_id == 0)
			return contact_find(source, source_key) == 0;
	}
	probe.named = row->kind != NULL || row->customer_id != 0;
	return find_other_rows(&probe, 1, &other) == 0;
}

/*
 * key_written_since returns whether a contact has come to a key in this transaction, in a command or what followed from
 * it. Needs an SPI scope of the log's owner.
 */
bool
key_written_since(const char *source, const char *source_key, CommandId command)
{
	Datum values[3] = {CStringGetTextDatum(source), CStringGetTextDatum(source_key),
					   CStringGetTextDatum(erasure_digest(source, source_key))};
	uint64 rows = kept_plan_run(&written_select, values, NULL, false, 0);
	bool isnull;

	for (uint64 row = 0; row < rows; row++)
		if (TransactionIdIsCurrentTransactionId(DatumGetTransactionId(spi_datum(row, 1, &isnull))) &&
			DatumGetCommandId(spi_datum(row, 2, &isnull)) >= command)
			return true;
	return false;
}

/*
 * follow_key gives the contact that was logged under the row's former key the entry's: the row's key has changed. Of an
 * erased customer only the digest of the key is kept. Returns whether there is such a contact; does nothing where the
 * key is logged already. Needs an SPI scope of the log's owner.
 */
bool
follow_key(const ContactEntry *entry, const char *former)
{
	Datum values[4] = {CStringGetTextDatum(entry->source), CStringGetTextDatum(former),
					   CStringGetTextDatum(entry->source_key),
					   CStringGetTextDatum(erasure_digest(entry->source, entry->source_key))};
	bool isnull;

	if (kept_plan_run(&key_update, values, NULL, false, 0) == 0)
		return erased_key_follow(entry, former);
	for (int i = 0; i < 3; i++)
		values[i] = spi_datum(0, i + 1, &isnull);
	values[3] = CStringGetTextDatum(entry->source_key);
	if (kept_plan_run(&contact_key_update, values, NULL, false, 0) != 1)
		rows_not_taken("contact");
	return true;
}
