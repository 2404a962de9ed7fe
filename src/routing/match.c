/*
 * match.c
 *	  Finds the agents for a request: the one engine behind route(), match_agents() and explain_match().
 *
 * The configuration gives the agents who suit the request; presence, load, relationships and refusals are read as they
 * are now. An agent's score is the sum of the queue's weights times parts between 0 and 1:
 *
 *	  relationship  strength / (strength + 1): one contact just now is a half
 *	  fluency		fluency / 10
 *	  skill			mean level of the skills that the request names / 10
 *	  idle			time / (time + 15 minutes) since the last work
 *	  load			1 - used / capacity
 *
 * Each is strictly monotone, so that a queue with one weight orders by just that, and depends on that agent only, so
 * that the order of two agents does not change with a third. Equal scores are ordered by the longest idle, then by id.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "routing/match.h"
#include "routing/rows.h"
#include "routing/routing.h"

/* Idle for this long is a half of the part. */
#define IDLE_HALF (15 * USECS_PER_MINUTE)

/* Up to so many are kept in order by insertion. */
#define FEW 32

/* So many are found for whoever wants one: somebody may be changing the first of them. */
#define NEXT 8

/* A match as it is going on. */
typedef struct Match
{
	const RoutingConfig *config;
	const MatchRequest *request;
	const RoutingQueue *queue;
	TimestampTz now;
	int64 waited;
	int max;
	MatchResult *result;
} Match;

/* Returns what becomes of an agent as of now, before the owner's right is looked at. */
static Verdict
judge_now(const Match *match, const PoolMember *member, const Acquaintance *known, const Live *live, bool owner)
{
	int32 cost = match->config->channels[match->request->channel].cost;

	if (match->waited < member->join_after)
		return VERDICT_LATER;
	if (live->state == NULL || !live->state->available)
		return VERDICT_ABSENT;
	if (live->busy_until > match->now)
		return VERDICT_WRAP_UP;
	if ((int64) live->used + cost > member->capacity)
		return VERDICT_NO_ROOM;
	if (known->refused)
		return VERDICT_REFUSED;
	if (!member->preferred && match->waited < match->queue->prefer_for && !owner)
		return VERDICT_PREFERRED;
	return VERDICT_CANDIDATE;
}

/* Returns what speaks for an agent. */
static Candidate
candidate_of(const Match *match, const PoolMember *member, const Acquaintance *known, const Live *live, bool owner)
{
	Candidate candidate = {
		.agent = member->agent,
		.idle_since = live->state == NULL ? match->now : live->idle_since,
		.busy_until = live->busy_until,
		.used = live->used,
		.contacts = known->contacts,
		.owner = owner,
		.welcome = !known->refused && (member->preferred || match->waited >= match->queue->prefer_for || owner),
	};
	double idle = (double) match->now - (double) candidate.idle_since;

	candidate.parts[PART_RELATIONSHIP] = known->strength / (known->strength + 1);
	candidate.parts[PART_FLUENCY] = member->fluency;
	candidate.parts[PART_SKILL] = member->skill;
	candidate.parts[PART_IDLE] = idle <= 0 ? 0 : idle / (idle + IDLE_HALF);
	candidate.parts[PART_LOAD] = live->used >= member->capacity ? 0 : 1 - (double) live->used / member->capacity;
	for (int part = 0; part < SCORE_PARTS; part++)
		candidate.score += match->queue->weights[part] * candidate.parts[part];
	return candidate;
}

/* Orders candidates: the owner, then the higher score, the longer idle, the lower id. */
int
match_compare(const void *left, const void *right)
{
	const Candidate *a = left;
	const Candidate *b = right;

	if (a->owner != b->owner)
		return a->owner ? -1 : 1;
	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	if (a->idle_since != b->idle_since)
		return a->idle_since < b->idle_since ? -1 : 1;
	return a->agent - b->agent;
}

