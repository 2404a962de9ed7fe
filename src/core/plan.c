/*
 * plan.c
 *	  SPI plans prepared once a backend, and their results.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi_priv.h"
#include "tcop/dest.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "omnichannel.h"

/*
 * Returns the plan, prepared where it is missing; needs an SPI connection.
 *
 * It is never freed: a trigger that its execution fires may run the same statement again. What invalidates it, the plan
 * cache makes good at the next execution.
 */
static SPIPlanPtr
kept_plan_get(KeptPlan *kept)
{
	if (kept->plan == NULL)
	{
		int options = kept->indexed ? CURSOR_OPT_GENERIC_PLAN : kept->long_lasting ? CURSOR_OPT_CUSTOM_PLAN : 0;
		SPIPlanPtr plan = SPI_prepare_cursor(kept->sql, kept->nargs, kept->argtypes, options);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare returned %s for %s", SPI_result_code_string(SPI_result), kept->sql);
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed for %s", kept->sql);
		kept->plan = plan;
	}
	return kept->plan;
}

/* Executions after which an indexed statement is planned again, and then whenever they have doubled. */
#define REPLAN_AFTER 64

/* Counts an execution; returns whether the tables may have outgrown the plan since it was made. */
static bool
may_be_outgrown(KeptPlan *kept)
{
	kept->runs++;
	if (kept->runs < REPLAN_AFTER || kept->runs / 2 < kept->planned)
		return false;
	kept->planned = kept->runs;
	return true;
}

/* Returns the statement as the plan cache keeps it; a kept one is a single statement. */
static CachedPlanSource *
cached_statement(SPIPlanPtr plan)
{
	return linitial(plan->plancache_list);
}

/* Returns whether the next execution has to plan the statement. */
static bool
needs_planning(SPIPlanPtr plan)
{
	CachedPlanSource *source = cached_statement(plan);

	return !source->is_valid || source->gplan == NULL || !source->gplan->is_valid;
}

/* Has the next execution plan the statement again; one that is under way keeps the plan that it has. */
static void
plan_outgrown(SPIPlanPtr plan)
{
	CachedPlan *planned = cached_statement(plan)->gplan;

	if (planned != NULL)
		planned->is_valid = false;
}

/*
 * Plans the statement without the ways that pay for small tables only, such as to keep all rows of a table that is
 * thought to be empty and go through them for each row of another, and without compiling it: what it was thought to
 * cost would start the compiler at each execution, at a hundred times the cost of the execution itself.
 *
 * The execution is left to the session's own settings, because triggers that it fires plan statements of their own.
 */
static void
plan_indexed(SPIPlanPtr plan)
{
	static const char *const settings[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material",
										   "jit"};
	int level = NewGUCNestLevel();
	CachedPlan *planned;

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	planned = SPI_plan_get_cached_plan(plan);
	if (planned != NULL)
		ReleaseCachedPlan(planned, CurrentResourceOwner);
	AtEOXact_GUC(true, level);
}

/* Takes the statement itself out of an error's context, which is one line of it, and says what to do. */
static void
shorten_context(ErrorData *error, const char *sql)
{
	char *line = error->context == NULL ? NULL : strstr(error->context, sql);
	char *rest;

	if (error->hint == NULL)
		error->hint = pstrdup("Try the transaction again.");
	if (line == NULL)
		return;
	rest = strchr(line + strlen(sql), '\n');
	while (line > error->context && line[-1] != '\n')
		line--;
	if (rest != NULL)
		memmove(line, rest + 1, strlen(rest + 1) + 1);
	else if (line > error->context)
		line[-1] = '\0';
	else
		error->context = NULL;
}

/* What rows are sent to. */
typedef struct RowReceiver
{
	DestReceiver receiver; /* first */
	RowTaker take;
	void *arg;
} RowReceiver;

static bool
row_receive(TupleTableSlot *slot, DestReceiver *receiver)
{
	const RowReceiver *rows = (const RowReceiver *) receiver;

	slot_getallattrs(slot);
	return rows->take(rows->arg, slot->tts_values, slot->tts_isnull);
}

static void
rows_begin(DestReceiver *receiver, int operation, TupleDesc desc)
{
}

static void
rows_end(DestReceiver *receiver)
{
}

