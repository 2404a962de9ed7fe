/*
 * erased_key.c
 *	  Keys of sources that an erasure has masked.
 *
 * A source's key may name the customer, as the file name of a message does. It cannot stay after an erasure, nor can it
 * go: the row would be logged again by the next backfill(), of a new customer. So its digest stays in contact_key. Only
 * sources that have such keys are looked up by digest; others, which is nearly all, cost a look into an empty cache.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "customer/customer.h"

#define DIGEST_SIZE 65

static void *erased_source_build(ConfigCache *cache, MemoryContext context);

static ConfigCache erased_source_cache = {
	.name = "erased_source", .tables = {"erased_source"}, .build = erased_source_build};

static KeptPlan erased_source_select = {
	.sql = "SELECT source FROM omnichannel.erased_source",
};

static KeptPlan masked_select = {
	.sql = "SELECT u.place, k.customer_id FROM unnest($1) WITH ORDINALITY AS u (source_key, place) "
		   "CROSS JOIN LATERAL (SELECT customer_id FROM omnichannel.contact_key AS one "
		   "WHERE one.source = '" MASKED_SOURCE "' AND one.source_key = u.source_key OFFSET 0) AS k",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
	.indexed = true,
};

/* Gives a contact of an erased customer the digest of another key, if nothing is logged under that. */
static KeptPlan masked_update = {
	.sql =
		"UPDATE omnichannel.contact_key AS k SET source = '" MASKED_SOURCE "', source_key = $5 "
		"FROM (VALUES ($1, $2), ('" MASKED_SOURCE "', $4)) AS former (source, source_key), omnichannel.customer AS who "
		"WHERE k.source = former.source AND k.source_key = former.source_key"
		" AND who.customer_id = k.customer_id AND who.erased_at IS NOT NULL"
		" AND NOT EXISTS (SELECT FROM omnichannel.contact_key AS t WHERE t.source = $1 AND t.source_key = $3)"
		" AND NOT EXISTS (SELECT FROM omnichannel.contact_key AS t"
		" WHERE t.source = '" MASKED_SOURCE "' AND t.source_key = $5)",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan erased_source_insert = {
	.sql = "INSERT INTO omnichannel.erased_source (source) VALUES ($1) ON CONFLICT (source) DO NOTHING",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.indexed = true,
};

/* Reads the digests of the sources into a hash table; returns NULL where there is none. */
static void *
erased_source_build(ConfigCache *cache, MemoryContext context)
{
	uint64 rows = kept_plan_run(&erased_source_select, NULL, NULL, true, 0);
	HASHCTL control = {.keysize = DIGEST_SIZE, .entrysize = DIGEST_SIZE, .hcxt = context};
	HTAB *sources;

	if (rows == 0)
		return NULL;
	sources = hash_create("omnichannel erased sources", rows, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	for (uint64 row = 0; row < rows; row++)
		(void) hash_search(sources, spi_text(row, 1, CurrentMemoryContext), HASH_ENTER, NULL);
	return sources;
}

/* Returns the entries' keys' digests, NULL for those of other sources; NULL where no source has any. */
static const char **
digests_of(const ContactEntry *entries, int count)
{
	const char **digests = NULL;
	const char *source = NULL;
	bool erased = false;
	OwnerSwitch owner;
	HTAB *sources;

	/* Who logs need not be able to read the salt. */
	owner_switch_begin(&owner);
	sources = unconstify(void *, config_cache_get(&erased_source_cache));
	if (sources != NULL)
		digests = palloc0(sizeof(char *) * count);
	for (int i = 0; i < count && sources != NULL; i++)
	{
		if (entries[i].source_key == NULL)
			continue;
		if (source == NULL || strcmp(source, entries[i].source) != 0)
		{
			source = entries[i].source;
			erased = hash_search(sources, erasure_digest(source, ""), HASH_FIND, NULL) != NULL;
		}
		if (erased)
			digests[i] = erasure_digest(source, entries[i].source_key);
	}
	owner_switch_end(&owner);
	return digests;
}

/* Settles the entries whose keys erasures have masked, which get the masked key. Needs an SPI scope. */
void
erased_keys_mask(ContactEntry *entries, int count)
{
	const char **digests = digests_of(entries, count);
	Datum *keys;
	int *places;
	Datum values[1];
	uint64 rows;
	int found = 0;

	if (digests == NULL)
		return;
	keys = palloc(sizeof(Datum) * count);
	places = palloc(sizeof(int) * count);
	for (int i = 0; i < count; i++)
		if (digests[i] != NULL)
		{
			keys[found] = CStringGetTextDatum(digests[i]);
			places[found++] = i;
		}
	if (found == 0)
		return;
	values[0] = array_of(keys, NULL, found, TEXTOID);
	masked_select.runs += found - 1;
	rows = kept_plan_run(&masked_select, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		int place = places[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];

		entries[place].source = MASKED_SOURCE;
		entries[place].source_key = digests[place];
		entries[place].customer_id = DatumGetInt64(spi_datum(row, 2, &isnull));
		entries[place].settled = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * erased_key_follow gives the contact of an erased customer that was logged under the row's former key, or under the
 * digest of that, the digest of the key that the row has now; returns whether there is one. The contact itself takes
 * nothing of the row. Does nothing where the key is logged already. Needs an SPI scope of the log's owner.
 */
bool
erased_key_follow(const ContactEntry *entry, const char *former)
{
	Datum values[5] = {CStringGetTextDatum(entry->source), CStringGetTextDatum(former),
					   CStringGetTextDatum(entry->source_key),
					   CStringGetTextDatum(erasure_digest(entry->source, former)),
					   CStringGetTextDatum(erasure_digest(entry->source, entry->source_key))};
	Datum source[1];

	if (kept_plan_run(&masked_update, values, NULL, false, 0) == 0)
		return false;
	source[0] = CStringGetTextDatum(erasure_digest(entry->source, ""));
	(void) kept_plan_run(&erased_source_insert, source, NULL, false, 0);
	return true;
}
