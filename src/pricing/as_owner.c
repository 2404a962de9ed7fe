/*
 * as_owner.c
 *	  What is written about prices with the rights of the tables' owner.
 *
 * What limits promotions, what was promised and what was corrected is exact only as long as nobody writes it but these
 * functions: who calls them needs to read the table, and no right to write it. The work is done in PL/pgSQL, by the
 * functions of the same names with _as_owner behind.
 */
#include "postgres.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_use_as_owner);
SQL_FUNCTION(omnichannel_keep_quote);

/* reserve_use(), commit_use(), release_use(), expire_uses(): see the COMMENT of each. */
Datum
omnichannel_use_as_owner(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* keep_quote(): see its COMMENT. */
Datum
omnichannel_keep_quote(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "locked_quote");
}
