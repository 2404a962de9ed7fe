/*
 * live.c
 *	  Reads presence and load of many agents at once from the table agent_state.
 *
 * This is the one place that reads a table without a plan, because a plan spends more on fetching some hundred rows by
 * key than all the rest of a match takes (test/bench/match.sh: 1.8 ms with a plan, 0.55 ms so). For each agent the
 * place of his row is remembered. A row at that place, or further along its chain of updates, which is visible to the
 * snapshot and bears the agent's id is his row, whatever happened to the place meanwhile; whose row is not found so is
 * asked for with the plan, and its place remembered. What was read of a page is kept until its LSN says that something
 * on it was changed, so that a match reads again only what has changed since the last one of its kind.
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

/* An agent who was never there. */
static const Live nobody = {.busy_until = DT_NOBEGIN};

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

/* To look for one of so many agents on another page than he was is as dear as putting all in order. */
#define STRAYED_OF 16

/* Members of a pool whose rows lay on one page, and what was read of it. */
typedef struct LivePage
{
	BlockNumber block; /* InvalidBlockNumber for those whose rows are not known to be anywhere */
	int first;         /* in the order of the rows */
	int count;
	Buffer buffer;        /* where the page was */
	XLogRecPtr lsn;       /* that it had, or InvalidXLogRecPtr where it must be read again */
	TransactionId newest; /* of those who wrote what was read */
} LivePage;

typedef struct PoolLives
{
	RelFileLocator file; /* that the pages are of */
	int strayed;         /* so many rows were looked for on other pages since they were put in order */
	int *order;          /* members in the order in which their rows lay */
	LivePage *pages;
	int page_count;
	Live *lives; /* by member, those on pages that need not be read again as they are */
} PoolLives;

/* A member whose row was not on its page, and whether it has been found elsewhere. */
typedef struct Missing
{
	int member;
	BlockNumber block;
	bool found;
} Missing;

typedef struct PlaceOrder
{
	const RoutingConfig *config;
	const Pool *pool;
} PlaceOrder;

/* Returns where the row of a pool's member was last, invalid where that is not known. */
static ItemPointer
place_of(const RoutingConfig *config, const Pool *pool, int member)
{
	return &config->agents[pool->members[member].agent].place.last;
}

/* Returns the page on which the row of a pool's member was last, or InvalidBlockNumber. */
static BlockNumber
block_of(const RoutingConfig *config, const Pool *pool, int member)
{
	ItemPointer place = place_of(config, pool, member);

	return ItemPointerIsValid(place) ? ItemPointerGetBlockNumber(place) : InvalidBlockNumber;
}

/* Orders the members of a pool by the places of their rows. */
static int
compare_places(const void *a, const void *b, void *arg)
{
	const PlaceOrder *order = arg;

	return ItemPointerCompare(place_of(order->config, order->pool, *(const int *) a),
							  place_of(order->config, order->pool, *(const int *) b));
}

/* Puts the members in the order of their rows, page by page. */
static void
sort_by_place(const RoutingConfig *config, Pool *pool)
{
	PlaceOrder order = {config, pool};
	PoolLives *lives = pool->lives;
	LivePage *page = NULL;

	qsort_arg(lives->order, pool->count, sizeof(int), compare_places, &order);
	lives->page_count = 0;
	for (int i = 0; i < pool->count; i++)
	{
		BlockNumber block = block_of(config, pool, lives->order[i]);

		if (page == NULL || page->block != block)
		{
			page = &lives->pages[lives->page_count++];
			*page = (LivePage){.block = block, .first = i};
		}
		page->count++;
	}
	lives->strayed = 0;
}

/* Returns what is kept of a pool, in order, with nothing kept of another file than the table's. */
static PoolLives *
pool_lives(RoutingConfig *config, Pool *pool, Relation relation)
{
	PoolLives *lives = pool->lives;

	if (lives == NULL)
	{
		/* A page for each at the most. */
		lives = MemoryContextAllocZero(config->pool_context, sizeof(PoolLives));
		lives->order = MemoryContextAllocHuge(config->pool_context, sizeof(int) * pool->count);
		lives->pages = MemoryContextAllocHuge(config->pool_context, sizeof(LivePage) * pool->count);
		lives->lives = MemoryContextAllocHuge(config->pool_context, sizeof(Live) * pool->count);
		for (int i = 0; i < pool->count; i++)
			lives->order[i] = i;
		lives->strayed = pool->count;
		pool->lives = lives;
	}
	if (lives->strayed > pool->count / STRAYED_OF)
		sort_by_place(config, pool);
	if (!RelFileLocatorEquals(lives->file, relation->rd_locator))
	{
		lives->file = relation->rd_locator;
		for (int i = 0; i < lives->page_count; i++)
			lives->pages[i].lsn = InvalidXLogRecPtr;
	}
	return lives;
}

