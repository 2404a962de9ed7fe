/*
 * hold.c
 *	  Who holds a customer's row of sla_customer until the end of its transaction: nobody else writes the customer's
 *	  moments and clocks.
 *
 * Who logs a contact waits for the row. Who must not wait, because it has other locks in its hands or many customers
 * to see to, takes the rows that are free, and notes in sla_behind whose clocks do not follow: tick() sees to these as
 * soon as they are free. Clocks themselves are held without that row by who tells of them; a clock that cannot be had
 * counts as its customer does.
 *
 * Who waits with other locks in its hands may lock up. So all who wait take their locks in one order: keys and threads
 * of contacts, by key; rows of customer, by id, in one statement (a logger those of roots, lock_groups() of whole
 * groups); requests; rows of sla_customer, by id, of the roots that were found at the beginning; of each of these
 * customers, clocks, which belong to whoever has that row; and rows of relationship. What turns out then to belong to
 * somebody else, because customers were merged or parted meanwhile, is tried only, at the end, and not waited for.
 *
 * Of customers who were merged, contacts that come take the row of the root alone, and what must see to all of them
 * takes the others, too, which may come before it. So who does not wait takes nothing of them without the root's, and
 * who has some row of theirs in hand waits for no other one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/look.h"
#include "sla/clock.h"

/*
 * Takes the rows of roots that are free; returns of which families there are others, and which are not free, and if
 * that is because of a row.
 */
