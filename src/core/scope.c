/*
 * scope.c
 *	  An SPI connection whose statements mean the same whoever calls.
 *
 * The search_path is pinned for the scope's time, so that an operator or a function of a hostile schema cannot stand in
 * for the built-in one; where most scopes run no statement, only from the first one on, because to set it and to set it
 * back costs as much as a row. With as_owner the statements run with the rights of the owner of the tables, as
 * foreign-key checks do, so that a role that holds no right on the log can still be logged. An error needs no clean-up
 * here: the abort of the (sub)transaction restores the user, the settings and SPI.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/resowner.h"

#include "omnichannel.h"

#define PINNED_SEARCH_PATH "pg_catalog, pg_temp"

/* A scope that has begun. */
typedef struct OpenScope
{
	int transaction_level;
	int guc_level; /* since the search_path is pinned; 0 before */
} OpenScope;

static OpenScope *open_scopes = NULL;
static int open_count = 0;
static int open_room = 0;

/* Forgets the scopes that an error has ended. */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		open_count = 0;
}

/* The same of those of a subtransaction. */
static void
subtransaction_ended(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (open_count > 0 && open_scopes[open_count - 1].transaction_level >= GetCurrentTransactionNestLevel())
			open_count--;
}

/* Notes that a scope has begun. */
static void
scope_push(void)
{
	if (open_count == open_room)
	{
		int room = Max(16, open_room * 2);

		if (open_scopes == NULL)
		{
			open_scopes = MemoryContextAlloc(TopMemoryContext, sizeof(OpenScope) * room);
			RegisterXactCallback(transaction_ended, NULL);
			RegisterSubXactCallback(subtransaction_ended, NULL);
		}
		else
			open_scopes = repalloc(open_scopes, sizeof(OpenScope) * room);
		open_room = room;
	}
	open_scopes[open_count++] = (OpenScope){.transaction_level = GetCurrentTransactionNestLevel()};
}

/* spi_scope_depth returns how many scopes are open, each within the one before. */
int
spi_scope_depth(void)
{
	return open_count;
}

/*
 * spi_scope_pin pins the search_path for what is left of the innermost scope, if there is one: before anything runs
 * that is not this extension's, or opens a level of settings or a subtransaction that ends within the scope.
 */
void
spi_scope_pin(void)
{
	OpenScope *scope;

	if (open_count == 0)
		return;
	scope = &open_scopes[open_count - 1];
	if (scope->guc_level != 0)
		return;
	scope->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", PINNED_SEARCH_PATH, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/*
 * spi_scope_begin_unpinned connects to SPI and, if as_owner, takes the rights of the tables' owner. The search_path is
 * pinned by whatever may need it: kept_plan_run(), direct_open(), or spi_scope_pin() itself.
 */
void
spi_scope_begin_unpinned(SpiScope *scope, bool as_owner)
{
	Oid owner = as_owner ? omni_owner() : InvalidOid;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	scope_push();
	GetUserIdAndSecContext(&scope->user, &scope->security);
	scope->switched = as_owner;
	if (as_owner)
		SetUserIdAndSecContext(owner, scope->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/* Connects to SPI under the pinned search_path and, if as_owner, with the rights of the tables' owner. */
void
spi_scope_begin(SpiScope *scope, bool as_owner)
{
	spi_scope_begin_unpinned(scope, as_owner);
	spi_scope_pin();
}

/*
 * spi_scope_end ends what spi_scope_begin() or spi_scope_begin_unpinned() began; results must have been copied out. The
 * search_path is set back; what a trigger of the application's set meanwhile stays, as after any other statement.
 */
void
spi_scope_end(SpiScope *scope)
{
	if (scope->switched)
		SetUserIdAndSecContext(scope->user, scope->security);
	open_count--;
	if (open_scopes[open_count].guc_level != 0)
		AtEOXact_GUC(true, open_scopes[open_count].guc_level);
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
	Oid role = omni_owner();

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
	int level;

	spi_scope_pin();
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

/* Ends what pinned_output_begin() began; an error's abort does it too. */
void
pinned_output_end(int level)
{
	AtEOXact_GUC(true, level);
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

	spi_scope_pin();
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
