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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/live.h"
#include "routing/match.h"
#include "routing/routing.h"

/* Idle for this long is a half of the part. */
#define IDLE_HALF (15 * USECS_PER_MINUTE)

/* Up to so many are kept in order by insertion. */
#define FEW 32

static KeptPlan request_select = {
	.sql = "SELECT q.customer_id, q.state, q.queue, q.channel, q.requires, q.prefers, q.priority, q.agent_id,"
		   " q.state_since, w.entered_at, w.due_at, a.agent_id, a.accepted_at IS NOT NULL, a.entered_at, a.due_at,"
		   " p.entered_at, a.expires_at, array_append((SELECT array_agg(m.customer_id) FROM omnichannel.customer AS m"
		   " WHERE m.merged_into = coalesce(c.merged_into, c.customer_id)), coalesce(c.merged_into, c.customer_id))"
		   " FROM omnichannel.request AS q"
		   " JOIN omnichannel.customer AS c ON c.customer_id = q.customer_id"
		   " LEFT JOIN omnichannel.waiting AS w ON w.request_id = q.request_id"
		   " LEFT JOIN omnichannel.assignment AS a ON a.request_id = q.request_id"
		   " LEFT JOIN omnichannel.kept_place AS p ON p.request_id = q.request_id AND p.until > $2"
		   " WHERE q.request_id = $1",
	.nargs = 2,
	.argtypes = {INT8OID, TIMESTAMPTZOID},
};

enum
{
	FACT_RELATIONSHIP = 1,
	FACT_OWNER = 2,
	FACT_REFUSAL = 3
};

/* What is known of the customer, and of customers merged with this one; and who refused the request. */
static KeptPlan facts_select = {
	.sql = "SELECT 1, r.agent_id, r.contacts, r.strength, r.aged_at FROM omnichannel.relationship AS r"
		   " WHERE r.customer_id = ANY ($1)"
		   " UNION ALL (SELECT 2, q.agent_id, NULL, NULL, NULL FROM omnichannel.request AS q"
		   " WHERE q.customer_id = ANY ($1) AND q.closed_at IS NULL AND q.state IN ('assigned', 'waiting_customer')"
		   " AND q.agent_id IS NOT NULL AND q.request_id <> $2 ORDER BY q.opened_at DESC, q.request_id DESC LIMIT 1)"
		   " UNION ALL SELECT 3, f.agent_id, NULL, NULL, NULL FROM omnichannel.refusal AS f"
		   " WHERE f.request_id = $2 AND f.until > $3",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT8OID, TIMESTAMPTZOID},
};

/* What is known of one agent and the customer. */
typedef struct Acquaintance
{
	double strength;
	int64 contacts;
	bool refused;
} Acquaintance;

/* Returns a time in a column of a row of the last result, or the other for NULL. */
static TimestampTz
spi_time(uint64 row, int column, TimestampTz otherwise)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

/* Returns a bigint in a column of a row of the last result, 0 for NULL. */
static int64
spi_id(uint64 row, int column)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Returns a copy of the skills in a column of the last result, the empty set for NULL. */
static SkillSet *
spi_skills(uint64 row, int column)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? skill_set_from_text("") : (SkillSet *) PG_DETOAST_DATUM_COPY(value);
}

/*
 * match_load reads a request and where it stands; its queue is -1 where it is in none.
 *
 * Needs an SPI scope. Raises 23503 for an unknown request, queue or channel.
 */
