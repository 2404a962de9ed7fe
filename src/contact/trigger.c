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
 * way round the rights: it serves the relation that a tracking names and no other. Rows that were there before are read
 * with the rights of their table's owner and logged with those of whoever asks for it: the code that comes with a table
 * must not run with the rights of an administrator of the log.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "contact/mapping.h"
#include "routing/routing.h"

SQL_FUNCTION(omnichannel_log_contact_trigger);
SQL_FUNCTION(omnichannel_check_tracking);
SQL_FUNCTION(omnichannel_log_tracked_row);
SQL_FUNCTION(omnichannel_log_reject);
SQL_FUNCTION(omnichannel_backfill);

/*
 * Rows that are logged at once, and the bytes of rows after which they are. Many, because in the order of their keys
 * they are looked up and entered faster; fewer where one that cannot be logged makes all of them be tried one by one.
 */
#define BATCH_ROWS 4000
#define QUARANTINED_BATCH_ROWS 1000
#define BATCH_BYTES (4 * 1024 * 1024)

/* Where the rows of one firing come from, for the messages of errors. */
typedef struct TrackedWrite
{
	const char *code;
	Relation relation;
	TupleTableSlot *slot;
	const ContactEntry *entry; /* being logged, or NULL */
	bool owner;                /* with the rights of the log's owner */
	bool live;                 /* with effects on requests */
	bool update;               /* what was logged before is revised */
	bool moved;                /* by an UPDATE, from another partition */
	bool backfill;             /* rows that were there before */
	bool retry;                /* by who clears what waits itself */
	MinimalTuple former;       /* what the row was before the UPDATE, or NULL */
	const char *source;        /* that the key is of, or NULL for the tracking's */
	uint64 logged;             /* so far */
	uint64 strange;            /* rows whose key is another's; only counted by backfill */
	RelationshipSums *sums;    /* counted until the end, or NULL */
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
						errmsg("tracking \"%s\" is not seen by this transaction", excerpt(code)),
						errhint("It was registered after the transaction began, or not at all: try again.")));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("relation \"%s\" has a trigger of tracking \"%s\", which there is not",
					RelationGetRelationName(relation), excerpt(code)),
			 errhint("Drop the trigger; SELECT omnichannel.track('%s', channel => 'email', ...) makes the right one.",
					 RelationGetRelationName(relation))));
	return NULL;
}

/* Raises 23505 for a row under another's key. */
static void
refuse_another_row(TrackedWrite *write, const ContactEntry *entry)
{
	write->entry = entry;
	ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
					errmsg("source \"%s\" has logged another row under key \"%s\"", entry->source, entry->source_key),
					errhint("Where the keys of a table start again, as after TRUNCATE ... RESTART IDENTITY, call"
							" track() with another source.")));
}

