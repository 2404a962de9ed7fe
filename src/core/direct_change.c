/*
 * direct_change.c
 *	  Rows changed by their primary key, for the direct writer.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/direct_write.h"

/* Returns whether the row in found still has these keys. */
static bool
has_keys(DirectWrite *write, const Datum *keys)
{
	for (int i = 0; i < write->table->nkeys; i++)
	{
		bool isnull;
		Datum value = slot_getattr(write->found, write->attributes[i], &isnull);

		if (isnull || !DatumGetBool(FunctionCall2Coll(&write->key_scan[i].sk_func, write->key_scan[i].sk_collation,
													  value, keys[i])))
			return false;
	}
	return true;
}

/* Puts the row in found, edited, into changed, and checks it. */
static void
edit_row(DirectWrite *write, DirectEdit edit, void *arg)
{
	const DirectTable *table = write->table;
	TupleTableSlot *found = write->found;
	TupleTableSlot *changed = write->changed;
	const TupleConstr *constraints = RelationGetDescr(write->info->ri_RelationDesc)->constr;
	int natts = found->tts_tupleDescriptor->natts;
	Datum values[TABLE_COLUMNS];
	bool nulls[TABLE_COLUMNS];

	slot_getallattrs(found);
	ExecClearTuple(changed);
	memcpy(changed->tts_values, found->tts_values, sizeof(Datum) * natts);
	memcpy(changed->tts_isnull, found->tts_isnull, sizeof(bool) * natts);
	for (int i = 0; i < table->ncolumns; i++)
	{
		values[i] = found->tts_values[write->attributes[i] - 1];
		nulls[i] = found->tts_isnull[write->attributes[i] - 1];
	}
	edit(values, nulls, arg);
	for (int i = table->nkeys; i < table->ncolumns; i++)
	{
		changed->tts_values[write->attributes[i] - 1] = values[i];
		changed->tts_isnull[write->attributes[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(changed);
	ExecMaterializeSlot(changed);
	changed->tts_tableOid = RelationGetRelid(write->info->ri_RelationDesc);
	if (constraints == NULL)
		return;
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(write->info, write->estate, changed, CMD_UPDATE);
	ExecConstraints(write->info, changed, write->estate);
}

/* Locks the newest version of the row in found, and takes it there; returns false where it is gone. */
static bool
lock_newest(DirectWrite *write, const Datum *keys, LockTupleMode mode)
{
	ItemPointerData tid = write->found->tts_tid;
	TM_FailureData failure;
	TM_Result result;

	if (IsolationUsesXactSnapshot())
		direct_conflict();
	result = table_tuple_lock(write->info->ri_RelationDesc, &tid, write->estate->es_snapshot, write->found,
							  write->command, mode, LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	if (result == TM_SelfModified || result == TM_Invisible)
		elog(ERROR, "row was changed twice by one writer");
	return result == TM_Ok && has_keys(write, keys);
}

/*
 * direct_change edits the row of a primary key; returns false where there is none.
 *
 * Where another transaction changed the row meanwhile, the edit is done to its newest version, in READ COMMITTED; above
 * that raises 40001. A row may be changed once by a writer, and not one that it inserted. Raises what the constraints
 * raise.
 */
bool
direct_change(DirectWrite *write, const Datum *keys, DirectEdit edit, void *arg)
{
	ResultRelInfo *info = write->info;
	ItemPointerData before;
	UpdatedIndexes updated;
	List *recheck = NIL;

	if (write->scan == NULL)
		direct_find_begin(write, write->estate->es_snapshot);
	if (write->changed == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(write->estate->es_query_cxt);

		write->changed = table_slot_create(info->ri_RelationDesc, &write->estate->es_tupleTable);
		MemoryContextSwitchTo(old);
	}
	if (!direct_find(write, keys))
		return false;
	for (;;)
	{
		LockTupleMode mode;
		TM_FailureData failure;
		TM_Result result;

		CHECK_FOR_INTERRUPTS();
		ResetPerTupleExprContext(write->estate);
		edit_row(write, edit, arg);
		before = write->found->tts_tid;
		result = table_tuple_update(info->ri_RelationDesc, &before, write->changed, write->command,
									write->estate->es_snapshot, InvalidSnapshot, true, &failure, &mode, &updated);
		if (result == TM_Ok)
			break;
		if (result == TM_SelfModified)
			elog(ERROR, "row was changed twice by one writer");
		if (result == TM_Deleted && IsolationUsesXactSnapshot())
			direct_conflict();
		if (result == TM_Deleted || !lock_newest(write, keys, mode))
			return false;
	}
	if (info->ri_NumIndices > 0 && UPDATED_INDEXES(updated))
		recheck = insert_index_tuples(info, write->changed, write->estate, true, false, NULL, NIL, updated);
	if (info->ri_TrigDesc != NULL && info->ri_TrigDesc->trig_update_after_row)
		after_update_triggers(write->estate, info, &before, write->changed, recheck);
	list_free(recheck);
	return true;
}

/* Makes what was written since, here and elsewhere, visible to the writer. */
static void
refresh(DirectWrite *write)
{
	direct_find_end(write);
	PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	write->estate->es_snapshot = GetActiveSnapshot();
	write->command = GetCurrentCommandId(true);
}

/*
 * direct_put edits the row of the primary key that the values begin with, or inserts the values where there is none.
 *
 * Raises as direct_change() and direct_flush() do.
 */
void
direct_put(DirectWrite *write, const Datum *values, const bool *nulls, DirectEdit edit, void *arg)
{
	while (!direct_change(write, values, edit, arg))
	{
		bool inserted;

		ResetPerTupleExprContext(write->estate);
		direct_form(write, values, nulls);
		direct_fill(write, write->info, write->changed);
		inserted = direct_insert_new(write, write->info, write->changed);
		ExecClearTuple(write->changed);
		if (inserted)
			return;
		/* Another session has inserted it since. */
		refresh(write);
	}
}
