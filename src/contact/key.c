/*
 * key.c
 *	  The keys under which the rows of a source are logged once.
 *
 * Whoever inserts a key first has it; who comes second at the same moment waits for the first and is a duplicate then.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "core/direct.h"
#include "core/look.h"
#include "core/row.h"

#define KEY_NCOLUMNS 5
#define KEY_COLUMNS "source, source_key, customer_id, contact_id, occurred_at"

static const TableColumn key_columns[KEY_NCOLUMNS] = {
	{"source", TEXTOID},     {"source_key", TEXTOID},         {"customer_id", INT8OID},
	{"contact_id", INT8OID}, {"occurred_at", TIMESTAMPTZOID},
};

static const DirectTable key_table = {
	.name = "contact_key",
	.purpose = DIRECT_INSERT_NEW,
	.nkeys = 2,
	.ncolumns = KEY_NCOLUMNS,
	.columns = key_columns,
};

static KeptPlan key_insert = {
	.sql = "INSERT INTO omnichannel.contact_key (" KEY_COLUMNS ")"
		   " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source, source_key) DO NOTHING RETURNING " KEY_COLUMNS,
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

static KeptPlan keys_insert = {
	.sql = "INSERT INTO omnichannel.contact_key (" KEY_COLUMNS ")"
		   " SELECT * FROM unnest($1, $2, $3, $4, $5)"
		   " ON CONFLICT (source, source_key) DO NOTHING RETURNING " KEY_COLUMNS,
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	.indexed = true,
};

static KeptPlan key_select = {
	.sql = "SELECT contact_id FROM omnichannel.contact_key WHERE source = $1 AND source_key = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.indexed = true,
};

static LookUp key_look = {
	.table = "contact_key",
	.nkeys = 2,
	.ncolumns = 4,
	.columns = key_columns,
};

static RowTable key_row = {
	.name = "contact_key",
	.ncolumns = KEY_NCOLUMNS,
	.columns = key_columns,
};

/* Sets the values of a key's row. */
static void
take_key(const ContactEntry *entry, Datum *values)
{
	values[0] = CStringGetTextDatum(entry->source);
	values[1] = CStringGetTextDatum(entry->source_key);
	values[2] = Int64GetDatum(entry->customer_id);
	values[3] = Int64GetDatum(entry->contact_id);
	values[4] = TimestampTzGetDatum(entry->occurred_at);
}

/* Returns the contact that is known to be logged of a source's key, or 0. Needs an SPI scope. */
static int64
find_key(Datum *keys)
{
	return look_up_id(&key_look, 3, &key_select, keys);
}

/* Raises 09000 for an entry that seems to be a duplicate where nothing is logged of its key. */
static void
confirm_duplicate(const ContactEntry *entry)
{
	Datum keys[2] = {CStringGetTextDatum(entry->source), CStringGetTextDatum(entry->source_key)};

	if (find_key(keys) == 0)
		rows_not_taken("contact_key");
}

/* Claims the source's key of one entry, which is a duplicate where another has it. Needs an SPI scope. */
void
key_claim(ContactEntry *entry)
{
	Datum key[KEY_NCOLUMNS];

	if (entry->source_key == NULL)
		return;
	take_key(entry, key);

	/* The rows of a table that is tracked have hardly been logged before; where they were, the key says so. */
	entry->duplicate = !entry->fresh && find_key(key) != 0;
	if (entry->duplicate || row_insert(&key_row, key, NULL, entry->sole ? ROW_STANDS : ROW_GIVES_WAY))
		return;
	entry->duplicate = kept_plan_run(&key_insert, key, NULL, false, 0) == 0;
	if (entry->duplicate)
		confirm_duplicate(entry);
	else if (!spi_row_is(0, key, NULL, KEY_NCOLUMNS))
		rows_not_taken("contact_key");
	SPI_freetuptable(SPI_tuptable);
}

/* Orders pointers to entries by source and key; of the same key the one that came first wins. */
static int
compare_keys(const void *a, const void *b)
{
	const ContactEntry *left = *(ContactEntry *const *) a;
	const ContactEntry *right = *(ContactEntry *const *) b;
	int order = strcmp(left->source_key, right->source_key);

	if (order == 0)
		order = strcmp(left->source, right->source);
	if (order != 0)
		return order;
	return left->contact_id < right->contact_id ? -1 : left->contact_id > right->contact_id;
}

/* Claims the keys of entries without SQL, and marks the duplicates; returns false where SQL is asked for. */
static bool
claim_directly(ContactEntry **entries, int count)
{
	DirectWrite *write = direct_open(&key_table);
	MemoryContext scratch;
	bool *inserted;

	if (write == NULL)
		return false;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel row", ALLOCSET_DEFAULT_SIZES);
	inserted = palloc(sizeof(bool) * count);
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		Datum values[KEY_NCOLUMNS];

		take_key(entries[i], values);
		(void) direct_add(write, values, NULL);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	(void) direct_flush(write, inserted);
	direct_close(write);
	for (int i = 0; i < count; i++)
		entries[i]->duplicate = !inserted[i];
	return true;
}

/* Claims the keys of entries by a statement, which returns those that it claimed in the order of the entries. */
static void
claim_by_statement(ContactEntry **entries, int count)
{
	Datum *elements[KEY_NCOLUMNS];
	Datum values[KEY_NCOLUMNS];
	uint64 claimed;
	uint64 row = 0;

	for (int i = 0; i < KEY_NCOLUMNS; i++)
		elements[i] = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		take_key(entries[i], values);
		for (int j = 0; j < KEY_NCOLUMNS; j++)
			elements[j][i] = values[j];
	}
	for (int i = 0; i < KEY_NCOLUMNS; i++)
		values[i] = array_of(elements[i], NULL, count, key_columns[i].type);
	claimed = kept_plan_run(&keys_insert, values, NULL, false, 0);
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < KEY_NCOLUMNS; j++)
			values[j] = elements[j][i];
		entries[i]->duplicate = row >= claimed || !spi_row_is(row, values, NULL, KEY_NCOLUMNS);
		if (!entries[i]->duplicate)
			row++;
	}
	if (row != claimed)
		rows_not_taken("contact_key");
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < count; i++)
		if (entries[i]->duplicate)
			confirm_duplicate(entries[i]);
}

/*
 * Claims the sources' keys of many entries, in their order, so that writers that meet wait and do not lock up. Needs an
 * SPI scope.
 */
void
keys_claim(ContactEntry *entries, int count)
{
	ContactEntry **keyed = palloc(sizeof(ContactEntry *) * count);
	int keys = 0;

	for (int i = 0; i < count; i++)
	{
		entries[i].duplicate = entries[i].settled;
		if (!entries[i].settled && entries[i].source_key != NULL)
			keyed[keys++] = &entries[i];
	}
	if (keys == 0)
		return;
	qsort(keyed, keys, sizeof(ContactEntry *), compare_keys);
	if (!claim_directly(keyed, keys))
		claim_by_statement(keyed, keys);
}

/* Returns the contact that was logged of a source's key, or 0. Needs an SPI scope. */
int64
contact_find(const char *source, const char *source_key)
{
	Datum keys[2] = {CStringGetTextDatum(source), CStringGetTextDatum(source_key)};

	return find_key(keys);
}