void
match_load(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Datum values[2] = {Int64GetDatum(request_id), TimestampTzGetDatum(now)};
	char *queue;
	char *channel;
	bool isnull;

	if (kept_plan_run(&request_select, values, NULL, read_only, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("request " INT64_FORMAT " does not exist", request_id),
				 errhint("open_request() opens one and returns its id.")));

	memset(request, 0, sizeof(*request));
	request->request_id = request_id;
	request->customer_id = spi_id(0, 1);
	strlcpy(request->state, spi_text(0, 2, CurrentMemoryContext), sizeof(request->state));
	queue = spi_text(0, 3, CurrentMemoryContext);
	channel = spi_text(0, 4, CurrentMemoryContext);
	request->requires = spi_skills(0, 5);
	request->prefers = spi_skills(0, 6);
	request->priority = DatumGetInt32(spi_datum(0, 7, &isnull));
	request->agent_id = spi_id(0, 8);
	request->closed = strcmp(request->state, "done") == 0 || strcmp(request->state, "cancelled") == 0;

	request->family = PointerGetDatum(PG_DETOAST_DATUM_COPY(spi_datum(0, 18, &isnull)));
	(void) spi_datum(0, 16, &isnull);
	request->kept_place = !isnull;
	(void) spi_datum(0, 10, &isnull);
	request->waiting = !isnull;
	request->assigned_to = spi_id(0, 12);
	request->accepted = request->assigned_to != 0 && DatumGetBool(spi_datum(0, 13, &isnull));
	if (request->waiting)
	{
		request->entered_at = spi_time(0, 10, now);
		request->due_at = spi_time(0, 11, DT_NOEND);
	}
	else if (request->assigned_to != 0)
	{
		request->entered_at = spi_time(0, 14, now);
		request->due_at = spi_time(0, 15, DT_NOEND);
		request->expires_at = spi_time(0, 17, DT_NOEND);
	}
	else
	{
		TimestampTz since = strcmp(request->state, "waiting_agent") == 0 ? spi_time(0, 9, now) : now;

		request->entered_at = spi_time(0, 16, since);
		request->due_at = DT_NOEND;
	}

	request->queue = queue == NULL ? -1 : config_queue(config, queue);
	request->channel = config_channel(config, channel);

	/* What the configuration does not see is what row-level security hides. */
	if (queue != NULL && request->queue < 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("queue \"%s\" of request " INT64_FORMAT " does not exist", queue, request_id),
						errhint("Insert it into omnichannel.queue.")));
	if (request->channel < 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("channel \"%s\" of request " INT64_FORMAT " does not exist", channel, request_id),
						errhint("Insert it into omnichannel.channel.")));
}

/* match_read reads a request that needs an agent; raises 55000 for one that is closed or in no queue. */
void
match_read(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request)
{
	match_load(config, request_id, read_only, request);
	if (request->closed)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " is %s", request_id, request->state),
						errhint("Open it again, or open another one with open_request().")));
	if (request->queue < 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " is in no queue", request_id),
						errhint("transfer_request(request_id, queue => 'support') puts it into one.")));
}

/* Fills what is known of each of the pool's agents; returns the owner that the facts name, or 0. */
static int64
read_facts(const RoutingConfig *config, const MatchRequest *request, const Pool *pool, TimestampTz now, bool read_only,
		   Acquaintance *known)
{
	Datum values[3] = {request->family, Int64GetDatum(request->request_id), TimestampTzGetDatum(now)};
	uint64 count = kept_plan_run(&facts_select, values, NULL, read_only, 0);
	int64 owner = request->assigned_to == 0 ? request->agent_id : 0;
	int64 best_agent = 0;
	double best = 0;

	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		int fact = DatumGetInt32(spi_datum(row, 1, &isnull));
		int64 agent_id = spi_id(row, 2);
		int agent = config_agent(config, agent_id);
		const PoolMember *member = agent < 0 ? NULL : pool_member(pool, agent);
		Acquaintance *found = member == NULL ? NULL : &known[member - pool->members];

		if (fact == FACT_OWNER && owner == 0)
			owner = agent_id;
		else if (fact == FACT_REFUSAL && found != NULL)
			found->refused = true;
		else if (fact == FACT_RELATIONSHIP && found != NULL)
		{
			double strength = DatumGetFloat8(spi_datum(row, 4, &isnull));

			/* Rows of merged customers add up. */
			found->strength += relationship_strength_at(strength, spi_time(row, 5, now), now);
			found->contacts += spi_id(row, 3);
			if (found->strength > best || (found->strength == best && agent_id < best_agent))
			{
				best = found->strength;
				best_agent = agent_id;
			}
		}
	}
	return owner != 0 ? owner : best_agent;
}

