/*
 * rows_open.c
 *	  The tables of what is going on: opened to read and write their rows without SQL, where nothing asks for SQL.
 *
 * rows_open() answers NULL, and its caller runs the statements that it keeps, wherever that would not be the same:
 *
 * - a table is no ordinary one in the server's own heap, has rules, children or parents, or columns other than those
 *   that it was made with; one that rows are inserted into has more columns; one that is changed has generated columns,
 *   more checks, or triggers that are not this extension's own, all of which have nothing to do for these changes, or
 *   foreign keys to or from columns that change; any foreign key is one where rows come and go;
 * - an index of a table that rows are inserted into is no plain btree (expressions, predicates, exclusion, deferred);
 * - row security holds for the current role, or it lacks a right on a table; an extension asks to look at rights;
 * - triggers are switched off by session_replication_role;
 * - the transaction is above READ COMMITTED: matching is not, and others read;
 * - the caller has no snapshot: it is what keeps a place that was read from being another row's until the call ends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
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
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "core/table.h"
#include "routing/rows.h"

#define ROWS_COLUMNS 17

/* A table as it was made. */
typedef struct RowsSpec
{
	const char *name;
	AclMode rights;
	bool inserts;
	int checks;            /* constraints that hold for whatever is written here */
	AttrNumber changes[5]; /* columns that change where rows stay, and 0 */
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
					  {REQUEST_STATE, REQUEST_AGENT_ID, REQUEST_VERSION, REQUEST_STATE_SINCE},
					  17,
					  {{"request_id", INT8OID},
					   {"customer_id", INT8OID},
					   {"kind", TEXTOID},
					   {"state", TEXTOID},
					   {"channel", TEXTOID},
					   {"current_channel", TEXTOID, true},
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
					   {0},
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
					  {0},
					  8,
					  {{"request_id", INT8OID},
					   {"customer_id", INT8OID},
					   {"lane_id", INT8OID},
					   {"rank", INT8OID},
					   {"due_at", TIMESTAMPTZOID},
					   {"entered_at", TIMESTAMPTZOID},
					   {"queued_at", TIMESTAMPTZOID},
					   {"priority", INT4OID}}},
	[ROWS_ASSIGNMENT] = {"assignment",
						 KEEP,
						 true,
						 0,
						 {0},
						 13,
						 {{"request_id", INT8OID},
						  {"customer_id", INT8OID},
						  {"agent_id", INT8OID},
						  {"lane_id", INT8OID},
						  {"cost", INT4OID},
						  {"priority", INT4OID},
						  {"due_at", TIMESTAMPTZOID},
						  {"entered_at", TIMESTAMPTZOID},
						  {"queued_at", TIMESTAMPTZOID},
						  {"offered_at", TIMESTAMPTZOID},
						  {"expires_at", TIMESTAMPTZOID},
						  {"accepted_at", TIMESTAMPTZOID, true},
						  {"owner_id", INT8OID, true}}},
	[ROWS_KEPT_PLACE] = {"kept_place",
						 READ,
						 false,
						 0,
						 {0},
						 4,
						 {{"request_id", INT8OID},
						  {"entered_at", TIMESTAMPTZOID},
						  {"until", TIMESTAMPTZOID},
						  {"queued_at", TIMESTAMPTZOID}}},
	[ROWS_REFUSAL] = {"refusal",
					  READ,
					  false,
					  0,
					  {0},
					  3,
					  {{"request_id", INT8OID}, {"agent_id", INT8OID}, {"until", TIMESTAMPTZOID}}},
	[ROWS_RELATIONSHIP] = {"relationship",
						   READ,
						   false,
						   0,
						   {0},
						   5,
						   {{"customer_id", INT8OID},
							{"agent_id", INT8OID},
							{"contacts", INT8OID},
							{"strength", FLOAT8OID},
							{"aged_at", TIMESTAMPTZOID}}},
	[ROWS_AGENT_STATE] = {"agent_state",
						  CHANGE,
						  false,
						  1,
						  {2, 4},
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
						{2, 3, 4, 5},
						5,
						{{"lane_id", INT8OID},
						 {"rank", INT8OID},
						 {"due_at", TIMESTAMPTZOID},
						 {"entered_at", TIMESTAMPTZOID},
						 {"request_id", INT8OID}}},
};

/*
 * Returns whether the triggers of foreign keys, of the table's or on it, have nothing to do for what is changed here:
 * rows stay, and so do the columns of these keys, as of those that this extension makes.
 */
