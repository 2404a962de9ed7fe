/*
 * row.c
 *	  Single rows written without SQL, where nothing asks for SQL.
 *
 * What core/look.c says of reading holds for writing too: the executor's state costs several times what the row does,
 * and an application that logs a contact waits for five of them; test/bench/contact.sh shows what is saved. So what
 * there is to know of a table is found out once, and kept until a relation, a role or a function changes: where its
 * columns are, what its indexes hold, and its checks, compiled. Both functions answer false, having done nothing that
 * is seen, and their caller runs the statement that it keeps, wherever that would not be the same:
 *
 * - the table, or the partition of the row, is no ordinary table in the server's own heap, has rules, row security,
 *   or triggers other than those of its foreign keys that need not fire: Citus and TimescaleDB mark their tables by
 *   triggers;
 * - the current role lacks a right on it, so that the statement raises the error, or somebody else is to be asked
 *   (ExecutorCheckPerms_hook, as pgAudit does);
 * - the transaction is read-only or SERIALIZABLE, the server is a standby, or a parallel query runs;
 * - a column is not there or of another type, or has a default of its own; a value is NULL that must not be;
 * - an index is no B-tree of columns; a key is deferrable; there is an exclusion constraint;
 * - a check fails, so that the statement raises the error; a check, a generated column or the selection of an index
 *   calls what is neither built in nor of this extension;
 * - another session has the same key, or changes the same row.
 *
 * Partitions, unique keys, logical decoding and statistics are honoured as by SQL, because the server's own functions
 * for heaps and indexes write the row.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"
#include "core/row.h"
#include "core/row_target.h"

/* What is open while a row is written. */
typedef struct RowWrite
{
	Relation table;
	Relation target; /* the same, or a partition of it */
	Relation found;  /* the table, where a look keeps it open, or NULL */
	ExprContext *context;
} RowWrite;

/* Returns whether a statement on a partitioned table fires triggers that its partitions do not have. */
static bool
fires_statement_trigger(Relation table)
{
	const TriggerDesc *triggers = table->trigdesc;

	return triggers != NULL && (triggers->trig_insert_before_statement || triggers->trig_insert_after_statement);
}

/* Forgets where the last row went. */
static void
target_forget(RowTable *row)
{
	if (row->target != NULL)
		MemoryContextDelete(row->target->context);
	row->target = NULL;
}

/* Returns the partition that a time belongs to, itself no partitioned table, or InvalidOid. */
static Oid
find_partition(const RowTable *row, Relation table, const Datum *values)
{
	PartitionKey key = RelationGetPartitionKey(table);
	PartitionDesc partitions = RelationGetPartitionDesc(table, !IsolationUsesXactSnapshot());
	PartitionBoundInfo bounds = partitions->boundinfo;
	int found = -1;

	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 || key->partattrs[0] == 0 ||
		partitions->nparts == 0)
		return InvalidOid;
	if (bounds->ndatums > 0)
	{
		const char *name = NameStr(TupleDescAttr(RelationGetDescr(table), key->partattrs[0] - 1)->attname);
		bool equal;
		int column;

		for (column = 0; column < row->ncolumns; column++)
			if (strcmp(row->columns[column].name, name) == 0)
				break;
		if (column == row->ncolumns)
			return InvalidOid;
		found = bounds->indexes[partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds, 1,
															  unconstify(Datum *, &values[column]), &equal) +
								1];
	}
	if (found < 0)
		found = bounds->default_index;
	return found < 0 || !partitions->is_leaf[found] ? InvalidOid : partitions->oids[found];
}

/* Returns whether the role may do it, and whether nothing but the table itself decides on it. */
static bool
is_permitted(const RowTable *row, Relation table)
{
	AclMode rights = row->change ? ACL_UPDATE | ACL_SELECT : ACL_INSERT | ACL_SELECT;

	return relation_is_plain(table) && !table->rd_rel->relispartition &&
		   pg_class_aclmask(row->table_oid, row->role, rights, ACLMASK_ALL) == rights;
}

/* Closes what is open; tables stay locked as by a statement. */
static void
row_close(RowWrite *write)
{
	if (write->target != NULL && write->target != write->table)
		relation_close(write->target, NoLock);
	if (write->table != NULL && write->table != write->found)
		relation_close(write->table, NoLock);
	if (write->context != NULL)
		FreeExprContext(write->context, true);
}

