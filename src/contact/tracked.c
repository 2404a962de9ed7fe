/*
 * tracked.c
 *	  Makes contacts of rows of tracked tables, whoever has them: the trigger, backfill() or retry_rejects().
 *
 * Rows are logged many at a time. Where a tracking says that what cannot be logged is kept, they are tried in a
 * subtransaction, together and, if that fails, one by one.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/*
 * Rows that are logged at once. Many, because in the order of their keys they are looked up and entered faster; fewer
 * where one that cannot be logged makes all of them be tried one by one.
 */
#define BATCH_ROWS 16000
#define QUARANTINED_BATCH_ROWS 1000

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

/* Returns whether two entries are of one row, as their keys, or without those their times and customers, say. */
static bool
same_row(const ContactEntry *a, const ContactEntry *b)
{
	if (a->source_key != NULL || b->source_key != NULL)
		return a->source_key != NULL && b->source_key != NULL && strcmp(a->source_key, b->source_key) == 0;
	return a->customer_id == b->customer_id && (a->value == NULL) == (b->value == NULL) &&
		   (a->value == NULL || strcmp(a->value, b->value) == 0) && a->timed == b->timed &&
		   (!a->timed || a->occurred_at == b->occurred_at);
}

/*
 * Makes of the row that has left another partition just before what same_row() wants to know, in the current context;
 * of one that has a key nothing else.
 */
static void
evaluate_left(const TrackedWrite *write, const Tracking *tracking, bool keyed, ContactEntry *entry)
{
	/* Its statement holds a lock on it. */
	Relation relation = relation_open(write->left->relation, NoLock);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsMinimalTuple);
	const FittedMapping *fitted = mapping_fit(tracking, relation);

	memset(entry, 0, sizeof(*entry));
	ExecStoreMinimalTuple(write->left->row, slot, false);
	if (keyed)
		entry->source_key = mapping_key(fitted, slot);
	else
		(void) mapping_evaluate(fitted, slot, false, entry);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, NoLock);
}

/* Gives what was logged of a row that is left out now the key that it has now. Needs an SPI scope. */
static void
leave_out_row(const Tracking *tracking, FormerRow *former, const ContactEntry *entry, const char *former_key)
{
	const ContactEntry *waiting = rejects_find(tracking, entry, 1);
	const bool other = false;

	if (!former_is_other(former, entry->source, former_key, true, NULL))
		(void) follow_key(entry, former_key);
	if (waiting != NULL)
		rejects_clear(tracking, waiting, entry, &other, 1, true, NULL);
}

/* Logs rows, all or none, in the current context. */
static void
write_all(TrackedWrite *write, MinimalTuple *rows, int count)
{
	const Tracking *tracking = tracking_get(write->code, write->relation);
	const FittedMapping *fitted = mapping_fit(tracking, write->relation);
	ContactEntry *entries = palloc(sizeof(ContactEntry) * count);
	bool *other = palloc0(sizeof(bool) * count);
	bool revises = tracking->updates && !write->backfill && !write->older;
	const char *former_key = NULL;
	FormerReject *left_waiting = NULL;
	const ContactEntry *waiting = NULL;
	int duplicates = 0;
	int logged = 0;
	int settings = 0;
	/* Whether something may be logged of the row. */
	bool changes = revises && (write->former != NULL || write->left != NULL);
	FormerRow former = {0};
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
		if (!mapping_evaluate(fitted, write->slot, false, &entries[logged]))
		{
			if (changes)
				entries[0].source_key = mapping_key(fitted, write->slot);
			continue;
		}
		if (write->source != NULL)
			entries[logged].source = write->source;
		logged++;
	}
	changes = changes && entries[0].source_key != NULL;
	if (write->left != NULL && (logged == 1 || changes))
	{
		ContactEntry left;

		evaluate_left(write, tracking, entries[0].source_key != NULL, &left);
		write->update = moved_rows_arrive(tracking->relation) || same_row(&left, &entries[0]);
		if (write->update && !tracking->updates)
			logged = 0;
		else if (write->update)
			former_key = left.source_key;
	}
	else if (write->former != NULL && changes)
	{
		ExecStoreMinimalTuple(write->former, write->slot, false);
		former_key = mapping_key(fitted, write->slot);
	}
	if (write->update && changes)
		former_read(&former, write, tracking);
	if (former_key != NULL && (entries[0].source_key == NULL || strcmp(former_key, entries[0].source_key) == 0))
		former_key = NULL;
	ExecClearTuple(write->slot);
	if (!write->owner)
		relation_scope_end(&reader);
	else if (settings != 0)
		pinned_output_end(settings);
	if (logged == 0 && former_key == NULL)
		return;
	if (former_key != NULL)
		left_waiting = former_reject_hold(tracking, write, former_key);

	spi_scope_begin_unpinned(&scope, write->owner);
	if (logged == 0)
	{
		note_displaced(tracking, entries[0].source_key, write->command);
		leave_out_row(tracking, &former, &entries[0], former_key);
		if (left_waiting != NULL)
			former_reject_delete(left_waiting);
		spi_scope_end(&scope);
		return;
	}
	for (int i = 0; i < logged; i++)
	{
		write->entry = &entries[i];
		contact_check(&entries[i]);
		entries[i].fresh = write->live && !write->update;
		entries[i].sole = logged == 1 && entries[i].fresh && mapping_names_rows(fitted, write->relation);
	}
	write->entry = logged == 1 ? &entries[0] : NULL;
	if (!write->retry)
		waiting = rejects_find(tracking, entries, logged);
	if (waiting != NULL && former_key != NULL)
		note_displaced(tracking, entries[0].source_key, write->command);
	if (former_is_other(&former, entries[0].source, former_key == NULL ? entries[0].source_key : former_key,
						former_key != NULL, &entries[0]))
	{
		if (former_key == NULL)
			refuse_another_row(write, &entries[0]);
	}
	/* What has followed the row is its own, whatever else of it has changed. */
	else if (former_key != NULL && follow_key(&entries[0], former_key))
		former_key = NULL;
	contact_write(entries, logged, write->live, &write->batches);
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
		rejects_clear(tracking, waiting, entries, other, logged, revises, tracking->updates ? write->seen : NULL);
	if (left_waiting != NULL)
		former_reject_delete(left_waiting);
	spi_scope_end(&scope);
	write->entry = NULL;
}

