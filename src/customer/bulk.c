/*
 * bulk.c
 *	  Many identities and customers at once.
 *
 * What identity.c does for one, by statements over arrays. Unknown identities are inserted in the order of their keys,
 * so that two sessions that meet the same ones wait for each other instead of locking up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "core/look.h"
#include "customer/customer.h"

static LookUp identity_look = {
	.table = "identity",
	.nkeys = 2,
	.ncolumns = 3,
	.columns = (const TableColumn[]){{"kind", TEXTOID}, {"value", TEXTOID}, {"customer_id", INT8OID}},
};

static LookUp customer_look = {
	.table = "customer",
	.nkeys = 1,
	.ncolumns = 2,
	.columns = (const TableColumn[]){{"customer_id", INT8OID}, {"erased_at", TIMESTAMPTZOID}},
};

static KeptPlan identities_select = {
	.sql = "SELECT u.place, i.customer_id, false "
		   "FROM unnest($1, $2) WITH ORDINALITY AS u (kind, value, place) "
		   "CROSS JOIN LATERAL (SELECT customer_id FROM omnichannel.identity AS one "
		   "WHERE one.kind = u.kind AND one.value = u.value OFFSET 0) AS i",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan identities_insert = {
	.sql = "WITH identified AS ("
		   " INSERT INTO omnichannel.identity (kind, value, customer_id)"
		   " SELECT u.kind, u.value, nextval('omnichannel.customer_customer_id_seq')"
		   " FROM unnest($1, $2) AS u (kind, value)"
		   " ON CONFLICT (kind, value) DO NOTHING RETURNING customer_id)"
		   " INSERT INTO omnichannel.customer (customer_id) SELECT customer_id FROM identified",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan customers_select = {
	.sql = "SELECT u.place, c.customer_id, c.erased_at IS NOT NULL "
		   "FROM unnest($1) WITH ORDINALITY AS u (customer_id, place) "
		   "CROSS JOIN LATERAL (SELECT customer_id, erased_at FROM omnichannel.customer AS one "
		   "WHERE one.customer_id = u.customer_id OFFSET 0) AS c",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan customers_insert = {
	.sql = "INSERT INTO omnichannel.customer (customer_id) SELECT * FROM unnest($1)",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Orders by kind and value, then by id. */
static int
compare_lookups(const void *a, const void *b)
{
	const CustomerLookup *left = *(CustomerLookup *const *) a;
	const CustomerLookup *right = *(CustomerLookup *const *) b;
	int order;

	if (left->kind == NULL || right->kind == NULL)
	{
		if (left->kind != right->kind)
			return left->kind == NULL ? -1 : 1;
		return left->customer_id < right->customer_id ? -1 : left->customer_id > right->customer_id;
	}
	order = strcmp(left->value, right->value);
	return order != 0 ? order : strcmp(left->kind, right->kind);
}

/* Returns an array datum of the lookups' kinds or values. */
static Datum
text_array(CustomerLookup **lookups, int count, bool values)
{
	Datum *elements = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(values ? lookups[i]->value : lookups[i]->kind);
	return array_of(elements, NULL, count, TEXTOID);
}

