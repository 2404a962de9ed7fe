/*
 * choice.h
 *	  What comes first for an agent among the waiting requests that suit him.
 */
#ifndef OMNICHANNEL_ROUTING_CHOICE_H
#define OMNICHANNEL_ROUTING_CHOICE_H

#include "routing/route.h"
#include "routing/rows.h"

/* A lane that suits the agent, and the first request in it that does, as far as it was looked for. */
typedef struct Choice
{
	const Lane *lane;
	int queue; /* the lane's */
	int channel;
	int64 age;                    /* what the queue's ageing adds by now */
	TimestampTz joined_before;    /* what has waited in its queue since then at least is for this agent */
	int64 last_rank;              /* what comes after it has not waited for that long */
	TimestampTz preferred_before; /* the same for agents without the preferred skills, but for the owner */
	TimestampTz held_since;       /* what has waited since then is not held for its owner any more */
	bool fits;                    /* the agent has room for it, not only when he has finished something */
	bool begun;                   /* it is known from where on it is looked at */
	bool bounded;                 /* from this place on, that is, not from the beginning */
	bool at_head;                 /* which is where the lane's head is */
	bool after;                   /* not from this place but after it, because it is not to be had */
	LanePlace at;
	bool looked;
	bool found;               /* and this row, which stands there, is it */
	int asked;                /* for so many that do not fit it was asked who keeps his room for them */
	TimestampTz alike_before; /* what has waited since then and nobody refused is for the same agents */
	bool elsewhere;           /* of whom another one keeps his room for such */
	WaitingRow row;
	ItemPointerData place;
} Choice;

/* An agent who is to be given something. */
typedef struct Taking
{
	RoutingConfig *config;
	int agent;
	int64 agent_id;
	const QueueLocks *locks; /* see serve_agent() */
	int how;                 /* SERVE_ flags */
	TimestampTz now;
	int64 used;
	TimestampTz idle_since;
	const int64 *passed; /* requests that are not to be had */
	int passed_count;
	Choice *choices;
	int count;
	bool beside;         /* he has room for another request, beside which it is looked at what comes first */
	const Choice *bound; /* what does not come before this need not be found, or NULL */
	bool busy;           /* somebody had what would have suited */
} Taking;

extern void choices_find(Taking *taking);
extern void choices_end(Taking *taking);
extern bool choice_suits(const Taking *taking, const Choice *choice);
extern Choice *choices_first(Taking *taking);
extern void choice_pass(Choice *choice);
extern bool take_could(Taking *taking);
extern int64 choices_before(RoutingConfig *config, const Candidate *candidate, const MatchRequest *request,
							TimestampTz now, const int64 *passed, int passed_count, bool *kept);

#endif /* OMNICHANNEL_ROUTING_CHOICE_H */
