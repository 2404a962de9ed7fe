/*
 * route.h
 *	  What the files that change who has which request share: locks, offers, and a freed agent's next request.
 */
#ifndef OMNICHANNEL_ROUTING_ROUTE_H
#define OMNICHANNEL_ROUTING_ROUTE_H

#include "storage/lock.h"

#include "routing/match.h"

/*
 * The lock of a queue. Arrivals do not disturb one another, nor do freed agents; but an arrival and a freed agent do
 * not see each other's uncommitted change, so each waits for the other to commit.
 */
typedef enum QueueLock
{
	QUEUE_ARRIVE = RowExclusiveLock,
	QUEUE_FREE = ShareLock,
	QUEUE_BOTH = ShareRowExclusiveLock
} QueueLock;

/* Which queues to lock, and how: a mode or 0 for each queue of the configuration. */
typedef struct QueueLocks
{
	LOCKMODE *modes;
	bool *stuck;    /* not to be had; see queue_locks_try() */
	bool partial;   /* some are stuck */
	bool later;     /* the transaction has called before, and may hold what others wait for */
	int64 agent_id; /* all queues of this one are among them, or 0 */
} QueueLocks;

/* lock.c */
extern void routing_arguments(FunctionCallInfo fcinfo, const char *function);
extern void routing_writes(const char *function);
extern QueueLocks *queue_locks(const RoutingConfig *config);
extern void queue_locks_add(QueueLocks *locks, int queue, QueueLock mode);
extern void queue_locks_add_agent(const RoutingConfig *config, QueueLocks *locks, int agent);
extern RoutingConfig *queue_locks_take(RoutingConfig *config, QueueLocks *locks);
extern RoutingConfig *queue_locks_try(RoutingConfig *config, QueueLocks *locks, TimestampTz end);
extern RoutingConfig *queue_locks_wait(RoutingConfig *config, QueueLocks *locks, const QueueLocks *wanted, int msecs);
extern bool queue_lock_try(const RoutingConfig *config, int queue, QueueLock mode);
extern void queues_lock(char **queues, int count, QueueLock mode);
extern bool customer_lock(int64 customer_id);
extern bool customer_lock_try(int64 customer_id);
extern bool queues_were_asked(void);
extern bool request_hold(int64 request_id, int64 customer_id, bool wait);

/* What becomes of an offer. */
typedef enum OfferResult
{
	OFFER_MADE,
	OFFER_NO_ROOM,  /* the agent cannot take it */
	OFFER_OVERTAKEN /* the request, not held, is not as it was read: nothing was done */
} OfferResult;

/* route.c */

/* What route() reads and writes where it offers. */
#define ROUTE_ROWS                                                                                                     \
	(ROWS_BIT(ROWS_REQUEST) | ROWS_BIT(ROWS_CUSTOMER) | ROWS_BIT(ROWS_WAITING) | ROWS_BIT(ROWS_ASSIGNMENT) |           \
	 ROWS_BIT(ROWS_KEPT_PLACE) | ROWS_BIT(ROWS_REFUSAL) | ROWS_BIT(ROWS_RELATIONSHIP) | ROWS_BIT(ROWS_AGENT_STATE))

extern void route_rows_end(RoutingConfig *config);
extern int64 route_request(RoutingConfig *config, MatchRequest *request, bool patient, int64 *given);
extern int64 route_again(RoutingConfig *config, MatchRequest *request, int64 *given);
extern OfferResult route_offer(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, bool wait,
							   TimestampTz now);
pg_noreturn extern void route_changed_meanwhile(const MatchRequest *request);
extern bool queue_is_served(const RoutingConfig *config, int queue);
extern void queue_check_members(const RoutingConfig *config, int queue);
extern int64 queue_level(const RoutingQueue *queue, int32 priority, TimestampTz entered_at);
extern int64 queue_age(const RoutingQueue *queue, TimestampTz at);

/* enqueue.c */
extern void route_enqueue(const RoutingConfig *config, MatchRequest *request);
extern bool enqueue_by_rows(RoutingConfig *config, MatchRequest *request);

/* leave.c */

/* What waiting_history says. */
#define LEFT_ABANDONED "abandoned"
#define LEFT_DONE "done_elsewhere"
#define LEFT_CANCELLED "cancelled"
#define LEFT_OVERFLOWED "overflowed"
#define LEFT_TRANSFERRED "transferred"
#define LEFT_RETURNED "returned"

extern const char *left_early(const char *state);
extern void leave_queue(MatchRequest *request, TimestampTz keep_until, const char *event);
extern void leave_closed(RoutingConfig *config, int64 request_id);
extern void leave_other_queue(RoutingConfig *config, MatchRequest *request);
extern void leave_forget_place(const RoutingConfig *config, const MatchRequest *request, TimestampTz since);

/* offer.c */
extern bool offer_take_room(RoutingConfig *config, int agent, int32 cost, bool accepted, bool wait, TimestampTz now,
							TimestampTz *idle_since);
extern void offer_give_back(RoutingConfig *config, int agent, int32 cost, TimestampTz idle_since);
extern bool offer_note_state(struct Rows *rows, const MatchRequest *request, const char *state, int64 agent_id);
extern bool offer_note(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, int64 lane_id);
extern TimestampTz offer_ends(const RoutingQueue *queue);
extern void offer_notify(const RoutingConfig *config, int agent, int64 request_id);
extern bool offer_suits_rows(const MatchRequest *request);
extern OfferResult offer_by_rows(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted,
								 bool wait, TimestampTz now, int64 lane_id);
extern bool offer_accept_by_rows(RoutingConfig *config, int64 request_id, int64 agent_id);

/* turn.c */

/* So many that wait are served before a request that arrives. */
#define TURNS_MAX 8

typedef struct Turns
{
	int left;
	int64 given;
} Turns;

extern bool customer_hold_try(RoutingConfig *config, const MatchRequest *request);
extern int64 turn_offer(RoutingConfig *config, MatchRequest *request, bool patient, Turns *turns);
extern int64 turn_serve(RoutingConfig *config, int agent, const QueueLocks *locks, TimestampTz now);

/* take.c */
extern int64 take_for_agent(RoutingConfig *config, int agent, const QueueLocks *locks, int how, TimestampTz now);
extern bool could_take(RoutingConfig *config, int agent, TimestampTz now);

/* serve.c */

/* How an agent is served. */
#define SERVE_ASSIGN 0x1 /* what he gets is his at once, not offered */
#define SERVE_ALL 0x2    /* all that fits, not the first only */
#define SERVE_POLL 0x4   /* he looks again by himself for what others have */

extern int64 serve_agent(RoutingConfig *config, int agent, const QueueLocks *locks, int how, TimestampTz now);

/* assignment.c */
extern void assignment_end(const RoutingConfig *config, MatchRequest *request, const char *outcome, bool refuse);
extern void assignment_welcome(int64 request_id, int64 agent_id);
extern void assignment_given(const RoutingConfig *config, const MatchRequest *request, int64 agent_id);

/* work.c */
extern void work_take_back(RoutingConfig *config, int64 request_id, int64 customer_id, int64 agent_id);

/* tidy.c */
extern void queues_tidy(const RoutingConfig *config, const QueueLocks *locks, TimestampTz now);

/* arrival.c */
extern void arrivals_init(void);

/* Argument checks that the functions share. */
extern int agent_argument(const RoutingConfig *config, int64 agent_id);

#endif /* OMNICHANNEL_ROUTING_ROUTE_H */
