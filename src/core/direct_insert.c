/*
 * direct_insert.c
 *	  Inserts the rows of a direct writer, many at once where there are many.
 *
 * Rows that may conflict with others are first looked up. What is not found is inserted at once like all other rows;
 * the index then says where another session inserted the key meanwhile. Those rows are deleted again and tried singly
 * by speculative insertion, as INSERT ... ON CONFLICT does it.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/direct_write.h"

/* Returns whether a table that rows go to asks for nothing that only SQL does. */
bool
direct_ordinary(Relation relation, DirectPurpose purpose)
{
	const TriggerDesc *triggers = relation->trigdesc;

	/*
	 * This extension's own triggers fire where they are for what is done. They are looked at before the catalog is
	 * asked, which may tell of a change of the table: they are freed then.
	 */
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE)
			continue;
		if ((TRIGGER_FOR_INSERT(trigger->tgtype) && purpose != DIRECT_CHANGE) ||
			(TRIGGER_FOR_UPDATE(trigger->tgtype) && purpose >= DIRECT_CHANGE))
			return false;
	}
	return relation_is_plain(relation);
}

/* Gives the executor what is kept of a table's expressions, so that it does not compile them again. */
void
direct_prepare(DirectWrite *write, ResultRelInfo *info)
{
	const TupleConstr *constraints = RelationGetDescr(info->ri_RelationDesc)->constr;
	ExprState **checks;
	bool changeable;

	if (constraints == NULL || constraints->num_check == 0 || info->ri_CheckConstraintExprs != NULL ||
		has_virtual_columns(constraints))
		return;
	checks = MemoryContextAllocZero(write->estate->es_query_cxt, sizeof(ExprState *) * constraints->num_check);
	for (int i = 0; i < constraints->num_check; i++)
		if (check_is_enforced(&constraints->check[i]))
			checks[i] = expression_get(constraints->check[i].ccbin, write->estate, &changeable);
	info->ri_CheckConstraintExprs = checks;
}

/* Forms the row at hand from the given values and the defaults. It refers to the values. */
void
direct_form(DirectWrite *write, const Datum *values, const bool *nulls)
{
	TupleTableSlot *row = write->row;
	ExprContext *context = GetPerTupleExprContext(write->estate);

	ExecClearTuple(row);
	for (int i = 0; i < row->tts_tupleDescriptor->natts; i++)
	{
		row->tts_values[i] = write->default_values[i];
		row->tts_isnull[i] = write->default_nulls[i];
		if (write->defaults[i] != NULL && !write->default_constant[i])
			row->tts_values[i] = ExecEvalExprSwitchContext(write->defaults[i], context, &row->tts_isnull[i]);
	}
	for (int i = 0; i < write->table->ncolumns; i++)
	{
		row->tts_values[write->attributes[i] - 1] = values[i];
		row->tts_isnull[write->attributes[i] - 1] = nulls != NULL && nulls[i];
	}
	ExecStoreVirtualTuple(row);
}

/* How many rows are inserted at once: a few pages of them, which stay in the processor's cache. */
#define ROWS_AT_ONCE 256

/* Of so many rows whose keys may be known one is looked up, and the others only if that is. */
#define ROWS_A_SAMPLE 16

/* Returns the target that the row at hand goes to. */
static DirectTarget *
find_target(DirectWrite *write)
{
	ResultRelInfo *info = write->info;
	DirectTarget *target;
	MemoryContext old;

	if (write->routing != NULL)
		info = ExecFindPartition(write->state, write->info, write->routing, write->row, write->estate);
	for (target = write->targets; target != NULL; target = target->next)
		if (target->info == info)
			return target;

	old = MemoryContextSwitchTo(write->estate->es_query_cxt);
	target = palloc0(sizeof(DirectTarget));
	target->info = info;
	target->ordinary = direct_ordinary(info->ri_RelationDesc, write->table->purpose);
	if (target->ordinary)
		direct_prepare(write, info);
	target->desc = CreateTupleDescCopyConstr(RelationGetDescr(info->ri_RelationDesc));
	target->next = write->targets;
	write->targets = target;
	MemoryContextSwitchTo(old);
	return target;
}

/* Returns a slot of the target for another row. */
static TupleTableSlot *
next_slot(DirectWrite *write, DirectTarget *target)
{
	MemoryContext old;

	if (target->count < target->room && target->slots[target->count] != NULL)
		return target->slots[target->count];
	old = MemoryContextSwitchTo(write->estate->es_query_cxt);
	if (target->count == target->room)
	{
		int room = Max(8, target->room * 2);

		target->slots = target->slots == NULL ? palloc(sizeof(TupleTableSlot *) * room)
											  : repalloc(target->slots, sizeof(TupleTableSlot *) * room);
		target->rows = target->rows == NULL ? palloc(sizeof(int) * room) : repalloc(target->rows, sizeof(int) * room);
		memset(target->slots + target->room, 0, sizeof(TupleTableSlot *) * (room - target->room));
		target->room = room;
	}
	target->slots[target->count] = ExecAllocTableSlot(&write->estate->es_tupleTable, target->desc,
													  table_slot_callbacks(target->info->ri_RelationDesc));
	MemoryContextSwitchTo(old);
	return target->slots[target->count];
}

