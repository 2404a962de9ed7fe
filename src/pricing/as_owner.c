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

SQL_FUNCTION(omnichannel_reserve_use);
SQL_FUNCTION(omnichannel_commit_use);
SQL_FUNCTION(omnichannel_release_use);
SQL_FUNCTION(omnichannel_expire_uses);
SQL_FUNCTION(omnichannel_keep_quote);
SQL_FUNCTION(omnichannel_note_correction);
SQL_FUNCTION(omnichannel_note_change);
SQL_FUNCTION(omnichannel_note_change_seen);

/* reserve_use(): see its COMMENT. */
Datum
omnichannel_reserve_use(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* commit_use(): see its COMMENT. */
Datum
omnichannel_commit_use(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* release_use(): see its COMMENT. */
Datum
omnichannel_release_use(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* expire_uses(): see its COMMENT. */
Datum
omnichannel_expire_uses(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "promotion_use");
}

/* keep_quote(): see its COMMENT. */
Datum
omnichannel_keep_quote(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, "locked_quote");
}

/* note_correction(): see its COMMENT. */
Datum
omnichannel_note_correction(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}

/* note_change(): see its COMMENT. */
Datum
omnichannel_note_change(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}

/* note_change_seen(): see its COMMENT. */
Datum
omnichannel_note_change_seen(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}