/* Adds a candidate: where few are wanted, in order and in the place of the last one if these are enough already. */
static void
add_candidate(const Match *match, const Candidate *candidate)
{
	Candidate *candidates = match->result->candidates;
	int place = match->result->count;

	if (match->max <= FEW)
	{
		if (place == match->max && match_compare(candidate, &candidates[--place]) >= 0)
			return;
		for (; place > 0 && match_compare(candidate, &candidates[place - 1]) < 0; place--)
			candidates[place] = candidates[place - 1];
	}
	candidates[place] = *candidate;
	if (match->max > FEW || match->result->count < match->max)
		match->result->count++;
}

/* What an owner is found by, beside what a free agent is served from. */
#define OWNER_ROWS (ROWS_BIT(ROWS_CUSTOMER) | ROWS_BIT(ROWS_RELATIONSHIP) | ROWS_BIT(ROWS_KEPT_PLACE))

/*
 * match_owner returns the agent to whom a waiting request goes before others as of now, or 0; with held nobody else may
 * have it yet.
 *
 * Reads by config->rows if they are open and suit, otherwise by SQL.
 */
int64
match_owner(RoutingConfig *config, int64 request_id, TimestampTz now, bool *held)
{
	RoutingReads reads;
	MatchRequest request;
	int64 owner_id = 0;

	*held = false;
	routing_reads_begin(config, OWNER_ROWS, &reads);
	if (match_look(config, request_id, false, &request) && request.queue >= 0)
	{
		Pool *pool = config_pool(config, request.queue, request.channel, request.requires, request.prefers);
		Acquaintance *known = palloc0(sizeof(Acquaintance) * (pool->count + 1));
		const PoolMember *member;

		owner_id = owner_find(config, &request, pool, now, false, known, &member);
		if (owner_id != 0)
		{
			Live live;

			live_one(config, member->agent, &live);
			*held = owner_held_until(config, &request, member, &known[member - pool->members], &live, now) != 0;
		}
		pfree(known);
	}
	routing_reads_end(config, &reads);
	return owner_id;
}

/* Looks at the owner, by rows; returns whether nobody else need be looked at: it is for him. */
static bool
find_owner(RoutingConfig *config, const Match *match, const PoolMember *owner, const Acquaintance *known)
{
	Live live;

	live_one(config, owner->agent, &live);
	match->result->owner_until = owner_held_until(config, match->request, owner, known, &live, match->now);
	if (judge_now(match, owner, known, &live, true) == VERDICT_CANDIDATE)
	{
		Candidate candidate = candidate_of(match, owner, known, &live, true);

		add_candidate(match, &candidate);
		match->result->more = true;
		return true;
	}
	match->result->held_until = match->result->owner_until;
	return match->result->held_until != 0;
}

/*
 * match_find finds the best agents for a request, at most max or MATCH_NEXT, as of now.
 *
 * Reads by config->rows if they are open, otherwise needs an SPI scope. Does not lock. With collect it is told what
 * becomes of every agent; one verdict can come later than the others, because only the owner shows whether the request
 * is held.
 */
