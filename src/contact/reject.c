/*
 * reject.c
 *	  Rows of tracked tables that could not be logged, kept until retry_rejects().
 *
 * A row is kept as JSON by column, which people can read and search. Not every row has a JSON that jsonb holds: the
 * type json takes \u0000, numbers beyond numeric and characters that the database's encoding has not. Of such a row
 * the texts of its columns are kept, as their types write and read them. Either is written under pinned settings, so
 * that it means the same to whoever reads it back.
 *
 * Of a source's key one row is kept, the last one that was written, and none once that is logged. Where the key cannot
 * be told, because the column that holds it is gone, a row that is read again, or updated, is known by all its columns;
 * what is inserted is another row each time.
 *
 * A row whose key changes while it cannot be logged takes its contact along to the new key at once. The try that failed
 * has taken that back, and when the row can be logged nobody knows any more which key it had.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/*
 * A row that comes again is as new as it was: what backfill() reads was written live where it was rejected live. What
 * waits under a key that a row has only now ($10) was another row.
 */
static KeptPlan reject_insert = {
	.sql = "INSERT INTO omnichannel.contact_reject AS r"
		   " (tracking, data, as_text, sqlstate, message, live, updated, source, source_key)"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
		   " ON CONFLICT (tracking, source, source_key) DO UPDATE SET data = excluded.data, as_text = excluded.as_text,"
		   " sqlstate = excluded.sqlstate, message = excluded.message, live = (r.live AND NOT $10) OR excluded.live,"
		   " updated = CASE WHEN $10 THEN excluded.updated"
		   " ELSE r.updated AND (excluded.updated OR NOT excluded.live) END,"
		   " rejected_at = excluded.rejected_at, tries = CASE WHEN $10 THEN excluded.tries ELSE r.tries + 1 END",
	.nargs = 10,
	.argtypes = {TEXTOID, JSONBOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID},
};

/* Says that a row without a key was tried again, and why it still could not be logged. */
static KeptPlan reject_again = {
	.sql = "UPDATE omnichannel.contact_reject AS r SET sqlstate = $4, message = $5, live = r.live OR $6,"
		   " updated = r.updated AND ($7 OR NOT $6), rejected_at = now(), tries = r.tries + 1"
		   " WHERE r.tracking = $1 AND r.source_key IS NULL"
		   " AND jsonb_hash_extended(r.data, 0) = jsonb_hash_extended($2, 0) AND r.data = $2 AND r.as_text = $3"
		   " AND r.source = $8",
	.nargs = 8,
	.argtypes = {TEXTOID, JSONBOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, TEXTOID},
	.indexed = true,
};

/* Which transaction wrote what waits under each of some keys. */
static KeptPlan rejects_written = {
	.sql = "SELECT u.place, t.xmin FROM unnest($2, $3) WITH ORDINALITY AS u (source, source_key, place) "
		   "CROSS JOIN LATERAL (SELECT r.xmin FROM omnichannel.contact_reject AS r"
		   " WHERE r.tracking = $1 AND r.source = u.source AND r.source_key = u.source_key OFFSET 0) AS t",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

/*
 * Deletes the rows of keys; those under a key that is another row's only where the key is new, and those that would
 * revise a contact not where the row was found to be logged and nothing more; of keys for which a transaction is given,
 * only what that has written. One that another session holds is left: it waits on, as that session has a newer row or
 * tries it again, and who logs would wait for that.
 */
static KeptPlan rejects_delete = {
	.sql = "DELETE FROM omnichannel.contact_reject AS r WHERE r.reject_id = ANY (ARRAY("
		   "SELECT one.reject_id FROM unnest($2, $3, $4, $5, $6) AS u (source, source_key, new, revised, written) "
		   "CROSS JOIN LATERAL (SELECT t.reject_id FROM omnichannel.contact_reject AS t"
		   " WHERE t.tracking = $1 AND t.source = u.source AND t.source_key = u.source_key"
		   " AND (u.new OR (t.sqlstate <> '23505' AND u.revised))"
		   " AND (u.written IS NULL OR t.xmin = u.written) "
		   "FOR UPDATE SKIP LOCKED) AS one))",
	.nargs = 6,
	.argtypes = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID, BOOLARRAYOID, XIDARRAYOID},
	.indexed = true,
};

