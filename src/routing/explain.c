/*
 * explain.c
 *	  Shows what the matching finds: match_agents(), the agents who would get a request, and explain_match(), everybody.
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/choice.h"

SQL_FUNCTION(omnichannel_match_agents);
SQL_FUNCTION(omnichannel_explain_match);

static const char *const verdict_names[] = {
	[VERDICT_CANDIDATE] = "lower_score", [VERDICT_INACTIVE] = "inactive", [VERDICT_NOT_IN_QUEUE] = "not_in_queue",
	[VERDICT_CHANNEL] = "channel",       [VERDICT_SKILL] = "skill",       [VERDICT_LATER] = "later",
	[VERDICT_ABSENT] = "absent",         [VERDICT_WRAP_UP] = "wrap_up",   [VERDICT_NO_ROOM] = "no_room",
	[VERDICT_PREFERRED] = "preferred",   [VERDICT_REFUSED] = "declined",  [VERDICT_HELD] = "held_for_owner",
};

/* Everybody and their verdicts. */
typedef struct Judgement
{
	Verdict verdict;
	Candidate candidate;
} Judgement;

typedef struct Judgements
{
	Judgement *rows;
	int count;
} Judgements;

static void
collect_judgement(void *arg, Verdict verdict, const Candidate *candidate)
{
	Judgements *judgements = arg;

	judgements->rows[judgements->count].verdict = verdict;
	judgements->rows[judgements->count++].candidate = *candidate;
}

/* Appends a length of time as a person says it. */
static void
append_time(StringInfo text, int64 usecs)
{
	int64 seconds = Max(usecs, 0) / USECS_PER_SEC;

	if (seconds < 120)
		appendStringInfo(text, INT64_FORMAT " s", seconds);
	else if (seconds < 2 * SECS_PER_HOUR)
		appendStringInfo(text, INT64_FORMAT " min", seconds / SECS_PER_MINUTE);
	else
		appendStringInfo(text, INT64_FORMAT " h", seconds / SECS_PER_HOUR);
}

/* Appends the skills of one set that the other has not at their level, with the levels it has. */
static void
append_missing(StringInfo text, const SkillSet *asked, const SkillSet *skills)
{
	const unsigned char *next = SKILL_SET_BYTES(asked);
	const unsigned char *end = next + SKILL_SET_SIZE(asked);
	bool first = true;
	SkillItem item;

	while (skill_next(&next, end, &item))
	{
		int level = skill_find(SKILL_SET_BYTES(skills), SKILL_SET_SIZE(skills), item.code, (size_t) item.length);

		if (level >= item.level)
			continue;
		appendStringInfo(text, "%s%.*s ", first ? "" : ", ", item.length, item.code);
		if (level == 0)
			appendStringInfo(text, "missing, not %d", item.level);
		else
			appendStringInfo(text, "%d, not %d", level, item.level);
		first = false;
	}
}

/* Returns in a person's words what speaks for a candidate. */
static char *
match_reason(const RoutingConfig *config, const MatchRequest *request, const Candidate *candidate, TimestampTz now)
{
	const RoutingAgent *agent = &config->agents[candidate->agent];
	const SkillSet *asked[2] = {request->requires, request->prefers};
	StringInfoData text;

	initStringInfo(&text);
	if (candidate->owner)
		appendStringInfoString(&text, "owner, ");
	if (candidate->contacts > 0)
		appendStringInfo(&text, INT64_FORMAT " contact%s, ", candidate->contacts, candidate->contacts == 1 ? "" : "s");
	appendStringInfo(&text, "%s %d", config->channels[request->channel].channel,
					 config->fluency[(size_t) candidate->agent * config->channel_count + request->channel]);
	for (int i = 0; i < 2; i++)
	{
		const unsigned char *next = SKILL_SET_BYTES(asked[i]);
		const unsigned char *end = next + SKILL_SET_SIZE(asked[i]);
		SkillItem item;

		while (skill_next(&next, end, &item))
		{
			int level = skill_find(SKILL_SET_BYTES(agent->skills), SKILL_SET_SIZE(agent->skills), item.code,
								   (size_t) item.length);

			if (i == 1 && skill_find(SKILL_SET_BYTES(request->requires), SKILL_SET_SIZE(request->requires), item.code,
									 (size_t) item.length) > 0)
				continue;
			appendStringInfo(&text, ", %.*s %d", item.length, item.code, level);
		}
	}
	appendStringInfoString(&text, ", idle ");
	append_time(&text, now - candidate->idle_since);
	appendStringInfo(&text, ", %d of %d used", candidate->used, agent->capacity);
	return text.data;
}