/* Logs rows, all or none, in the current context. */
static void
write_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	const Tracking *tracking = tracking_get(write->code, write->relation);
	const FittedMapping *fitted = mapping_fit(tracking, write->relation);
	ContactEntry *entries = palloc(sizeof(ContactEntry) * count);
	bool *other = palloc0(sizeof(bool) * count);
	bool revises = tracking->updates && !write->backfill;
	const char *former_key = NULL;
	const char *changed_key;
	const ContactEntry *waiting = NULL;
	int duplicates = 0;
	int logged = 0;
	int settings = 0;
	RelationScope reader;
	SpiScope scope;

	if (!write->owner)
		relation_scope_begin(&reader, RelationGetRelid(write->relation));
	else if (mapping_needs_pinned_output(fitted))
		settings = pinned_output_begin();
	for (int i = 0; i < count; i++)
	{
		write->entry = NULL;
		ExecStoreMinimalTuple(rows[i], write->slot, false);
		if (!mapping_evaluate(fitted, write->slot, &entries[logged]))
			continue;
		if (write->source != NULL)
			entries[logged].source = write->source;
		logged++;
	}
	if (write->former != NULL && revises && logged == 1 && entries[0].source_key != NULL)
	{
		ExecStoreMinimalTuple(write->former, write->slot, false);
		former_key = mapping_key(fitted, write->slot);
		if (former_key != NULL && strcmp(former_key, entries[0].source_key) == 0)
			former_key = NULL;
	}
	ExecClearTuple(write->slot);
	if (!write->owner)
		relation_scope_end(&reader);
	else if (settings != 0)
		pinned_output_end(settings);
	if (logged == 0)
		return;

	spi_scope_begin(&scope, write->owner);
	for (int i = 0; i < logged; i++)
	{
		write->entry = &entries[i];
		contact_check(&entries[i]);
		entries[i].fresh = write->live && !write->update;
	}
	write->entry = logged == 1 ? &entries[0] : NULL;
	if (!write->retry)
		waiting = rejects_find(tracking, entries, logged);
	changed_key = former_key;
	/* What has followed the row is its own, whatever else of it has changed. */
	if (former_key != NULL && follow_key(&entries[0], former_key))
		former_key = NULL;
	contact_write(entries, logged, write->live, write->sums);
	for (int i = 0; i < logged; i++)
		duplicates += entries[i].duplicate;
	write->logged += logged - duplicates;
	if (duplicates > 0 && (!write->update || former_key != NULL) && mapping_names_rows(fitted, write->relation))
		write->strange += find_other_rows(entries, logged, other);
	for (int i = 0; i < logged && duplicates > 0; i++)
	{
		if (other[i] && !write->backfill)
			refuse_another_row(write, &entries[i]);
		if (revises && entries[i].duplicate && contact_revise(&entries[i]))
			write->logged++;
	}
	if (waiting != NULL)
		rejects_clear(tracking, waiting, changed_key, entries, logged, revises);
	spi_scope_end(&scope);
	write->entry = NULL;
}

/* is_about_row returns whether an error says that a row cannot be logged, and not that the server cannot go on. */
bool
is_about_row(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_RAISE_EXCEPTION & 0xFFF:
			return true;
		default:
			return false;
	}
}

/* Logs rows in a subtransaction; returns NULL, or the error in the current context. Others than of rows are raised. */
static ErrorData *
try_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorContextCallback *callbacks = error_context_stack;
	uint64 logged = write->logged;
	uint64 strange = write->strange;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		write_rows(write, rows, count);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		write->logged = logged;
		write->strange = strange;
		write->entry = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	error_context_stack = callbacks;
	if (error != NULL && !is_about_row(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/* Logs rows; where the tracking says so, keeps those that cannot be logged instead of raising. */
static void
log_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = tracked_write_context, .arg = write};
	const Tracking *tracking;

	error_context_stack = &context;
	tracking = tracking_get(write->code, write->relation);
	write->update = write->update || write->moved;
	if (write->moved && !tracking->updates)
		mapping_check_registered(tracking, write->relation);
	else if (!tracking->quarantine)
		write_rows(write, rows, count);
	else
	{
		mapping_check_registered(tracking, write->relation);
		if (count == 1 || try_rows(write, rows, count) != NULL)
		{
			for (int i = 0; i < count; i++)
			{
				ErrorData *error = try_rows(write, &rows[i], 1);

				CHECK_FOR_INTERRUPTS();
				if (error != NULL)
				{
					ExecStoreMinimalTuple(rows[i], write->slot, false);
					reject_row(tracking, write->relation, write->slot, error, write->live, write->update, write->owner);
					ExecClearTuple(write->slot);
				}
			}
		}
	}
	error_context_stack = context.previous;
}

/* Returns how many rows are logged at once. */
static int
batch_rows(const TrackedWrite *write)
{
	return tracking_get(write->code, write->relation)->quarantine ? QUARANTINED_BATCH_ROWS : BATCH_ROWS;
}

