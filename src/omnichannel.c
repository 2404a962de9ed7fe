/*
 * omnichannel.c
 *	  The module's magic block and settings.
 */
#include "postgres.h"

#include "fmgr.h"

#include "omnichannel.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* Nothing is hooked and nothing started: caches register themselves on first use. */
}
