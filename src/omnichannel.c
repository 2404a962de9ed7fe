/*
 * omnichannel.c
 *	  The module's magic block and settings.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "omnichannel.h"
#include "pricing/pricing.h"
#include "routing/routing.h"
#include "sla/sla.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* Nothing of the server is hooked and nothing started: caches register themselves on first use. */
	sla_init();
	routing_init();
	DefineCustomIntVariable("omnichannel.price_cache",
							"Memory for products, their prices and customers' segments kept by a session.",
							"When it is full, what is kept is dropped and read again on demand.", &price_cache_size,
							price_cache_size, 1024, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	MarkGUCPrefixReserved("omnichannel");
}