static KeptPlan roots_free = {
	.sql = "SELECT r.root, held.customer_id IS NOT NULL, k.customer_id IS NOT NULL"
		   " FROM (SELECT u.root FROM unnest($1) AS u (root) ORDER BY u.root OFFSET 0) AS r"
		   " LEFT JOIN LATERAL (SELECT one.customer_id, one.grouped FROM omnichannel.sla_customer AS one"
		   " WHERE one.customer_id = r.root FOR UPDATE SKIP LOCKED) AS held ON true"
		   " LEFT JOIN LATERAL (SELECT one.customer_id FROM omnichannel.sla_customer AS one"
		   " WHERE one.customer_id = r.root OFFSET 0) AS k ON true"
		   " WHERE held.customer_id IS NULL OR held.grouped",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Takes the rows of the others that are free; returns of which families not all are. */
static KeptPlan members_free = {
	.sql = "SELECT m.root FROM (SELECT c.merged_into AS root, c.customer_id FROM omnichannel.customer AS c"
		   " WHERE c.merged_into = ANY ($1) OFFSET 0) AS m"
		   " LEFT JOIN LATERAL (SELECT one.customer_id FROM omnichannel.sla_customer AS one"
		   " WHERE one.customer_id = m.customer_id FOR UPDATE SKIP LOCKED) AS held ON true"
		   " LEFT JOIN LATERAL (SELECT one.customer_id FROM omnichannel.sla_customer AS one"
		   " WHERE one.customer_id = m.customer_id OFFSET 0) AS k ON true"
		   " WHERE held.customer_id IS NULL AND k.customer_id IS NOT NULL",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static LookUp customer_look = {
	.table = "sla_customer",
	.nkeys = 1,
	.ncolumns = 1,
	.columns = (const TableColumn[]){{"customer_id", INT8OID}},
};

static LookUp request_look = {
	.table = "request",
	.nkeys = 1,
	.ncolumns = 5,
	.columns = (const TableColumn[]){{"request_id", INT8OID},
									 {"customer_id", INT8OID},
									 {"state", TEXTOID},
									 {"state_since", TIMESTAMPTZOID},
									 {"closed_at", TIMESTAMPTZOID}},
};

static KeptPlan customers_hold = {
	.sql =
		"SELECT FROM omnichannel.sla_customer AS h WHERE h.customer_id IN"
		" (SELECT coalesce(k.merged_into, k.customer_id) FROM omnichannel.customer AS k WHERE k.customer_id = ANY ($1))"
		" ORDER BY h.customer_id FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan behind_write = {
	.sql = "INSERT INTO omnichannel.sla_behind (customer_id, since) SELECT u.* FROM unnest($1, $2)"
		   " AS u (customer_id, since) WHERE $3 OR NOT EXISTS (SELECT FROM omnichannel.sla_behind AS b"
		   " WHERE b.customer_id = u.customer_id AND b.since <= u.since)",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZARRAYOID, BOOLOID},
	.indexed = true,
};

static KeptPlan behind_take = {
	.sql = "WITH taken AS (DELETE FROM omnichannel.sla_behind AS b USING " SLA_FAMILY " AS f"
		   " WHERE b.customer_id = f.customer_id RETURNING f.root, b.since)"
		   " SELECT t.root, min(t.since) FROM taken AS t GROUP BY t.root",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Takes the rows of all in the families, in the order in which everybody takes them. */
static KeptPlan families_hold = {
	.sql = "INSERT INTO omnichannel.sla_customer AS h (customer_id, next_at, next_rank, last_at, last_rank, late)"
		   " SELECT DISTINCT f.customer_id, '-infinity'::timestamptz, 0, '-infinity'::timestamptz, 9, false"
		   " FROM " SLA_FAMILY " AS f ORDER BY f.customer_id"
		   " ON CONFLICT (customer_id) DO UPDATE SET last_rank = 9, waits_request_id = NULL RETURNING h.customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Who is in a family. */
static KeptPlan members_select = {
	.sql = "SELECT f.customer_id FROM " SLA_FAMILY " AS f",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Who is in the families now, and whose root is none any more. */
static KeptPlan families_select = {
	.sql = "SELECT f.root, f.customer_id, k.merged_into IS NOT NULL FROM " SLA_FAMILY " AS f"
		   " JOIN omnichannel.customer AS k ON k.customer_id = f.root",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * Those in a group count as having got as far as any of them: who is taken apart knows of the moments that others wrote
 * for the group by those themselves. The rows are there; an insert finds each by its key, where a join would be
 * planned by what the statistics say of the table.
 */
static KeptPlan families_note = {
	.sql = "INSERT INTO omnichannel.sla_customer AS h"
		   " (customer_id, next_at, next_rank, last_at, last_rank, late, grouped)"
		   " SELECT n.customer_id, '-infinity', 0, n.group_at, 9, false, n.members > 1 FROM"
		   " (SELECT f.customer_id, h.last_at, h.grouped, max(greatest(h.last_at, m.at)) OVER family AS group_at,"
		   " count(*) OVER family AS members FROM " SLA_FAMILY " AS f"
		   " CROSS JOIN LATERAL (SELECT one.last_at, one.grouped FROM omnichannel.sla_customer AS one"
		   " WHERE one.customer_id = f.customer_id OFFSET 0) AS h"
		   " LEFT JOIN LATERAL (SELECT m.at FROM omnichannel.sla_moment AS m WHERE m.customer_id = f.customer_id"
		   " ORDER BY m.at DESC LIMIT 1) AS m ON true WINDOW family AS (PARTITION BY f.root)) AS n"
		   " WHERE (n.last_at, n.grouped) IS DISTINCT FROM (n.group_at, n.members > 1) ORDER BY n.customer_id"
		   " ON CONFLICT (customer_id) DO UPDATE SET last_at = excluded.last_at, grouped = excluded.grouped",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Returns whether another transaction is inserting the customer's row: nothing but waiting tells how that ends. */
static bool
is_being_made(int64 root)
{
	Datum keys[1] = {Int64GetDatum(root)};
	SnapshotData dirty;
	LookScan scan;
	Datum row[1];
	bool nulls[1];
	bool found = false;

	InitDirtySnapshot(dirty);
	if (!look_begin(&scan, &customer_look, keys, 1, &dirty))
		return false;
	while (!found && look_next(&scan, false, row, nulls))
		found = TransactionIdIsValid(dirty.xmin);
	look_end(&scan);
	return found;
}

/*
 * sla_customers_awaited waits for transactions that are changing what is known of customers' clocks, and which whoever
 * writes of the customers would wait for; returns whether there was one. Takes no lock. If not, it sets places, unless
 * that is NULL, to where their rows of sla_customer are, invalid for those without.
 */
bool
sla_customers_awaited(const int64 *ids, int count, ItemPointer places)
{
	bool awaited = false;
	SnapshotData dirty;
	LookScan scan;

	InitDirtySnapshot(dirty);
	for (int i = 0; i < count && places != NULL; i++)
		ItemPointerSetInvalid(&places[i]);
	if (count == 0 || !look_open(&scan, &customer_look, 1, &dirty))
		return false;
	for (int i = 0; i < count; i++)
	{
		Datum keys[1] = {Int64GetDatum(ids[i])};
		TransactionId other = InvalidTransactionId;
		Datum row[1];
		bool nulls[1];

		look_find(&scan, keys);
		while (!TransactionIdIsValid(other) && look_next(&scan, false, row, nulls))
		{
			other = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
			if (places != NULL)
				places[i] = scan.slot->tts_tid;
		}
		if (!TransactionIdIsValid(other))
			continue;
		awaited = true;
		/* Nothing is kept from others meanwhile. */
		look_end(&scan);
		XactLockTableWait(other, NULL, NULL, XLTW_None);
		if (!look_open(&scan, &customer_look, 1, &dirty))
			return true;
	}
	look_end(&scan);
	return awaited;
}

/*
 * sla_customers_hold takes the rows of sla_customer that there are of customers, in their order, for whoever locks more
 * of them without telling of a moment. Needs an SPI scope.
 */
void
sla_customers_hold(const int64 *ids, int count)
{
	Datum values[1] = {id_array(ids, count)};

	(void) kept_plan_run(&customers_hold, values, NULL, false, 0);
}

/* Returns whether this transaction has the customer's row already. Sets whether the customer is in a group. */
static bool
is_own(int64 customer_id, bool *grouped)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	SnapshotData dirty;
	LookScan scan;
	Datum row[SLA_KNOWN_COLUMNS];
	bool nulls[SLA_KNOWN_COLUMNS];
	bool own = false;

	*grouped = false;
	InitDirtySnapshot(dirty);
	if (!look_begin(&scan, &sla_known_look, keys, 1, &dirty))
		return false;
	while (!own && look_next(&scan, false, row, nulls))
	{
		HeapTupleHeader header = ExecFetchSlotHeapTuple(scan.slot, false, NULL)->t_data;

		*grouped = *grouped || DatumGetBool(row[4]);
		own = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)) ||
			  (!(header->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) &&
			   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(header)));
	}
	look_end(&scan);
	return own;
}

/* Returns whether a version of a request says something else than what is known of it. */
static bool
says_else(const SlaKnownRequest *known, const Datum *row, const bool *nulls)
{
	TimestampTz waits_since =
		strcmp(TextDatumGetCString(row[2]), "waiting_customer") == 0 ? DatumGetTimestampTz(row[3]) : DT_NOEND;

	return nulls[4] != known->open || waits_since != known->waits_since;
}

/*
 * Returns the transaction that is changing a request in what is known of it, or deleting it; otherwise sets differs to
 * whether the request is something else already. Sets whose it is.
 */
static TransactionId
request_changer(LookScan *scan, const SnapshotData *dirty, const SlaKnownRequest *known, int64 *customer_id,
				bool *differs)
{
	Datum keys[1] = {Int64GetDatum(known->request_id)};
	TransactionId other = InvalidTransactionId;
	bool renewed = false;
	Datum row[5];
	bool nulls[5];

	look_find(scan, keys);
	*differs = true;
	while (look_next(scan, false, row, nulls))
	{
		bool differs_here = says_else(known, row, nulls);

		*customer_id = DatumGetInt64(row[1]);
		/* A row that is being changed comes twice: as it was, and as it is to be. */
		*differs = TransactionIdIsValid(other) ? *differs || differs_here : differs_here;
		if (TransactionIdIsValid(dirty->xmin))
			renewed = true;
		if (TransactionIdIsValid(dirty->xmin) || TransactionIdIsValid(dirty->xmax))
			other = TransactionIdIsValid(dirty->xmin) ? dirty->xmin : dirty->xmax;
	}
	return TransactionIdIsValid(other) && (*differs || !renewed) ? other : InvalidTransactionId;
}

/*
 * sla_requests_awaited waits for transactions that are changing requests into which contacts are to go; returns whether
 * there was one, or a request is not what was read of it any more: then all is to be read again. Who changes nothing
 * that is known of a request is not waited for.
 *
 * Who changes a request takes the customer's row only if that is free, so that whoever has to do with the customer does
 * not always wait for it there. It may wait for the row later, for what it logs itself: so this is called before the
 * row is taken, and nobody is waited for on account of a customer whose row this transaction has already, which comes
 * before the change then. Takes no lock. Raises 40001 where a request has changed under a snapshot of the whole
 * transaction.
 */
bool
sla_requests_awaited(const SlaKnownRequest *known, int count)
{
	bool awaited = false;
	SnapshotData dirty;
	LookScan scan;

	InitDirtySnapshot(dirty);
	if (count == 0 || !look_open(&scan, &request_look, 1, &dirty))
		return false;
	for (int i = 0; i < count; i++)
	{
		int64 customer_id = 0;
		bool grouped;
		bool differs;
		TransactionId other = request_changer(&scan, &dirty, &known[i], &customer_id, &differs);

		if (!TransactionIdIsValid(other))
		{
			/* Under a snapshot of the whole transaction reading again would show nothing else. */
			if (differs && IsolationUsesXactSnapshot())
				ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
								errmsg("could not serialize access due to concurrent update"),
								errdetail("Request " INT64_FORMAT " was changed meanwhile.", known[i].request_id),
								errhint("Retry the transaction.")));
			awaited = awaited || differs;
			continue;
		}
		look_end(&scan);
		if (!is_own(customer_id, &grouped))
		{
			awaited = true;
			/* Nothing is kept from others meanwhile. */
			XactLockTableWait(other, NULL, NULL, XLTW_None);
		}
		if (!look_open(&scan, &request_look, 1, &dirty))
			return awaited;
	}
	look_end(&scan);
	return awaited;
}