/* Opens the table and, for a partitioned one, that of the row; returns false where they are not there. */
static bool
open_tables(RowTable *row, RowWrite *write, const Datum *values)
{
	Oid partition;
	bool found = write->found != NULL && RelationGetRelid(write->found) == row->table_oid;

	write->table = write->target = found ? write->found : try_relation_open(row->table_oid, RowExclusiveLock);
	if (write->table == NULL)
		return false;
	if (write->table->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return true;
	partition = row->change ? InvalidOid : find_partition(row, write->table, values);
	write->target = OidIsValid(partition) ? try_relation_open(partition, RowExclusiveLock) : NULL;
	return write->target != NULL;
}

/*
 * Opens what is to be written to, finding out about it where it is new or has changed; returns false, with nothing
 * open, where the statement is to be run. found is the table where a look has it open that is for a change, or NULL.
 */
static bool
row_open(RowTable *row, RowWrite *write, const Datum *values, Relation found)
{
	*write = (RowWrite){.found = found};
	if (XactReadOnly || IsolationIsSerializable() || ExecutorCheckPerms_hook != NULL || IsInParallelMode() ||
		RecoveryInProgress())
		return false;

	/* What changes while something is opened is found out again, once. */
	for (int attempt = 0; attempt < 2; attempt++)
	{
		if (row->generation != relations_generation() || row->role != GetUserId())
		{
			target_forget(row);
			row->refused = false;
			row->table_oid = omni_table(row->name);
			row->role = GetUserId();
			row->generation = relations_generation();
		}
		if (row->refused || !open_tables(row, write, values))
			break;
		if (row->generation == relations_generation())
		{
			if (row->target != NULL && row->target->oid != RelationGetRelid(write->target))
				target_forget(row);
			if (row->target == NULL && is_permitted(row, write->table) &&
				(write->target == write->table || !fires_statement_trigger(write->table)))
				row->target = row_target_make(row, write->target);
			if (row->target == NULL)
			{
				/* Another partition may do. */
				row->refused = write->target == write->table;
				break;
			}
			/* The lock keeps the indexes what they are. */
			if (row->generation == relations_generation())
				return true;
		}
		row_close(write);
		*write = (RowWrite){.found = found};
	}
	row_close(write);
	return false;
}

/* Returns the context in which expressions of the row in the slot are evaluated. */
static ExprContext *
row_context(RowWrite *write, TupleTableSlot *slot)
{
	if (write->context == NULL)
		write->context = CreateStandaloneExprContext();
	write->context->ecxt_scantuple = slot;
	return write->context;
}

/*
 * Completes the row in the slot by what is generated; returns whether it may be written: nothing is NULL that must not
 * be, and the checks hold.
 */
static bool
complete_row(const RowTarget *target, RowWrite *write, TupleTableSlot *slot)
{
	TupleDesc desc = slot->tts_tupleDescriptor;

	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(write->target);
	for (int i = 0; i < target->ngenerated; i++)
	{
		int place = target->generated_columns[i] - 1;

		slot->tts_values[place] =
			ExecEvalExpr(target->generated[i], row_context(write, slot), &slot->tts_isnull[place]);
	}
	for (int i = 0; i < desc->natts; i++)
		if (slot->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			return false;
	for (int i = 0; i < target->nchecks; i++)
		if (!ExecCheck(target->checks[i], row_context(write, slot)))
			return false;
	return true;
}

/*
 * Enters a row into the indexes; returns false where keyed and another row may have its key. Opens one after the other:
 * a transaction that holds more locks than a few has to look after them with all others.
 */
static bool
enter_indexes(const RowTarget *target, RowWrite *write, TupleTableSlot *slot, bool keyed)
{
	bool alone = true;

	for (int i = 0; i < target->nindexes; i++)
	{
		const RowIndex *index = &target->indexes[i];
		Relation relation;
		Datum values[INDEX_MAX_KEYS];
		bool nulls[INDEX_MAX_KEYS];

		if (index->selects != NULL
				? !ExecQual(index->selects, row_context(write, slot))
				: index->where != INDEX_ALL && slot->tts_isnull[index->tested - 1] != (index->where == INDEX_NULL))
			continue;
		for (int j = 0; j < index->natts; j++)
		{
			values[j] = slot->tts_values[index->attributes[j] - 1];
			nulls[j] = slot->tts_isnull[index->attributes[j] - 1];
		}
		relation = index_open(index->oid, RowExclusiveLock);
		if (!index_insert(relation, values, nulls, &slot->tts_tid, write->target,
						  !index->unique ? UNIQUE_CHECK_NO
						  : keyed        ? UNIQUE_CHECK_PARTIAL
										 : UNIQUE_CHECK_YES,
						  false, NULL) &&
			index->unique)
			alone = false;
		index_close(relation, RowExclusiveLock);
	}
	return alone;
}

/*
 * row_insert inserts a row with these values, in the order of its columns; returns false where the caller must run its
 * statement.
 *
 * For statements that do nothing where another row has the key, false stands for that, too. Raises 23505, and 55000
 * before setup().
 */
bool
row_insert(RowTable *row, const Datum *values, const bool *nulls, RowConflict conflict)
{
	RowWrite write;
	const RowTarget *target;
	TupleTableSlot *slot;
	bool done = false;

	if (!row_open(row, &write, values, NULL))
		return false;
	target = row->target;
	slot = table_slot_create(write.target, NULL);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
		slot->tts_isnull[i] = true;
	for (int i = 0; i < row->ncolumns; i++)
	{
		slot->tts_values[target->attributes[i] - 1] = values[i];
		slot->tts_isnull[target->attributes[i] - 1] = nulls != NULL && nulls[i];
	}
	if (target->now != InvalidAttrNumber)
	{
		slot->tts_values[target->now - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		slot->tts_isnull[target->now - 1] = false;
	}
	if (complete_row(target, &write, slot))
	{
		/* Whose key it is, and whether it stays theirs, is for the statement; logical decoding sees nothing. */
		if (conflict == ROW_GIVES_WAY || (conflict == ROW_STANDS && RelationIsLogicallyLogged(write.target)))
		{
			TransactionId self = GetCurrentTransactionId();
			uint32 token = SpeculativeInsertionLockAcquire(self);

			table_tuple_insert_speculative(write.target, slot, GetCurrentCommandId(true), 0, NULL, token);
			slot_getallattrs(slot);
			done = enter_indexes(target, &write, slot, true);
			table_tuple_complete_speculative(write.target, slot, token, done);
			SpeculativeInsertionLockRelease(self);
		}
		else
		{
			table_tuple_insert(write.target, slot, GetCurrentCommandId(true), 0, NULL);
			slot_getallattrs(slot);
			done = enter_indexes(target, &write, slot, conflict != ROW_RAISES);
			if (!done)
			{
				/* Whoever inserts the key meanwhile would wait for this transaction, which may wait for theirs. */
				CommandCounterIncrement();
				simple_table_tuple_delete(write.target, &slot->tts_tid, GetActiveSnapshot());
			}
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	row_close(&write);
	return done;
}

/*
 * row_take locks a row if no other transaction has it: this one may have had it before. Returns TM_Ok,
 * TM_BeingModified where another one has it, or what else became of it.
 */
TM_Result
row_take(Relation relation, ItemPointer place, Snapshot snapshot, LockTupleMode mode)
{
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TM_FailureData failure;
	TM_Result result =
		table_tuple_lock(relation, place, snapshot, slot, GetCurrentCommandId(true), mode, LockWaitSkip, 0, &failure);

	ExecDropSingleTupleTableSlot(slot);
	return result == TM_WouldBlock ? TM_BeingModified : result;
}

/* Gives the row in the slot `before`, of the opened table, these values; returns false where it is not the newest. */
static bool
change_row(const RowTable *row, RowWrite *write, TupleTableSlot *before, Snapshot snapshot, const Datum *values,
		   const bool *nulls)
{
	const RowTarget *target = row->target;
	TupleTableSlot *slot = table_slot_create(write->target, NULL);
	bool done = false;

	CheckCmdReplicaIdentity(write->target, CMD_UPDATE);
	slot_getallattrs(before);
	memcpy(slot->tts_values, before->tts_values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	memcpy(slot->tts_isnull, before->tts_isnull, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < row->ncolumns; i++)
	{
		slot->tts_values[target->attributes[i] - 1] = values[i];
		slot->tts_isnull[target->attributes[i] - 1] = nulls != NULL && nulls[i];
	}

	if (complete_row(target, write, slot))
	{
		ItemPointerData tid = before->tts_tid;
		TM_FailureData failure;
		LockTupleMode mode;
		UpdatedIndexes updated;
		bool wait = !row->yields;
		TM_Result result = TM_BeingModified;

		/* Old values that the new row shares lie in a buffer that the slot would let go of. */
		ExecMaterializeSlot(slot);
		if (wait || UPDATES_MAY_YIELD)
			result = table_tuple_update(write->target, &tid, slot, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
										wait, &failure, &mode, &updated);
		/* A lock that this transaction has, or that does not mind, counts as one to be waited for. */
		if (result == TM_BeingModified && row_take(write->target, &tid, snapshot, LockTupleNoKeyExclusive) == TM_Ok)
			result = table_tuple_update(write->target, &tid, slot, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
										true, &failure, &mode, &updated);
		done = result == TM_Ok;
		if (done && UPDATED_INDEXES(updated))
		{
			slot_getallattrs(slot);
			(void) enter_indexes(target, write, slot, false);
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	return done;
}

/*
 * row_change gives the row that look_next() returned last these values, in the order of its columns; nulls may be NULL
 * for none. Returns false where the caller must run its statement: also where another transaction has changed the row
 * since the look's snapshot.
 *
 * Waits for another transaction that holds the row, or, where the row yields, returns false. Raises 55000 before
 * setup().
 */
bool
row_change(RowTable *row, LookScan *scan, const Datum *values, const bool *nulls)
{
	RowWrite write;
	bool done;

	if (!row_open(row, &write, values, scan->look->for_change ? scan->table : NULL))
		return false;
	done = change_row(row, &write, scan->slot, scan->scan->xs_snapshot, values, nulls);
	row_close(&write);
	return done;
}

/*
 * row_change_at does the same with the row whose version at a place was found under the active snapshot.
 */
bool
row_change_at(RowTable *row, ItemPointer place, const Datum *values, const bool *nulls)
{
	Snapshot snapshot = GetActiveSnapshot();
	RowWrite write;
	TupleTableSlot *before;
	bool done;

	if (!row_open(row, &write, values, NULL))
		return false;
	before = table_slot_create(write.target, NULL);
	done = table_tuple_fetch_row_version(write.target, place, snapshot, before) &&
		   change_row(row, &write, before, snapshot, values, nulls);
	ExecDropSingleTupleTableSlot(before);
	row_close(&write);
	return done;
}
