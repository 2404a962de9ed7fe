/*
 * schema.c
 *	  Where the tables are, and a clear error where setup() has not made them yet.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_require_setup);

/* A table's name, and what it was looked up as, which costs as much as some of what is done with it. */
typedef struct KnownTable
{
	uint64 generation; /* when; 0 for never */
	char name[NAMEDATALEN];
	Oid oid;
} KnownTable;

static KnownTable known_tables[64];
static uint64 schemas_changed = 0;

/* Notes that a schema was renamed. */
static void
schema_changed(Datum arg, int cache, uint32 hash)
{
	schemas_changed++;
}

/* Raises the error of a database in which setup() has not run. */
pg_noreturn static void
omni_not_set_up(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("omnichannel is not set up in this database"),
			 errhint("Run CALL omnichannel.setup(currency => 'EUR', country => 'DE', time_zone => 'Europe/Berlin').")));
	pg_unreachable();
}

/* Returns the owner of a relation, or InvalidOid where there is none. */
Oid
relation_owner(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
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

/* Returns a number that is another one once a relation, a role, a function or a schema has changed. */
static uint64
names_generation(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
	registered = true;
	return relations_generation() + schemas_changed;
}

/* Returns the OID of one of the tables that setup() makes; raises 55000 where it is missing. */
Oid
omni_table(const char *name)
{
	KnownTable *known = &known_tables[((uintptr_t) name / sizeof(void *)) % lengthof(known_tables)];
	uint64 generation = names_generation();
	Oid table;

	if (known->generation == generation && strcmp(known->name, name) == 0)
		return known->oid;
	table = get_relname_relid(name, omni_schema());
	if (!OidIsValid(table))
		omni_not_set_up();
	/* Looking it up may have told of a change. */
	*known = (KnownTable){.generation = generation, .oid = table};
	strlcpy(known->name, name, NAMEDATALEN);
	return table;
}

/* Returns the role that owns the tables: the one that called setup(). */
Oid
omni_owner(void)
{
	static uint64 known = 0;
	static Oid owner = InvalidOid;
	uint64 generation = names_generation();

	if (known != generation)
	{
		owner = relation_owner(omni_table("company"));
		if (!OidIsValid(owner))
			omni_not_set_up();
		known = generation;
	}
	return owner;
}

/* require_setup(): returns nothing, or raises 55000 where setup() has not run. For functions in SQL and PL/pgSQL. */
Datum
omnichannel_require_setup(PG_FUNCTION_ARGS)
{
	omni_table("company");
	PG_RETURN_VOID();
}
