/*
 * rows_write.c
 *	  The rows of what is going on, written and locked without SQL; see rows.c.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "executor/executor.h"

#include "core/row.h"
#include "routing/rows.h"

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

/* Locks the row in the table's slot, whose key will not change, if nobody else has it; returns whether. */
bool
rows_hold(Rows *rows, RowsTable table)
{
	return row_take(rows->tables[table], &rows->slots[table]->tts_tid, rows->snapshot, LockTupleNoKeyExclusive) ==
		   TM_Ok;
}

/*
 * rows_lock locks the row in the table's slot, whose key will not change, with wait waiting for whoever has it; returns
 * whether it is there still and, without wait, nobody else has it. Its latest version is visible then.
 */
bool
rows_lock(Rows *rows, RowsTable table, bool wait)
{
	TupleTableSlot *slot = rows->slots[table];
	ItemPointerData place = slot->tts_tid;
	TM_FailureData failure;
	TM_Result result;

	if (table == rows->kept_table)
		rows->kept = NULL;
	result = table_tuple_lock(rows->tables[table], &place, rows->snapshot, slot, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, wait ? LockWaitBlock : LockWaitSkip,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);

	/* Nobody else can change it now: it need not be read again. */
	if (result == TM_Ok)
	{
		rows->found[table].place = slot->tts_tid;
		rows_keep(rows, table);
	}
	if (result != TM_Ok || failure.traversed)
		rows_refresh(rows);
	return result == TM_Ok;
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
	TM_Result result = TM_BeingModified;

	if (table == rows->kept_table)
		rows->kept = NULL;
	if (wait || UPDATES_MAY_YIELD)
		result = heap_update_row(rows->tables[table], place, changed, GetCurrentCommandId(true), wait, &failure, &mode,
								 &updated);
	/* This transaction may have locked it before, by a statement: then it need not be waited for. */
	if (result == TM_BeingModified &&
		(result = row_take(rows->tables[table], place, rows->snapshot, LockTupleNoKeyExclusive)) == TM_Ok)
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

	if (result == TM_BeingModified &&
		(result = row_take(rows->tables[table], place, rows->snapshot, LockTupleExclusive)) == TM_Ok)
		result =
			heap_delete(rows->tables[table], place, GetCurrentCommandId(true), InvalidSnapshot, true, &failure, false);
	return result == TM_SelfModified ? TM_Updated : result;
}