/* What is kept of a row of an erased customer: by what it is found again, and whose it is, which must be told. */
static KeptPlan erased_data = {
	.sql = "SELECT coalesce(jsonb_object_agg(d.key, CASE WHEN strpos(u.keys, '{' || d.key || '}') > 0"
		   " OR d.key = ANY (u.columns) THEN d.value ELSE 'null' END), '{}') FROM ("
		   "SELECT concat_ws(' ', t.customer, t.recipient, t.direction, t.source_key) AS keys,"
		   " coalesce(t.thread, '') AS thread,"
		   " ARRAY(SELECT a.attname::text FROM pg_index AS i JOIN pg_attribute AS a"
		   " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::smallint[])"
		   " WHERE i.indrelid = t.relation AND i.indisprimary) AS columns "
		   "FROM omnichannel.tracking AS t WHERE t.tracking = $1) AS u CROSS JOIN jsonb_each($2) AS d "
		   "WHERE strpos(u.keys || u.thread, '{' || d.key || '}') > 0 OR d.key = ANY (u.columns)",
	.nargs = 2,
	.argtypes = {TEXTOID, JSONBOID},
};

/*
 * Deletes what is kept of a row under the key that it had before, unless another row has come to that key in the same
 * transaction, as where keys are moved up.
 */
static KeptPlan former_delete = {
	.sql = "DELETE FROM omnichannel.contact_reject AS r WHERE r.tracking = $1 AND r.source = $2 AND r.source_key = $3"
		   " AND (r.rejected_at < now() OR (r.as_text = $5 AND r.data <@ $4))",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, JSONBOID, BOOLOID},
	.indexed = true,
};

static KeptPlan former_hold = {
	.sql = "SELECT FROM omnichannel.contact_reject WHERE tracking = $1 AND source = $2 AND source_key = $3 FOR UPDATE",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

/* What waits under the key that an updated row had before. */
struct FormerReject
{
	const Tracking *tracking;
	const char *key;
	Datum data; /* the row before */
	bool as_text;
};

/* A row that is to be kept, and what is made of it. */
typedef struct KeptRow
{
	const Tracking *tracking;
	Relation relation;
	TupleTableSlot *slot;
	Datum data;
	bool as_text;
	const char *key;    /* or NULL */
	const char *former; /* the key that it had before, where that is another one, or NULL */
	bool followed;      /* its contact has the key now */
	int64 customer_id;  /* whom it names, where that is asked, or 0 */
	bool erased;        /* who was erased */
} KeptRow;

/* Returns a row as the same row of texts. */
static Datum
row_of_texts(TupleTableSlot *slot)
{
	TupleDesc desc = slot->tts_tupleDescriptor;
	TupleDesc texts = CreateTemplateTupleDesc(desc->natts);
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Oid output;
		bool varlena;

		TupleDescInitEntry(texts, i + 1, NameStr(attribute->attname), TEXTOID, -1, 0);
		TupleDescAttr(texts, i)->attisdropped = attribute->attisdropped;
		nulls[i] = attribute->attisdropped || slot->tts_isnull[i];
		if (nulls[i])
			continue;
		getTypeOutputInfo(attribute->atttypid, &output, &varlena);
		values[i] = CStringGetTextDatum(OidOutputFunctionCall(output, slot->tts_values[i]));
	}
	BlessTupleDesc(texts);
	return HeapTupleGetDatum(heap_form_tuple(texts, values, nulls));
}