/* Returns whether nobody was about to change a row when its page was read. */
static bool
is_settled(const HeapTupleHeaderData *header)
{
	return (header->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask);
}

/* Reads the members' rows on a page that is pinned; adds those who are not there to the missing, returns how many. */
static int
read_page(RoutingConfig *config, Pool *pool, Relation relation, Snapshot snapshot, LivePage *page, Missing *missing)
{
	PoolLives *lives = pool->lives;
	TransactionId newest = FrozenTransactionId;
	bool settled = RelationNeedsWAL(relation);
	XLogRecPtr lsn;
	int count = 0;

	page->lsn = InvalidXLogRecPtr;
	LockBuffer(page->buffer, BUFFER_LOCK_SHARE);
	lsn = PageGetLSN(BufferGetPage(page->buffer));
	for (int i = page->first; i < page->first + page->count; i++)
	{
		int member = lives->order[i];
		RoutingAgent *agent = &config->agents[pool->members[member].agent];
		RowsTrail trail = {agent->place, InvalidTransactionId};
		HeapTupleData tuple;
		TransactionId writer;

		if (block_of(config, pool, member) != page->block ||
			!rows_on_page(relation, page->buffer, snapshot, agent->agent_id, &trail, &tuple))
		{
			missing[count++] = (Missing){member, page->block, false};
			continue;
		}
		agent->place = trail.place;
		fill_live(config, (const AgentStateRow *) ((char *) tuple.t_data + tuple.t_data->t_hoff),
				  &lives->lives[member]);
		writer = HeapTupleHeaderGetXmin(tuple.t_data);
		if (TransactionIdFollows(writer, newest))
			newest = writer;
		settled = settled && is_settled(tuple.t_data);
	}
	LockBuffer(page->buffer, BUFFER_LOCK_UNLOCK);
	if (settled && count == 0)
	{
		page->newest = newest;
		page->lsn = lsn;
	}
	return count;
}

/*
 * Reads the rows that are on the pages where they were; returns how many are not, who then are the missing.
 *
 * A page is read again only if it has changed: whatever changes rows gives their page another LSN, and what was written
 * by transactions that had all ended when the snapshot was taken looks the same to it now as it did then. The LSN is
 * looked at without a lock on the page: a transaction that the snapshot sees had set it before it committed.
 */
static int
read_by_page(RoutingConfig *config, Pool *pool, Relation relation, Snapshot snapshot, Missing *missing)
{
	PoolLives *lives = pool_lives(config, pool, relation);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	int count = 0;

	for (int i = 0; i < lives->page_count; i++)
	{
		LivePage *page = &lives->pages[i];

		CHECK_FOR_INTERRUPTS();
		if (page->block >= blocks)
		{
			for (int j = page->first; j < page->first + page->count; j++)
				missing[count++] = (Missing){lives->order[j], page->block, false};
			continue;
		}
		if (!BufferIsValid(page->buffer) ||
			!ReadRecentBuffer(relation->rd_locator, MAIN_FORKNUM, page->block, page->buffer))
			page->buffer = ReadBuffer(relation, page->block);
		if (page->lsn == InvalidXLogRecPtr || page->lsn != PageGetLSN(BufferGetPage(page->buffer)) ||
			!TransactionIdPrecedes(page->newest, snapshot->xmin))
			count += read_page(config, pool, relation, snapshot, page, &missing[count]);
		ReleaseBuffer(page->buffer);
	}
	return count;
}

/* Follows the rows of the missing to where they moved; returns how many were not found. */
static int
read_by_trail(RoutingConfig *config, Pool *pool, Relation relation, Snapshot snapshot, Missing *missing, int count,
			  Live *lives)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	int left = count;

	for (int i = 0; i < count; i++)
	{
		int member = missing[i].member;
		RoutingAgent *agent = &config->agents[pool->members[member].agent];
		HeapTuple tuple = rows_trace(relation, snapshot, blocks, agent->agent_id, &agent->place);

		CHECK_FOR_INTERRUPTS();
		if (tuple == NULL)
			continue;
		fill_live(config, (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff), &lives[member]);
		heap_freetuple(tuple);
		missing[i].found = true;
		left--;
	}
	return left;
}

