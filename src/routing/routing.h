/*
 * routing.h
 *	  What the room routing offers to the rooms after it.
 */
#ifndef OMNICHANNEL_ROUTING_H
#define OMNICHANNEL_ROUTING_H

#include "datatype/timestamp.h"

/* A contact between a customer and an agent. */
typedef struct RelationshipTouch
{
	int64 customer_id;
	int64 agent_id;
	TimestampTz at;
} RelationshipTouch;

/* relationship.c */
extern void relationship_touch(int64 customer_id, int64 agent_id, TimestampTz at);
extern void relationship_move(int64 customer_id, int64 from_agent, int64 to_agent, TimestampTz at);
extern double relationship_strength_at(double strength, TimestampTz aged_at, TimestampTz at);

/* relationship_sum.c */
typedef struct RelationshipSums RelationshipSums;

extern RelationshipSums *relationship_sums_begin(void);
extern void relationship_sums_add(RelationshipSums *sums, const RelationshipTouch *touches, int count);
extern void relationship_sums_write(RelationshipSums *sums);
extern void relationships_touch(const RelationshipTouch *touches, int count);

/* work.c */
extern void routing_init(void);

#endif /* OMNICHANNEL_ROUTING_H */
