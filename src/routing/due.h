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

/* For so long work is due before the sweep waits for the queues that it needs, and speaks of them. */
#define OVERDUE_MSECS 5000

/* Queues in which work has been due for that long. */
typedef struct Starved
{
	TimestampTz *since; /* for each queue, or 0 */
	QueueLocks *wanted; /* what one piece of such work needs that needs a stuck queue, any one; or nothing */
	bool waits;         /* it is the turn of that one, not of what is due for as long elsewhere */
} Starved;

extern int64 due_agent(int64 request_id);
extern void due_find(RoutingConfig *config, const QueueLocks *locks, TimestampTz now, Due *due);
extern void due_starved(const RoutingConfig *config, const QueueLocks *locks, const Due *due, TimestampTz now,
						Starved *starved);
extern void due_add_locks(const RoutingConfig *config, QueueLocks *locks, const Due *due);

#endif /* OMNICHANNEL_ROUTING_DUE_H */