/* Moves the families that are not held by others to the front, both parts in order; returns how many these are. */
static int
part(SlaFamily *families, int count)
{
	SlaFamily *others = palloc(sizeof(SlaFamily) * Max(count, 1));
	int other_count = 0;
	int held = 0;

	for (int i = 0; i < count; i++)
		if (families[i].held_by_others)
			others[other_count++] = families[i];
		else
			families[held++] = families[i];
	memcpy(&families[held], others, sizeof(SlaFamily) * other_count);
	pfree(others);
	return held;
}

/* Orders ids. */
static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Marks the families that are not what they were when these rows were taken; returns whether there is one. */
static bool
find_changed(SlaFamily *families, int count, const int64 *ids, int id_count)
{
	Datum values[1] = {sla_roots_array(families, count)};
	uint64 rows = kept_plan_run(&families_select, values, NULL, false, 0);
	bool changed = false;

	for (uint64 i = 0; i < rows; i++)
	{
		int64 id = spi_id(i, 2);
		bool isnull;

		if (!DatumGetBool(spi_datum(i, 3, &isnull)) && bsearch(&id, ids, id_count, sizeof(int64), compare_ids) != NULL)
			continue;
		sla_family_find(families, count, spi_id(i, 1))->held_by_others = true;
		changed = true;
	}
	SPI_freetuptable(SPI_tuptable);
	return changed;
}

