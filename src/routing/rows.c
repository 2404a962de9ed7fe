/*
 * rows.c
 *	  The rows of what is going on, read and written without SQL where nothing asks for SQL.
 *
 * A statement spends many times what its row does: nine tenths of route() was the executor being built up and torn down
 * (test/bench/route.sh). What SQL would do for these rows is done here by the heap's and the index's own functions.
 * rows_open() answers NULL, and its caller runs the statements that it keeps, wherever that would not be the same:
 *
 * - a table is no ordinary one in the server's own heap, has rules, children or parents, or columns other than those
 *   that it was made with; one that rows are inserted into has more columns; one that is changed has generated columns,
 *   more checks, or triggers that are not this extension's own, all of which have nothing to do for these changes;
 * - an index of a table that rows are inserted into is no plain btree (expressions, predicates, exclusion, deferred);
 * - row security holds for the current role, or it lacks a right on a table; an extension asks to look at rights;
 * - triggers are switched off by session_replication_role;
 * - the transaction is above READ COMMITTED: matching is not, and others read.
 *
 * Unique keys, NOT NULL, HOT, TOAST, logical decoding and statistics are honoured. Who changes a row that somebody else
 * is changing waits and looks again, or is told.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "routing/rows.h"

#define ROWS_COLUMNS 17

/* A table as it was made. */
typedef struct RowsSpec
{
	const char *name;
	AclMode rights;
	bool inserts;
	int checks; /* constraints that hold for whatever is written here */
	int count;
	struct
	{
		const char *name;
		Oid type; /* InvalidOid for one of this extension's */
		bool nullable;
	} columns[ROWS_COLUMNS];
} RowsSpec;

#define READ ACL_SELECT
#define CHANGE (ACL_SELECT | ACL_UPDATE)
#define KEEP (ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE)

static const RowsSpec specs[ROWS_TABLES] = {
	[ROWS_REQUEST] = {"request",
					  CHANGE,
					  false,
					  5,
					  16,
					  {{"request_id", INT8OID},
					   {"customer_id", INT8OID},
					   {"kind", TEXTOID},
					   {"state", TEXTOID},
					   {"channel", TEXTOID},
					   {"queue", TEXTOID, true},
					   {"priority", INT4OID},
					   {"requires", InvalidOid, true},
					   {"prefers", InvalidOid, true},
					   {"agent_id", INT8OID, true},
					   {"subject", TEXTOID, true},
					   {"data", JSONBOID},
					   {"version", INT8OID},
					   {"opened_at", TIMESTAMPTZOID},
					   {"state_since", TIMESTAMPTZOID},
					   {"closed_at", TIMESTAMPTZOID, true}}},
	[ROWS_CUSTOMER] = {"customer",
					   READ,
					   false,
					   0,
					   7,
					   {{"customer_id", INT8OID},
						{"name", TEXTOID, true},
						{"birth_date", DATEOID, true},
						{"language", TEXTOID, true},
						{"preferred_channel", TEXTOID, true},
						{"set_by", JSONBOID, true},
						{"merged_into", INT8OID, true}}},
	[ROWS_WAITING] = {"waiting",
					  KEEP,
					  false,
					  0,
					  8,
					  {{"request_id", INT8OID},
					   {"customer_id", INT8OID},
					   {"lane_id", INT8OID},
					   {"rank", INT8OID},
					   {"due_at", TIMESTAMPTZOID},
					   {"entered_at", TIMESTAMPTZOID},
					   {"owner_id", INT8OID},
					   {"priority", INT4OID}}},
	[ROWS_ASSIGNMENT] = {"assignment",
						 KEEP,
						 true,
						 0,
						 11,
						 {{"request_id", INT8OID},
						  {"customer_id", INT8OID},
						  {"agent_id", INT8OID},
						  {"lane_id", INT8OID},
						  {"cost", INT4OID},
						  {"priority", INT4OID},
						  {"due_at", TIMESTAMPTZOID},
						  {"entered_at", TIMESTAMPTZOID},
						  {"offered_at", TIMESTAMPTZOID},
						  {"expires_at", TIMESTAMPTZOID},
						  {"accepted_at", TIMESTAMPTZOID, true}}},
	[ROWS_KEPT_PLACE] = {"kept_place",
						 READ,
						 false,
						 0,
						 3,
						 {{"request_id", INT8OID}, {"entered_at", TIMESTAMPTZOID}, {"until", TIMESTAMPTZOID}}},
	[ROWS_REFUSAL] =
		{"refusal", READ, false, 0, 3, {{"request_id", INT8OID}, {"agent_id", INT8OID}, {"until", TIMESTAMPTZOID}}},
	[ROWS_RELATIONSHIP] = {"relationship",
						   READ,
						   false,
						   0,
						   5,
						   {{"customer_id", INT8OID},
							{"agent_id", INT8OID},
							{"contacts", INT8OID},
							{"strength", FLOAT8OID},
							{"aged_at", TIMESTAMPTZOID}}},
	[ROWS_AGENT_STATE] = {"agent_state",
						  CHANGE,
						  false,
						  0,
						  5,
						  {{"agent_id", INT8OID},
						   {"idle_since", TIMESTAMPTZOID},
						   {"busy_until", TIMESTAMPTZOID},
						   {"used", INT4OID},
						   {"state", TEXTOID}}},
	[ROWS_LANE_HEAD] = {"lane_head",
						CHANGE,
						false,
						0,
						5,
						{{"lane_id", INT8OID},
						 {"rank", INT8OID},
						 {"due_at", TIMESTAMPTZOID},
						 {"entered_at", TIMESTAMPTZOID},
						 {"request_id", INT8OID}}},
};