/* Executes a plan and sends its rows, if they are to be sent. */
static int
run_plan(const KeptPlan *kept, Datum *values, const char *nulls, bool read_only, long max_rows, DestReceiver *receiver)
{
	SPIExecuteOptions options = {.read_only = read_only, .dest = receiver};

	if (receiver == NULL)
		return SPI_execute_plan(kept->plan, values, nulls, read_only, max_rows);
	options.params = makeParamList(kept->nargs);
	for (int i = 0; i < kept->nargs; i++)
		options.params->params[i] =
			(ParamExternData){.value = values[i], .pflags = PARAM_FLAG_CONST, .ptype = kept->argtypes[i]};
	return SPI_execute_plan_extended(kept->plan, &options);
}

/*
 * Executes a plan. Above READ COMMITTED whoever calls must expect 40001, and has nothing to learn from which statement
 * of the extension it was.
 */
static int
execute_plan(const KeptPlan *kept, Datum *values, const char *nulls, bool read_only, long max_rows,
			 DestReceiver *receiver)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int result = 0;

	if (!IsolationUsesXactSnapshot())
		return run_plan(kept, values, nulls, read_only, max_rows, receiver);
	PG_TRY();
	{
		result = run_plan(kept, values, nulls, read_only, max_rows, receiver);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (geterrcode() != ERRCODE_T_R_SERIALIZATION_FAILURE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		shorten_context(error, kept->sql);
		ReThrowError(error);
	}
	PG_END_TRY();
	return result;
}

/*
 * kept_plan_run executes the statement and returns the number of rows that it returned or changed.
 *
 * An indexed one is planned for all values, never to scan a whole table, and again now and then while it is young: a
 * plan that was made while a table was empty would scan it, or a wrong index, for as long as nobody analyzes it. Needs
 * an SPI scope; the rows are in SPI_tuptable until the next call. read_only takes the active snapshot, otherwise a new
 * one is taken. max_rows 0 means all. The current memory context stays, where SPI would leave that of the connection:
 * who works in batches frees the memory of each. Raises whatever the statement raises.
 */
uint64
kept_plan_run(KeptPlan *kept, Datum *values, const char *nulls, bool read_only, long max_rows)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr plan;
	int result;

	spi_scope_pin();
	plan = kept_plan_get(kept);
	if (kept->indexed && may_be_outgrown(kept))
		plan_outgrown(plan);
	if (kept->indexed && needs_planning(plan))
		plan_indexed(plan);
	result = execute_plan(kept, values, nulls, read_only, max_rows, NULL);
	MemoryContextSwitchTo(context);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan returned %s for %s", SPI_result_code_string(result), kept->sql);
	return SPI_processed;
}

/*
 * kept_plan_send does so for a statement that reads, under the active snapshot, and hands each row to take() as it
 * comes, until that returns false: rows without number take no memory. No value is NULL. What take() is given is good
 * until it returns; it must use no SPI.
 */
void
kept_plan_send(KeptPlan *kept, Datum *values, RowTaker take, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	RowReceiver rows = {{row_receive, rows_begin, rows_end, rows_end, DestNone}, take, arg};
	int result;

	spi_scope_pin();
	(void) kept_plan_get(kept);
	result = execute_plan(kept, values, NULL, true, 0, &rows.receiver);
	MemoryContextSwitchTo(context);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan returned %s for %s", SPI_result_code_string(result), kept->sql);
}

/* Raises 09000: a statement ended well, but the table has not what it wrote. */
void
rows_not_taken(const char *table)
{
	ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					errmsg("table \"%s\" did not take a row as it was written", table),
					errhint("A trigger or rule of your own on omnichannel.%s keeps rows from it, or changes their"
							" keys: it must let them pass.",
							table)));
}

/* Returns a column (from 1) of a row (from 0) of the last result as text in context, or NULL. */
char *
spi_text(uint64 row, int column, MemoryContext context)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

/* Returns a column (from 1) of a row (from 0) of the last result; a pointer is good until the result is freed. */
Datum
spi_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* Returns a bigint column (from 1) of a row (from 0) of the last result, or 0 where it is NULL. */
int64
spi_id(uint64 row, int column)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Returns a timestamptz column (from 1) of a row (from 0) of the last result, or otherwise where it is NULL. */
TimestampTz
spi_time(uint64 row, int column, TimestampTz otherwise)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

/* Returns whether the columns of a row (from 0) of the last result, all of them, hold these values. */
bool
spi_row_is(uint64 row, const Datum *values, const bool *nulls, int count)
{
	for (int i = 0; i < count; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc, i);
		bool isnull;
		Datum value = spi_datum(row, i + 1, &isnull);
		bool expected = nulls == NULL || !nulls[i];

		if (isnull == expected ||
			(expected && !datum_image_eq(value, values[i], attribute->attbyval, attribute->attlen)))
			return false;
	}
	return true;
}
