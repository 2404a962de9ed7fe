/*
 * reject.c
 *	  Rows of tracked tables that could not be logged, kept until retry_rejects().
 *
 * A row is kept as JSON by column, which people can read and search. Not every row has a JSON that jsonb holds: the
 * type json takes \u0000, numbers beyond numeric and characters that the database's encoding has not. Of such a row
 * the texts of its columns are kept, as their types write and read them. Either is written under pinned settings, so
 * that it means the same to whoever reads it back.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "contact/mapping.h"

static KeptPlan reject_insert = {
	.sql = "INSERT INTO omnichannel.contact_reject (tracking, data, as_text, sqlstate, message, live, updated, source)"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
	.nargs = 8,
	.argtypes = {TEXTOID, JSONBOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, TEXTOID},
};

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

/* Returns the slot's row as jsonb, in the current context: the JSON of its columns, or, as_text, their texts. */
static Datum
row_data(TupleTableSlot *slot, bool *as_text)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile Datum data = (Datum) 0;
	volatile bool failed = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		data = row_to_jsonb(ExecFetchSlotHeapTupleDatum(slot));
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_FEATURE_NOT_SUPPORTED &&
			ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	*as_text = failed;
	return failed ? row_to_jsonb(row_of_texts(slot)) : data;
}

/*
 * reject_row keeps the row in the slot for retry_rejects(), with the error that kept it from the log.
 *
 * updated: an UPDATE wrote it. as_owner: the trigger keeps it, with the rights of the log's owner.
 *
 * Types may have output functions of their own: a row's texts are written with the rights of its writer, or, where it
 * was there before, of its table's owner. Raises what those functions raise, and 54000 for a row that no jsonb holds.
 */
void
reject_row(const Tracking *tracking, TupleTableSlot *slot, const ErrorData *error, bool live, bool updated,
		   bool as_owner)
{
	SpiScope scope;
	Datum values[8];
	RelationScope reader;
	bool as_text;
	int settings = 0;

	if (as_owner)
		settings = pinned_output_begin();
	else
		relation_scope_begin(&reader, tracking->relation);
	values[0] = CStringGetTextDatum(tracking->code);
	values[1] = row_data(slot, &as_text);
	values[2] = BoolGetDatum(as_text);
	values[3] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[4] = CStringGetTextDatum(error->message == NULL ? "" : error->message);
	values[5] = BoolGetDatum(live);
	values[6] = BoolGetDatum(updated);
	values[7] = CStringGetTextDatum(tracking->source);
	if (as_owner)
		pinned_output_end(settings);
	else
		relation_scope_end(&reader);

	spi_scope_begin(&scope, as_owner);
	(void) kept_plan_run(&reject_insert, values, NULL, false, 0);
	spi_scope_end(&scope);
}
