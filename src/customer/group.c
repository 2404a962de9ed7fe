/*
 * group.c
 *	  A customer and those who turned out to be the same person.
 *
 * Whatever is recorded of a customer keeps the customer_id that it was recorded with, so that a merge can be undone.
 * Readers therefore ask for the whole group, which customer.merged_into makes flat.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "customer/customer.h"

/* Raised where locks that were taken are to be let go of. */
#define LET_GO MAKE_SQLSTATE('O', 'M', 'N', 'I', '1')

SQL_FUNCTION(omnichannel_customer_group);
SQL_FUNCTION(omnichannel_customers_regrouped);

CustomerListener customer_listener = NULL;

static KeptPlan group_select = {
	.sql = "SELECT array_agg(grouped.customer_id)"
		   " FROM (SELECT coalesce(merged_into, customer_id) AS root FROM omnichannel.customer WHERE customer_id = $1)"
		   " AS c"
		   " CROSS JOIN LATERAL (SELECT c.root UNION ALL (SELECT m.customer_id FROM omnichannel.customer AS m"
		   " WHERE m.merged_into = c.root ORDER BY m.customer_id)) AS grouped (customer_id)",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Nobody knows who the other is, nor has anybody thought to: a contact without a sender made it, and that was all. */
#define OTHER_IS_NAMELESS                                                                                              \
	"(other.name IS NULL AND other.merged_into IS NULL AND other.erased_at IS NULL"                                    \
	" AND NOT EXISTS (SELECT FROM omnichannel.identity AS i WHERE i.customer_id = other.customer_id)"                  \
	" AND NOT EXISTS (SELECT FROM omnichannel.customer_merge AS d WHERE d.duplicate_id = other.customer_id)"           \
	" AND NOT EXISTS (SELECT FROM omnichannel.customer AS m WHERE m.merged_into = other.customer_id))"

static KeptPlan pairs_compare = {
	.sql = "SELECT u.place, coalesce(one.merged_into, one.customer_id) = coalesce(other.merged_into,"
		   " other.customer_id), " OTHER_IS_NAMELESS
		   " FROM unnest($1, $2) WITH ORDINALITY AS u (customer_id, other_id, place)"
		   " JOIN omnichannel.customer AS one ON one.customer_id = u.customer_id"
		   " JOIN omnichannel.customer AS other ON other.customer_id = u.other_id",
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

/* The customers and whom they were merged into, in the order in which lock_groups() locks, as they are by then. */
static KeptPlan customers_lock = {
	.sql = "SELECT k.customer_id, k.merged_into FROM omnichannel.customer AS k"
		   " WHERE k.customer_id = ANY ($1) OR k.customer_id = ANY (ARRAY("
		   "SELECT m.merged_into FROM omnichannel.customer AS m"
		   " WHERE m.customer_id = ANY ($1) AND m.merged_into IS NOT NULL)) ORDER BY k.customer_id FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan roots_select = {
	.sql = "SELECT DISTINCT coalesce(k.merged_into, k.customer_id) FROM omnichannel.customer AS k"
		   " WHERE k.customer_id = ANY ($1) ORDER BY 1",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* What merge_customers() writes, but for what nothing can be known of a nameless one. */
static KeptPlan nameless_merge = {
	.sql = "WITH noted AS (INSERT INTO omnichannel.customer_merge (kept_id, duplicate_id, reason, merged_at)"
		   " SELECT root.customer_id, other.customer_id, $3,"
		   " omnichannel.merge_moment(ARRAY[root.customer_id, other.customer_id])"
		   " FROM omnichannel.customer AS other, omnichannel.customer AS one, omnichannel.customer AS root"
		   " WHERE other.customer_id = $1 AND " OTHER_IS_NAMELESS " AND one.customer_id = $2"
		   " AND root.customer_id = coalesce(one.merged_into, one.customer_id) AND root.customer_id <> $1"
		   " RETURNING kept_id)"
		   " UPDATE omnichannel.customer AS k SET merged_into = CASE k.customer_id WHEN $1 THEN noted.kept_id END"
		   " FROM noted WHERE k.customer_id IN ($1, noted.kept_id)"
		   " RETURNING k.customer_id, k.erased_at IS NOT NULL",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TEXTOID},
	.indexed = true,
};

/*
 * customer_group returns a bigint[] of the customer's group in context: the one that all were merged into, then the
 * others by id.
 *
 * Needs an SPI scope; looks under the active snapshot. Raises 23503 where there is no such customer.
 */
ArrayType *
customer_group(int64 customer_id, MemoryContext context)
{
	Datum values[1] = {Int64GetDatum(customer_id)};
	bool isnull = true;
	Datum group = (Datum) 0;
	MemoryContext old;
	ArrayType *copy;

	if (kept_plan_run(&group_select, values, NULL, true, 1) == 1)
		group = spi_datum(0, 1, &isnull);
	if (isnull)
		customer_missing(customer_id);

	old = MemoryContextSwitchTo(context);
	copy = DatumGetArrayTypePCopy(group);
	MemoryContextSwitchTo(old);
	return copy;
}

/*
 * customers_compare sets same and nameless of each pair; neither of a pair of which one does not exist.
 *
 * Allocates in the current context. Needs an SPI scope.
 */
void
customers_compare(CustomerPair *pairs, int count)
{
	Datum *columns[2] = {palloc(sizeof(Datum) * Max(count, 1)), palloc(sizeof(Datum) * Max(count, 1))};
	Datum values[2];
	uint64 rows;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		pairs[i].same = pairs[i].nameless = false;
		columns[0][i] = Int64GetDatum(pairs[i].customer_id);
		columns[1][i] = Int64GetDatum(pairs[i].other_id);
	}
	for (int i = 0; i < 2; i++)
		values[i] = array_of(columns[i], NULL, count, INT8OID);
	pairs_compare.runs += count - 1;
	rows = kept_plan_run(&pairs_compare, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		CustomerPair *pair = &pairs[spi_id(row, 1) - 1];

		pair->same = DatumGetBool(spi_datum(row, 2, &isnull));
		pair->nameless = DatumGetBool(spi_datum(row, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Of whom locks are to be taken, and what else is to be so still. */
typedef struct Hold
{
	const int64 *ids;
	int count;
	CustomerPair *pairs;
	int npairs;
	bool changed; /* an other of a pair is nameless no more */
} Hold;

/* Returns whether all whom the customers that were locked were merged into are locked as well. */
static bool
roots_are_held(uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		int64 root = DatumGetInt64(spi_datum(row, 2, &isnull));
		uint64 first = 0;
		uint64 end = rows;

		if (isnull)
			continue;
		while (first < end)
		{
			uint64 middle = first + (end - first) / 2;

			if (spi_id(middle, 1) < root)
				first = middle + 1;
			else
				end = middle;
		}
		if (first == rows || spi_id(first, 1) != root)
			return false;
	}
	return true;
}

/* Takes the locks, for subtransaction_try(); raises LET_GO where something has changed before it had them. */
static void
hold(void *argument)
{
	Hold *wanted = argument;
	Datum values[1] = {id_array(wanted->ids, wanted->count)};
	bool held;

	customers_lock.runs += wanted->count - 1;
	held = roots_are_held(kept_plan_run(&customers_lock, values, NULL, false, 0));
	SPI_freetuptable(SPI_tuptable);
	customers_compare(wanted->pairs, wanted->npairs);
	for (int i = 0; i < wanted->npairs; i++)
		wanted->changed = wanted->changed || !wanted->pairs[i].nameless;
	if (!held || wanted->changed)
		ereport(ERROR, (errcode(LET_GO), errmsg("customers were merged meanwhile")));
}

/*
 * customers_hold locks customers and whom they were merged into, as merge_customers() does, so that those who make
 * groups of the same wait for each other and do not lock up: where one was merged meanwhile, all are let go of, and
 * locked anew. Needs an SPI scope.
 *
 * Sets same and nameless of the pairs, and returns whether all of them are nameless still: if not, nothing is locked.
 */
bool
customers_hold(const int64 *ids, int count, CustomerPair *pairs, int npairs)
{
	Hold wanted = {.ids = ids, .count = count, .pairs = pairs, .npairs = npairs};
	ErrorData *error = NULL;

	if (count == 0)
		return true;
	do
	{
		CHECK_FOR_INTERRUPTS();
		error = subtransaction_try(hold, &wanted);
		if (error != NULL && error->sqlerrcode != LET_GO)
			ReThrowError(error);
	} while (error != NULL && !wanted.changed);
	return error == NULL;
}

/*
 * customer_turned_out merges a customer of whom nothing was known into the one who it turned out to be; returns whether
 * it did, and not where something is known of it by now.
 *
 * Whoever holds the nameless one's id keeps a good one, and a mistake can be undone. The caller has called
 * customers_hold() with both, and calls customers_regroup() afterwards. Needs an SPI scope. Raises 55000 where the
 * other was erased.
 */
bool
customer_turned_out(int64 nameless_id, int64 customer_id, const char *reason)
{
	Datum values[3] = {Int64GetDatum(nameless_id), Int64GetDatum(customer_id), CStringGetTextDatum(reason)};
	uint64 rows = kept_plan_run(&nameless_merge, values, NULL, false, 0);
	bool isnull;

	for (uint64 row = 0; row < rows; row++)
		if (DatumGetBool(spi_datum(row, 2, &isnull)))
			customer_gone(spi_id(row, 1));
	return rows > 0;
}

/* Tells the later room that cares of the groups of customers, which were merged. Needs an SPI scope. */
void
customers_regroup(const int64 *ids, int count)
{
	Datum values[1];
	uint64 rows;
	int64 *roots;

	if (count == 0 || customer_listener == NULL)
		return;
	values[0] = id_array(ids, count);
	roots_select.runs += count - 1;
	rows = kept_plan_run(&roots_select, values, NULL, false, 0);
	roots = palloc(sizeof(int64) * Max(rows, 1));
	for (uint64 row = 0; row < rows; row++)
		roots[row] = spi_id(row, 1);
	customer_listener(roots, (int) rows, false);
}

/*
 * customer_group(customer_id): returns the ids of all who are this customer, the one that they were merged into first.
 */
Datum
omnichannel_customer_group(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	SpiScope scope;
	ArrayType *group;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("customer_id must not be NULL"),
						errhint("identify('email', 'anna@example.com') returns the customer of an address.")));
	omni_table("customer");
	spi_scope_begin(&scope, false);
	group = customer_group(PG_GETARG_INT64(0), context);
	spi_scope_end(&scope);
	PG_RETURN_ARRAYTYPE_P(group);
}

/* customers_regrouped(roots): returns nothing; tells the later room that cares of groups that were merged or parted. */
Datum
omnichannel_customers_regrouped(PG_FUNCTION_ARGS)
{
	int64 *roots;
	int count;
	SpiScope scope;

	roots =
		customers_argument(fcinfo, 0, "Name the customers that others were merged into, or that were parted.", &count);
	omni_table("customer");
	spi_scope_begin(&scope, false);
	if (customer_listener != NULL)
		customer_listener(roots, count, count > 1);
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}