/*
 * Counts relationships until the end of the statement from now on, in the current context, where that makes no
 * difference: no row is tried in a subtransaction, and none is revised.
 */
static void
begin_sums(TrackedWrite *write)
{
	const Tracking *tracking = tracking_get(write->code, write->relation);

	if (write->sums == NULL && !tracking->quarantine && (write->backfill || !tracking->updates))
		write->sums = relationship_sums_begin();
}

/* Writes the relationships that were counted. */
static void
end_sums(TrackedWrite *write)
{
	SpiScope scope;

	if (write->sums == NULL)
		return;
	spi_scope_begin(&scope, write->owner);
	relationship_sums_write(write->sums);
	spi_scope_end(&scope);
}

/*
 * Waits until no other statement of several batches is at work, and keeps them out until the transaction ends.
 *
 * Each batch takes its locks in one order, but the next one begins anew: two statements that meet the same customers in
 * another order would lock up. Taken before the first batch.
 */
static void
lock_many_batches(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, omni_table("contact"), 0, 2);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Logs the rows of a transition table, in batches. */
static void
log_table(TrackedWrite *write, Tuplestorestate *table)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	TupleTableSlot *reader = MakeSingleTupleTableSlot(RelationGetDescr(write->relation), &TTSOpsMinimalTuple);
	int limit = batch_rows(write);
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
			lock_many_batches();
		first = false;
		MemoryContextSwitchTo(old);
		if (more)
			begin_sums(write);
		MemoryContextSwitchTo(batch);
		if (count > 0)
			log_rows(write, rows, count);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (more);
	end_sums(write);
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
		note_moved_row(trigger->tg_trigtuple);
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

	write.code = trigger->tg_trigger->tgargs[0];
	write.relation = trigger->tg_relation;
	write.owner = write.live = true;
	write.update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	write.slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		log_table(&write, trigger->tg_newtable);
	else
	{
		MinimalTuple row = ExecCopySlotMinimalTuple(write.update ? trigger->tg_newslot : trigger->tg_trigslot);

		if (write.update)
			write.former = ExecCopySlotMinimalTuple(trigger->tg_trigslot);
		write.moved =
			!write.update && trigger->tg_relation->rd_rel->relispartition && take_moved_row(trigger->tg_trigtuple);
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
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("tracking \"%s\" does not exist", excerpt(code)),
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

/*
 * Returns the tracked relation, opened, for a caller who may log; raises 42704, 42P01, 42809 for what is no longer a
 * table, and 42501.
 */
static Relation
open_tracked(const char *code, TrackedWrite *write)
{
	const Tracking *tracking = tracking_find(code);
	AclResult allowed;

	if (tracking == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("tracking \"%s\" does not exist", excerpt(code)),
						errhint("The view omnichannel.tracked_relations lists what is tracked.")));
	/* Which columns of the log may be written is checked by the write. */
	allowed = pg_class_aclcheck(omni_table("contact"), GetUserId(), ACL_INSERT);
	if (allowed != ACLCHECK_OK)
		allowed = pg_attribute_aclcheck_all(omni_table("contact"), GetUserId(), ACL_INSERT, ACLMASK_ANY);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, "contact");
	write->code = code;
	write->relation = try_relation_open(tracking->relation, AccessShareLock);
	if (write->relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the relation of tracking \"%s\" is gone", code),
						errhint("Call untrack(), or track() for the relation that there is now.")));
	/* Before 16 a rule can make a view of a table. */
	if (write->relation->rd_rel->relkind != RELKIND_RELATION &&
		write->relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is no longer a table", RelationGetRelationName(write->relation)),
						errhint("Call untrack(): only ordinary and partitioned tables can be tracked.")));
	write->slot = MakeSingleTupleTableSlot(RelationGetDescr(write->relation), &TTSOpsMinimalTuple);
	return write->relation;
}

