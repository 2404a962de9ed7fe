/*
 * erase.c
 *	  Ends what was promised to customers who are erased.
 *
 * Nobody can answer them any more, and what tells one conversation from another is erased too: reckoned with the rest,
 * clocks would end at what was never meant for them. So they end now, and all moments count as settled for ever.
 *
 * An erasure waits for nobody who logs: what others hold is left to tick(), which erases again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

SQL_FUNCTION(omnichannel_cancel_clocks);

static KeptPlan customers_settle = {
	.sql = "UPDATE omnichannel.sla_customer AS h SET settled_until = 'infinity' FROM " SLA_FAMILY " AS f"
		   " WHERE h.customer_id = f.customer_id AND h.settled_until IS DISTINCT FROM 'infinity'",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Ends the open clocks of the families, which are had; adds how many, and sets *left where others hold some. */
static void
cancel_open(SlaFamily *families, int count, const SlaPolicies *policies, int64 *ended, bool *left)
{
	SlaChanges changes = {0};

	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_clocks_read(policies, families, count, SLA_TRY_ALL);
	for (int i = 0; i < count; i++)
	{
		*left = *left || families[i].held_by_others;
		for (int j = 0; j < families[i].clock_count; j++)
		{
			SlaClock *before = families[i].clocks[j];
			SlaClock *clock;

			if (before->stopped_at != NO_TIME)
				continue;
			clock = sla_clock_copy(before);
			sla_clock_stop(clock, GetCurrentTransactionStartTimestamp(), true);
			sla_reckon(clock, changes.now, NULL);
			(void) sla_changes_put(&changes, clock, before);
			(*ended)++;
		}
	}
	sla_changes_write(&changes);
}

/* cancel_clocks(customers): ends the open clocks of a group for ever; returns how many, NULL where others hold some. */
Datum
omnichannel_cancel_clocks(PG_FUNCTION_ARGS)
{
	SlaFamily *families;
	Datum values[1];
	int64 *customers;
	int64 ended = 0;
	SpiScope scope;
	bool left;
	int count;

	customers = customers_argument(fcinfo, 0, "Name the customers who are erased.", &count);
	omni_table("sla_clock");
	spi_scope_begin(&scope, false);
	count = sla_families_of(customers, count, &families);
	left = count > 0;
	if (count > 0)
		count = sla_families_free(families, count);
	/* Those who were merged are with whom they were merged into. */
	if (count > 0)
		count = sla_families_hold(families, count);
	if (count > 0)
	{
		left = false;
		values[0] = sla_roots_array(families, count);
		(void) kept_plan_run(&customers_settle, values, NULL, false, 0);
		cancel_open(families, count, sla_policies_to_write(), &ended, &left);
	}
	spi_scope_end(&scope);
	if (left)
		PG_RETURN_NULL();
	PG_RETURN_INT64(ended);
}
