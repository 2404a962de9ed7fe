/*
 * match.h
 *	  A request that looks for an agent, and the agents that are found for it.
 */
#ifndef OMNICHANNEL_ROUTING_MATCH_H
#define OMNICHANNEL_ROUTING_MATCH_H

#include "routing/live.h"

typedef struct MatchRequest
{
	int64 request_id;
	int64 customer_id;
	Datum family; /* bigint[]: the customer and all that are merged with him, last who they are by now */
	char state[32];
	int queue;
	int channel; /* that its customer is in */
	int32 priority;
	SkillSet *requires;
	SkillSet *prefers;
	int64 agent_id;    /* whom the request names, or 0 */
	bool waiting;      /* stands in the table waiting */
	bool kept_place;   /* its customer left the queue and came back */
	int64 assigned_to; /* whom it is offered or assigned to, or 0 */
	int64 assigned_in; /* as a request of that lane */
	bool accepted;
	int64 owner_id;         /* whom it named before it was offered to that agent, or 0 */
	TimestampTz expires_at; /* of the offer */
	bool closed;
	bool unheld;    /* nobody is kept from changing it yet */
	int64 waits_in; /* the lane that it was put into, with this priority */
	int32 waits_with;
	int64 rank;             /* at this one */
	bool misplaced;         /* it stands in another place than its clocks say */
	int64 lane_id;          /* whence it was taken, or 0 */
	TimestampTz entered_at; /* when it began to wait */
	TimestampTz queued_at;  /* when it came into its queue */
	TimestampTz due_at;
} MatchRequest;

/* What is known of one agent and the customer. */
typedef struct Acquaintance
{
	double strength;
	int64 contacts;
	bool refused;
} Acquaintance;

/* An agent, and what speaks for him. */
typedef struct Candidate
{
	int agent;
	double score;
	double parts[SCORE_PARTS];
	TimestampTz idle_since;
	TimestampTz busy_until;
	int32 used;
	int64 contacts;
	bool owner;
	bool welcome; /* could have the request, given the room */
} Candidate;

/* Is told what became of each agent. */
typedef void (*MatchCollect)(void *arg, Verdict verdict, const Candidate *candidate);

typedef struct MatchResult
{
	Candidate *candidates; /* best first */
	int count;
	bool more;               /* there may be further ones, who were not looked for */
	int64 owner_id;          /* whom the request should wait for or prefer, or 0 */
	TimestampTz owner_until; /* until when it is held for the owner where he cannot have it, or 0 */
	TimestampTz held_until;  /* the same, but 0 where he is a candidate, who may keep his room for another one */
} MatchResult;

/* So many agents are looked for where one is wanted: the owner alone, if he can have the request, or else a few. */
#define MATCH_NEXT 0

/* standing.c */
extern bool match_look(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request);
extern bool match_moved(const RoutingConfig *config, const MatchRequest *request);
extern bool match_in_place(const RoutingConfig *config, const MatchRequest *request);
extern void match_load(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request);
extern void match_check(const MatchRequest *request);
extern void match_read(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request);
extern int64 match_root(const MatchRequest *request);
extern bool match_row(const RoutingConfig *config, int64 request_id, MatchRequest *request);

/* match.c */
extern void match_find(RoutingConfig *config, const MatchRequest *request, TimestampTz now, bool read_only, int max,
					   MatchCollect collect, void *arg, MatchResult *result);
extern int64 match_owner(RoutingConfig *config, int64 request_id, TimestampTz now, bool *held);
extern int64 match_nearest(RoutingConfig *config, int64 request_id, TimestampTz now);
extern int match_compare(const void *left, const void *right);

/* owner.c */
extern int64 owner_root(const RoutingConfig *config, int64 customer_id);
extern int64 owner_find(const RoutingConfig *config, const MatchRequest *request, const Pool *pool, TimestampTz now,
						bool read_only, Acquaintance *known, const PoolMember **owner_member);
extern TimestampTz owner_held_until(const RoutingConfig *config, const MatchRequest *request, const PoolMember *member,
									const Acquaintance *known, const Live *live, TimestampTz now);

#endif /* OMNICHANNEL_ROUTING_MATCH_H */
