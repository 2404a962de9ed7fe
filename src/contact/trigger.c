/*
 * trigger.c
 *	  log_contact_trigger(): logs the rows of a tracked table in the statement that writes them.
 *
 * On an ordinary table it is a statement trigger with a transition table, so that a COPY of a million rows is logged in
 * batches and its memory stays flat: a row trigger would leave one queued event for each row. On a partitioned table it
 * is a row trigger, because rows can be written straight into a partition, whose statements fire no trigger of the
 * whole; so it is for updates, and where a replica applies rows, which fires no statement triggers at all.
 *
 * Rows are read with the rights of whoever writes them and logged with those of the log's owner. That must not become a
 * way round the rights: it serves the relation that a tracking names and no other.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "omnichannel.h"
#include "contact/tracked.h"

SQL_FUNCTION(omnichannel_log_contact_trigger);

/* Bytes of rows after which those at hand are logged. */
#define BATCH_BYTES (4 * 1024 * 1024)

/* Logs the rows of a transition table, in batches. */
static void
log_table(TrackedWrite *write, Tuplestorestate *table)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	TupleTableSlot *reader = MakeSingleTupleTableSlot(RelationGetDescr(write->relation), &TTSOpsMinimalTuple);
	int limit = tracked_batch_rows(write);
	int room = 16;
	MinimalTuple *rows = palloc(sizeof(MinimalTuple) * room);
	int pointer = tuplestore_alloc_read_pointer(table, EXEC_FLAG_REWIND);
	bool first = true;
	bool more;

	tuplestore_select_read_pointer(table, pointer);
	tuplestore_rescan(table);
	do
	{
		int count = 0;
		Size bytes = 0;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(batch);
		tuplestore_select_read_pointer(table, pointer);
		while ((more = tuplestore_gettupleslot(table, true, false, reader)))
		{
			if (count == room)
				rows = repalloc(rows, sizeof(MinimalTuple) * (room *= 2));
			rows[count] = ExecCopySlotMinimalTuple(reader);
			bytes += rows[count++]->t_len;
			if (count == limit || bytes >= BATCH_BYTES)
				break;
		}
		/* A row that the store read from disk lies in the batch's memory. */
		ExecClearTuple(reader);
		if (more && first)
			tracked_lock_batches();
		first = false;
		MemoryContextSwitchTo(old);
		if (more)
			tracked_begin_batches(write);
		MemoryContextSwitchTo(batch);
		if (count > 0)
			tracked_log_rows(write, rows, count);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (more);
	tracked_end_batches(write);
	ExecDropSingleTupleTableSlot(reader);
	MemoryContextDelete(batch);
}

/* log_contact_trigger('tracking'): trigger function that logs inserted rows; returns nothing. */
Datum
omnichannel_log_contact_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TrackedWrite write = {0};

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"log_contact_trigger\" was not called by the trigger manager")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"log_contact_trigger\" must be fired AFTER the write"),
						errhint("track() makes the right trigger.")));
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
		trigger->tg_relation->rd_rel->relispartition)
	{
		note_moved_row(trigger->tg_relation, trigger->tg_trigtuple, trigger->tg_trigslot);
		return PointerGetDatum(NULL);
	}
	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		!(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && TRIGGER_FIRED_FOR_ROW(trigger->tg_event)))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"log_contact_trigger\" must be fired by INSERT, or by UPDATE FOR EACH ROW"),
						errhint("track() makes the right trigger.")));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) && trigger->tg_newtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"log_contact_trigger\" needs a transition table FOR EACH STATEMENT"),
						errhint("track() makes the right trigger.")));
	if (trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"log_contact_trigger\" takes the code of a tracking as its only argument"),
						errhint("track() makes the right trigger.")));

	/* It may be within another one that goes on with what it has read. */
	config_caches_hold();
	write.code = trigger->tg_trigger->tgargs[0];
	write.relation = trigger->tg_relation;
	write.owner = write.live = true;
	write.update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	write.slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		log_table(&write, trigger->tg_newtable);
	else
	{
		HeapTuple written = write.update ? trigger->tg_newtuple : trigger->tg_trigtuple;
		MinimalTuple row = ExecCopySlotMinimalTuple(write.update ? trigger->tg_newslot : trigger->tg_trigslot);

		if (write.update)
			write.former = ExecCopySlotMinimalTuple(trigger->tg_trigslot);
		else if (trigger->tg_relation->rd_rel->relispartition)
			write.left = take_moved_row(trigger->tg_trigtuple);
		/* A foreign table's has none. */
		write.command = InvalidCommandId;
		if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(written->t_data)))
			write.command = HeapTupleHeaderGetCmin(written->t_data);
		tracked_log_rows(&write, &row, 1);
	}
	ExecDropSingleTupleTableSlot(write.slot);
	config_caches_release();
	return PointerGetDatum(NULL);
}