static bool
has_idle_keys(Relation relation, const RowsSpec *spec)
{
	Bitmapset *referenced;
	ListCell *cell;

	if (spec->rights & (ACL_INSERT | ACL_DELETE))
		return false;
	referenced = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_KEY);
	for (int i = 0; spec->changes[i] != 0; i++)
		if (bms_is_member(spec->changes[i] - FirstLowInvalidHeapAttributeNumber, referenced))
			return false;
	foreach (cell, RelationGetFKeyList(relation))
	{
		const ForeignKeyCacheInfo *key = lfirst(cell);

		for (int i = 0; spec->changes[i] != 0; i++)
			for (int j = 0; j < key->nkeys; j++)
				if (key->conkey[j] == spec->changes[i])
					return false;
	}
	return true;
}

/* Returns whether these triggers of a table have nothing to do for what is changed here. */
static bool
are_idle(const TriggerDesc *triggers, Relation relation, const RowsSpec *spec)
{
	static const char *const own[] = {"guard_request", "follow_request", "follow_requests",
									  "note_arrival",  "note_change",    "note_removal"};

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		bool is_key = RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE;
		bool known = (trigger->tgtype & (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)) == 0 ||
					 (is_key && has_idle_keys(relation, spec));

		for (int j = 0; j < (int) lengthof(own) && !known; j++)
			known = strcmp(trigger->tgname, own[j]) == 0 && trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN &&
					get_func_namespace(trigger->tgfoid) == RelationGetNamespace(relation);
		if (!known)
			return false;
	}
	return true;
}

/*
 * Returns whether the triggers of a table have nothing to do for what is changed here.
 *
 * A copy of them is looked at: what tells of them goes to the catalog, where it may hear of a change of the table, and
 * its own are freed then.
 */
static bool
has_idle_triggers(Relation relation, const RowsSpec *spec)
{
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	bool idle = triggers == NULL || are_idle(triggers, relation, spec);

	FreeTriggerDesc(triggers);
	return idle;
}

/* Returns whether nothing but the heap and its indexes matters for a table. */
static bool
is_ordinary(Relation relation, const RowsSpec *spec, bool reading)
{
	AclMode rights = reading ? READ : spec->rights;
	TupleDesc desc = RelationGetDescr(relation);
	Form_pg_class class = relation->rd_rel;

	if (class->relkind != RELKIND_RELATION || class->relam != HEAP_TABLE_AM_OID || class->relhassubclass ||
		class->relispartition || relation->rd_rules != NULL || desc->natts < spec->count ||
		(spec->inserts && !reading && desc->natts != spec->count))
		return false;
	for (int i = 0; i < spec->count; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || (OidIsValid(spec->columns[i].type) && column->atttypid != spec->columns[i].type) ||
			!(column->attnotnull || spec->columns[i].nullable) ||
			strcmp(NameStr(column->attname), spec->columns[i].name) != 0)
			return false;
	}
	if (rights != READ)
	{
		if (desc->constr != NULL && (desc->constr->num_check != spec->checks || desc->constr->has_generated_stored))
			return false;
		if (!has_idle_triggers(relation, spec))
			return false;
		CheckCmdReplicaIdentity(relation, CMD_UPDATE);
		if (rights & ACL_DELETE)
			CheckCmdReplicaIdentity(relation, CMD_DELETE);
	}
	return pg_class_aclmask(RelationGetRelid(relation), GetUserId(), rights, ACLMASK_ALL) == rights &&
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
is_index_on(Relation index, const AttrNumber *columns, int count, AttrNumber tested, IndexWhere where)
{
	Form_pg_index form = index->rd_index;
	IndexWhere held;
	AttrNumber column;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || form->indnkeyatts < count)
		return false;
	/* One that was built while rows changed is not for older snapshots. */
	if (form->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin))
		return false;
	for (int i = 0; i < count; i++)
	{
		Oid order = index_getprocid(index, (AttrNumber) (i + 1), BTORDER_PROC);

		if (form->indkey.values[i] != columns[i] || index->rd_indoption[i] != 0 ||
			(order != F_BTINT8CMP && order != F_TIMESTAMPTZ_CMP))
			return false;
	}
	return index_where(index, &held, &column) && (held == INDEX_ALL || (held == where && column == tested));
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
			return is_index_on(index, first, lengthof(first), 0, INDEX_ALL);
		case ROWS_OPEN_BY_CUSTOMER:
			return is_index_on(index, by_customer, lengthof(by_customer), REQUEST_CLOSED_AT, INDEX_NULL);
		case ROWS_BY_MERGED_INTO:
			return is_index_on(index, by_merged_into, lengthof(by_merged_into), CUSTOMER_MERGED_INTO, INDEX_NOT_NULL);
		case ROWS_WAITING_ORDER:
			return is_index_on(index, waiting_order, lengthof(waiting_order), 0, INDEX_ALL);
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