/* Returns in a person's words why an agent does not get the request. */
static char *
verdict_reason(const RoutingConfig *config, const MatchRequest *request, const MatchResult *result, Verdict verdict,
			   const Candidate *candidate, TimestampTz now)
{
	const RoutingAgent *agent = &config->agents[candidate->agent];
	const RoutingQueue *queue = &config->queues[request->queue];
	const RoutingChannel *channel = &config->channels[request->channel];
	const RoutingMember *membership;
	StringInfoData text;

	initStringInfo(&text);
	switch (verdict)
	{
		case VERDICT_CANDIDATE:
			return match_reason(config, request, candidate, now);
		case VERDICT_INACTIVE:
			appendStringInfoString(&text, "no longer gets requests");
			break;
		case VERDICT_NOT_IN_QUEUE:
			appendStringInfo(&text, "does not serve queue %s", queue->queue);
			break;
		case VERDICT_CHANNEL:
			appendStringInfo(&text, "does not work in channel %s", channel->channel);
			break;
		case VERDICT_SKILL:
			append_missing(&text, request->requires, agent->skills);
			break;
		case VERDICT_LATER:
			membership = config_member(config, request->queue, candidate->agent);
			appendStringInfoString(&text, "helps in ");
			append_time(&text, request->queued_at + membership->join_after - now);
			break;
		case VERDICT_ABSENT:
			appendStringInfoString(&text, "is not available");
			break;
		case VERDICT_WRAP_UP:
			appendStringInfoString(&text, "wraps up for ");
			append_time(&text, candidate->busy_until - now);
			break;
		case VERDICT_NO_ROOM:
			appendStringInfo(&text, "%d of %d used, %d more needed", candidate->used, agent->capacity, channel->cost);
			break;
		case VERDICT_PREFERRED:
			append_missing(&text, request->prefers, agent->skills);
			appendStringInfoString(&text, ", preferred for ");
			append_time(&text, request->queued_at + queue->prefer_for - now);
			break;
		case VERDICT_REFUSED:
			appendStringInfoString(&text, "declined it, let the offer expire or passed it on");
			break;
		case VERDICT_HELD:
			appendStringInfo(&text, "held for agent " INT64_FORMAT " for ", result->owner_id);
			append_time(&text, result->held_until - now);
			break;
	}
	return text.data;
}

/* Puts a candidate's score and its parts into eight columns. */
static void
score_values(const Candidate *candidate, Datum *values)
{
	values[0] = Float8GetDatum(candidate->score);
	for (int part = 0; part < SCORE_PARTS; part++)
		values[1 + part] = Float8GetDatum(candidate->parts[part]);
}

/* Returns the request for which an agent who could be offered this one keeps his room instead, or 0. */
static int64
room_is_for(RoutingConfig *config, const MatchRequest *request, const Candidate *candidate, TimestampTz now)
{
	int64 passed[TURNS_MAX + 1] = {request->request_id};
	bool kept = false;

	if (!config->keeps_room || candidate->used == 0)
		return 0;
	for (int count = 1; count <= TURNS_MAX; count++)
	{
		MatchRequest first;
		int64 other = choices_before(config, candidate, request, now, passed, count, &kept);

		if (other == 0 || kept)
			return other;
		/* What the sweep has to see to is passed over. */
		if (!match_look(config, other, true, &first) || match_in_place(config, &first))
			break;
		passed[count] = other;
	}
	return 0;
}

/*
 * Returns whether a request is held for its owner, the first of the candidates, because he keeps his room for another
 * one: nobody else may have it then.
 */
static bool
owner_keeps_room(RoutingConfig *config, const MatchRequest *request, const MatchResult *result, TimestampTz now)
{
	return result->count > 0 && result->candidates[0].owner && result->owner_until != 0 &&
		   room_is_for(config, request, &result->candidates[0], now) != 0;
}

