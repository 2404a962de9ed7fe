/*
 * live.c
 *	  Reads presence and load of many agents at once from the table agent_state.
 *
 * This is the one place that reads a table without a plan, because a plan spends more on fetching some hundred rows by
 * key than all the rest of a match takes (test/bench/match.sh: 1.8 ms with a plan, 0.55 ms so). For each agent the
 * place of his row is remembered. A row at that place, or further along its chain of updates, which is visible to the
 * snapshot and bears the agent's id is his row, whatever happened to the place meanwhile; whose row is not found so is
 * asked for with the plan, and its place remembered.
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
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "routing/live.h"
#include "routing/rows.h"

#define LIVE_SQL(place)                                                                                                \
	"SELECT agent_id, state, used, idle_since, busy_until" place                                                       \
	" FROM omnichannel.agent_state WHERE agent_id = ANY ($1)"

/* Whether the role may read the whole table: rights on columns are none on the row's place. */
static KeptPlan live_select[2] = {
	{.sql = LIVE_SQL(""), .nargs = 1, .argtypes = {INT8ARRAYOID}},
	{.sql = LIVE_SQL(", ctid"), .nargs = 1, .argtypes = {INT8ARRAYOID}},
};

/* Returns the state that a text names, or NULL; most agents are in one of few. */
const RoutingState *
live_state(const RoutingConfig *config, const void *datum)
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
read_by_plan(RoutingConfig *config, Pool *pool, Datum agent_ids, bool read_only, Live *lives)
{
	bool places = pg_class_aclcheck(omni_table("agent_state"), GetUserId(), ACL_SELECT) == ACLCHECK_OK;
	uint64 count = kept_plan_run(&live_select[places], &agent_ids, NULL, read_only, 0);

	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		int agent = config_agent(config, DatumGetInt64(spi_datum(row, 1, &isnull)));
		const PoolMember *member = agent < 0 ? NULL : pool_member(pool, agent);
		int place;

		if (member == NULL)
			continue;
		place = (int) (member - pool->members);
		lives[place].state = live_state(config, DatumGetPointer(spi_datum(row, 2, &isnull)));
		lives[place].used = DatumGetInt32(spi_datum(row, 3, &isnull));
		lives[place].idle_since = DatumGetTimestampTz(spi_datum(row, 4, &isnull));
		lives[place].busy_until = DatumGetTimestampTz(spi_datum(row, 5, &isnull));
		if (places)
			config->agents[agent].place =
				(RowPlace){*(ItemPointer) DatumGetPointer(spi_datum(row, 6, &isnull)), InvalidOffsetNumber};
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

/* Fills in what a row says. */
static void
fill_live(const RoutingConfig *config, const AgentStateRow *row, Live *live)
{
	live->state = live_state(config, row->state);
	live->idle_since = row->idle_since;
	live->busy_until = row->busy_until;
	live->used = row->used;
}

/* So many pages out of order are as dear as putting them in order. */
#define STRAYED_MAX 4

/* Reads the rows that are where they were, or near; returns how many agents were not found. */
static int
read_by_place(RoutingConfig *config, Pool *pool, Relation relation, Snapshot snapshot, Live *lives, bool *found)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	Buffer buffer = InvalidBuffer;
	BlockNumber last = 0;
	int missing = 0;
	int strayed = 0;

	/* By place: each page is locked once, as a rule. */
	for (int i = 0; i < pool->count; i++)
	{
		int member = pool->by_place[i];
		RoutingAgent *agent = &config->agents[pool->members[member].agent];
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(&agent->place.last);
		RowsTrail trail = {agent->place, InvalidTransactionId};
		HeapTupleData tuple;

		if (!ItemPointerIsValid(&agent->place.last) || block >= blocks)
		{
			missing++;
			continue;
		}
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != block)
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			CHECK_FOR_INTERRUPTS();
			if (block < last)
				strayed++;
			last = block;
			buffer = ReadBuffer(relation, block);
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
		}
		if (!rows_on_page(relation, buffer, snapshot, agent->agent_id, &trail, &tuple))
		{
			missing++;
			continue;
		}
		agent->place = trail.place;
		fill_live(config, (const AgentStateRow *) ((char *) tuple.t_data + tuple.t_data->t_hoff), &lives[member]);
		found[member] = true;
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);

	/* Rows move. */
	if (missing > pool->count / 8 || strayed > STRAYED_MAX)
		pool->unsorted = true;
	for (int member = 0; missing > 0 && member < pool->count; member++)
	{
		RoutingAgent *agent = &config->agents[pool->members[member].agent];
		HeapTuple tuple = found[member] ? NULL : rows_trace(relation, snapshot, blocks, agent->agent_id, &agent->place);

		if (tuple == NULL)
			continue;
		fill_live(config, (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff), &lives[member]);
		heap_freetuple(tuple);
		found[member] = true;
		missing--;
	}
	return missing;
}