/* What was found out about tables for a role: as long as no relation has changed since, it is so. */
static struct
{
	uint64 generation; /* of relations, or 0 */
	Oid role;
} known_tables[ROWS_TABLES][2];

/* Returns whether an open table and its indexes are as they should be. */
static bool
is_suitable(Rows *rows, RowsTable table)
{
	Relation relation = rows->tables[table];
	uint64 generation = relations_generation();

	if (known_tables[table][rows->reading].generation == generation &&
		known_tables[table][rows->reading].role == GetUserId())
		return true;
	known_tables[table][rows->reading].generation = 0;
	if (!is_ordinary(relation, &specs[table], rows->reading) || !find_orders(rows, table))
		return false;
	/* Whether rows are hidden depends on more than the table. Opening the indexes may have told of a change. */
	if (!relation->rd_rel->relrowsecurity && relations_generation() == generation)
	{
		known_tables[table][rows->reading].generation = generation;
		known_tables[table][rows->reading].role = GetUserId();
	}
	return true;
}

/* Returns the open index of an order. */
Relation
rows_order(Rows *rows, RowsTable table, RowsOrder order)
{
	Relation *index = &rows->orders[table][order];

	if (*index == NULL)
	{
		*index = index_open(known_orders[table][order], AccessShareLock);
		if ((known_tables[table][rows->reading].generation != relations_generation() ||
			 (*index)->rd_index->indcheckxmin) &&
			!gives_order(*index, order))
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
 * rows_done closes the indexes of a table in which nothing more is looked for, and gives their locks back: a backend
 * keeps 16 locks on relations of its own, further ones meet those of all others.
 */
void
rows_done(Rows *rows, RowsTable table)
{
	for (int order = 0; order < ROWS_ORDERS; order++)
	{
		if (rows->orders[table][order] != NULL)
			index_close(rows->orders[table][order], AccessShareLock);
		rows->orders[table][order] = NULL;
	}
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

	if (IsolationUsesXactSnapshot() || !ActiveSnapshotSet() || ExecutorCheckPerms_hook != NULL ||
		SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		return NULL;

	rows = palloc0(sizeof(Rows));
	if (!rows_open_more(rows, tables))
	{
		rows_close(rows);
		return NULL;
	}
	rows_refresh(rows);
	return rows;
}

/*
 * rows_open_reading does the same for whoever only reads, and sees what the statement sees that calls him; he needs the
 * right to read only. Returns NULL under SERIALIZABLE, which wants its read locks.
 */
Rows *
rows_open_reading(int tables)
{
	Rows *rows;

	if (IsolationIsSerializable() || !ActiveSnapshotSet() || ExecutorCheckPerms_hook != NULL)
		return NULL;

	rows = palloc0(sizeof(Rows));
	rows->reading = true;
	if (!rows_open_more(rows, tables))
	{
		rows_close(rows);
		return NULL;
	}
	rows->snapshot = GetActiveSnapshot();
	return rows;
}

/* Opens further tables; returns false, with what is open as it was or more, where they are to be had by SQL only. */
bool
rows_open_more(Rows *rows, int tables)
{
	for (int table = 0; table < ROWS_TABLES; table++)
	{
		if (!(tables & ROWS_BIT(table)) || rows->slots[table] != NULL)
			continue;
		if (rows->tables[table] == NULL)
			rows->tables[table] =
				table_open(omni_table(specs[table].name),
						   rows->reading || specs[table].rights == READ ? AccessShareLock : RowExclusiveLock);
		if (!is_suitable(rows, table) || (specs[table].inserts && !rows->reading && !open_indexes(rows, table)))
			return false;
		rows->slots[table] = MakeSingleTupleTableSlot(RelationGetDescr(rows->tables[table]), &TTSOpsBufferHeapTuple);
	}
	return true;
}

/*
 * rows_may_insert makes an open table ready for new rows where these are seldom; returns false where they are to be had
 * by SQL only.
 */
bool
rows_may_insert(Rows *rows, RowsTable table)
{
	if (rows->indexes[table] != NULL)
		return true;
	if (rows->reading || RelationGetDescr(rows->tables[table])->natts != specs[table].count)
		return false;
	return open_indexes(rows, table);
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
	if (rows->snapshot != NULL && !rows->reading)
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
