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

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "contact/mapping.h"

SQL_FUNCTION(omnichannel_log_contact_trigger);
SQL_FUNCTION(omnichannel_check_tracking);

/* Rows that are logged at once, and the bytes of rows after which they are. */
#define BATCH_ROWS 1000
#define BATCH_BYTES (4 * 1024 * 1024)

/* Where the rows of one firing come from, for the messages of errors. */
typedef struct TrackedWrite
{
	const char *code;
	Relation relation;
	TupleTableSlot *slot;
	const ContactEntry *entry; /* being logged, or NULL */
} TrackedWrite;

/* Says in an error's context which row it was. */
static void
tracked_write_context(void *arg)
{
	TrackedWrite *write = arg;

	if (write->entry != NULL && write->entry->source_key != NULL)
		errcontext("row \"%s\" of tracked relation \"%s\"", write->entry->source_key,
				   RelationGetRelationName(write->relation));
	else
		errcontext("tracked relation \"%s\"", RelationGetRelationName(write->relation));
}

/*
 * Returns the tracking; raises 42501 where there is none, or 40001 where the transaction's snapshot may be too old to
 * see it.
 */
static const Tracking *
tracking_get(const char *code, Relation relation)
{
	const Tracking *tracking = tracking_find(code);

	if (tracking != NULL)
		return tracking;
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("tracking \"%s\" is not seen by this transaction", code),
						errhint("It was registered after the transaction began, or not at all: try again.")));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("relation \"%s\" has a trigger of tracking \"%s\", which there is not",
					RelationGetRelationName(relation), code),
			 errhint("Drop the trigger; SELECT omnichannel.track('%s', channel => 'email', ...) makes the right one.",
					 RelationGetRelationName(relation))));
	return NULL;
}

/* Logs rows, all or none, in the current context. */
static void
write_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	const FittedMapping *fitted = mapping_fit(tracking_get(write->code, write->relation), write->relation);
	ContactEntry *entries = palloc(sizeof(ContactEntry) * count);
	int logged = 0;
	SpiScope scope;

	for (int i = 0; i < count; i++)
	{
		write->entry = NULL;
		ExecStoreMinimalTuple(rows[i], write->slot, false);
		if (mapping_evaluate(fitted, write->slot, &entries[logged]))
			logged++;
	}
	ExecClearTuple(write->slot);
	if (logged == 0)
		return;

	spi_scope_begin(&scope, true);
	for (int i = 0; i < logged; i++)
	{
		write->entry = &entries[i];
		contact_check(&entries[i]);
	}
	write->entry = logged == 1 ? &entries[0] : NULL;
	contact_write(entries, logged);
	spi_scope_end(&scope);
	write->entry = NULL;
}

/* Logs rows with what the tracking says of errors, and frees what that took. */
static void
log_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = tracked_write_context, .arg = write};

	error_context_stack = &context;
	write_rows(write, rows, count);
	error_context_stack = context.previous;
}

/* Logs the rows of a transition table, in batches. */
static void
log_table(TrackedWrite *write, Tuplestorestate *table)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	TupleTableSlot *reader = MakeSingleTupleTableSlot(RelationGetDescr(write->relation), &TTSOpsMinimalTuple);
	MinimalTuple *rows = palloc(sizeof(MinimalTuple) * BATCH_ROWS);
	int pointer = tuplestore_alloc_read_pointer(table, EXEC_FLAG_REWIND);
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
			rows[count] = ExecCopySlotMinimalTuple(reader);
			bytes += rows[count++]->t_len;
			if (count == BATCH_ROWS || bytes >= BATCH_BYTES)
				break;
		}
		/* A row that the store read from disk lies in the batch's memory. */
		ExecClearTuple(reader);
		if (count > 0)
			log_rows(write, rows, count);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (more);
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

	write.code = trigger->tg_trigger->tgargs[0];
	write.relation = trigger->tg_relation;
	write.slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		log_table(&write, trigger->tg_newtable);
	else
	{
		bool update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
		MinimalTuple row = ExecCopySlotMinimalTuple(update ? trigger->tg_newslot : trigger->tg_trigslot);

		log_rows(&write, &row, 1);
	}
	ExecDropSingleTupleTableSlot(write.slot);
	return PointerGetDatum(NULL);
}

/* check_tracking(tracking): returns nothing, or raises what is wrong with a mapping. */
Datum
omnichannel_check_tracking(PG_FUNCTION_ARGS)
{
	char *code = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const Tracking *tracking = tracking_find(code);
	Relation relation;

	if (tracking == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("tracking \"%s\" does not exist", code),
						errhint("The view omnichannel.tracked_relations lists what is tracked.")));
	mapping_check_constants(tracking);
	relation = RelationIdGetRelation(tracking->relation);
	if (!RelationIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the relation of tracking \"%s\" is gone", code),
						errhint("Call untrack(), or track() for the relation that there is now.")));
	(void) mapping_fit(tracking, relation);
	RelationClose(relation);
	PG_RETURN_VOID();
}