/* Reads the rows of those who are still missing by the key. */
static void
read_by_key(RoutingConfig *config, Pool *pool, const Missing *missing, int count, Live *lives)
{
	for (int i = 0; i < count; i++)
	{
		RoutingAgent *agent = &config->agents[pool->members[missing[i].member].agent];

		CHECK_FOR_INTERRUPTS();
		if (!missing[i].found && rows_locate(config->rows, ROWS_AGENT_STATE, agent->agent_id, &agent->place))
			fill_live(config, rows_data(config->rows, ROWS_AGENT_STATE), &lives[missing[i].member]);
	}
}

/* Reads the rows of those who are still missing, so many, with the plan. */
static void
read_left_by_plan(RoutingConfig *config, Pool *pool, const Missing *missing, int left, bool read_only, Live *lives)
{
	Datum *ids = palloc(sizeof(Datum) * left);
	int asked = 0;

	for (int i = 0; asked < left; i++)
	{
		if (!missing[i].found)
			ids[asked++] = Int64GetDatum(config->agents[pool->members[missing[i].member].agent].agent_id);
	}
	read_by_plan(config, pool, array_of(ids, NULL, asked, INT8OID), read_only, lives);
}

/* Counts the missing whose rows are by now known to be on other pages. */
static void
note_strayed(const RoutingConfig *config, Pool *pool, const Missing *missing, int count)
{
	for (int i = 0; i < count; i++)
	{
		BlockNumber block = block_of(config, pool, missing[i].member);

		pool->lives->strayed += block != InvalidBlockNumber && block != missing[i].block;
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

	*live = nobody;
	if (config->rows == NULL)
		read_by_plan(config, &alone, array_of(&id, NULL, 1, INT8OID), false, live);
	else if ((tuple = live_row(config, agent)) != NULL)
		fill_live(config, (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff), live);
}

/* Returns presence and load of all of a pool's members by the plan. */
static const Live *
read_all_by_plan(RoutingConfig *config, Pool *pool, bool read_only)
{
	Live *lives = palloc(sizeof(Live) * pool->count);

	for (int i = 0; i < pool->count; i++)
		lives[i] = nobody;
	read_by_plan(config, pool, pool->agent_ids, read_only, lives);
	return lives;
}

/*
 * live_read returns presence and load of a pool's members, in their order; live_free() frees it.
 *
 * Sees what config->rows sees, if they are open. Otherwise needs an SPI scope and sees what a plan would see: with
 * read_only the active snapshot, otherwise a new one. Good until it is called again.
 */
const Live *
live_read(RoutingConfig *config, Pool *pool, bool read_only)
{
	bool by_rows = config->rows != NULL;
	Snapshot snapshot;
	Relation relation;
	Missing *missing;
	Live *lives = NULL;
	int left = 0;
	int count;

	if (pool->count == 0)
		return NULL;
	if (IsolationIsSerializable())
		return read_all_by_plan(config, pool, read_only);
	relation =
		by_rows ? config->rows->tables[ROWS_AGENT_STATE] : table_open(omni_table("agent_state"), AccessShareLock);
	if (!by_rows && !is_plain(relation))
	{
		table_close(relation, NoLock);
		return read_all_by_plan(config, pool, read_only);
	}

	if (!by_rows && !read_only)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	snapshot = by_rows ? config->rows->snapshot : GetActiveSnapshot();
	missing = palloc(sizeof(Missing) * pool->count);
	count = read_by_page(config, pool, relation, snapshot, missing);
	if (count > 0)
	{
		/* What is kept stays that of the pages. */
		lives = palloc(sizeof(Live) * pool->count);
		memcpy(lives, pool->lives->lives, sizeof(Live) * pool->count);
		for (int i = 0; i < count; i++)
			lives[missing[i].member] = nobody;
		left = read_by_trail(config, pool, relation, snapshot, missing, count, lives);
	}
	if (!by_rows && !read_only)
		PopActiveSnapshot();
	if (!by_rows)
		table_close(relation, NoLock);

	/* Agents who were never there are missing each time; they cost a look at the index only. */
	if (left > 0 && by_rows)
		read_by_key(config, pool, missing, count, lives);
	else if (left > 0)
		read_left_by_plan(config, pool, missing, left, read_only, lives);
	if (count > 0)
		note_strayed(config, pool, missing, count);
	pfree(missing);
	return count > 0 ? lives : pool->lives->lives;
}

/* live_free frees what live_read() returned. */
void
live_free(const Pool *pool, const Live *lives)
{
	if (lives != NULL && (pool->lives == NULL || lives != pool->lives->lives))
		pfree(unconstify(Live *, lives));
}
