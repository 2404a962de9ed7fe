/*
 * relationship.h
 *	  What the counting of one contact and of many share.
 */
#ifndef OMNICHANNEL_RELATIONSHIP_H
#define OMNICHANNEL_RELATIONSHIP_H

#include "datatype/timestamp.h"

#include "compat.h"
#include "core/table.h"

#define RELATIONSHIP_COLUMNS 7

/* relationship.c */
extern const TableColumn relationship_columns[RELATIONSHIP_COLUMNS]; /* the first two are the key */
extern double relationship_half_life(void);
extern double relationship_aged(TimestampTz from, TimestampTz to, double half_life);
extern void relationship_check_time(TimestampTz at);
pg_noreturn extern void relationship_without_agent(int64 agent_id);

#endif /* OMNICHANNEL_RELATIONSHIP_H */