/*
 * sla_families_hold takes the families' rows, and makes sure that moments of merged customers count as known; notes who
 * is in a group. Returns how many families it has, moved to the front in order: the others were merged into somebody
 * while their rows were waited for, and are no families any more, or somebody was merged into them, whose row comes too
 * late to be waited for. Needs an SPI scope.
 *
 * Those of merged customers are taken too: whoever logs a contact of one, not knowing yet, has to be waited for.
 */
int
sla_families_hold(SlaFamily *families, int count)
{
	Datum values[1] = {sla_roots_array(families, count)};
	int id_count = (int) kept_plan_run(&families_hold, values, NULL, false, 0);
	int64 *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * Max(id_count, 1));

	for (int i = 0; i < id_count; i++)
		ids[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	if (find_changed(families, count, ids, id_count))
	{
		count = part(families, count);
		values[0] = sla_roots_array(families, count);
	}
	pfree(ids);
	if (count > 0)
		(void) kept_plan_run(&families_note, values, NULL, false, 0);
	return count;
}

/*
 * Takes the rows of families that are free; returns how many it has, moved to the front. Needs an SPI scope.
 *
 * Of a family whose root is not had nothing is taken: whoever goes on to wait for the root must have nothing of it.
 */
int
sla_families_free(SlaFamily *families, int count)
{
	SlaColumn grouped = {.type = INT8OID};
	Datum values[1] = {sla_roots_array(families, count)};
	uint64 rows = kept_plan_run(&roots_free, values, NULL, false, 0);

	for (uint64 i = 0; i < rows; i++)
	{
		bool isnull;
		int64 root = spi_id(i, 1);

		if (DatumGetBool(spi_datum(i, 2, &isnull)))
			sla_column_add_id(&grouped, root);
		else
			sla_family_find(families, count, root)->held_by_others =
				DatumGetBool(spi_datum(i, 3, &isnull)) || is_being_made(root);
	}
	SPI_freetuptable(SPI_tuptable);
	if (grouped.count > 0)
	{
		values[0] = sla_column_array(&grouped);
		rows = kept_plan_run(&members_free, values, NULL, false, 0);
		for (uint64 i = 0; i < rows; i++)
			sla_family_find(families, count, spi_id(i, 1))->held_by_others = true;
		SPI_freetuptable(SPI_tuptable);
	}
	return part(families, count);
}

