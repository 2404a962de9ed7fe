/*
 * live.h
 *	  Presence and load of agents as they are now.
 */
#ifndef OMNICHANNEL_ROUTING_LIVE_H
#define OMNICHANNEL_ROUTING_LIVE_H

#include "access/htup.h"

#include "routing/config.h"

typedef struct Live
{
	const RoutingState *state; /* NULL for an agent who was never there */
	TimestampTz idle_since;
	TimestampTz busy_until;
	int32 used;
} Live;

extern const Live *live_read(RoutingConfig *config, Pool *pool, bool read_only);
extern void live_free(const Pool *pool, const Live *lives);
extern void live_one(RoutingConfig *config, int agent, Live *live);
extern HeapTuple live_row(RoutingConfig *config, int agent);
extern const RoutingState *live_state(const RoutingConfig *config, const void *datum);

#endif /* OMNICHANNEL_ROUTING_LIVE_H */