/* Returns whether the triggers of a table have nothing to do for what is changed here. */
static bool
has_idle_triggers(Relation relation)
{
	static const char *const own[] = {"guard_request", "follow_request", "follow_requests", "note_arrival"};
	const TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		bool known = RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE;

		for (int j = 0; j < (int) lengthof(own) && !known; j++)
			known = strcmp(trigger->tgname, own[j]) == 0 && trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN &&
					get_func_namespace(trigger->tgfoid) == RelationGetNamespace(relation);
		if (!known)
			return false;
	}
	return true;
}

/* Returns whether nothing but the heap and its indexes matters for a table. */
static bool
is_ordinary(Relation relation, const RowsSpec *spec)
{
	TupleDesc desc = RelationGetDescr(relation);
	Form_pg_class class = relation->rd_rel;

	if (class->relkind != RELKIND_RELATION || class->relam != HEAP_TABLE_AM_OID || class->relhassubclass ||
		class->relispartition || relation->rd_rules != NULL || desc->natts < spec->count ||
		(spec->inserts && desc->natts != spec->count))
		return false;
	for (int i = 0; i < spec->count; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || (OidIsValid(spec->columns[i].type) && column->atttypid != spec->columns[i].type) ||
			!(column->attnotnull || spec->columns[i].nullable) ||
			strcmp(NameStr(column->attname), spec->columns[i].name) != 0)
			return false;
	}
	if (spec->rights != ACL_SELECT)
	{
		if (desc->constr != NULL && (desc->constr->num_check != spec->checks || desc->constr->has_generated_stored))
			return false;
		if (!has_idle_triggers(relation))
			return false;
		CheckCmdReplicaIdentity(relation, CMD_UPDATE);
	}
	return pg_class_aclmask(RelationGetRelid(relation), GetUserId(), spec->rights, ACLMASK_ALL) == spec->rights &&
		   check_enable_rls(RelationGetRelid(relation), GetUserId(), true) != RLS_ENABLED;
}

/* Opens the indexes of a table that rows are inserted into; returns false where one asks for more than columns. */
static bool
open_indexes(Rows *rows, RowsTable table)
{
	List *oids = RelationGetIndexList(rows->tables[table]);

	rows->indexes[table] = palloc(sizeof(Relation) * Max(list_length(oids), 1));
	for (int i = 0; i < list_length(oids); i++)
	{
		Relation index = index_open(list_nth_oid(oids, i), RowExclusiveLock);
		Form_pg_index form = index->rd_index;

		rows->indexes[table][rows->index_counts[table]++] = index;
		if (index->rd_rel->relam != BTREE_AM_OID || form->indisexclusion || !form->indimmediate ||
			!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
			!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL))
			return false;
		for (int key = 0; key < form->indnatts; key++)
			if (form->indkey.values[key] <= 0)
				return false;
	}
	list_free(oids);
	return true;
}

