/*
 * live.c
 *	  Reads presence and load of many agents at once from the table agent_state.
 *
 * This is the one place that reads a table without a plan, because a plan spends more on fetching some hundred rows by
 * key than all the rest of a match takes (test/bench/match.sh: 1.8 ms with a plan, 0.55 ms so). For each agent the
 * place of his row is remembered. A row at that place, or further along its chain of HOT updates, which is visible to
 * the snapshot and bears the agent's id is his row, whatever happened to the place meanwhile; whose row is not found so
 * is asked for with the plan, and its place remembered.
 *
 * What a plan would guard is checked here: the right to read the table, row-level security, and that the table is a
 * plain heap with the columns that it was made with. Where any of that is not so, and under SERIALIZABLE, which wants
 * its read locks, the plan reads everything.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "routing/live.h"

/* The row as it lies in the heap; none of these columns is ever NULL. */
typedef struct AgentStateRow
{
	int64 agent_id;
	TimestampTz idle_since;
	TimestampTz busy_until;
	int32 used;
	char state[FLEXIBLE_ARRAY_MEMBER]; /* text */
} AgentStateRow;

static KeptPlan live_select = {
	.sql =
		"SELECT agent_id, state, used, idle_since, busy_until, ctid FROM omnichannel.agent_state WHERE agent_id = ANY"
		" ($1)",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
};

/* Returns the state that a text names, or NULL; most agents are in one of few. */
static const RoutingState *
state_of(const RoutingConfig *config, const void *datum)
{
	const char *name = VARDATA_ANY(datum);
	size_t length = VARSIZE_ANY_EXHDR(datum);

	for (int i = 0; i < config->state_count; i++)
	{
		if (config->states[i].length == length && memcmp(config->states[i].state, name, length) == 0)
			return &config->states[i];
	}
	return NULL;
}

/* Reads the rows of these agents with the plan and remembers their places. */
static void
read_by_plan(const RoutingConfig *config, Pool *pool, Datum agent_ids, bool read_only, Live *lives)
{
	uint64 count = kept_plan_run(&live_select, &agent_ids, NULL, read_only, 0);

	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		int agent = config_agent(config, DatumGetInt64(spi_datum(row, 1, &isnull)));
		const PoolMember *member = agent < 0 ? NULL : pool_member(pool, agent);
		int place;

		if (member == NULL)
			continue;
		place = (int) (member - pool->members);
		lives[place].state = state_of(config, DatumGetPointer(spi_datum(row, 2, &isnull)));
		lives[place].used = DatumGetInt32(spi_datum(row, 3, &isnull));
		lives[place].idle_since = DatumGetTimestampTz(spi_datum(row, 4, &isnull));
		lives[place].busy_until = DatumGetTimestampTz(spi_datum(row, 5, &isnull));
		pool->places[place] = *(ItemPointer) DatumGetPointer(spi_datum(row, 6, &isnull));
	}
}

/* Returns whether the current role may read all rows of the table without a plan, and the table is as it was made. */
static bool
is_plain(Relation relation)
{
	static const Oid types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTOID};
	TupleDesc desc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID ||
		desc->natts < (int) lengthof(types))
		return false;
	for (int i = 0; i < (int) lengthof(types); i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || column->atttypid != types[i] || !column->attnotnull)
			return false;
	}
	return pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		   check_enable_rls(RelationGetRelid(relation), GetUserId(), true) != RLS_ENABLED;
}

/*
 * Finds the row of an agent on a page, from its place along its chain of updates; the buffer is share-locked. Returns
 * NULL where it is not there.
 */