/* Raises 42501 for a caller who may not read every row of the relation, as its owner will do for him. */
static void
check_readable(Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	AclResult allowed = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);

	if (allowed != ACLCHECK_OK)
		allowed = pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ALL);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, RelationGetRelationName(relation));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("row-level security keeps rows of table \"%s\" from you",
							   RelationGetRelationName(relation)),
						errhint("Call it as a role with BYPASSRLS, or the owner of the table.")));
}

/* Returns a row's record as the tracked relation has it; raises 42804 for a record of another type. */
static MinimalTuple
record_row(const TrackedWrite *write, HeapTupleHeader record)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(record), .t_data = record};

	if (HeapTupleHeaderGetTypeId(record) != write->relation->rd_rel->reltype)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the record is no row of relation \"%s\"", RelationGetRelationName(write->relation)),
						errhint("retry_rejects() makes such records.")));
	ItemPointerSetInvalid(&tuple.t_self);
	return minimal_tuple_from_heap_tuple(&tuple, 0);
}

/*
 * log_tracked_row(tracking, record, live, updated, source): logs one row with the caller's rights; returns whether it
 * was new, or revised its contact.
 */
Datum
omnichannel_log_tracked_row(PG_FUNCTION_ARGS)
{
	TrackedWrite write = {.live = PG_GETARG_BOOL(2), .update = PG_GETARG_BOOL(3), .retry = true};
	Relation relation = open_tracked(text_to_cstring(PG_GETARG_TEXT_PP(0)), &write);
	MinimalTuple row = record_row(&write, PG_GETARG_HEAPTUPLEHEADER(1));

	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(4)) > 0)
		write.source = text_to_cstring(PG_GETARG_TEXT_PP(4));
	write_rows(&write, &row, 1);
	ExecDropSingleTupleTableSlot(write.slot);
	relation_close(relation, AccessShareLock);
	PG_RETURN_BOOL(write.logged > 0);
}

/* Returns the row that a query about a reject finds, run with the rights of the relation's owner, or NULL. */
static MinimalTuple
query_row(const TrackedWrite *write, const char *query, Datum data)
{
	Oid type = JSONBOID;
	RelationScope reader;
	bool isnull = true;
	Datum record = (Datum) 0;

	relation_scope_begin(&reader, RelationGetRelid(write->relation));
	if (SPI_execute_with_args(query, 1, &type, &data, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "a query about a reject is none");
	if (SPI_processed > 0)
		record = spi_datum(0, 1, &isnull);
	relation_scope_end(&reader);
	return isnull ? NULL : record_row(write, DatumGetHeapTupleHeader(record));
}

/*
 * log_reject(tracking, data, as_text, live, updated, source, renewed): logs a row that was rejected under source, with
 * the caller's rights; renewed: under the source that the tracking has now. Returns whether it was new, or revised its
 * contact.
 */
Datum
omnichannel_log_reject(PG_FUNCTION_ARGS)
{
	static const char *const queries =
		"SELECT present, key, kept, missing FROM omnichannel.reject_queries($1, $2, $3, $4)";
	Oid types[] = {TEXTOID, JSONBOID, BOOLOID, TEXTOID};
	Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(5)};
	TrackedWrite write = {.live = PG_GETARG_BOOL(3), .update = PG_GETARG_BOOL(4)};
	Relation relation = open_tracked(text_to_cstring(PG_GETARG_TEXT_PP(0)), &write);
	MemoryContext old = CurrentMemoryContext;
	MinimalTuple row = NULL;
	SpiScope scope;
	const char *present;
	const char *kept;
	const char *missing;
	Datum key;
	bool isnull;

	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(5)) > 0 && !PG_GETARG_BOOL(6))
		write.source = text_to_cstring(PG_GETARG_TEXT_PP(5));
	spi_scope_begin(&scope, false);
	if (SPI_execute_with_args(queries, lengthof(types), types, values, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "a reject has no queries");
	present = spi_text(0, 1, CurrentMemoryContext);
	key = spi_datum(0, 2, &isnull);
	kept = spi_text(0, 3, CurrentMemoryContext);
	missing = spi_text(0, 4, CurrentMemoryContext);
	if (present != NULL && !isnull)
	{
		check_readable(relation);
		row = query_row(&write, present, key);
	}
	if (row == NULL && kept != NULL)
		row = query_row(&write, kept, PG_GETARG_DATUM(1));
	if (row == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("the row as it was written has no column %s", missing == NULL ? "at all" : missing)));
	MemoryContextSwitchTo(old);
	row = heap_copy_minimal_tuple(row, 0);
	spi_scope_end(&scope);

	write_rows(&write, &row, 1);
	ExecDropSingleTupleTableSlot(write.slot);
	relation_close(relation, AccessShareLock);
	PG_RETURN_BOOL(write.logged > 0);
}

