/*
 * import.c
 *	  Logs rows that a tracked table has, and rows that were kept when they could not be logged.
 *
 * Rows are read with the rights of their table's owner and logged with those of whoever asks for it: the code that
 * comes with a table must not run with the rights of an administrator of the log.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"
#include "contact/tracked.h"

SQL_FUNCTION(omnichannel_check_tracking);
SQL_FUNCTION(omnichannel_log_tracked_row);
SQL_FUNCTION(omnichannel_log_reject);
SQL_FUNCTION(omnichannel_backfill);

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
	tracked_write_rows(&write, &row, 1);
	ExecDropSingleTupleTableSlot(write.slot);
	relation_close(relation, AccessShareLock);
	PG_RETURN_BOOL(write.logged > 0);
}

/* Returns, in a context, the row that a query about a reject finds with the rights of the table's owner, or NULL. */
static MinimalTuple
query_row(const TrackedWrite *write, const char *query, Datum data, MemoryContext context)
{
	MemoryContext old;
	MinimalTuple row = NULL;
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
	old = MemoryContextSwitchTo(context);
	if (!isnull)
		row = record_row(write, DatumGetHeapTupleHeader(record));
	MemoryContextSwitchTo(old);
	return row;
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
	present = spi_text(0, 1, old);
	key = spi_datum(0, 2, &isnull);
	kept = spi_text(0, 3, CurrentMemoryContext);
	missing = spi_text(0, 4, CurrentMemoryContext);
	if (isnull)
		present = NULL;
	if (present != NULL)
	{
		key = SPI_datumTransfer(key, false, -1);
		check_readable(relation);
		row = query_row(&write, present, key, old);
		/* What was never logged when it was rejected can only have been logged as it was later. */
		write.older = row == NULL && !write.update;
	}
	if (row == NULL && kept != NULL)
		row = query_row(&write, kept, PG_GETARG_DATUM(1), old);
	if (row == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("the row as it was written has no column %s", missing == NULL ? "at all" : missing)));
	spi_scope_end(&scope);

	for (;;)
	{
		MinimalTuple again;

		CHECK_FOR_INTERRUPTS();
		tracked_write_rows(&write, &row, 1);
		if (present == NULL)
			break;
		/* An update may have been waited for. From now on its like waits for what is logged here. */
		spi_scope_begin(&scope, false);
		again = query_row(&write, present, key, old);
		spi_scope_end(&scope);
		if (again == NULL || (again->t_len == row->t_len && memcmp(again, row, row->t_len) == 0))
			break;
		row = again;
		write.update = true;
		write.older = false;
	}
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
	int limit = tracked_batch_rows(&write);
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
	/* It stays as long as the function runs. */
	write.seen = GetActiveSnapshot();
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
			tracked_lock_batches();
		first = false;
		MemoryContextSwitchTo(old);
		if (count == limit)
			tracked_begin_batches(&write);
		MemoryContextSwitchTo(batch);
		if (count > 0)
			tracked_log_rows(&write, rows, count);
		MemoryContextSwitchTo(spi);
		MemoryContextReset(batch);
	} while (count == limit);
	tracked_end_batches(&write);
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
