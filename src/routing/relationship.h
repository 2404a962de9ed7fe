/*
 * relationship.h
 *	  What the counting of one contact and of many share.
 */
#ifndef OMNICHANNEL_RELATIONSHIP_H
#define OMNICHANNEL_RELATIONSHIP_H

#include "datatype/timestamp.h"

#include "compat.h"

/* relationship.c */
extern double relationship_half_life(void);
extern double relationship_aged(TimestampTz from, TimestampTz to, double half_life);
extern void relationship_check_time(TimestampTz at);
pg_noreturn extern void relationship_without_agent(int64 agent_id);

#endif /* OMNICHANNEL_RELATIONSHIP_H */