/* Returns whether this transaction has a row of a family of several already, perhaps without those that come before. */
static bool
is_begun(int64 root)
{
	bool grouped;
	bool begun = is_own(root, &grouped);
	Datum values[1];
	int64 *ids;
	int count;

	if (!grouped || begun)
		return grouped;
	values[0] = id_array(&root, 1);
	count = (int) kept_plan_run(&members_select, values, NULL, false, 0);
	ids = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		ids[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < count && !begun; i++)
		begun = is_own(ids[i], &grouped);
	pfree(ids);
	return begun;
}

/*
 * sla_family_hold takes a family's rows, as sla_families_hold() does, and returns whether it has them; where this
 * transaction has one of several already, the others are not waited for. Needs an SPI scope.
 */
bool
sla_family_hold(SlaFamily *family)
{
	if (is_begun(family->root) && sla_families_free(family, 1) == 0)
		return false;
	return sla_families_hold(family, 1) > 0;
}

/*
 * sla_families_behind notes that the families' clocks do not follow what is as of their `from` or later. Needs an SPI
 * scope.
 *
 * Where moments are new it is noted again: who has taken an earlier note may have read the moments before.
 */
void
sla_families_behind(const SlaFamily *families, int count, bool again)
{
	SlaColumn behind[2] = {{.type = INT8OID}, {.type = TIMESTAMPTZOID}};
	Datum values[3];

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		sla_column_add_id(&behind[0], families[i].root);
		sla_column_add_time(&behind[1], families[i].from);
	}
	values[0] = sla_column_array(&behind[0]);
	values[1] = sla_column_array(&behind[1]);
	values[2] = BoolGetDatum(again);
	(void) kept_plan_run(&behind_write, values, NULL, false, 0);
}

/*
 * sla_families_try takes the families' rows without waiting, and returns how many it has, moved to the front in order.
 *
 * Of the others it writes the moments, and notes that their clocks are behind. Needs an SPI scope.
 */
int
sla_families_try(SlaFamily *families, int count)
{
	int held = sla_families_free(families, count);

	if (held < count)
	{
		for (int i = held; i < count; i++)
			families[i].from = families[i].moments[0]->at;
		sla_moments_add(&families[held], count - held);
		sla_families_behind(&families[held], count - held, true);
	}
	return held;
}

/*
 * sla_families_doubt notes that the families' open clocks may not follow, where this transaction went by the rules of
 * its own snapshot: nobody who changes them can know of it. Needs an SPI scope.
 */
void
sla_families_doubt(SlaFamily *families, int count)
{
	if (!IsolationUsesXactSnapshot())
		return;
	for (int i = 0; i < count; i++)
		families[i].from = DT_NOEND;
	sla_families_behind(families, count, true);
}

/*
 * sla_families_take takes the families' rows without waiting and reads all that is stored of them; returns how many it
 * has, moved to the front in order. `from` says what may change.
 *
 * The others are behind then; again says that this is because of moments that this transaction wrote. What was noted
 * to be behind of those that it has is not behind any more, and `from` is as early as that was. Needs an SPI scope that
 * may write this room's tables.
 */
int
sla_families_take(SlaFamily *families, int count, const SlaPolicies *policies, bool again)
{
	int held = sla_families_free(families, count);
	Datum values[1];
	uint64 rows;
	int ready;

	if (held > 0)
		held = sla_families_hold(families, held);
	if (held > 0)
	{
		values[0] = sla_roots_array(families, held);
		/* Noted before the moments are read, so that what those who had the row before have left is among them. */
		rows = kept_plan_run(&behind_take, values, NULL, false, 0);
		for (uint64 i = 0; i < rows; i++)
		{
			SlaFamily *family = sla_family_find(families, held, spi_id(i, 1));

			family->from = Min(family->from, spi_time(i, 2, NO_TIME));
		}
		SPI_freetuptable(SPI_tuptable);
		sla_moments_read(families, held);
		sla_clocks_read(policies, families, held, SLA_TRY_ALL);
	}
	ready = part(families, held);
	sla_families_behind(&families[ready], count - ready, again);
	if (ready > 0)
		sla_families_memberships(policies, families, ready);
	return ready;
}
