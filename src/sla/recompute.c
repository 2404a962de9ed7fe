/*
 * recompute.c
 *	  recompute_sla(): open clocks follow changed policies and calendars.
 *
 * Where targets and calendars have changed, clocks are read and locked in batches, each is asked which policy holds
 * now, and those that moved are written together. A clock that no policy fits as its request is now may still be
 * promised by what the request was before: that is asked of the customer's moments.
 *
 * Where policies fit more than before, there may be promises without a clock. Then all customers are reckoned anew to
 * whom something may be promised: those with an open clock, an open request, or a contact that nobody has answered.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_recompute_sla);
SQL_FUNCTION(omnichannel_follow_requests);

#define BATCH_ROWS 5000
#define BATCH_CUSTOMERS 1000

static KeptPlan open_clocks = {
	.sql = "SELECT " SLA_CLOCK_COLUMNS ", coalesce(k.merged_into, c.customer_id), r.kind, r.queue, r.priority"
		   " FROM omnichannel.sla_clock AS c"
		   " LEFT JOIN omnichannel.customer AS k ON k.customer_id = c.customer_id"
		   " LEFT JOIN omnichannel.request AS r ON r.request_id = c.request_id"
		   " WHERE c.stopped_at IS NULL AND (c.customer_id, c.clock_id) > ($1, $2)"
		   " ORDER BY c.customer_id, c.clock_id LIMIT " CppAsString2(BATCH_ROWS) " FOR NO KEY UPDATE OF c",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

/*
 * Whoever holds a row makes the clocks follow for it; what commits later leaves a row of its own. Returns whether
 * policies may fit more than before: nobody says that they do not, where nothing has changed.
 */
static KeptPlan stale_take = {
	.sql = "WITH taken AS (DELETE FROM omnichannel.sla_stale AS s USING (SELECT stale_id FROM omnichannel.sla_stale"
		   " ORDER BY stale_id FOR UPDATE SKIP LOCKED) AS held WHERE s.stale_id = held.stale_id RETURNING s.fits_more)"
		   " SELECT coalesce(bool_or(t.fits_more), true) FROM taken AS t",
};

/* Open requests but those that are as they were seen last, which are nearly all and have nothing new to tell. */
static KeptPlan open_requests = {
	.sql = "SELECT r.request_id FROM omnichannel.request AS r WHERE r.closed_at IS NULL AND NOT EXISTS"
		   " (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id AND m.version = r.version"
		   " AND m.state = r.state AND m.kind = r.kind AND m.queue IS NOT DISTINCT FROM r.queue"
		   " AND m.priority = r.priority) ORDER BY r.request_id",
};

/*
 * Customers to whom something may be promised; one too many does no harm. A contact is answered by what concerns it, as
 * in machine.c; a missed call only by a call.
 */
static KeptPlan customers_select = {
	.sql = "SELECT DISTINCT coalesce(k.merged_into, k.customer_id) AS root FROM"
		   " (SELECT c.customer_id FROM omnichannel.sla_clock AS c WHERE c.stopped_at IS NULL"
		   " UNION SELECT r.customer_id FROM omnichannel.request AS r WHERE r.closed_at IS NULL"
		   " UNION SELECT m.customer_id FROM omnichannel.sla_moment AS m WHERE m.what = 'inbound'"
		   " AND m.outcome NOT IN ('answered', 'failed') AND NOT EXISTS (SELECT FROM omnichannel.sla_moment AS o"
		   " WHERE o.customer_id = m.customer_id AND o.at > m.at AND o.what = 'outbound'"
		   " AND o.outcome NOT IN ('failed', 'missed', 'busy', 'abandoned')"
		   " AND (m.outcome NOT IN ('missed', 'abandoned', 'voicemail') OR o.channel = m.channel)"
		   " AND CASE WHEN m.request_id IS NOT NULL AND o.request_id IS NOT NULL THEN o.request_id = m.request_id"
		   " WHEN m.thread IS NOT NULL AND o.thread IS NOT NULL THEN o.thread = m.thread"
		   " ELSE o.channel = m.channel END)) AS p JOIN omnichannel.customer AS k ON k.customer_id = p.customer_id"
		   " ORDER BY root",
};