/* Fills in what was found by a statement that returns place, customer and whether that was erased. */
static void
take_found(CustomerLookup **lookups, uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		CustomerLookup *lookup = lookups[spi_id(row, 1) - 1];

		lookup->customer_id = spi_id(row, 2);
		lookup->erased = DatumGetBool(spi_datum(row, 3, &isnull));
		lookup->known = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Looks identities up without SQL; returns false where SQL is asked for. */
static bool
find_identities(CustomerLookup **lookups, int count)
{
	LookScan scan;
	Datum kind = (Datum) 0;

	if (!look_open(&scan, &identity_look, 2, NULL))
		return false;
	for (int i = 0; i < count; i++)
	{
		Datum keys[2];
		Datum values[3];
		bool nulls[3];

		if (i == 0 || strcmp(lookups[i]->kind, lookups[i - 1]->kind) != 0)
			kind = CStringGetTextDatum(lookups[i]->kind);
		keys[0] = kind;
		keys[1] = CStringGetTextDatum(lookups[i]->value);
		look_follow(&scan, keys);
		if (!look_next(&scan, false, values, nulls))
			continue;
		lookups[i]->customer_id = DatumGetInt64(values[2]);
		lookups[i]->erased = false;
		lookups[i]->known = true;
	}
	look_end(&scan);
	return true;
}

/* Looks ids up without SQL; returns false where SQL is asked for. */
static bool
find_ids(CustomerLookup **lookups, int count)
{
	LookScan scan;

	if (!look_open(&scan, &customer_look, 1, NULL))
		return false;
	for (int i = 0; i < count; i++)
	{
		Datum keys[1] = {Int64GetDatum(lookups[i]->customer_id)};
		Datum values[2];
		bool nulls[2];

		look_follow(&scan, keys);
		lookups[i]->known = look_next(&scan, false, values, nulls);
		lookups[i]->erased = lookups[i]->known && !nulls[1];
	}
	look_end(&scan);
	return true;
}

/* Moves what is not known yet to the front and returns how many these are. */
static int
keep_unknown(CustomerLookup **lookups, int count)
{
	int unknown = 0;

	for (int i = 0; i < count; i++)
		if (!lookups[i]->known)
			lookups[unknown++] = lookups[i];
	return unknown;
}

/* Resolves identities, each once and in order; with create, first makes customers of them. */
static void
match_identities(CustomerLookup **lookups, int count, bool create)
{
	for (int round = 0; count > 0; round++)
	{
		Datum values[2] = {(Datum) 0, (Datum) 0};

		CHECK_FOR_INTERRUPTS();
		if (!create && find_identities(lookups, count))
			break;
		if (round == INSERT_ROUNDS)
			rows_not_taken("identity");
		values[0] = text_array(lookups, count, false);
		values[1] = text_array(lookups, count, true);
		/* Those whom another session makes meanwhile are found then; where it erases them at once, in another round. */
		if (create)
			(void) kept_plan_run(&identities_insert, values, NULL, false, 0);
		identities_select.runs += count - 1;
		take_found(lookups, kept_plan_run(&identities_select, values, NULL, false, 0));
		if (!create)
			break;
		count = keep_unknown(lookups, count);
	}
}

/* Resolves ids, each once; raises 23503 for one that is no customer. */
static void
match_ids(CustomerLookup **lookups, int count)
{
	if (!find_ids(lookups, count))
	{
		Datum *ids = palloc(sizeof(Datum) * count);
		Datum values[1];

		for (int i = 0; i < count; i++)
			ids[i] = Int64GetDatum(lookups[i]->customer_id);
		values[0] = array_of(ids, NULL, count, INT8OID);
		customers_select.runs += count - 1;
		take_found(lookups, kept_plan_run(&customers_select, values, NULL, false, 0));
	}
	if (keep_unknown(lookups, count) > 0)
		customer_missing(lookups[0]->customer_id);
}

/*
 * customer_match_many sets customer_id, before merges, known and erased of each lookup, by kind and value (in normal
 * form) or by customer_id. What was found, and is kept in the memo, unless that is NULL, is not looked for again.
 *
 * With create it makes customers of the identities, which a call without has just not found. Needs an SPI scope. Raises
 * 23503 for an id that is no customer, and 40001 as customer_match() does.
 */
void
customer_match_many(CustomerLookup *lookups, int count, bool create, CustomerMemo *memo)
{
	CustomerLookup **sorted = palloc(sizeof(CustomerLookup *) * count);
	CustomerLookup **distinct = palloc(sizeof(CustomerLookup *) * count);
	int *places = palloc(sizeof(int) * count);
	int asked = 0;
	int ids = 0;
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		lookups[i].known = lookups[i].erased = false;
		if (memo == NULL || !customer_memo_find(memo, &lookups[i]))
			sorted[asked++] = &lookups[i];
	}
	count = asked;
	qsort(sorted, count, sizeof(CustomerLookup *), compare_lookups);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_lookups(&sorted[i - 1], &sorted[i]) != 0)
			distinct[found++] = sorted[i];
		places[i] = found - 1;
		if (sorted[i]->kind == NULL)
			ids = found;
	}

	{
		/* The matching reorders its pointers. */
		CustomerLookup **order = palloc(sizeof(CustomerLookup *) * found);

		memcpy(order, distinct, sizeof(CustomerLookup *) * found);
		if (ids > 0)
			match_ids(order, ids);
		match_identities(order + ids, found - ids, create);
	}

	for (int i = 0; i < count; i++)
	{
		const CustomerLookup *match = distinct[places[i]];

		sorted[i]->customer_id = match->customer_id;
		sorted[i]->known = match->known;
		sorted[i]->erased = match->erased;
	}
	for (int i = 0; memo != NULL && i < found; i++)
		if (distinct[i]->known && !distinct[i]->erased)
			customer_memo_add(memo, distinct[i]);
}

/* Returns the id of a customer that customer_create_many() is still to make. */
int64
customer_reserve(void)
{
	return nextval_internal(omni_table("customer_customer_id_seq"), true);
}

/* Makes customers of whom nothing is known, of reserved ids. Needs an SPI scope. */
void
customer_create_many(const int64 *ids, int count)
{
	Datum values[1] = {id_array(ids, count)};

	if (count == 0)
		return;
	if (kept_plan_run(&customers_insert, values, NULL, false, 0) != (uint64) count)
		rows_not_taken("customer");
}
