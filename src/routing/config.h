/*
 * config.h
 *	  The configuration of the matching, as it is cached, and what it says of one agent and one kind of request.
 *
 * Everything here is good until the next routing_config() or lane_get(); indexes stand for agents, queues and channels.
 */
#ifndef OMNICHANNEL_ROUTING_CONFIG_H
#define OMNICHANNEL_ROUTING_CONFIG_H

#include "datatype/timestamp.h"
#include "storage/buf.h"
#include "storage/itemptr.h"
#include "omnichannel.h"
#include "routing/skill_set.h"

/* Where a row was last; its newer versions are found from there as long as they are on the same page. */
typedef struct RowPlace
{
	ItemPointerData last; /* the version that was seen last, or invalid; pruning may clear it away */
	OffsetNumber root;    /* where its chain on that page begins, which stays, or 0 */
} RowPlace;

/* The leaf of an index on which something was last, and the buffer that it was in; any page by now. */
typedef struct RowsLeaf
{
	Buffer buffer; /* or invalid */
	BlockNumber block;
} RowsLeaf;

typedef struct RoutingAgent
{
	int64 agent_id;
	int32 capacity;
	bool active;
	const char *department; /* or NULL */
	SkillSet *skills;
	const int *queues; /* that he serves, in their order */
	int queue_count;
	RowPlace place; /* of his row in agent_state */
} RoutingAgent;

typedef struct RoutingChannel
{
	const char *channel;
	int32 cost;
} RoutingChannel;

typedef struct RoutingState
{
	const char *state;
	size_t length; /* of its name */
	bool available;
	bool present;
} RoutingState;

typedef struct RoutingMember
{
	int agent;
	int64 join_after;
} RoutingMember;

/* The parts of a score, and the weights of a queue in the same order. */
enum
{
	PART_RELATIONSHIP,
	PART_FLUENCY,
	PART_SKILL,
	PART_IDLE,
	PART_LOAD,
	SCORE_PARTS
};

/* Intervals are microseconds; a month counts 30 days, as in comparisons of intervals. */
typedef struct RoutingQueue
{
	const char *queue;
	int64 hold_for_owner;
	int64 prefer_for;
	int64 age_after; /* 0 for never */
	int64 offer_for;
	int64 decline_for;
	int64 wrap_up;
	int64 keep_room_after; /* -1 for never */
	bool idle_from_offer;  /* the end of work does not count */
	int overflow;          /* index of a queue, or -1 */
	int64 overflow_after;
	double weights[SCORE_PARTS];
	RoutingMember *members; /* by agent */
	int member_count;
	struct Pool *pools; /* of its requests; the one asked for last is first */
} RoutingQueue;

typedef struct RoutingConfig
{
	RoutingAgent *agents; /* by agent_id */
	int agent_count;
	RoutingChannel *channels; /* by code */
	int channel_count;
	RoutingState *states;
	int state_count;
	Datum available_states; /* text[] of the codes of those in which offers are made */
	Datum present_states;   /* text[] of the codes of those who can be waited for, and can claim */
	RoutingQueue *queues;   /* by code */
	int queue_count;
	bool keeps_room;    /* as any of them says */
	uint32 queues_hash; /* of their codes: where it is the same, their indexes are */
	uint8 *fluency;     /* [agent * channel_count + channel], 0 for none */
	const char *notify_channel;
	uint64 generation;          /* another one for other data */
	struct Rows *rows;          /* open for this call, or NULL where rows are to be had by SQL */
	MemoryContext pool_context; /* child of the configuration's */
	int pool_count;
} RoutingConfig;

/* A kind of request. */
typedef struct Lane
{
	int64 lane_id;
	const char *queue_code;
	const char *channel_code;
	SkillSet *requires;
	SkillSet *prefers;
	int queue;
	int channel;
	int32 min_priority;  /* of what has waited in it, or lower */
	RowPlace head_place; /* of its row in lane_head */
	RowsLeaf leaf;       /* of the index by which it is read */
} Lane;

/* All of them, and whose they are: indexes of queues and channels are those of one configuration. */
typedef struct Lanes
{
	Lane *lanes; /* by lane_id */
	int count;
	uint64 generation; /* of that configuration */
	int *by_queue;     /* indexes of those whose queue there is, by it */
	int *firsts;       /* of each queue, where its own begin there; and of the next one after the last */
	MemoryContext context;
} Lanes;

/* What becomes of an agent when one is looked for; what is found first counts. */
typedef enum Verdict
{
	VERDICT_CANDIDATE,
	VERDICT_INACTIVE,
	VERDICT_NOT_IN_QUEUE,
	VERDICT_CHANNEL,
	VERDICT_SKILL,
	VERDICT_LATER, /* joins the queue's helpers later */
	VERDICT_ABSENT,
	VERDICT_WRAP_UP,
	VERDICT_NO_ROOM,
	VERDICT_PREFERRED, /* lacks a preferred skill, and prefer_for lasts */
	VERDICT_REFUSED,
	VERDICT_HELD /* the request is held for its owner */
} Verdict;

/* What the configuration says of an agent for a lane. */
typedef struct PoolMember
{
	int agent;
	int32 capacity; /* of his */
	int64 join_after;
	bool preferred; /* has all preferred skills */
	double fluency; /* parts of the score */
	double skill;
} PoolMember;

/* The agents who can serve a lane, as far as the configuration says, by agent. */
typedef struct Pool
{
	struct Pool *next;
	int channel;
	SkillSet *requires;
	SkillSet *prefers;
	PoolMember *members;
	int count;
	Datum agent_ids;         /* bigint[] */
	struct PoolLives *lives; /* their presence and load as it was read last; see live.c */
} Pool;

/* What is read by while it is going on: rows, or the statements of a scope of their own. */
typedef struct RoutingReads
{
	SpiScope scope;
	struct Rows *rows; /* the configuration's, before */
} RoutingReads;

extern void routing_scope_begin(SpiScope *scope);
extern void routing_reads_begin(RoutingConfig *config, int tables, RoutingReads *reads);
extern void routing_reads_end(RoutingConfig *config, RoutingReads *reads);
extern RoutingConfig *routing_config(void);
extern int config_agent(const RoutingConfig *config, int64 agent_id);
extern int config_queue(const RoutingConfig *config, const char *queue);
extern int config_channel(const RoutingConfig *config, const char *channel);
extern const RoutingState *config_state(const RoutingConfig *config, const char *state);
extern const RoutingMember *config_member(const RoutingConfig *config, int queue, int agent);
extern Verdict config_judge(const RoutingConfig *config, int queue, int channel, const SkillSet *requires,
							const SkillSet *prefers, int agent, PoolMember *member);
extern Pool *config_pool(RoutingConfig *config, int queue, int channel, SkillSet *requires, SkillSet *prefers);
extern const PoolMember *pool_member(const Pool *pool, int agent);
extern bool same_skills(const SkillSet *a, const SkillSet *b);
extern int64 interval_usecs(const Interval *interval);

/* lane.c */
extern const Lanes *lanes_get(const RoutingConfig *config);
extern const Lane *lane_find(const RoutingConfig *config, int64 lane_id);
extern int64 lane_ensure(const RoutingConfig *config, int queue, int channel, SkillSet *requires, SkillSet *prefers,
						 int32 priority);

#endif /* OMNICHANNEL_ROUTING_CONFIG_H */