/* Returns a row as jsonb. */
static Datum
row_to_jsonb(Datum row)
{
	char *json = text_to_cstring(DatumGetTextPP(DirectFunctionCall1(row_to_json, row)));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/* Makes the JSON of the row's columns. */
static void
make_json(void *argument)
{
	KeptRow *row = argument;
	row->data = row_to_jsonb(ExecFetchSlotHeapTupleDatum(row->slot));
}

/* Makes the row's key, where it has one that the log would take. */
static void
make_key(void *argument)
{
	KeptRow *row = argument;
	const char *key = mapping_only_key(row->tracking, row->relation, row->slot);

	if (key != NULL && key[0] != '\0' && strlen(key) <= KEY_MAX)
		row->key = key;
}

/* Gives the row's contact the key that the row has now. */
static void
follow(void *argument)
{
	KeptRow *row = argument;
	ContactEntry entry = {.source = row->tracking->source, .source_key = row->key};
	SpiScope scope;

	spi_scope_begin(&scope, true);
	row->followed = follow_key(&entry, row->former);
	spi_scope_end(&scope);
}

/* Tells whom the row names by number. */
static void
make_customer(void *argument)
{
	KeptRow *row = argument;
	ContactEntry entry;

	(void) mapping_evaluate(mapping_fit(row->tracking, row->relation), row->slot, false, &entry);
	row->customer_id = entry.customer_id;
}

/* Tells whether that customer was erased. */
static void
make_erased(void *argument)
{
	KeptRow *row = argument;
	SpiScope scope;

	spi_scope_begin(&scope, true);
	row->erased = customer_is_erased(row->customer_id);
	spi_scope_end(&scope);
}

/* Makes what is kept of a row, and its key. */
static void
make_row(void *argument)
{
	KeptRow *row = argument;
	row->as_text = !row_allows(make_json, row);
	if (row->as_text)
		row->data = row_to_jsonb(row_of_texts(row->slot));
	(void) row_allows(make_key, row);
}

/* Makes of a row in the slot what it was before its write, which may have been in another partition. */
static void
make_former(const TrackedWrite *write, KeptRow *former)
{
	/* Its statement holds a lock on it. */
	former->relation =
		relation_open(write->former == NULL ? write->left->relation : RelationGetRelid(write->relation), NoLock);
	former->slot = MakeSingleTupleTableSlot(RelationGetDescr(former->relation), &TTSOpsMinimalTuple);
	ExecStoreMinimalTuple(write->former == NULL ? write->left->row : write->former, former->slot, false);
	(void) row_allows(make_row, former);
	ExecDropSingleTupleTableSlot(former->slot);
	relation_close(former->relation, NoLock);
}

/*
 * former_reject_hold locks what waits under the key that the row of a write had before, for former_reject_delete();
 * returns NULL where nothing does. Waits for who tries that again: it would be logged under that key, and the row under
 * the one that it has now. Runs the row's output functions with the rights of its writer.
 */
FormerReject *
former_reject_hold(const Tracking *tracking, const TrackedWrite *write, const char *key)
{
	const ContactEntry entry = {.source = tracking->source, .source_key = key};
	KeptRow row = {.tracking = tracking};
	FormerReject *former = NULL;
	SpiScope scope;
	bool waits;
	int settings;

	spi_scope_begin_unpinned(&scope, true);
	waits = reject_waits(tracking, &entry, 1);
	if (waits)
	{
		Datum values[3] = {CStringGetTextDatum(tracking->code), CStringGetTextDatum(tracking->source),
						   CStringGetTextDatum(key)};

		waits = kept_plan_run(&former_hold, values, NULL, false, 0) > 0;
	}
	spi_scope_end(&scope);
	if (!waits)
		return NULL;
	settings = pinned_output_begin();
	make_former(write, &row);
	pinned_output_end(settings);
	former = palloc(sizeof(FormerReject));
	*former = (FormerReject){.tracking = tracking, .key = key, .data = row.data, .as_text = row.as_text};
	return former;
}

/*
 * former_reject_delete deletes what waits under the key that a row had before, unless that is another row's. Needs an
 * SPI scope of the log's owner.
 */
void
former_reject_delete(const FormerReject *former)
{
	Datum values[5] = {CStringGetTextDatum(former->tracking->code), CStringGetTextDatum(former->tracking->source),
					   CStringGetTextDatum(former->key), former->data, BoolGetDatum(former->as_text)};

	(void) kept_plan_run(&former_delete, values, NULL, false, 0);
}

/* Returns what is kept of a row of an erased customer, of the tracking and the row as jsonb. */
static Datum
erased_row(Datum *values, bool owner)
{
	SpiScope scope;
	Datum data;
	bool isnull;

	spi_scope_begin(&scope, owner);
	(void) kept_plan_run(&erased_data, values, NULL, false, 1);
	data = SPI_datumTransfer(spi_datum(0, 1, &isnull), false, -1);
	spi_scope_end(&scope);
	return data;
}

/*
 * reject_row keeps the row of the write's relation in its slot for retry_rejects(), with the error that kept it from
 * the log, instead of what is kept of its key, or of the one that it had before the write; from there its contact
 * follows it.
 *
 * Waits for who keeps a row of the same key, or tries again what is kept of the former.
 *
 * Types may have output functions of their own: a row's texts are written with the rights of its writer, or, where it
 * was there before, of its table's owner. Of a row that names an erased customer nothing is kept but what it is known
 * by and whose it is. Raises what those functions raise, and 54000 for a row that no jsonb holds.
 */
void
reject_row(const Tracking *tracking, const TrackedWrite *write, const ErrorData *error)
{
	KeptRow row = {.tracking = tracking, .relation = write->relation, .slot = write->slot};
	KeptRow former = {.tracking = tracking};
	FormerRow before = {0};
	SpiScope scope;
	Datum values[10] = {0};
	RelationScope reader;
	bool updated = write->update;
	bool left;
	int settings = 0;

	if (write->owner)
		settings = pinned_output_begin();
	else
		relation_scope_begin(&reader, tracking->relation);
	make_row(&row);
	if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		(void) row_allows(make_customer, &row);
	if (updated && (write->former != NULL || write->left != NULL) && row.key != NULL)
	{
		make_former(write, &former);
		former_read(&before, write, tracking);
	}
	if (write->owner)
		pinned_output_end(settings);
	else
		relation_scope_end(&reader);

	left = former.key != NULL && strcmp(former.key, row.key) != 0;
	if (former.key != NULL && updated)
	{
		/* What is logged under its key is its own, or nothing known is. */
		spi_scope_begin(&scope, write->owner);
		updated = !former_is_other(&before, tracking->source, former.key, left, NULL);
		spi_scope_end(&scope);
	}
	if (left)
	{
		const FormerReject waiting = {tracking, former.key, former.data, former.as_text};

		spi_scope_begin(&scope, write->owner);
		former_reject_delete(&waiting);
		note_displaced(tracking, row.key, write->command);
		spi_scope_end(&scope);
		row.former = former.key;
		if (updated)
			(void) row_allows(follow, &row);
		/* Without a contact of its own, what is logged under the key is another row's. */
		updated = row.followed;
	}
	else if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION)
		updated = false;
	values[0] = CStringGetTextDatum(tracking->code);
	values[1] = row.data;
	if (row.customer_id != 0 && row_allows(make_erased, &row) && row.erased)
		values[1] = erased_row(values, write->owner);
	values[2] = BoolGetDatum(row.as_text);
	values[3] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[4] = CStringGetTextDatum(error->message == NULL ? "" : error->message);
	values[5] = BoolGetDatum(write->live);
	values[6] = BoolGetDatum(updated);
	values[7] = CStringGetTextDatum(tracking->source);
	if (row.key != NULL)
		values[8] = CStringGetTextDatum(row.key);
	values[9] = BoolGetDatum(left);

	spi_scope_begin(&scope, write->owner);
	if (row.key != NULL)
		(void) kept_plan_run(&reject_insert, values, NULL, false, 0);
	else if ((write->live && !updated) || kept_plan_run(&reject_again, values, NULL, false, 0) == 0)
		(void) kept_plan_run(&reject_insert, values, "        n ", false, 0);
	spi_scope_end(&scope);
}