/* Reads the rows of the agents that were not found by the key. */
static void
read_by_key(RoutingConfig *config, Pool *pool, Live *lives, const bool *found)
{
	Rows *rows = config->rows;

	for (int member = 0; member < pool->count; member++)
	{
		RoutingAgent *agent = &config->agents[pool->members[member].agent];

		CHECK_FOR_INTERRUPTS();
		if (found[member] || !rows_locate(rows, ROWS_AGENT_STATE, agent->agent_id, &agent->place))
			continue;
		fill_live(config, rows_data(rows, ROWS_AGENT_STATE), &lives[member]);
	}
}

/* Returns a copy of an agent's row in agent_state as config->rows sees it, or NULL where there is none. */
HeapTuple
live_row(RoutingConfig *config, int agent)
{
	return rows_follow(config->rows, ROWS_AGENT_STATE, config->agents[agent].agent_id, &config->agents[agent].place);
}

/* live_one fills in presence and load of one agent, as live_read() does without read_only. */
void
live_one(RoutingConfig *config, int agent, Live *live)
{
	PoolMember member = {.agent = agent};
	Pool alone = {.members = &member, .count = 1};
	Datum id = Int64GetDatum(config->agents[agent].agent_id);
	HeapTuple tuple;

	memset(live, 0, sizeof(*live));
	live->busy_until = DT_NOBEGIN;
	if (config->rows == NULL)
		read_by_plan(config, &alone, array_of(&id, NULL, 1, INT8OID), false, live);
	else if ((tuple = live_row(config, agent)) != NULL)
		fill_live(config, (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff), live);
}

typedef struct PlaceOrder
{
	RoutingConfig *config;
	Pool *pool;
} PlaceOrder;

/* Orders the members of a pool by the places of their rows. */
static int
compare_places(const void *a, const void *b, void *arg)
{
	const PlaceOrder *order = arg;
	RoutingAgent *agents = order->config->agents;
	const PoolMember *members = order->pool->members;

	return ItemPointerCompare(&agents[members[*(const int *) a].agent].place.last,
							  &agents[members[*(const int *) b].agent].place.last);
}

/* Puts the members in the order of their rows, where too many are out of it. */
static void
sort_by_place(RoutingConfig *config, Pool *pool)
{
	PlaceOrder order = {config, pool};

	if (pool->unsorted)
		qsort_arg(pool->by_place, pool->count, sizeof(int), compare_places, &order);
	pool->unsorted = false;
}

/*
 * live_read returns presence and load of a pool's members, in their order.
 *
 * Sees what config->rows sees, if they are open. Otherwise needs an SPI scope and sees what a plan would see: with
 * read_only the active snapshot, otherwise a new one.
 */
Live *
live_read(RoutingConfig *config, Pool *pool, bool read_only)
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
	if (config->rows != NULL)
	{
		missing =
			read_by_place(config, pool, config->rows->tables[ROWS_AGENT_STATE], config->rows->snapshot, lives, found);
		if (missing > 0)
			read_by_key(config, pool, lives, found);
		sort_by_place(config, pool);
		pfree(found);
		return lives;
	}
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
		read_by_plan(config, pool, array_of(ids, NULL, asked, INT8OID), read_only, lives);
	}
	sort_by_place(config, pool);
	return lives;
}
