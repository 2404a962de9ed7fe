/*
 * schema.c
 *	  Where the tables are, and a clear error where setup() has not made them yet.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_require_setup);

/* Raises the error of a database in which setup() has not run. */
void
omni_not_set_up(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("omnichannel is not set up in this database"),
			 errhint("Run CALL omnichannel.setup(currency => 'EUR', country => 'DE', time_zone => 'Europe/Berlin').")));
	pg_unreachable();
}

/* Returns the OID of the schema; raises 55000 where it is missing. */
Oid
omni_schema(void)
{
	Oid schema = get_namespace_oid(OMNI_SCHEMA, true);

	if (!OidIsValid(schema))
		omni_not_set_up();
	return schema;
}

/* Returns the OID of one of the tables that setup() makes; raises 55000 where it is missing. */
Oid
omni_table(const char *name)
{
	Oid table = get_relname_relid(name, omni_schema());

	if (!OidIsValid(table))
		omni_not_set_up();
	return table;
}

/* require_setup(): returns nothing, or raises 55000 where setup() has not run. For functions in SQL and PL/pgSQL. */
Datum
omnichannel_require_setup(PG_FUNCTION_ARGS)
{
	omni_table("company");
	PG_RETURN_VOID();
}