/*
 * rejects_find returns the entries as they are, of which contact_write() may mask the keys, for rejects_clear(); NULL
 * where no row waits under their keys. Needs an SPI scope.
 */
const ContactEntry *
rejects_find(const Tracking *tracking, const ContactEntry *entries, int count)
{
	ContactEntry *copies = NULL;
	OwnerSwitch owner;

	owner_switch_begin(&owner);
	if (reject_waits(tracking, entries, count))
	{
		copies = palloc(sizeof(ContactEntry) * count);
		memcpy(copies, entries, sizeof(ContactEntry) * count);
	}
	owner_switch_end(&owner);
	return copies;
}

/*
 * Tells which transaction wrote what waits under each of some keys; the invalid one, which has written nothing, where
 * what waits came only after the snapshot: of a row that has changed since it was read.
 */
static void
find_written(const Tracking *tracking, Datum *sources, Datum *keys, int count, Snapshot seen, Datum *writers)
{
	Datum values[3] = {CStringGetTextDatum(tracking->code), array_of(sources, NULL, count, TEXTOID),
					   array_of(keys, NULL, count, TEXTOID)};
	uint64 rows = kept_plan_run(&rejects_written, values, NULL, false, 0);
	bool isnull;

	for (int i = 0; i < count; i++)
		writers[i] = TransactionIdGetDatum(InvalidTransactionId);
	for (uint64 row = 0; row < rows; row++)
	{
		TransactionId writer = DatumGetTransactionId(spi_datum(row, 2, &isnull));

		if (TransactionIdIsCurrentTransactionId(writer) || !XidInMVCCSnapshot(writer, seen))
			writers[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1] = TransactionIdGetDatum(writer);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * rejects_clear deletes what waits under the keys of entries that are logged now: new, revised (with revises), or the
 * same as they were logged before, which those marked in other are not. What came only after the snapshot that the rows
 * were read by, or NULL, is left. Needs an SPI scope.
 */
void
rejects_clear(const Tracking *tracking, const ContactEntry *found, const ContactEntry *entries, const bool *other,
			  int count, bool revises, Snapshot seen)
{
	Datum *sources = palloc(sizeof(Datum) * count);
	Datum *keys = palloc(sizeof(Datum) * count);
	Datum *fresh = palloc(sizeof(Datum) * count);
	Datum *revised = palloc(sizeof(Datum) * count);
	Datum *writers = palloc(sizeof(Datum) * count);
	Datum values[6] = {CStringGetTextDatum(tracking->code)};
	int cleared = 0;
	OwnerSwitch owner;

	for (int i = 0; i < count; i++)
	{
		if (found[i].source_key == NULL || other[i])
			continue;
		sources[cleared] = CStringGetTextDatum(found[i].source);
		keys[cleared] = CStringGetTextDatum(found[i].source_key);
		fresh[cleared] = BoolGetDatum(!entries[i].duplicate);
		revised[cleared++] = BoolGetDatum(revises || !tracking->updates);
	}
	if (cleared == 0)
		return;
	owner_switch_begin(&owner);
	if (seen != NULL)
		find_written(tracking, sources, keys, cleared, seen, writers);
	values[1] = array_of(sources, NULL, cleared, TEXTOID);
	values[2] = array_of(keys, NULL, cleared, TEXTOID);
	values[3] = array_of(fresh, NULL, cleared, BOOLOID);
	values[4] = array_of(revised, NULL, cleared, BOOLOID);
	values[5] = array_of(writers, NULL, seen == NULL ? 0 : cleared, XIDOID);
	rejects_delete.runs += cleared - 1;
	(void) kept_plan_run(&rejects_delete, values, NULL, false, 0);
	owner_switch_end(&owner);
}