static const AgentStateRow *
find_row(Relation relation, Buffer buffer, Snapshot snapshot, int64 agent_id, ItemPointer place)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(place);
	TransactionId updated_by = InvalidTransactionId;

	for (int steps = 0; steps < MaxHeapTuplesPerPage; steps++)
	{
		HeapTupleData tuple;
		const AgentStateRow *row;
		ItemId item;

		if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
			return NULL;
		item = PageGetItemId(page, offset);
		if (ItemIdIsRedirected(item) && steps == 0)
		{
			offset = ItemIdGetRedirect(item);
			continue;
		}
		if (!ItemIdIsNormal(item))
			return NULL;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		tuple.t_tableOid = RelationGetRelid(relation);
		ItemPointerSet(&tuple.t_self, BufferGetBlockNumber(buffer), offset);
		if (TransactionIdIsValid(updated_by) && !TransactionIdEquals(HeapTupleHeaderGetXmin(tuple.t_data), updated_by))
			return NULL;
		row = (const AgentStateRow *) ((char *) tuple.t_data + tuple.t_data->t_hoff);
		if (row->agent_id != agent_id)
			return NULL;
		if (HeapTupleSatisfiesVisibility(&tuple, snapshot, buffer))
		{
			*place = tuple.t_self;
			return row;
		}
		if (!HeapTupleIsHotUpdated(&tuple))
			return NULL;
		updated_by = HeapTupleHeaderGetUpdateXid(tuple.t_data);
		offset = ItemPointerGetOffsetNumber(&tuple.t_data->t_ctid);
	}
	return NULL;
}

/* Reads the rows that are where they were, or near; returns how many agents were not found. */
static int
read_by_place(const RoutingConfig *config, Pool *pool, Relation relation, Snapshot snapshot, Live *lives, bool *found)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	Buffer buffer = InvalidBuffer;
	int missing = 0;

	/* By place: each page is locked once, as a rule. */
	for (int i = 0; i < pool->count; i++)
	{
		int member = pool->by_place[i];
		ItemPointer place = &pool->places[member];
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(place);
		const AgentStateRow *row;

		if (!ItemPointerIsValid(place) || block >= blocks)
		{
			missing++;
			continue;
		}
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != block)
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			CHECK_FOR_INTERRUPTS();
			buffer = ReadBuffer(relation, block);
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
		}
		row = find_row(relation, buffer, snapshot, config->agents[pool->members[member].agent].agent_id, place);
		if (row == NULL)
		{
			missing++;
			continue;
		}
		lives[member].state = state_of(config, row->state);
		lives[member].idle_since = row->idle_since;
		lives[member].busy_until = row->busy_until;
		lives[member].used = row->used;
		found[member] = true;
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
	return missing;
}

/* Orders the members of a pool by the places of their rows. */
static int
compare_places(const void *a, const void *b, void *arg)
{
	ItemPointer places = arg;

	return ItemPointerCompare(&places[*(const int *) a], &places[*(const int *) b]);
}

/*
 * live_read returns presence and load of a pool's members, in their order.
 *
 * Needs an SPI scope. Sees what a plan would see: with read_only the active snapshot, otherwise a new one.
 */
Live *
live_read(const RoutingConfig *config, Pool *pool, bool read_only)
{
	Live *lives = palloc0(sizeof(Live) * (pool->count + 1));
	bool *found;
	Relation relation;
	Datum *ids;
	int missing = pool->count;
	int asked = 0;

	for (int i = 0; i < pool->count; i++)
		lives[i].busy_until = DT_NOBEGIN;
	if (pool->count == 0)
		return lives;
	if (IsolationIsSerializable())
	{
		read_by_plan(config, pool, pool->agent_ids, read_only, lives);
		return lives;
	}

	found = palloc0(sizeof(bool) * pool->count);
	relation = table_open(omni_table("agent_state"), AccessShareLock);
	if (is_plain(relation))
	{
		if (!read_only)
		{
			CommandCounterIncrement();
			PushActiveSnapshot(GetTransactionSnapshot());
		}
		missing = read_by_place(config, pool, relation, GetActiveSnapshot(), lives, found);
		if (!read_only)
			PopActiveSnapshot();
	}
	table_close(relation, NoLock);

	/* Agents who were never there are missing each time; they cost a look at the index only. */
	if (missing > 0)
	{
		ids = palloc(sizeof(Datum) * missing);
		for (int i = 0; i < pool->count; i++)
		{
			if (!found[i])
				ids[asked++] = Int64GetDatum(config->agents[pool->members[i].agent].agent_id);
		}
		read_by_plan(
			config, pool,
			PointerGetDatum(construct_array(ids, asked, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
			read_only, lives);
		if (missing > pool->count / 8)
			qsort_arg(pool->by_place, pool->count, sizeof(int), compare_places, pool->places);
	}
	return lives;
}