/* Returns a name that no column has: where one is called as the alias is, the alias no longer means the whole row. */
static const char *
free_name(Relation relation)
{
	StringInfoData name;
	bool taken;

	initStringInfo(&name);
	do
	{
		taken = false;
		appendStringInfo(&name, "%s", name.len == 0 ? "t" : "_");
		for (int i = 0; i < RelationGetDescr(relation)->natts; i++)
			if (strcmp(NameStr(TupleDescAttr(RelationGetDescr(relation), i)->attname), name.data) == 0)
				taken = true;
	} while (taken);
	return name.data;
}

/*
 * backfill(relation's tracking): logs the rows that a tracked relation has, for a caller who may read them, with the
 * caller's rights on the log; returns how many.
 */
Datum
omnichannel_backfill(PG_FUNCTION_ARGS)
{
	TrackedWrite write = {.backfill = true};
	Relation relation = open_tracked(text_to_cstring(PG_GETARG_TEXT_PP(0)), &write);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	int limit = batch_rows(&write);
	MinimalTuple *rows = palloc(sizeof(MinimalTuple) * limit);
	RelationScope reader;
	SpiScope scope;
	Portal portal;
	SPIPlanPtr plan;
	const char *row;
	bool first = true;
	int count;

	check_readable(relation);
	spi_scope_begin(&scope, false);
	row = free_name(relation);
	relation_scope_begin(&reader, RelationGetRelid(relation));
	plan = SPI_prepare(psprintf("SELECT %s FROM %s%s AS %s", row,
								relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
								quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
														   RelationGetRelationName(relation)),
								row),
					   0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare returned %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	relation_scope_end(&reader);
	do
	{
		MemoryContext spi = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		relation_scope_begin(&reader, RelationGetRelid(relation));
		SPI_cursor_fetch(portal, true, limit);
		relation_scope_end(&reader);
		count = (int) SPI_processed;
		for (int i = 0; i < count; i++)
		{
			bool isnull;

			rows[i] = record_row(&write, DatumGetHeapTupleHeader(spi_datum(i, 1, &isnull)));
		}
		SPI_freetuptable(SPI_tuptable);
		if (count == limit && first)
			lock_many_batches();
		first = false;
		MemoryContextSwitchTo(old);
		if (count == limit)
			begin_sums(&write);
		MemoryContextSwitchTo(batch);
		if (count > 0)
			log_rows(&write, rows, count);
		MemoryContextSwitchTo(spi);
		MemoryContextReset(batch);
	} while (count == limit);
	end_sums(&write);
	SPI_cursor_close(portal);
	spi_scope_end(&scope);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
	ExecDropSingleTupleTableSlot(write.slot);
	relation_close(relation, AccessShareLock);
	if (write.strange > 0)
		ereport(WARNING,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("rows whose keys are logged of another time or customer: " UINT64_FORMAT, write.strange),
				 errhint("They were left out. Where the keys of the table started again, call track() with another "
						 "source.")));
	PG_RETURN_INT64((int64) write.logged);
}
