/*
 * as_owner.c
 *	  What is noted of service levels with the rights of the tables' owner.
 *
 * Who may change rules, memberships and requests need not be one who may write what clocks follow from. The work is
 * done in PL/pgSQL, by the functions of the same names with _as_owner behind.
 */
#include "postgres.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_mark_sla_stale);
SQL_FUNCTION(omnichannel_forget_all_requests);
SQL_FUNCTION(omnichannel_follow_memberships);

/* mark_sla_stale(): see its COMMENT. */
Datum
omnichannel_mark_sla_stale(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}

/* forget_all_requests(): see its COMMENT. */
Datum
omnichannel_forget_all_requests(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}

/* follow_memberships(): see its COMMENT. */
Datum
omnichannel_follow_memberships(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}
