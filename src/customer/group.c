/*
 * group.c
 *	  A customer and those who turned out to be the same person.
 *
 * Whatever is recorded of a customer keeps the customer_id that it was recorded with, so that a merge can be undone.
 * Readers therefore ask for the whole group, which customer.merged_into makes flat.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "omnichannel.h"
#include "customer/customer.h"

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
	Datum *elements;
	int64 *roots;
	int count;
	SpiScope scope;

	if (array_contains_nulls(PG_GETARG_ARRAYTYPE_P(0)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a customer must not be NULL"),
						errhint("Name the customers that others were merged into, or that were parted.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  NULL, &count);
	roots = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		roots[i] = DatumGetInt64(elements[i]);
	omni_table("customer");
	spi_scope_begin(&scope, false);
	if (customer_listener != NULL)
		customer_listener(roots, count);
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}
