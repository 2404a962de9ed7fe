/*
 * plan.c
 *	  SPI plans prepared once a backend, and their results.
 */
#include "postgres.h"

#include "omnichannel.h"

/* Returns the plan, prepared anew where it is missing or no longer valid; needs an SPI connection. */
static SPIPlanPtr
kept_plan_get(KeptPlan *kept)
{
	if (kept->plan != NULL && SPI_plan_is_valid(kept->plan))
		return kept->plan;

	if (kept->plan != NULL)
	{
		SPIPlanPtr stale = kept->plan;

		kept->plan = NULL;
		SPI_freeplan(stale);
	}

	{
		SPIPlanPtr plan = SPI_prepare(kept->sql, kept->nargs, kept->argtypes);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare returned %s for %s", SPI_result_code_string(SPI_result), kept->sql);
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed for %s", kept->sql);
		kept->plan = plan;
	}
	return kept->plan;
}

/*
 * kept_plan_run executes the statement and returns the number of rows that it returned or changed.
 *
 * Needs an SPI scope; the rows are in SPI_tuptable until the next call. read_only takes the active snapshot, otherwise
 * a new one is taken. max_rows 0 means all. Raises whatever the statement raises.
 */
uint64
kept_plan_run(KeptPlan *kept, Datum *values, const char *nulls, bool read_only, long max_rows)
{
	int result = SPI_execute_plan(kept_plan_get(kept), values, nulls, read_only, max_rows);

	if (result < 0)
		elog(ERROR, "SPI_execute_plan returned %s for %s", SPI_result_code_string(result), kept->sql);
	return SPI_processed;
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
