/*
 * recompute.c
 *	  recompute_sla(): open clocks follow changed policies and calendars.
 *
 * Clocks are read and locked in batches, each is asked which policy holds now, and those that moved are written
 * together. A clock that no policy fits as its request was last may still be promised by what the request was before:
 * that is asked of the customer's moments. Where policies fit more than before, there may be promises without a clock:
 * the customers of open requests and of contacts that wait for an answer, where there is no clock for that, are
 * reckoned anew.
 *
 * Nothing here waits: customers whose clocks others hold are noted in sla_behind. Nor does it see what others write
 * meanwhile, perhaps by the policies as they were: their transactions are noted in sla_overlap, and tick() reckons anew
 * whom they have written of once they have ended. Who begins to write while this transaction has not committed what it
 * changed itself is found by the next tick(), for which the note of the change stays.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "omnichannel.h"
#include "sla/clock.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_recompute_sla);
SQL_FUNCTION(omnichannel_follow_requests);

#define BATCH_ROWS 5000
#define BATCH_CUSTOMERS 1000

static KeptPlan open_clocks = {
	.sql = "SELECT " SLA_CLOCK_COLUMNS ", coalesce(k.merged_into, c.customer_id),"
		   " coalesce(s.kind, r.kind), CASE WHEN s.kind IS NULL THEN r.queue ELSE s.queue END,"
		   " coalesce(s.priority, r.priority)"
		   " FROM omnichannel.sla_clock AS c"
		   " LEFT JOIN omnichannel.customer AS k ON k.customer_id = c.customer_id"
		   " LEFT JOIN LATERAL (SELECT m.kind, m.queue, m.priority FROM omnichannel.sla_moment AS m"
		   " WHERE m.request_id = c.request_id AND m.version IS NOT NULL ORDER BY m.at DESC, m.version DESC LIMIT 1)"
		   " AS s ON true LEFT JOIN omnichannel.request AS r ON r.request_id = c.request_id AND s.kind IS NULL"
		   " WHERE c.stopped_at IS NULL AND (c.customer_id, c.clock_id) > ($1, $2)"
		   " ORDER BY c.customer_id, c.clock_id LIMIT " CppAsString2(BATCH_ROWS) " FOR NO KEY UPDATE OF c SKIP LOCKED",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

/* How many there are that a batch should have read: from one clock, which is not among them, to another. */
static KeptPlan clocks_count = {
	.sql = "SELECT count(*) FROM omnichannel.sla_clock AS c WHERE c.stopped_at IS NULL"
		   " AND (c.customer_id, c.clock_id) > ($1, $2) AND (c.customer_id, c.clock_id) <= ($3, $4)",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID},
	.indexed = true,
};

/* Whose clocks these are but for those that it has read. */
static KeptPlan others_select = {
	.sql = "SELECT DISTINCT coalesce(k.merged_into, c.customer_id) AS root FROM omnichannel.sla_clock AS c"
		   " LEFT JOIN omnichannel.customer AS k ON k.customer_id = c.customer_id WHERE c.stopped_at IS NULL"
		   " AND (c.customer_id, c.clock_id) > ($1, $2) AND (c.customer_id, c.clock_id) <= ($3, $4)"
		   " AND c.clock_id <> ALL ($5) ORDER BY root",
	.nargs = 5,
	.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, INT8ARRAYOID},
	.indexed = true,
};

/*
 * Whoever holds a row makes the clocks follow for it; what commits later leaves a row of its own. One of this
 * transaction stays: until it commits others go by what was before.
 */
static KeptPlan stale_take = {
	.sql = "WITH held AS MATERIALIZED (SELECT s.stale_id, s.relation, s.fits_more, s.changed_at, s.xmin AS writer"
		   " FROM omnichannel.sla_stale AS s ORDER BY s.stale_id FOR UPDATE SKIP LOCKED), taken AS"
		   " (DELETE FROM omnichannel.sla_stale AS s USING held AS h"
		   " WHERE s.stale_id = h.stale_id AND h.changed_at <> now())"
		   " SELECT h.fits_more, h.writer, h.fits_more AND h.relation = 'sla_policy' FROM held AS h",
};