void
match_find(RoutingConfig *config, const MatchRequest *request, TimestampTz now, bool read_only, int max,
		   MatchCollect collect, void *arg, MatchResult *result)
{
	Pool *pool = config_pool(config, request->queue, request->channel, request->requires, request->prefers);
	Acquaintance *known = palloc0(sizeof(Acquaintance) * (pool->count + 1));
	Match match = {
		.config = config,
		.request = request,
		.queue = &config->queues[request->queue],
		.now = now,
		/* Who waited for a lock began before what it now sees. */
		.waited = Max(now - request->queued_at, 0),
		.max = max == MATCH_NEXT ? NEXT : max,
		.result = result,
	};
	const PoolMember *owner_member;
	const Live *lives;

	memset(result, 0, sizeof(*result));
	result->candidates = palloc(sizeof(Candidate) * ((match.max <= FEW ? match.max : pool->count) + 1));
	result->owner_id = owner_find(config, request, pool, now, read_only, known, &owner_member);
	if (max == MATCH_NEXT && config->rows != NULL && owner_member != NULL &&
		find_owner(config, &match, owner_member, &known[owner_member - pool->members]))
	{
		pfree(known);
		return;
	}
	lives = live_read(config, pool, read_only);

	/* The owner is looked at first: the others may have to step back. */
	if (owner_member != NULL)
	{
		int place = (int) (owner_member - pool->members);

		result->owner_until = owner_held_until(config, request, owner_member, &known[place], &lives[place], now);
		if (judge_now(&match, owner_member, &known[place], &lives[place], true) != VERDICT_CANDIDATE)
			result->held_until = result->owner_until;
	}

	for (int place = 0; place < pool->count; place++)
	{
		const PoolMember *member = &pool->members[place];
		bool owner = member == owner_member;
		Verdict verdict = judge_now(&match, member, &known[place], &lives[place], owner);
		Candidate candidate;

		if (verdict == VERDICT_CANDIDATE && result->held_until != 0)
			verdict = VERDICT_HELD;
		if (verdict != VERDICT_CANDIDATE && collect == NULL)
			continue;
		candidate = candidate_of(&match, member, &known[place], &lives[place], owner);
		if (collect != NULL)
			collect(arg, verdict, &candidate);
		if (verdict == VERDICT_CANDIDATE)
			add_candidate(&match, &candidate);
	}
	if (match.max > FEW)
	{
		qsort(result->candidates, result->count, sizeof(Candidate), match_compare);
		result->count = Min(result->count, match.max);
	}
	result->more = result->count == match.max;

	/* Whom the configuration rules out is of interest to the collector only. */
	for (int agent = 0; collect != NULL && agent < config->agent_count; agent++)
	{
		PoolMember member;
		Candidate candidate = {.agent = agent};
		Verdict verdict =
			config_judge(config, request->queue, request->channel, request->requires, request->prefers, agent, &member);

		CHECK_FOR_INTERRUPTS();
		if (verdict != VERDICT_CANDIDATE)
			collect(arg, verdict, &candidate);
	}
	live_free(pool, lives);
	pfree(known);
}

/* The agent who lacks the least room for a request. */
typedef struct Nearest
{
	const RoutingConfig *config;
	const MatchResult *result;
	int32 cost;
	int agent; /* or -1 */
	int64 lacks;
} Nearest;

static void
collect_nearest(void *arg, Verdict verdict, const Candidate *candidate)
{
	Nearest *nearest = arg;
	int64 lacks = (int64) candidate->used - nearest->config->agents[candidate->agent].capacity;

	if (verdict != VERDICT_NO_ROOM || nearest->config->agents[candidate->agent].capacity < nearest->cost ||
		!candidate->welcome || (nearest->result->held_until != 0 && !candidate->owner))
		return;
	if (nearest->agent < 0 || lacks < nearest->lacks)
	{
		nearest->agent = candidate->agent;
		nearest->lacks = lacks;
	}
}

/*
 * match_nearest returns the agent who has to finish the least before he has room for a waiting request, or 0 where
 * somebody has room for it, or nobody ever will, or the sweep has to see to it first; of agents only its owner while it
 * is held for him.
 *
 * Reads as match_owner() does.
 */
int64
match_nearest(RoutingConfig *config, int64 request_id, TimestampTz now)
{
	RoutingReads reads;
	MatchResult result = {0};
	Nearest nearest = {.config = config, .result = &result, .agent = -1};
	MatchRequest request;

	routing_reads_begin(config, OWNER_ROWS, &reads);
	if (match_look(config, request_id, false, &request) && match_in_place(config, &request))
	{
		nearest.cost = config->channels[request.channel].cost;
		match_find(config, &request, now, false, 1, collect_nearest, &nearest, &result);
		if (result.count > 0)
			nearest.agent = -1;
	}
	routing_reads_end(config, &reads);
	return nearest.agent < 0 ? 0 : config->agents[nearest.agent].agent_id;
}
