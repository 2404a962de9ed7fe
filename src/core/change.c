/*
 * change.c
 *	  Counts changes of relations, roles and functions, so that what was found of them is found again only then.
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/syscache.h"

#include "omnichannel.h"

static uint64 generation = 1;

/* Notes that a relation was changed, or forgotten for what it depends on. Only counts: it runs anywhere. */
static void
relation_changed(Datum arg, Oid relation)
{
	generation++;
}

/* The same of a role, a membership, or a function: who may do what, and what is done. */
static void
entry_changed(Datum arg, int cache, uint32 hash)
{
	generation++;
}

/* Returns a number, never 0, that is another one once a relation, a role or a function has changed. */
uint64
relations_generation(void)
{
	static bool registered = false;

	if (unlikely(!registered))
	{
		registered = true;
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, entry_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, entry_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, entry_changed, (Datum) 0);
	}
	return generation;
}
