/*
 * live.h
 *	  Presence and load of agents as they are now.
 */
#ifndef OMNICHANNEL_ROUTING_LIVE_H
#define OMNICHANNEL_ROUTING_LIVE_H

#include "routing/config.h"

typedef struct Live
{
	const RoutingState *state; /* NULL for an agent who was never there */
	TimestampTz idle_since;
	TimestampTz busy_until;
	int32 used;
} Live;

extern Live *live_read(const RoutingConfig *config, Pool *pool, bool read_only);

#endif /* OMNICHANNEL_ROUTING_LIVE_H */