/* Returns whether an index has these columns first, and all rows, or those for which the test of a column holds. */
static bool
is_index_on(Relation index, const AttrNumber *columns, int count, AttrNumber tested, NullTestType test)
{
	Form_pg_index form = index->rd_index;
	List *predicate;
	const NullTest *clause;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || form->indnkeyatts < count)
		return false;
	/* One that was built while rows changed is not for older snapshots. */
	if (form->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin))
		return false;
	for (int i = 0; i < count; i++)
		if (form->indkey.values[i] != columns[i] || index->rd_indoption[i] != 0)
			return false;
	predicate = RelationGetIndexPredicate(index);
	if (predicate == NIL)
		return true;
	clause = linitial(predicate);
	return tested != 0 && list_length(predicate) == 1 && IsA(clause, NullTest) && clause->nulltesttype == test &&
		   IsA(clause->arg, Var) && ((const Var *) clause->arg)->varattno == tested;
}

/* Returns whether an index gives an order. */
static bool
gives_order(Relation index, RowsOrder order)
{
	static const AttrNumber first[] = {1};
	static const AttrNumber by_customer[] = {REQUEST_CUSTOMER_ID, REQUEST_OPENED_AT, REQUEST_REQUEST_ID};
	static const AttrNumber by_merged_into[] = {CUSTOMER_MERGED_INTO};
	static const AttrNumber waiting_order[] = {3, 4, 5, 6, 1};

	switch (order)
	{
		case ROWS_BY_KEY:
			return is_index_on(index, first, lengthof(first), 0, IS_NULL);
		case ROWS_OPEN_BY_CUSTOMER:
			return is_index_on(index, by_customer, lengthof(by_customer), REQUEST_CLOSED_AT, IS_NULL);
		case ROWS_BY_MERGED_INTO:
			return is_index_on(index, by_merged_into, lengthof(by_merged_into), CUSTOMER_MERGED_INTO, IS_NOT_NULL);
		case ROWS_WAITING_ORDER:
			return is_index_on(index, waiting_order, lengthof(waiting_order), 0, IS_NULL);
		default:
			return false;
	}
}

/* Where each order was to be had the last time. */
static Oid known_orders[ROWS_TABLES][ROWS_ORDERS];

/* Finds the indexes that rows are looked up by, which are opened when needed; returns false where one is missing. */
static bool
find_orders(Rows *rows, RowsTable table)
{
	List *oids = RelationGetIndexList(rows->tables[table]);

	for (int order = 0; order < ROWS_ORDERS; order++)
	{
		Oid *known = &known_orders[table][order];

		if (order != ROWS_BY_KEY && table != (order == ROWS_OPEN_BY_CUSTOMER ? ROWS_REQUEST
											  : order == ROWS_BY_MERGED_INTO ? ROWS_CUSTOMER
																			 : ROWS_WAITING))
			continue;
		if (OidIsValid(*known) && list_member_oid(oids, *known))
			continue;
		*known = InvalidOid;
		for (int i = 0; i < list_length(oids) && !OidIsValid(*known); i++)
		{
			Relation index = index_open(list_nth_oid(oids, i), AccessShareLock);

			if (gives_order(index, order))
				*known = RelationGetRelid(index);
			index_close(index, NoLock);
		}
		if (!OidIsValid(*known))
			return false;
	}
	list_free(oids);
	return true;
}

/* Returns the open index of an order. */
static Relation
open_order(Rows *rows, RowsTable table, RowsOrder order)
{
	Relation *index = &rows->orders[table][order];

	if (*index == NULL)
	{
		*index = index_open(known_orders[table][order], AccessShareLock);
		if (!gives_order(*index, order))
		{
			known_orders[table][order] = InvalidOid;
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("the indexes of table \"%s\" were changed meanwhile", specs[table].name),
							errhint("Try again.")));
		}
	}
	return *index;
}

/*
 * rows_open opens these tables, a set of ROWS_BITs, or returns NULL where their rows are to be had by SQL only.
 *
 * What was committed and done until now is visible. Allocates in the current context. rows_close() must follow, unless
 * an error does. Raises 55000 before setup().
 */
