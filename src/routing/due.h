/*
 * due.h
 *	  What only time makes due, and the locks that it takes.
 */
#ifndef OMNICHANNEL_ROUTING_DUE_H
#define OMNICHANNEL_ROUTING_DUE_H

#include "routing/route.h"

/* Ids found before the locks were taken. */
typedef struct IdList
{
	int64 *ids;
	int count;
} IdList;

/* What is due, by kind, and who idles. */
typedef struct Due
{
	IdList arrivals;
	IdList overdue;
	IdList late;
	IdList idle;
	bool *filled; /* for each queue, whether something waits in it that one of the idle could take */
} Due;

extern int64 due_agent(int64 request_id);
extern int due_neglected(const RoutingConfig *config, TimestampTz before);
extern void due_find(RoutingConfig *config, const QueueLocks *locks, TimestampTz now, Due *due);
extern void due_add_locks(const RoutingConfig *config, QueueLocks *locks, const Due *due);

#endif /* OMNICHANNEL_ROUTING_DUE_H */