static KeptPlan request_root = {
	.sql = "SELECT coalesce(k.merged_into, r.customer_id) FROM omnichannel.request AS r"
		   " JOIN omnichannel.customer AS k ON k.customer_id = r.customer_id WHERE r.request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Puts what moved into the result. */
static void
report_change(void *context, const SlaClock *before, const SlaClock *after)
{
	ReturnSetInfo *result = context;
	const SlaClock *clock = before == NULL ? after : before;
	Datum values[8];
	bool nulls[8] = {false};

	values[0] = Int64GetDatum(clock->clock_id);
	nulls[0] = clock->clock_id == 0;
	values[1] = Int64GetDatum(clock->customer_id);
	values[2] = Int64GetDatum(clock->request_id);
	nulls[2] = clock->request_id == 0;
	values[3] = CStringGetTextDatum(sla_metric_name(clock->metric));
	nulls[4] = before == NULL;
	values[4] = nulls[4] ? (Datum) 0 : CStringGetTextDatum(before->policy_code);
	nulls[5] = after == NULL;
	values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(after->policy_code);
	nulls[6] = before == NULL || before->due_at == NO_TIME;
	values[6] = nulls[6] ? (Datum) 0 : TimestampTzGetDatum(before->due_at);
	nulls[7] = after == NULL || after->due_at == NO_TIME;
	values[7] = nulls[7] ? (Datum) 0 : TimestampTzGetDatum(after->due_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Asks which policy holds for a row of open_clocks; returns false where none fits its request as it is now. */
static bool
refit(SlaMachine *machine, SlaClock *clock, uint64 row)
{
	SlaMoment state = {.what = MOMENT_REQUEST};
	SlaRequest request = {.last = &state};
	SlaQuestion question;
	bool isnull;
	Datum priority = spi_datum(row, SLA_CLOCK_NCOLUMNS + 4, &isnull);
	const SlaPolicy *policy;

	state.priority = isnull ? 0 : DatumGetInt32(priority);
	state.kind = spi_text(row, SLA_CLOCK_NCOLUMNS + 2, CurrentMemoryContext);
	state.queue = spi_text(row, SLA_CLOCK_NCOLUMNS + 3, CurrentMemoryContext);
	question = sla_machine_question(machine, clock->metric, &request, clock->channel, clock->started_at);
	policy = sla_policy_fit(machine->policies, &question, NULL, NULL);
	if (policy != NULL)
		clock->policy = policy;
	return policy != NULL;
}

/* Makes one batch of clocks follow, after (*customer_id, *clock_id); returns how many it read. */
static uint64
recompute_batch(const SlaPolicies *policies, SlaChanges *changes, int64 *customer_id, int64 *clock_id)
{
	Datum values[2] = {Int64GetDatum(*customer_id), Int64GetDatum(*clock_id)};
	uint64 rows = kept_plan_run(&open_clocks, values, NULL, false, 0);
	SPITupleTable *table = SPI_tuptable;
	SlaMachine machine = {0};
	int64 *roots = palloc(sizeof(int64) * Max(rows, 1));
	SlaFamily *families;
	int family_count;
	int misfits = 0;

	for (uint64 i = 0; i < rows; i++)
	{
		bool isnull;

		roots[i] = DatumGetInt64(spi_datum(i, SLA_CLOCK_NCOLUMNS + 1, &isnull));
	}
	family_count = sla_families_of(roots, (int) rows, &families);
	sla_families_memberships(policies, families, family_count);

	for (uint64 i = 0; i < rows; i++)
	{
		SlaClock *before;
		SlaClock *clock;
		int64 root;
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		/* What a customer's segments were asked for has its own result. */
		SPI_tuptable = table;
		before = sla_clock_from_row(policies, i, 1);
		root = DatumGetInt64(spi_datum(i, SLA_CLOCK_NCOLUMNS + 1, &isnull));
		if (i == 0 || machine.root != root)
		{
			sla_machine_begin(&machine, policies, root);
			machine.memberships = sla_family_find(families, family_count, root)->memberships;
		}
		clock = sla_clock_copy(before);
		*customer_id = before->customer_id;
		*clock_id = before->clock_id;
		if (!refit(&machine, clock, i))
		{
			if (misfits == 0 || roots[misfits - 1] != root)
				roots[misfits++] = root;
			continue;
		}
		sla_reckon(clock, changes->now, NULL);
		(void) sla_changes_put(changes, clock, before);
	}
	SPI_freetuptable(table);
	sla_changes_write(changes);
	sla_customers_reckon(roots, misfits, policies, changes);
	return rows;
}

/* Makes the terms of all open clocks follow. Needs an SPI scope. */
static void
recompute_terms(const SlaPolicies *policies, SlaChanges *changes)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	int64 customer_id = PG_INT64_MIN;
	int64 clock_id = PG_INT64_MIN;
	uint64 rows;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		sla_changes_begin(changes, changes->now);
		rows = recompute_batch(policies, changes, &customer_id, &clock_id);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (rows == BATCH_ROWS);
	MemoryContextDelete(batch);
}

/* Runs a statement that returns ids, and returns their number and, in *ids, them. Needs an SPI scope. */
static uint64
read_ids(KeptPlan *plan, int64 **ids)
{
	uint64 count = kept_plan_run(plan, NULL, NULL, false, 0);
	bool isnull;

	*ids = palloc_extended(sizeof(int64) * Max(count, 1), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < count; i++)
		(*ids)[i] = DatumGetInt64(spi_datum(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return count;
}

/* What is done with a batch of ids; see sla_requests_follow() and sla_customers_reckon(). */
typedef void (*BatchWork)(const int64 *ids, int count, const SlaPolicies *policies, SlaChanges *changes);

/* Does a work with all ids that a statement returns, some at a time. Needs an SPI scope. */
static void
work_through(KeptPlan *plan, BatchWork work, const SlaPolicies *policies, SlaChanges *changes)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	int64 *ids;
	uint64 count = read_ids(plan, &ids);

	for (uint64 done = 0; done < count; done += BATCH_CUSTOMERS)
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		sla_changes_begin(changes, changes->now);
		work(&ids[done], (int) Min(count - done, BATCH_CUSTOMERS), policies, changes);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
	pfree(ids);
	MemoryContextDelete(batch);
}

/* Makes all open clocks follow. Needs an SPI scope. */
static void
recompute_all(const SlaPolicies *policies, SlaChanges *changes)
{
	bool isnull;

	(void) kept_plan_run(&stale_take, NULL, NULL, false, 0);
	if (!DatumGetBool(spi_datum(0, 1, &isnull)))
	{
		recompute_terms(policies, changes);
		return;
	}
	work_through(&open_requests, sla_requests_follow, policies, changes);
	work_through(&customers_select, sla_customers_reckon, policies, changes);
}

/* Makes the clocks of one request's customer follow. Needs an SPI scope. */
static void
recompute_one(int64 request_id, const SlaPolicies *policies, SlaChanges *changes)
{
	Datum values[1] = {Int64GetDatum(request_id)};
	bool isnull;
	int64 root;

	if (kept_plan_run(&request_root, values, NULL, false, 1) == 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("request " INT64_FORMAT " does not exist", request_id),
						errhint("Pass the id of a request, or NULL for all open clocks.")));
	root = DatumGetInt64(spi_datum(0, 1, &isnull));
	sla_changes_begin(changes, changes->now);
	sla_requests_follow(&request_id, 1, policies, changes);
	sla_customers_reckon(&root, 1, policies, changes);
}

/* recompute_sla(request_id): returns a row for each clock that moved. */
Datum
omnichannel_recompute_sla(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const SlaPolicies *policies;
	SlaChanges changes = {.report = report_change, .context = result};
	SpiScope scope;

	omni_table("sla_clock");
	init_materialized_srf(fcinfo);
	spi_scope_begin(&scope, false);
	policies = sla_policies();
	changes.now = GetCurrentTimestamp();
	if (PG_ARGISNULL(0))
		recompute_all(policies, &changes);
	else
		recompute_one(PG_GETARG_INT64(0), policies, &changes);
	spi_scope_end(&scope);
	return (Datum) 0;
}

/* follow_requests(): makes clocks follow what they are behind of; returns the number of customers. */
Datum
omnichannel_follow_requests(PG_FUNCTION_ARGS)
{
	SlaChanges changes = {0};
	SlaFamily *families;
	SpiScope scope;
	int count;

	omni_table("sla_behind");
	spi_scope_begin(&scope, false);
	count = sla_behind_take(&families);
	if (count > 0)
	{
		sla_families_hold(families, count);
		sla_changes_begin(&changes, GetCurrentTimestamp());
		sla_families_reckon(families, count, sla_policies(), &changes);
		sla_changes_write(&changes);
	}
	spi_scope_end(&scope);
	PG_RETURN_INT64(count);
}