Rows *
rows_open(int tables)
{
	Rows *rows;

	if (IsolationUsesXactSnapshot() || ExecutorCheckPerms_hook != NULL ||
		SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		return NULL;

	rows = palloc0(sizeof(Rows));
	for (int table = 0; table < ROWS_TABLES; table++)
	{
		if (!(tables & ROWS_BIT(table)))
			continue;
		rows->tables[table] = table_open(omni_table(specs[table].name), RowExclusiveLock);
		if (!is_ordinary(rows->tables[table], &specs[table]) || !find_orders(rows, table) ||
			(specs[table].inserts && !open_indexes(rows, table)))
		{
			rows_close(rows);
			return NULL;
		}
		rows->slots[table] = MakeSingleTupleTableSlot(RelationGetDescr(rows->tables[table]), &TTSOpsBufferHeapTuple);
	}
	rows_refresh(rows);
	return rows;
}

/* Ends what rows_open() began; the tables stay locked until the transaction ends. */
void
rows_close(Rows *rows)
{
	for (int table = 0; table < ROWS_TABLES; table++)
	{
		if (rows->slots[table] != NULL)
			ExecDropSingleTupleTableSlot(rows->slots[table]);
		for (int order = 0; order < ROWS_ORDERS; order++)
			if (rows->orders[table][order] != NULL)
				index_close(rows->orders[table][order], NoLock);
		for (int i = 0; i < rows->index_counts[table]; i++)
			index_close(rows->indexes[table][i], NoLock);
		if (rows->tables[table] != NULL)
			table_close(rows->tables[table], NoLock);
	}
	if (rows->snapshot != NULL)
	{
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	pfree(rows);
}

/* Makes visible what was committed and written since. */
void
rows_refresh(Rows *rows)
{
	if (rows->snapshot != NULL)
		PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	rows->snapshot = GetActiveSnapshot();
}

/*
 * rows_scan begins to read rows whose first column of the order, a bigint, has this value; rows_end() ends it.
 *
 * Of a table that is empty, as most of the time there are no refusals, the index is not even opened: the locks of so
 * many relations would not fit where a backend keeps its own.
 */
IndexScanDesc
rows_scan(Rows *rows, RowsTable table, RowsOrder order, int64 key)
{
	IndexScanDesc scan;
	ScanKeyData equal;

	if (rows->orders[table][order] == NULL && RelationGetNumberOfBlocks(rows->tables[table]) == 0)
		return NULL;
	scan = index_scan_begin(rows->tables[table], open_order(rows, table, order), rows->snapshot, 1);
	ScanKeyInit(&equal, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key));
	index_rescan(scan, &equal, 1, NULL, 0);
	return scan;
}

/* Ends the reading of rows. */
void
rows_end(IndexScanDesc scan)
{
	if (scan != NULL)
		index_endscan(scan);
}

/*
 * rows_scan_lane begins to read the requests that wait in a lane, in their order, from a place on, or after it.
 *
 * The keys live until rows_end().
 */
IndexScanDesc
rows_scan_lane(Rows *rows, int64 lane_id, const LaneHeadRow *from, bool after, ScanKeyData keys[6])
{
	static const RegProcedure compare[4] = {F_BTINT8CMP, F_TIMESTAMPTZ_CMP, F_TIMESTAMPTZ_CMP, F_BTINT8CMP};
	StrategyNumber strategy = after ? BTGreaterStrategyNumber : BTGreaterEqualStrategyNumber;
	IndexScanDesc scan =
		index_scan_begin(rows->tables[ROWS_WAITING], open_order(rows, ROWS_WAITING, ROWS_WAITING_ORDER), rows->snapshot,
						 from == NULL ? 1 : 2);

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(lane_id));
	if (from != NULL)
	{
		Datum values[4] = {Int64GetDatum(from->rank), TimestampTzGetDatum(from->due_at),
						   TimestampTzGetDatum(from->entered_at), Int64GetDatum(from->request_id)};

		for (int i = 0; i < 4; i++)
			ScanKeyEntryInitialize(&keys[2 + i], SK_ROW_MEMBER | (i == 3 ? SK_ROW_END : 0), (AttrNumber) (2 + i),
								   strategy, InvalidOid, InvalidOid, compare[i], values[i]);
		memset(&keys[1], 0, sizeof(ScanKeyData));
		keys[1].sk_flags = SK_ROW_HEADER;
		keys[1].sk_attno = 2;
		keys[1].sk_strategy = strategy;
		keys[1].sk_argument = PointerGetDatum(&keys[2]);
	}
	index_rescan(scan, keys, from == NULL ? 1 : 2, NULL, 0);
	return scan;
}