/*
 * tracked_write_rows logs rows, all or none, in the current context.
 *
 * Code of others runs for them, and may change trackings and log rows of its own: what was read of this one stays.
 */
void
tracked_write_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	config_caches_hold();
	write_all(write, rows, count);
	config_caches_release();
}

/* Rows that are to be logged, all or none of them. */
typedef struct TrackedRows
{
	TrackedWrite *write;
	MinimalTuple *rows;
	int count;
} TrackedRows;

/* Logs rows, for subtransaction_try(). */
static void
write_rows(void *argument)
{
	const TrackedRows *rows = argument;

	tracked_write_rows(rows->write, rows->rows, rows->count);
}

/* Logs rows in a subtransaction; returns NULL, or the error in the current context. Others than of rows are raised. */
static ErrorData *
try_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	TrackedRows all = {write, rows, count};
	uint64 logged = write->logged;
	uint64 strange = write->strange;
	ErrorData *error = subtransaction_try(write_rows, &all);

	if (error == NULL)
		return NULL;
	write->logged = logged;
	write->strange = strange;
	write->entry = NULL;
	if (!is_about_row(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/*
 * tracked_log_rows logs rows; where the tracking says so it keeps those that cannot be logged instead of raising.
 *
 * The tracking may be changed while rows are logged one by one: it is read anew for each that is kept.
 */
void
tracked_log_rows(TrackedWrite *write, MinimalTuple *rows, int count)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = tracked_write_context, .arg = write};
	const Tracking *tracking;

	error_context_stack = &context;
	config_caches_hold();
	tracking = tracking_get(write->code, write->relation);
	if (write->left != NULL && moved_rows_arrive(tracking->relation))
		write->update = true;
	if (write->left != NULL && write->update && !tracking->updates)
		mapping_check_registered(tracking, write->relation);
	else if (!tracking->quarantine)
		tracked_write_rows(write, rows, count);
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
					reject_row(tracking_get(write->code, write->relation), write, error);
					ExecClearTuple(write->slot);
				}
			}
		}
	}
	config_caches_release();
	error_context_stack = context.previous;
}

/* tracked_batch_rows returns how many rows are logged at once. */
int
tracked_batch_rows(const TrackedWrite *write)
{
	return tracking_get(write->code, write->relation)->quarantine ? QUARANTINED_BATCH_ROWS : BATCH_ROWS;
}

/*
 * tracked_begin_batches keeps, in the current context, what one batch of the statement leaves to the next, where that
 * makes no difference: no row is tried in a subtransaction, and, for relationships, none is revised.
 */
void
tracked_begin_batches(TrackedWrite *write)
{
	const Tracking *tracking = tracking_get(write->code, write->relation);
	ContactBatches *batches = &write->batches;

	if (tracking->quarantine)
		return;
	if (batches->memo == NULL)
		batches->memo = customer_memo_begin();
	if (batches->sums == NULL && (write->backfill || !tracking->updates))
		batches->sums = relationship_sums_begin();
}

/* tracked_end_batches writes the relationships that were counted. */
void
tracked_end_batches(TrackedWrite *write)
{
	SpiScope scope;

	if (write->batches.sums == NULL)
		return;
	spi_scope_begin(&scope, write->owner);
	relationship_sums_write(write->batches.sums);
	spi_scope_end(&scope);
}

/*
 * tracked_lock_batches waits until no other statement of several batches is at work, and keeps them out until the
 * transaction ends.
 *
 * Each batch takes its locks in one order, but the next one begins anew: two statements that meet the same customers in
 * another order would lock up. Taken before the first batch.
 */
void
tracked_lock_batches(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, omni_table("contact"), 0, OMNI_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}