/* Whoever has no number yet gets a later one than all that are known. */
static KeptPlan overlap_write = {
	.sql = "WITH locks AS MATERIALIZED (SELECT * FROM pg_locks) INSERT INTO omnichannel.sla_overlap"
		   " (writer, recomputed_by, relation, since)"
		   " SELECT DISTINCT ON (l.virtualtransaction) l.virtualtransaction, $1, $3,"
		   " coalesce(t.transactionid, pg_snapshot_xmax(pg_current_snapshot())::xid) FROM locks AS l"
		   " LEFT JOIN locks AS t ON t.virtualtransaction = l.virtualtransaction AND t.locktype = 'transactionid'"
		   " AND t.mode = 'ExclusiveLock' WHERE l.locktype = 'relation' AND l.relation = $2"
		   " AND l.mode = 'RowExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()"
		   " AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())"
		   " ORDER BY l.virtualtransaction, age(t.transactionid) DESC",
	.nargs = 3,
	.argtypes = {XID8OID, OIDOID, TEXTOID},
};

/* Customers whose clocks do not follow for so long. */
static KeptPlan behind_count = {
	.sql = "SELECT count(DISTINCT b.customer_id) FROM omnichannel.sla_behind AS b WHERE b.noted_at <= now() - $1",
	.nargs = 1,
	.argtypes = {INTERVALOID},
};

/* Those of whom it is noted only that memberships have changed. */
static KeptPlan members_select = {
	.sql = "SELECT coalesce(k.merged_into, b.customer_id) AS root FROM omnichannel.sla_behind AS b"
		   " LEFT JOIN omnichannel.customer AS k ON k.customer_id = b.customer_id"
		   " GROUP BY root HAVING bool_and(b.known_from IS NOT NULL) ORDER BY root",
};