/* Puts the next row into the table's slot as rows_next() does, and counts in passed what is gone before it. */
bool
rows_next_passing(Rows *rows, RowsTable table, IndexScanDesc scan, int *passed)
{
	TupleTableSlot *slot = rows->slots[table];

	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		do
		{
			if (index_fetch_heap(scan, slot))
				return true;
		} while (scan->xs_heap_continue);
		(*passed)++;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/* Puts the next row into the table's slot; returns false where there is none. */
bool
rows_next(Rows *rows, RowsTable table, IndexScanDesc scan, ScanDirection direction)
{
	return scan != NULL && index_getnext_slot(scan, direction, rows->slots[table]);
}

/* Puts the row of this key into the table's slot; returns false where there is none. */
bool
rows_find(Rows *rows, RowsTable table, int64 key)
{
	IndexScanDesc scan = rows_scan(rows, table, ROWS_BY_KEY, key);
	bool found = rows_next(rows, table, scan, ForwardScanDirection);

	rows_end(scan);
	return found;
}

/* Returns the columns of the row in the table's slot, as they lie in the heap. */
const void *
rows_data(Rows *rows, RowsTable table)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(rows->slots[table], false, NULL);

	return (char *) tuple->t_data + tuple->t_data->t_hoff;
}

/*
 * rows_on_page finds the row of a key, the first column, on a page, along its chain of updates; returns whether the
 * version that the snapshot sees is there, and its tuple. Otherwise the trail leads to another page, or is invalid.
 *
 * The buffer is share-locked.
 */
bool
rows_on_page(Relation relation, Buffer buffer, Snapshot snapshot, int64 key, RowsTrail *trail, HeapTuple tuple)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(&trail->place);

	ItemPointerSetInvalid(&trail->place);
	for (int steps = 0; steps < MaxHeapTuplesPerPage; steps++)
	{
		ItemId item;

		if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
			return false;
		item = PageGetItemId(page, offset);
		if (ItemIdIsRedirected(item) && steps == 0)
		{
			offset = ItemIdGetRedirect(item);
			continue;
		}
		if (!ItemIdIsNormal(item))
			return false;
		tuple->t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple->t_len = ItemIdGetLength(item);
		tuple->t_tableOid = RelationGetRelid(relation);
		ItemPointerSet(&tuple->t_self, BufferGetBlockNumber(buffer), offset);
		if (TransactionIdIsValid(trail->updated_by) &&
			!TransactionIdEquals(HeapTupleHeaderGetXmin(tuple->t_data), trail->updated_by))
			return false;
		if (*(const int64 *) ((char *) tuple->t_data + tuple->t_data->t_hoff) != key)
			return false;
		if (HeapTupleSatisfiesVisibility(tuple, snapshot, buffer))
			return true;
		if ((tuple->t_data->t_infomask & HEAP_XMAX_INVALID) || HeapTupleHeaderIsOnlyLocked(tuple->t_data) ||
			ItemPointerEquals(&tuple->t_self, &tuple->t_data->t_ctid))
			return false;
		trail->updated_by = HeapTupleHeaderGetUpdateXid(tuple->t_data);
		if (!HeapTupleIsHotUpdated(tuple))
		{
			trail->place = tuple->t_data->t_ctid;
			return false;
		}
		offset = ItemPointerGetOffsetNumber(&tuple->t_data->t_ctid);
	}
	return false;
}

/* How many pages a row is followed to. */
#define TRAIL_MAX 256

/*
 * rows_follow returns a copy of the row of a key, the first column, or NULL where there is none; keeps its place.
 *
 * Follows it from the place where it was last, however many versions of it an old snapshot keeps in the index.
 */