/* Copies the row at hand into a slot of the table that it goes to, and checks it there. */
void
direct_fill(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot)
{
	Relation relation = info->ri_RelationDesc;
	const TupleConstr *constraints = RelationGetDescr(relation)->constr;
	TupleConversionMap *map = write->routing != NULL ? partition_map(info, write->estate) : NULL;

	if (map != NULL)
		ExecMaterializeSlot(execute_attr_map_slot(map->attrMap, write->row, slot));
	else
		ExecCopySlot(slot, write->row);
	slot->tts_tableOid = RelationGetRelid(relation);
	if (constraints == NULL)
		return;
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(info, write->estate, slot, CMD_INSERT);
	ExecConstraints(info, slot, write->estate);
}

/* Queues the foreign keys' checks of an inserted row. */
static void
queue_triggers(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot, List *recheck)
{
	if (info->ri_TrigDesc != NULL && info->ri_TrigDesc->trig_insert_after_row)
		ExecARInsertTriggers(write->estate, info, slot, recheck, NULL);
	list_free(recheck);
}

/* Enters a row into the indexes; returns whether another one has its key, which only arbiters say without raising. */
static bool
index_row(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot, List **recheck)
{
	bool conflict = false;

	*recheck = NIL;
	ResetPerTupleExprContext(write->estate);
	if (info->ri_NumIndices > 0)
		*recheck = insert_index_tuples(info, slot, write->estate, false, write->arbiters != NIL,
									   write->arbiters != NIL ? &conflict : NULL, write->arbiters, NO_UPDATED_INDEXES);
	return conflict;
}

/* Raises 40001. */
void
direct_conflict(void)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access due to concurrent update")));
	pg_unreachable();
}

/* Raises 40001 where the transaction's snapshot cannot see the row that another one conflicts with. */
static void
check_visible(DirectWrite *write, Relation relation, ItemPointer tid)
{
	if (!IsolationUsesXactSnapshot())
		return;
	if (!table_tuple_fetch_row_version(relation, tid, SnapshotAny, write->found))
		elog(ERROR, "failed to fetch conflicting tuple");
	if (!table_tuple_satisfies_snapshot(relation, write->found, write->estate->es_snapshot))
	{
		bool isnull;
		TransactionId inserter =
			DatumGetTransactionId(slot_getsysattr(write->found, MinTransactionIdAttributeNumber, &isnull));

		/* The same transaction's own, of this very command. */
		if (!TransactionIdIsCurrentTransactionId(inserter))
			direct_conflict();
	}
	ExecClearTuple(write->found);
}

/* Inserts one row, unless another has its key; returns whether it did. Waits for whoever may be inserting the key. */
bool
direct_insert_new(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot)
{
	Relation relation = info->ri_RelationDesc;
	List *recheck;
	bool conflict;

	do
	{
		ItemPointerData tid;
		TransactionId self;
		uint32 token;

		CHECK_FOR_INTERRUPTS();
		ResetPerTupleExprContext(write->estate);
		if (!check_index_constraints(info, slot, write->estate, &tid, write->arbiters))
		{
			check_visible(write, relation, &tid);
			return false;
		}
		self = GetCurrentTransactionId();
		token = SpeculativeInsertionLockAcquire(self);
		table_tuple_insert_speculative(relation, slot, write->command, 0, NULL, token);
		conflict = index_row(write, info, slot, &recheck);
		table_tuple_complete_speculative(relation, slot, token, !conflict);
		SpeculativeInsertionLockRelease(self);
	} while (conflict);
	queue_triggers(write, info, slot, recheck);
	return true;
}

/* Returns whether the key of a row is found. */
static bool
is_known(DirectWrite *write, TupleTableSlot *slot)
{
	Datum keys[INDEX_MAX_KEYS];
	bool isnull;

	for (int i = 0; i < write->table->nkeys; i++)
		keys[i] = slot_getattr(slot, write->attributes[i], &isnull);
	return direct_find(write, keys);
}

/*
 * Moves, among the rows before the first whose key another transaction is inserting, the slots of rows whose keys are
 * found behind the others; returns how many are not found.
 *
 * Mostly all keys are new, or all are known: a sample tells, and what it misses the index finds.
 */