/* Notes that concern nothing that is known, but for those of this transaction, which others do not see yet. */
static KeptPlan idle_delete = {
	.sql = "WITH known AS (SELECT f.root, max(h.last_at) AS last_at FROM " SLA_FAMILY " AS f"
		   " LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = f.customer_id GROUP BY f.root)"
		   " DELETE FROM omnichannel.sla_behind AS b USING " SLA_FAMILY " AS f JOIN known AS k ON k.root = f.root"
		   " WHERE b.customer_id = f.customer_id AND b.known_from IS NOT NULL"
		   " AND (k.last_at IS NULL OR b.known_from > k.last_at)"
		   " AND b.noted_at <> now()",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan behind_select = {
	.sql = "SELECT DISTINCT coalesce(k.merged_into, b.customer_id) AS root FROM omnichannel.sla_behind AS b"
		   " LEFT JOIN omnichannel.customer AS k ON k.customer_id = b.customer_id ORDER BY root",
};

/* Open requests but those that are as they were seen last, which are nearly all and have nothing new to tell. */
static KeptPlan open_requests = {
	.sql = "SELECT r.request_id FROM omnichannel.request AS r WHERE r.closed_at IS NULL AND NOT EXISTS"
		   " (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id AND m.version = r.version"
		   " AND m.state = r.state AND m.kind = r.kind AND m.queue IS NOT DISTINCT FROM r.queue"
		   " AND m.priority = r.priority) ORDER BY r.request_id",
};

/* Whether a contact concerns another one, or a clock, as in machine.c. */
#define CONCERNS(contact, clock)                                                                                       \
	"CASE WHEN " contact ".request_id IS NOT NULL AND " clock ".request_id IS NOT NULL"                                \
	" THEN " contact ".request_id = " clock ".request_id"                                                              \
	" WHEN " contact ".thread IS NOT NULL AND " clock ".thread IS NOT NULL"                                            \
	" THEN " contact ".thread = " clock ".thread AND " contact ".source IS NOT DISTINCT FROM " clock ".source"         \
	" WHEN " contact ".request_id IS NULL AND " clock ".request_id IS NOT NULL"                                        \
	" AND (" contact ".what = 'inbound' OR " contact ".thread IS NOT NULL) THEN false"                                 \
	" WHEN " contact ".request_id IS NOT NULL AND " clock ".request_id IS NULL"                                        \
	" AND " clock ".thread IS NOT NULL THEN false"                                                                     \
	" ELSE " contact ".channel = " clock ".channel END"
#define CLOCK_CONCERNED CONCERNS("m", "c")
#define MOMENT_CONCERNED CONCERNS("o", "m")

/*
 * Customers to whom something may be promised for which there is no clock; one too many does no harm. As in machine.c,
 * a contact is answered by what concerns it, a missed call only by a call, and waits with an earlier one that a clock
 * is for. Also those who are to be called back because of what turned out to be no call, or who have been.
 */
static KeptPlan customers_select = {
	.sql =
		"SELECT DISTINCT coalesce(k.merged_into, k.customer_id) AS root FROM"
		" (SELECT r.customer_id FROM omnichannel.request AS r WHERE r.closed_at IS NULL"
		" AND EXISTS (SELECT FROM omnichannel.sla_policy AS p WHERE p.metric = 'resolution'"
		" AND (p.channel IS NULL OR p.channel = r.channel))"
		" AND NOT EXISTS (SELECT FROM omnichannel.sla_clock AS c WHERE c.request_id = r.request_id"
		" AND c.metric = 'resolution')"
		" UNION SELECT c.customer_id FROM omnichannel.sla_clock AS c"
		" WHERE c.stopped_at IS NULL AND c.metric = 'callback'"
		" AND (NOT EXISTS (SELECT FROM omnichannel.channel AS h WHERE h.channel = c.channel AND h.medium = 'voice')"
		" OR EXISTS (SELECT FROM omnichannel.sla_moment AS o JOIN omnichannel.channel AS h ON h.channel = o.channel"
		" AND h.medium = 'voice' WHERE o.customer_id = c.customer_id AND o.at >= c.started_at"
		" AND CASE o.what WHEN 'outbound' THEN o.outcome <> 'failed' ELSE o.outcome = 'answered' END))"
		" UNION SELECT m.customer_id FROM omnichannel.sla_moment AS m WHERE m.what = 'inbound'"
		" AND m.outcome NOT IN ('answered', 'failed')"
		" AND ((EXISTS (SELECT FROM omnichannel.sla_policy AS p WHERE p.metric IN ('first_response', 'next_response')"
		" AND (p.channel IS NULL OR p.channel = m.channel))"
		" AND NOT EXISTS (SELECT FROM omnichannel.sla_clock AS c WHERE c.customer_id = m.customer_id"
		" AND c.stopped_at IS NULL AND c.metric IN ('first_response', 'next_response') AND c.started_at <= m.at"
		" AND " CLOCK_CONCERNED "))"
		" OR (m.outcome IN ('missed', 'abandoned', 'voicemail')"
		" AND EXISTS (SELECT FROM omnichannel.sla_policy AS p WHERE p.metric = 'callback'"
		" AND (p.channel IS NULL OR p.channel = m.channel))"
		" AND NOT EXISTS (SELECT FROM omnichannel.sla_clock AS c WHERE c.customer_id = m.customer_id"
		" AND c.stopped_at IS NULL AND c.metric = 'callback' AND c.started_at <= m.at)))"
		" AND NOT EXISTS (SELECT FROM omnichannel.sla_moment AS o"
		" WHERE o.customer_id = m.customer_id AND o.at > m.at AND o.what = 'outbound'"
		" AND o.outcome NOT IN ('failed', 'missed', 'busy', 'abandoned')"
		" AND (m.outcome NOT IN ('missed', 'abandoned', 'voicemail') OR o.channel = m.channel)"
		" AND " MOMENT_CONCERNED ")) AS p JOIN omnichannel.customer AS k ON k.customer_id = p.customer_id"
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

/* Asks which policy holds for a row of open_clocks; returns false where none fits what its request said last. */
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

/* What is done, and by what. */
typedef struct Recomputation
{
	const SlaPolicies *policies;
	SlaChanges changes;
	int64 followed; /* customers that were reckoned anew */
} Recomputation;

/* Makes the open clocks of the customers follow that nobody else holds; the others are behind. Needs an SPI scope. */
static void
reckon_free(Recomputation *work, const int64 *roots, int count)
{
	SlaFamily *families;
	int family_count = sla_families_of(roots, count, &families);

	if (family_count == 0)
		return;
	for (int i = 0; i < family_count; i++)
		families[i].from = DT_NOEND;
	family_count = sla_families_take(families, family_count, work->policies, false);
	sla_families_reckon_read(families, family_count, work->policies, &work->changes);
	sla_changes_write(&work->changes);
	work->followed += family_count;
}

/*
 * Forgets the notes of customers of whom nothing is known from when on their memberships have changed. Who is free here
 * has not been written of by anybody who did not see the change: who writes of a customer looks for memberships only
 * once it has the customer's row. Needs an SPI scope.
 */
static void
forget_idle(Recomputation *work, const int64 *roots, int count)
{
	SlaFamily *families;
	int family_count = sla_families_of(roots, count, &families);
	Datum values[1];

	family_count = sla_families_free(families, family_count);
	if (family_count == 0)
		return;
	values[0] = sla_roots_array(families, family_count);
	(void) kept_plan_run(&idle_delete, values, NULL, false, 0);
}

/* Makes clocks follow requests of which nobody has told yet. Needs an SPI scope. */
static void
follow_requests(Recomputation *work, const int64 *request_ids, int count)
{
	sla_requests_follow(request_ids, count, work->policies, &work->changes);
}

/* Where a batch of clocks begins, or ends. */
typedef struct ClockKey
{
	int64 customer_id;
	int64 clock_id;
} ClockKey;

/* Sees that the clocks between two follow later that others hold: all but those with these ids. */
static void
leave_others(Recomputation *work, const ClockKey *after, const ClockKey *last, SlaColumn *ids)
{
	Datum values[5] = {Int64GetDatum(after->customer_id), Int64GetDatum(after->clock_id),
					   Int64GetDatum(last->customer_id), Int64GetDatum(last->clock_id)};
	int64 *roots;
	uint64 count;

	(void) kept_plan_run(&clocks_count, values, NULL, false, 0);
	if (spi_id(0, 1) == ids->count)
		return;
	values[4] = sla_column_array(ids);
	count = kept_plan_run(&others_select, values, NULL, false, 0);
	roots = palloc(sizeof(int64) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		roots[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	reckon_free(work, roots, (int) count);
}

/* Makes one batch of clocks follow, after *key, which is moved on; returns how many it read. */
static uint64
recompute_batch(Recomputation *work, ClockKey *key)
{
	ClockKey after = *key;
	Datum values[2] = {Int64GetDatum(after.customer_id), Int64GetDatum(after.clock_id)};
	uint64 rows = kept_plan_run(&open_clocks, values, NULL, false, 0);
	SPITupleTable *table = SPI_tuptable;
	SlaMachine machine = {0};
	int64 *roots = palloc(sizeof(int64) * Max(rows, 1));
	SlaColumn ids = {.type = INT8OID};
	SlaFamily *families;
	int family_count;
	int misfits = 0;

	for (uint64 i = 0; i < rows; i++)
		roots[i] = spi_id(i, SLA_CLOCK_NCOLUMNS + 1);
	family_count = sla_families_of(roots, (int) rows, &families);
	sla_families_memberships(work->policies, families, family_count);

	for (uint64 i = 0; i < rows; i++)
	{
		SlaClock *before;
		SlaClock *clock;
		int64 root;

		CHECK_FOR_INTERRUPTS();
		/* What a customer's segments were asked for has its own result. */
		SPI_tuptable = table;
		before = sla_clock_from_row(work->policies, i, 1);
		root = spi_id(i, SLA_CLOCK_NCOLUMNS + 1);
		if (i == 0 || machine.root != root)
		{
			sla_machine_begin(&machine, work->policies, root);
			machine.memberships = sla_family_find(families, family_count, root)->memberships;
		}
		clock = sla_clock_copy(before);
		*key = (ClockKey){before->customer_id, before->clock_id};
		sla_column_add_id(&ids, before->clock_id);
		if (!refit(&machine, clock, i))
		{
			if (misfits == 0 || roots[misfits - 1] != root)
				roots[misfits++] = root;
			continue;
		}
		sla_reckon(clock, work->changes.now, NULL);
		(void) sla_changes_put(&work->changes, clock, before);
	}
	SPI_freetuptable(table);
	sla_changes_write(&work->changes);
	reckon_free(work, roots, misfits);
	leave_others(work, &after, rows == BATCH_ROWS ? key : &(ClockKey){PG_INT64_MAX, PG_INT64_MAX}, &ids);
	return rows;
}

/* Makes the terms of all open clocks follow. Needs an SPI scope. */
static void
recompute_terms(Recomputation *work)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	ClockKey key = {PG_INT64_MIN, PG_INT64_MIN};
	uint64 rows;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		sla_changes_begin(&work->changes, work->changes.now);
		rows = recompute_batch(work, &key);
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

	*ids = palloc_extended(sizeof(int64) * Max(count, 1), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < count; i++)
		(*ids)[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	return count;
}

/* What is done with a batch of ids. */
typedef void (*BatchWork)(Recomputation *work, const int64 *ids, int count);

/* Does something with all ids that a statement returns, some at a time. Needs an SPI scope. */
static void
work_through(Recomputation *work, KeptPlan *plan, BatchWork step)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	int64 *ids;
	uint64 count = read_ids(plan, &ids);

	for (uint64 done = 0; done < count; done += BATCH_CUSTOMERS)
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		sla_changes_begin(&work->changes, work->changes.now);
		step(work, &ids[done], (int) Min(count - done, BATCH_CUSTOMERS));
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
	pfree(ids);
	MemoryContextDelete(batch);
}

/* Warns of customers whose clocks do not follow for so long, in microseconds. Needs an SPI scope. */
static void
warn_behind(int64 age)
{
	Interval interval = {.time = age};
	Datum values[1] = {IntervalPGetDatum(&interval)};
	int64 count;

	(void) kept_plan_run(&behind_count, values, NULL, false, 0);
	count = spi_id(0, 1);
	if (count > 0)
		ereport(WARNING,
				(errmsg_plural("clocks of " INT64_FORMAT " customer do not follow yet",
							   "clocks of " INT64_FORMAT " customers do not follow yet", (unsigned long) count, count),
				 errdetail("Other transactions hold them; sla_behind says whom."),
				 errhint("tick() makes them follow once those transactions have ended; pg_stat_activity shows them.")));
}

/*
 * Takes the notes of what has changed; returns whether policies may fit more than before: nobody says that they do not,
 * where nothing has changed. Sets fit_others to whether that is because of policies. Needs an SPI scope.
 *
 * What is visible of a transaction is told of to the caches a moment later, before it lets go of its locks.
 */
static bool
take_changes(bool *fit_others)
{
	uint64 rows = kept_plan_run(&stale_take, NULL, NULL, false, 0);
	bool fits_more = rows == 0;

	*fit_others = false;
	for (uint64 i = 0; i < rows; i++)
	{
		bool isnull;
		TransactionId writer = DatumGetTransactionId(spi_datum(i, 2, &isnull));

		fits_more = fits_more || DatumGetBool(spi_datum(i, 1, &isnull));
		*fit_others = *fit_others || DatumGetBool(spi_datum(i, 3, &isnull));
		if (TransactionIdIsNormal(writer) && !TransactionIdIsCurrentTransactionId(writer))
			XactLockTableWait(writer, NULL, NULL, XLTW_None);
	}
	SPI_freetuptable(SPI_tuptable);
	return fits_more;
}

/* Notes who is writing rows of a table now, perhaps by what was before. Needs an SPI scope. */
static void
note_writers(const char *table)
{
	Datum values[3] = {FullTransactionIdGetDatum(GetCurrentFullTransactionId()), ObjectIdGetDatum(omni_table(table)),
					   CStringGetTextDatum(table)};

	(void) kept_plan_run(&overlap_write, values, NULL, false, 0);
}

/* Makes all open clocks follow. Needs an SPI scope. */
static void
recompute_all(Recomputation *work)
{
	bool fit_others;
	bool fits_more = take_changes(&fit_others);

	note_writers("sla_customer");
	work->policies = sla_policies();
	/* Whose memberships follow_memberships() has not noted, as no policy went by them. */
	if (fit_others && work->policies->segments)
		note_writers("segment_member");
	recompute_terms(work);
	if (fits_more)
	{
		work_through(work, &open_requests, follow_requests);
		work_through(work, &customers_select, reckon_free);
	}
	warn_behind(0);
}

/* Makes the clocks of one request's customer follow. Needs an SPI scope. */
static void
recompute_one(Recomputation *work, int64 request_id)
{
	Datum values[1] = {Int64GetDatum(request_id)};
	int64 root;

	if (kept_plan_run(&request_root, values, NULL, false, 1) == 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("request " INT64_FORMAT " does not exist", request_id),
						errhint("Pass the id of a request, or NULL for all open clocks.")));
	root = spi_id(0, 1);
	work->policies = sla_policies_to_write();
	sla_changes_begin(&work->changes, work->changes.now);
	sla_requests_follow(&request_id, 1, work->policies, &work->changes);
	sla_customers_reckon(&root, 1, work->policies, &work->changes);
}

/* recompute_sla(request_id): returns a row for each clock that moved. */
Datum
omnichannel_recompute_sla(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Recomputation work = {.changes = {.report = report_change, .context = result}};
	SpiScope scope;

	omni_table("sla_clock");
	if (PG_ARGISNULL(0) && IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("recompute_sla() needs isolation level READ COMMITTED"),
						errhint("Call it in a transaction of that level: it must see what others have committed.")));
	if (XactReadOnly)
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("recompute_sla() writes, which a read-only transaction cannot"),
						errhint("Call it on the primary server, in a transaction that may write.")));
	if (PG_ARGISNULL(0) && pg_class_aclcheck(omni_table("sla_stale"), GetUserId(), ACL_DELETE) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not recompute all clocks", GetUserNameFromId(GetUserId(), false)),
						errhint("Name a request, or ask somebody whom grant_access() has made a supervisor.")));
	init_materialized_srf(fcinfo);
	spi_scope_begin(&scope, false);
	work.changes.now = GetCurrentTimestamp();
	if (PG_ARGISNULL(0))
		recompute_all(&work);
	else
		recompute_one(&work, PG_GETARG_INT64(0));
	spi_scope_end(&scope);
	return (Datum) 0;
}

/* follow_requests(): makes clocks follow what they are behind of; returns the number of customers. */
Datum
omnichannel_follow_requests(PG_FUNCTION_ARGS)
{
	Recomputation work = {0};
	SpiScope scope;

	omni_table("sla_behind");
	spi_scope_begin(&scope, false);
	work.policies = sla_policies_to_write();
	work.changes.now = GetCurrentTimestamp();
	work_through(&work, &members_select, forget_idle);
	work_through(&work, &behind_select, reckon_free);
	warn_behind(USECS_PER_MINUTE);
	spi_scope_end(&scope);
	PG_RETURN_INT64(work.followed);
}