HeapTuple
rows_follow(Rows *rows, RowsTable table, int64 key, ItemPointer place)
{
	Relation relation = rows->tables[table];
	RowsTrail trail = {*place, InvalidTransactionId};
	HeapTuple copy = NULL;

	for (int pages = 0; copy == NULL && ItemPointerIsValid(&trail.place) && pages < TRAIL_MAX; pages++)
	{
		BlockNumber block = ItemPointerGetBlockNumber(&trail.place);
		HeapTupleData tuple;
		Buffer buffer;

		/* A trail that was followed to here leads to a page; one that was kept may not. */
		if (pages == 0 && block >= RelationGetNumberOfBlocks(relation))
			break;
		buffer = ReadBuffer(relation, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (rows_on_page(relation, buffer, rows->snapshot, key, &trail, &tuple))
			copy = heap_copytuple(&tuple);
		UnlockReleaseBuffer(buffer);
	}
	if (copy == NULL && rows_find(rows, table, key))
		copy = ExecCopySlotHeapTuple(rows->slots[table]);
	if (copy != NULL)
		*place = copy->t_self;
	return copy;
}

/* Inserts a row of all columns. Raises 23505 for a key that is there. */
void
rows_insert(Rows *rows, RowsTable table, const Datum *values, const bool *nulls)
{
	Relation relation = rows->tables[table];
	HeapTuple tuple =
		heap_form_tuple(RelationGetDescr(relation), unconstify(Datum *, values), unconstify(bool *, nulls));

	tuple->t_tableOid = RelationGetRelid(relation);
	heap_insert(relation, tuple, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < rows->index_counts[table]; i++)
	{
		Relation index = rows->indexes[table][i];
		Form_pg_index form = index->rd_index;
		IndexInfo info = {.type = T_IndexInfo};
		Datum keys[INDEX_MAX_KEYS];
		bool key_nulls[INDEX_MAX_KEYS];

		if (!form->indisready)
			continue;
		for (int key = 0; key < form->indnatts; key++)
		{
			keys[key] = values[form->indkey.values[key] - 1];
			key_nulls[key] = nulls[form->indkey.values[key] - 1];
		}
		(void) index_insert(index, keys, key_nulls, &tuple->t_self, relation,
							form->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, &info);
	}
	heap_freetuple(tuple);
}

/* Enters a row's new version into the indexes of its table, whatever they are. */
static void
index_version(Relation relation, HeapTuple tuple, UpdatedIndexes updated)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);

	/* No entry in a range table: no indexed column changes, as the indexes are then told. */
	InitResultRelInfo(info, relation, 0, NULL, 0);
	ExecOpenIndices(info, false);
	ExecStoreHeapTuple(tuple, slot, false);
	slot->tts_tid = tuple->t_self;
	slot->tts_tableOid = RelationGetRelid(relation);
	(void) insert_index_tuples(info, slot, estate, true, false, NULL, NIL, updated);
	ExecDropSingleTupleTableSlot(slot);
	ExecCloseIndices(info);
	FreeExecutorState(estate);
}

/*
 * Returns whether a row that seemed to be in somebody's hands is to be had all the same: this transaction may have
 * locked it before, by a statement. Then it is locked, and need not be waited for.
 */
static bool
is_to_be_had(Rows *rows, RowsTable table, ItemPointer place, LockTupleMode mode, TM_Result *result)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rows->tables[table]), &TTSOpsBufferHeapTuple);
	TM_FailureData failure;

	*result = table_tuple_lock(rows->tables[table], place, rows->snapshot, slot, GetCurrentCommandId(true), mode,
							   LockWaitSkip, 0, &failure);
	ExecDropSingleTupleTableSlot(slot);
	if (*result == TM_WouldBlock)
		*result = TM_BeingModified;
	return *result == TM_Ok;
}

/* Locks the row in the table's slot, whose key will not change, if nobody else has it; returns whether. */
bool
rows_hold(Rows *rows, RowsTable table)
{
	TM_Result result;

	return is_to_be_had(rows, table, &rows->slots[table]->tts_tid, LockTupleNoKeyExclusive, &result);
}

/*
 * rows_update puts a new version in the place of a row; changed then says where that is.
 *
 * Returns TM_Ok, TM_BeingModified where another transaction has it and is not to be waited for, or TM_Updated or
 * TM_Deleted for a row that another one, or an earlier call, has changed since the last rows_refresh().
 */
TM_Result
rows_update(Rows *rows, RowsTable table, ItemPointer place, HeapTuple changed, bool wait)
{
	TM_FailureData failure;
	LockTupleMode mode;
	UpdatedIndexes updated;
	TM_Result result = heap_update_row(rows->tables[table], place, changed, GetCurrentCommandId(true), wait, &failure,
									   &mode, &updated);

	if (result == TM_BeingModified && is_to_be_had(rows, table, place, LockTupleNoKeyExclusive, &result))
		result = heap_update_row(rows->tables[table], place, changed, GetCurrentCommandId(true), true, &failure, &mode,
								 &updated);
	if (result == TM_Ok && UPDATED_INDEXES(updated))
		index_version(rows->tables[table], changed, updated);
	return result == TM_SelfModified ? TM_Updated : result;
}

/* Deletes a row; returns as rows_update() does. */
TM_Result
rows_delete(Rows *rows, RowsTable table, ItemPointer place, bool wait)
{
	TM_FailureData failure;
	TM_Result result =
		heap_delete(rows->tables[table], place, GetCurrentCommandId(true), InvalidSnapshot, wait, &failure, false);

	if (result == TM_BeingModified && is_to_be_had(rows, table, place, LockTupleExclusive, &result))
		result =
			heap_delete(rows->tables[table], place, GetCurrentCommandId(true), InvalidSnapshot, true, &failure, false);
	return result == TM_SelfModified ? TM_Updated : result;
}