/* match_agents(request_id, max_agents): the agents whom route() would offer the request to, best first. */
Datum
omnichannel_match_agents(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	int32 max = PG_GETARG_INT32(1);
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	RoutingConfig *config;
	MatchRequest request;
	MatchResult result;
	SpiScope scope;
	bool scoped;

	if (max < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("cannot return %d agents", max),
						errhint("max_agents must be at least 1.")));

	init_materialized_srf(fcinfo);
	config = routing_config();
	config->rows = rows_open_reading(ROUTE_ROWS);
	scoped = config->rows == NULL || config->keeps_room;
	if (scoped)
		routing_scope_begin(&scope);
	match_read(config, PG_GETARG_INT64(0), true, &request);
	/* Of those who keep their room none counts. */
	match_find(config, &request, now, true, config->keeps_room ? PG_INT32_MAX : max, NULL, NULL, &result);
	route_rows_end(config);
	if (owner_keeps_room(config, &request, &result, now))
		result.count = 0;
	for (int i = 0; i < result.count && max > 0; i++)
	{
		const Candidate *candidate = &result.candidates[i];
		Datum values[8];
		bool nulls[8] = {0};

		CHECK_FOR_INTERRUPTS();
		if (room_is_for(config, &request, candidate, now) != 0)
			continue;
		max--;
		values[0] = Int64GetDatum(config->agents[candidate->agent].agent_id);
		score_values(candidate, &values[1]);
		values[7] = CStringGetTextDatum(match_reason(config, &request, candidate, now));
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	if (scoped)
		spi_scope_end(&scope);
	return (Datum) 0;
}

/* Orders the agents for a reader: candidates as they rank, then the others by verdict and id. */
static int
compare_judgements(const void *left, const void *right)
{
	const Judgement *a = left;
	const Judgement *b = right;

	if (a->verdict != b->verdict)
	{
		/* The later an agent was ruled out, the nearer he was. */
		if (a->verdict == VERDICT_CANDIDATE || b->verdict == VERDICT_CANDIDATE)
			return a->verdict == VERDICT_CANDIDATE ? -1 : 1;
		return (int) b->verdict - (int) a->verdict;
	}
	return match_compare(&a->candidate, &b->candidate);
}

/* explain_match(request_id): every agent, and why he gets the request or not. */
Datum
omnichannel_explain_match(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Judgements judgements = {0};
	bool found = false;
	RoutingConfig *config;
	MatchRequest request;
	MatchResult result;
	SpiScope scope;

	init_materialized_srf(fcinfo);
	config = routing_config();
	routing_scope_begin(&scope);
	match_read(config, PG_GETARG_INT64(0), true, &request);
	judgements.rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Judgement) * (config->agent_count + 1));
	match_find(config, &request, now, true, 1, collect_judgement, &judgements, &result);
	if (owner_keeps_room(config, &request, &result, now))
	{
		result.held_until = result.owner_until;
		for (int i = 0; i < judgements.count; i++)
			if (judgements.rows[i].verdict == VERDICT_CANDIDATE && !judgements.rows[i].candidate.owner)
				judgements.rows[i].verdict = VERDICT_HELD;
	}
	qsort(judgements.rows, judgements.count, sizeof(Judgement), compare_judgements);
	for (int i = 0; i < judgements.count; i++)
	{
		const Candidate *candidate = &judgements.rows[i].candidate;
		Verdict verdict = judgements.rows[i].verdict;
		int64 agent_id = config->agents[candidate->agent].agent_id;
		const char *name = verdict_names[verdict];
		const char *reason;
		int64 other = verdict == VERDICT_CANDIDATE ? room_is_for(config, &request, candidate, now) : 0;
		bool judged = verdict == VERDICT_CANDIDATE || verdict >= VERDICT_LATER;
		Datum values[9];
		bool nulls[9] = {0};

		CHECK_FOR_INTERRUPTS();
		if (request.assigned_to == agent_id)
			name = request.accepted ? "assigned" : "offered";
		else if (other != 0)
			name = "keeps_room";
		else if (request.assigned_to == 0 && verdict == VERDICT_CANDIDATE && !found)
		{
			name = "best";
			found = true;
		}
		values[0] = Int64GetDatum(agent_id);
		values[1] = CStringGetTextDatum(name);
		score_values(candidate, &values[2]);
		if (request.assigned_to == agent_id && judged)
			reason = match_reason(config, &request, candidate, now);
		else if (other != 0)
			reason = psprintf("keeps room for request " INT64_FORMAT, other);
		else
			reason = verdict_reason(config, &request, &result, verdict, candidate, now);
		values[8] = CStringGetTextDatum(reason);
		for (int column = 2; column < 8; column++)
			nulls[column] = !judged;
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	spi_scope_end(&scope);
	return (Datum) 0;
}