static int
move_known(DirectWrite *write, DirectTarget *target)
{
	TupleTableSlot **slots = target->slots;
	int fresh = 0;
	bool known = false;

	direct_find_begin(write, &write->dirty);
	for (int i = target->count - 1; i >= 0 && !known; i -= ROWS_A_SAMPLE)
		known = is_known(write, slots[i]);
	for (int i = 0; i < target->count; i++)
	{
		TupleTableSlot *slot = slots[i];
		int row = target->rows[i];

		if (known && is_known(write, slot))
		{
			if (TransactionIdIsValid(write->dirty.xmin) || TransactionIdIsValid(write->dirty.xmax))
				break;
			continue;
		}
		slots[i] = slots[fresh];
		target->rows[i] = target->rows[fresh];
		slots[fresh] = slot;
		target->rows[fresh++] = row;
	}
	direct_find_end(write);
	return fresh;
}

/*
 * Inserts the first rows of a target at once, and enters them into the indexes up to the first whose key was inserted
 * by others meanwhile; returns how many came before that.
 */
static int
insert_many(DirectWrite *write, DirectTarget *target, int count)
{
	ResultRelInfo *info = target->info;
	Relation relation = info->ri_RelationDesc;

	if (count > 1)
		table_multi_insert(relation, target->slots, count, write->command, 0, NULL);
	else if (count == 1)
		table_tuple_insert(relation, target->slots[0], write->command, 0, NULL);
	for (int i = 0; i < count; i++)
	{
		List *recheck;

		if (index_row(write, info, target->slots[i], &recheck))
			return i;
		queue_triggers(write, info, target->slots[i], recheck);
		write->inserted[target->rows[i]] = true;
	}
	return count;
}

/*
 * Inserts the rows of a target whose keys are new.
 *
 * Whoever waits for another's key holds none that comes later, as long as the rows were added in the order of their
 * keys: so writers that meet do not lock up.
 */
static void
claim_rows(DirectWrite *write, DirectTarget *target)
{
	/* Logical decoding would see what is inserted and withdrawn, of a key that another row has. */
	bool decoded = RelationIsLogicallyLogged(target->info->ri_RelationDesc);
	int fresh = target->count > 1 && !decoded ? move_known(write, target) : 0;
	int inserted = insert_many(write, target, fresh);

	/* What others have is withdrawn, with all that was to follow, and tried again row by row. */
	if (inserted < fresh)
	{
		CommandCounterIncrement();
		for (int i = inserted; i < fresh; i++)
			simple_table_tuple_delete(target->info->ri_RelationDesc, &target->slots[i]->tts_tid,
									  write->estate->es_snapshot);
		CommandCounterIncrement();
		write->command = GetCurrentCommandId(true);
	}
	for (int i = inserted; i < target->count; i++)
		write->inserted[target->rows[i]] = direct_insert_new(write, target->info, target->slots[i]);
}

/* Inserts the rows of a target. */
static void
flush_target(DirectWrite *write, DirectTarget *target)
{
	if (write->arbiters != NIL)
		claim_rows(write, target);
	else
		(void) insert_many(write, target, target->count);
	for (int i = 0; i < target->count; i++)
		ExecClearTuple(target->slots[i]);
	target->count = 0;
}

/* Returns the number of another added row. */
static int
next_row(DirectWrite *write)
{
	if (write->rows == write->inserted_room)
	{
		int room = Max(64, write->inserted_room * 2);

		write->inserted = write->inserted == NULL ? MemoryContextAlloc(write->estate->es_query_cxt, room)
												  : repalloc(write->inserted, room);
		write->inserted_room = room;
	}
	write->inserted[write->rows] = false;
	return write->rows++;
}

/*
 * direct_add takes a row to be inserted, with values in the order of DirectTable.columns; nulls may be NULL for none.
 *
 * The values are copied. The row is checked now, and written by direct_flush() or direct_close() if not before. Returns
 * false where the row goes to a partition that asks for SQL, and does not take it.
 * Raises what the constraints raise.
 */
bool
direct_add(DirectWrite *write, const Datum *values, const bool *nulls)
{
	DirectTarget *target;
	TupleTableSlot *slot;

	ResetPerTupleExprContext(write->estate);
	direct_form(write, values, nulls);
	target = find_target(write);
	if (!target->ordinary)
		return false;
	if (target->count == ROWS_AT_ONCE)
		flush_target(write, target);
	slot = next_slot(write, target);
	direct_fill(write, target->info, slot);
	target->rows[target->count++] = next_row(write);
	return true;
}

/*
 * direct_flush inserts the rows that were added since the last time; returns how many it did.
 *
 * Says in inserted, unless it is NULL, which of them, in the order in which they were added: all but those whose keys
 * are there, if the purpose is DIRECT_INSERT_NEW. Raises 23505, 23P01, and 40001 for a key whose row the transaction
 * cannot see.
 */
int
direct_flush(DirectWrite *write, bool *inserted)
{
	int done = 0;

	for (DirectTarget *target = write->targets; target != NULL; target = target->next)
		flush_target(write, target);
	for (int i = 0; i < write->rows; i++)
		done += write->inserted[i];
	if (inserted != NULL && write->rows > 0)
		memcpy(inserted, write->inserted, sizeof(bool) * write->rows);
	write->rows = 0;
	return done;
}
