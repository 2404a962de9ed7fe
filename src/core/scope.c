/*
 * scope.c
 *	  An SPI connection whose statements mean the same whoever calls.
 *
 * The search_path is pinned for the scope's time, so that an operator or a function of a hostile schema cannot stand in
 * for the built-in one; with as_owner the statements run with the rights of the owner of the tables, as foreign-key
 * checks do, so that a role that holds no right on the log can still be logged. An error needs no clean-up here: the
 * abort of the (sub)transaction restores the user, the settings and SPI.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "omnichannel.h"

#define PINNED_SEARCH_PATH "pg_catalog, pg_temp"

/* Returns the owner of a relation, or InvalidOid where there is none. */
static Oid
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

/* Returns the role that owns the tables: the one that called setup(). */
static Oid
tables_owner(void)
{
	Oid owner = relation_owner(omni_table("company"));

	if (!OidIsValid(owner))
		omni_not_set_up();
	return owner;
}

/* Connects to SPI under the pinned search_path and, if as_owner, with the rights of the tables' owner. */
void
spi_scope_begin(SpiScope *scope, bool as_owner)
{
	Oid owner = as_owner ? tables_owner() : InvalidOid;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	scope->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", PINNED_SEARCH_PATH, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);

	GetUserIdAndSecContext(&scope->user, &scope->security);
	scope->switched = as_owner;
	if (as_owner)
		SetUserIdAndSecContext(owner, scope->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/* Ends what spi_scope_begin() began; results must have been copied out. */
void
spi_scope_end(SpiScope *scope)
{
	if (scope->switched)
		SetUserIdAndSecContext(scope->user, scope->security);
	AtEOXact_GUC(false, scope->guc_level);
	SPI_finish();
}

/*
 * owner_switch_begin takes the rights of the tables' owner for C code that runs no SQL of the caller's making.
 *
 * Kept short: what evaluates the caller's own types and functions must run with the caller's rights.
 */
void
owner_switch_begin(OwnerSwitch *owner)
{
	Oid role = tables_owner();

	GetUserIdAndSecContext(&owner->user, &owner->security);
	SetUserIdAndSecContext(role, owner->security | SECURITY_LOCAL_USERID_CHANGE);
}

/* Ends what owner_switch_begin() began. */
void
owner_switch_end(OwnerSwitch *owner)
{
	SetUserIdAndSecContext(owner->user, owner->security);
}

/*
 * pinned_output_begin makes the texts that types write of their values the same whatever the session's settings, so
 * that they can be compared and read back later; returns what pinned_output_end() takes.
 */
int
pinned_output_begin(void)
{
	static const char *const settings[][2] = {
		{"search_path", PINNED_SEARCH_PATH},
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"timezone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
	};
	int level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

/* Ends what pinned_output_begin() began; an error's abort does it too. */
void
pinned_output_end(int level)
{
	AtEOXact_GUC(false, level);
}

/*
 * relation_scope_begin takes the rights of a relation's owner for reading its rows on behalf of another role, as VACUUM
 * and REINDEX do, and pins the settings.
 *
 * Casts, domains, output functions and generated columns of an application are code of its owner, which must not get
 * the rights of whoever happens to read the rows. The relation must be locked.
 */
void
relation_scope_begin(RelationScope *scope, Oid relation)
{
	Oid owner = relation_owner(relation);

	if (!OidIsValid(owner))
		elog(ERROR, "relation %u is gone", relation);
	GetUserIdAndSecContext(&scope->user, &scope->security);
	SetUserIdAndSecContext(owner, scope->security | SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	scope->guc_level = pinned_output_begin();
}

/* Ends what relation_scope_begin() began; an error's abort does it too. */
void
relation_scope_end(RelationScope *scope)
{
	pinned_output_end(scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security);
}

/*
 * subtransaction_try does work in a subtransaction; returns NULL, or the error that it ended in, a copy in the current
 * context, with nothing left of what it did. The caller raises with ReThrowError() what it has no answer to.
 */
ErrorData *
subtransaction_try(void (*work)(void *argument), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}
