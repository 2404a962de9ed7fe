/*
 * as_owner.c
 *	  What is written about prices with the rights of the tables' owner.
 *
 * What limits promotions, what was promised and what was corrected is exact only as long as nobody writes it but these
 * functions: who calls them needs to read the table, and no right to write it. The work is done in PL/pgSQL, by the
 * functions of the same names with _as_owner behind.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rls.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_use_as_owner);
SQL_FUNCTION(omnichannel_keep_quote);

/* reserve_use(), commit_use(), release_use(), expire_uses(), note_prepared(): see the COMMENT of each. */
Datum
omnichannel_use_as_owner(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* What keep_quote() is asked: all of its arguments but hold. */
#define QUOTE_ARGS 6
static KeptPlan answer_select = {
	.sql = "SELECT to_jsonb(answer) - 'valid_until' FROM omnichannel.quote($1, $2, $3, $4, now(), $5) AS answer"
		   " WHERE $6 IS NULL OR NOT EXISTS (SELECT FROM omnichannel.locked_quote AS found WHERE found.key = $6)",
	.nargs = QUOTE_ARGS,
	.argtypes = {INT8OID, TEXTOID, NUMERICOID, TEXTOID, TEXTARRAYOID, TEXTOID},
};

/* One that somebody else locked under the same key is of another moment. */
static KeptPlan other_answer_select = {
	.sql = "SELECT FROM omnichannel.locked_quote AS made"
		   " WHERE made.quote_id = $1 AND made.locked_at = now() AND made.result - 'valid_until' <> $2::jsonb",
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID},
};

/*
 * Returns whether the caller may read each row that an answer can follow from, so that it is the owner's answer.
 *
 * Of these tables, quote() reads whichever it needs.
 */
static bool
sees_all(void)
{
	static const char *const tables[] = {
		"company", "coupon",    "currency",          "customer",      "omnibus_rule", "price",          "price_list",
		"product", "promotion", "promotion_used_up", "promotion_use", "segment",      "segment_member",
	};

	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		Oid table = omni_table(tables[i]);

		if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
			check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
			return false;
	}
	return true;
}

/*
 * Returns what quote() answers the caller; NULL where the key has a quote already, unless that does not matter. Raises
 * what quote() does.
 */
static char *
answer_of_caller(FunctionCallInfo fcinfo, bool under_key)
{
	static const int places[QUOTE_ARGS] = {0, 1, 2, 3, 4, 6};
	MemoryContext context = CurrentMemoryContext;
	Datum values[QUOTE_ARGS];
	char nulls[QUOTE_ARGS + 1] = {0};
	char *answer = NULL;
	SpiScope scope;

	for (int i = 0; i < QUOTE_ARGS; i++)
	{
		values[i] = PG_GETARG_DATUM(places[i]);
		nulls[i] = PG_ARGISNULL(places[i]) ? 'n' : ' ';
	}
	if (!under_key)
		nulls[QUOTE_ARGS - 1] = 'n';
	spi_scope_begin(&scope, false);
	if (kept_plan_run(&answer_select, values, nulls, false, 1) > 0)
		answer = spi_text(0, 1, context);
	spi_scope_end(&scope);
	return answer;
}

/* Returns whether the quote was locked just now, for another answer than this one. */
static bool
is_another_answer(Datum quote, const char *answer)
{
	Datum values[] = {quote, CStringGetTextDatum(answer)};
	SpiScope scope;
	bool another;

	spi_scope_begin(&scope, true);
	another = kept_plan_run(&other_answer_select, values, NULL, false, 1) > 0;
	spi_scope_end(&scope);
	return another;
}

/*
 * keep_quote(): see its COMMENT.
 *
 * Who may not see a price, or sees another one, by rights or row-level security, has neither of them locked: whoever
 * may not see all asks for the answer himself, which must be the one that was locked. Where not, a price may just have
 * changed.
 */
Datum
omnichannel_keep_quote(PG_FUNCTION_ARGS)
{
	char *answer = NULL;
	Datum quote;

	(void) omni_table("locked_quote");
	if (!sees_all())
		answer = answer_of_caller(fcinfo, true);
	quote = call_as_owner(fcinfo, "locked_quote");

	for (int attempt = 1; answer != NULL && !fcinfo->isnull && is_another_answer(quote, answer); attempt++)
	{
		if (attempt == 3)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("role \"%s\" may not see all that the price of product \"%s\" follows from",
								   GetUserNameFromId(GetUserId(), false), text_to_cstring(PG_GETARG_TEXT_PP(1))),
							errhint("Let a role lock it that row-level security shows the products, prices, lists and "
									"promotions.")));
		answer = answer_of_caller(fcinfo, false);
	}
	return quote;
}
