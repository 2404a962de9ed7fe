/*
 * company.c
 *	  The company's facts: currency, country and time zone, from the one row that setup() writes.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_default_currency);
SQL_FUNCTION(omnichannel_default_time_zone);

static void *company_build(ConfigCache *cache, MemoryContext context);

static ConfigCache company_cache = {.name = "company", .tables = {"company"}, .build = company_build};

static KeptPlan company_select = {
	.sql = "SELECT currency, country, calling_code, time_zone, rounding, tax_inclusive FROM omnichannel.company",
};

/* Reads the row; raises 55000 where it is gone. */
static void *
company_build(ConfigCache *cache, MemoryContext context)
{
	Company *company = MemoryContextAllocZero(context, sizeof(Company));
	Datum tax_inclusive;
	bool isnull;

	if (kept_plan_run(&company_select, NULL, NULL, true, 1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table \"omnichannel.company\" is empty"),
				 errhint("Insert its one row again: currency, country, calling_code, time_zone.")));

	company->currency = spi_text(0, 1, context);
	company->country = spi_text(0, 2, context);
	company->calling_code = spi_text(0, 3, context);
	company->time_zone = spi_text(0, 4, context);
	company->rounding = spi_text(0, 5, context);
	tax_inclusive = spi_datum(0, 6, &isnull);
	company->tax_inclusive = isnull ? -1 : DatumGetBool(tax_inclusive);
	return company;
}

/* Returns the company's facts, good until the next call; raises 55000 before setup(). */
const Company *
company_get(void)
{
	return config_cache_get(&company_cache);
}

/* default_currency(): returns the ISO 4217 code that setup() was told; raises 55000 before setup(). */
Datum
omnichannel_default_currency(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(company_get()->currency));
}

/* default_time_zone(): returns the IANA name that setup() was told; raises 55000 before setup(). */
Datum
omnichannel_default_time_zone(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(company_get()->time_zone));
}