/* Returns what becomes of an agent as of now, before the owner's right is looked at; fills the candidate. */
static Verdict
judge_now(const RoutingConfig *config, const MatchRequest *request, const PoolMember *member, const Acquaintance *known,
		  const RoutingState *state, TimestampTz now, Candidate *candidate)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	const RoutingAgent *agent = &config->agents[member->agent];
	/* Who waited for a lock began before what it now sees. */
	int64 waited = Max(now - request->entered_at, 0);
	double idle = (double) now - (double) candidate->idle_since;

	candidate->contacts = known->contacts;
	candidate->parts[PART_RELATIONSHIP] = known->strength / (known->strength + 1);
	candidate->parts[PART_FLUENCY] = member->fluency;
	candidate->parts[PART_SKILL] = member->skill;
	candidate->parts[PART_IDLE] = idle <= 0 ? 0 : idle / (idle + IDLE_HALF);
	candidate->parts[PART_LOAD] =
		candidate->used >= agent->capacity ? 0 : 1 - (double) candidate->used / agent->capacity;
	candidate->score = 0;
	for (int part = 0; part < SCORE_PARTS; part++)
		candidate->score += queue->weights[part] * candidate->parts[part];

	if (waited < member->join_after)
		return VERDICT_LATER;
	if (state == NULL || !state->available)
		return VERDICT_ABSENT;
	if (candidate->busy_until > now)
		return VERDICT_WRAP_UP;
	if ((int64) candidate->used + config->channels[request->channel].cost > agent->capacity)
		return VERDICT_NO_ROOM;
	if (known->refused)
		return VERDICT_REFUSED;
	if (!member->preferred && waited < queue->prefer_for && !candidate->owner)
		return VERDICT_PREFERRED;
	return VERDICT_CANDIDATE;
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

/* Leaves the best max of the candidates, in order: in one pass where few are asked for. */
static int
keep_best(Candidate *candidates, int count, int max)
{
	int kept = 0;

	if (max > FEW)
	{
		qsort(candidates, count, sizeof(Candidate), match_compare);
		return Min(count, max);
	}
	for (int i = 0; i < count; i++)
	{
		Candidate candidate = candidates[i];
		int place = kept;

		if (kept == max && (max == 0 || match_compare(&candidate, &candidates[max - 1]) >= 0))
			continue;
		if (kept == max)
			place--;
		else
			kept++;
		for (; place > 0 && match_compare(&candidate, &candidates[place - 1]) < 0; place--)
			candidates[place] = candidates[place - 1];
		candidates[place] = candidate;
	}
	return kept;
}

/*
 * match_find finds the best agents for a request, at most max, as of now.
 *
 * Needs an SPI scope. Reads and does not lock. With collect it is told what becomes of every agent; one verdict can
 * come later than the others, because only the owner shows whether the request is held.
 */
void
match_find(RoutingConfig *config, const MatchRequest *request, TimestampTz now, bool read_only, int max,
		   MatchCollect collect, void *arg, MatchResult *result)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	Pool *pool = config_pool(config, request->queue, request->channel, request->requires, request->prefers);
	Acquaintance *known = palloc0(sizeof(Acquaintance) * (pool->count + 1));
	Candidate *candidates = palloc0(sizeof(Candidate) * (pool->count + 1));
	const PoolMember *owner_member = NULL;
	Live *lives;
	int owner;

	memset(result, 0, sizeof(*result));

	result->owner_id = read_facts(config, request, pool, now, read_only, known);
	owner = result->owner_id == 0 ? -1 : config_agent(config, result->owner_id);
	if (owner >= 0 && queue->hold_for_owner > 0)
		owner_member = pool_member(pool, owner);
	if (owner_member == NULL)
		result->owner_id = 0;

	lives = live_read(config, pool, read_only);
	for (int place = 0; place < pool->count; place++)
	{
		candidates[place].agent = pool->members[place].agent;
		candidates[place].used = lives[place].used;
		candidates[place].idle_since = lives[place].state == NULL ? now : lives[place].idle_since;
		candidates[place].busy_until = lives[place].busy_until;
	}

	/* The owner is looked at first: the others may have to step back. */
	if (owner_member != NULL)
	{
		int place = (int) (owner_member - pool->members);

		candidates[place].owner = true;
		if (judge_now(config, request, owner_member, &known[place], lives[place].state, now, &candidates[place]) !=
				VERDICT_CANDIDATE &&
			!known[place].refused && lives[place].state != NULL && lives[place].state->present &&
			now - request->entered_at < queue->hold_for_owner)
			result->held_until = request->entered_at + queue->hold_for_owner;
	}

	for (int place = 0; place < pool->count; place++)
	{
		Candidate *candidate = &candidates[place];
		Verdict verdict;

		verdict = judge_now(config, request, &pool->members[place], &known[place], lives[place].state, now, candidate);
		if (verdict == VERDICT_CANDIDATE && result->held_until != 0)
			verdict = VERDICT_HELD;
		if (collect != NULL)
			collect(arg, verdict, candidate);
		if (verdict == VERDICT_CANDIDATE)
			candidates[result->count++] = *candidate;
	}
	result->candidates = candidates;
	result->count = keep_best(candidates, result->count, max);

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
	pfree(known);
	pfree(lives);
}
