/*
 * config.c
 *	  Agents, queues and their members, channels and presence states, cached; and the agents who suit a kind of request.
 *
 * What depends on configuration only is worked out once for each kind of request and kept with the cache: a match then
 * looks at presence and load of the few agents who suit, not at everybody.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "routing/config.h"
#include "routing/rows.h"

/* So many kinds of requests are kept; then the pools are begun anew. */
#define POOLS_MAX 512

static void *routing_build(ConfigCache *cache, MemoryContext context);

static ConfigCache routing_cache = {
	.name = "routing",
	.tables = {"agent", "agent_channel", "queue", "queue_member", "queue_department", "presence_state", "channel",
			   "routing_setting"},
	.build = routing_build,
};

static KeptPlan channels_select = {
	.sql = "SELECT channel, cost FROM omnichannel.channel ORDER BY channel COLLATE \"C\"",
};

static KeptPlan states_select = {
	.sql = "SELECT state, available, present FROM omnichannel.presence_state",
};

static KeptPlan agents_select = {
	.sql = "SELECT agent_id, capacity, active, department, skills FROM omnichannel.agent ORDER BY agent_id",
};

static KeptPlan fluencies_select = {
	.sql = "SELECT agent_id, channel, fluency FROM omnichannel.agent_channel",
};

static KeptPlan queues_select = {
	.sql = "SELECT queue, hold_for_owner, prefer_for, age_after, offer_for, decline_for, wrap_up, overflow_queue,"
		   " overflow_after, weight_relationship, weight_fluency, weight_skill, weight_idle, weight_load,"
		   " keep_room_after, idle_from = 'offer'"
		   " FROM omnichannel.queue ORDER BY queue COLLATE \"C\"",
};

/* Both ways into a queue; the earliest of an agent first. */
static KeptPlan members_select = {
	.sql = "SELECT DISTINCT ON (queue COLLATE \"C\", agent_id) queue, agent_id, join_after FROM ("
		   "SELECT queue, agent_id, join_after FROM omnichannel.queue_member UNION ALL SELECT d.queue, a.agent_id,"
		   " d.join_after FROM omnichannel.queue_department AS d"
		   " JOIN omnichannel.agent AS a USING (department)) AS way ORDER BY queue COLLATE \"C\", agent_id, join_after",
};

static KeptPlan notify_select = {
	.sql = "SELECT notify_channel FROM omnichannel.routing_setting",
};

/* Returns the length of an interval in microseconds, a month counted as 30 days, or the nearest number there is. */
int64
interval_usecs(const Interval *interval)
{
	/* By whole days first: days and time may each be too much and make little together. */
	int64 days = (int64) interval->month * DAYS_PER_MONTH + interval->day + interval->time / USECS_PER_DAY;
	int64 usecs;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &usecs) ||
		pg_add_s64_overflow(usecs, interval->time % USECS_PER_DAY, &usecs))
		return days < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return usecs;
}

/* Returns a column of a row of the last result that holds an interval, 0 for NULL. */
static int64
spi_usecs(uint64 row, int column)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? 0 : interval_usecs(DatumGetIntervalP(value));
}

static int32
spi_int32(uint64 row, int column)
{
	bool isnull;

	return DatumGetInt32(spi_datum(row, column, &isnull));
}

static bool
spi_bool(uint64 row, int column)
{
	bool isnull;

	return DatumGetBool(spi_datum(row, column, &isnull));
}

static void
read_channels(RoutingConfig *config, MemoryContext context)
{
	config->channel_count = (int) kept_plan_run(&channels_select, NULL, NULL, true, 0);
	config->channels = MemoryContextAlloc(context, sizeof(RoutingChannel) * (config->channel_count + 1));
	for (int i = 0; i < config->channel_count; i++)
	{
		config->channels[i].channel = spi_text(i, 1, context);
		config->channels[i].cost = spi_int32(i, 2);
	}
}

/* Returns the codes of the states in which agents are available, or else present, as text[] in context. */
static Datum
state_codes(const RoutingConfig *config, bool available, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	Datum *codes = palloc(sizeof(Datum) * (config->state_count + 1));
	int count = 0;
	Datum array;

	for (int i = 0; i < config->state_count; i++)
	{
		if (available ? config->states[i].available : config->states[i].present)
			codes[count++] = CStringGetTextDatum(config->states[i].state);
	}
	array = array_of(codes, NULL, count, TEXTOID);
	MemoryContextSwitchTo(caller);
	return array;
}

static void
read_states(RoutingConfig *config, MemoryContext context)
{
	config->state_count = (int) kept_plan_run(&states_select, NULL, NULL, true, 0);
	config->states = MemoryContextAlloc(context, sizeof(RoutingState) * (config->state_count + 1));
	for (int i = 0; i < config->state_count; i++)
	{
		config->states[i].state = spi_text(i, 1, context);
		config->states[i].length = strlen(config->states[i].state);
		config->states[i].available = spi_bool(i, 2);
		config->states[i].present = spi_bool(i, 3);
	}
	config->available_states = state_codes(config, true, context);
	config->present_states = state_codes(config, false, context);
}

static void
read_agents(RoutingConfig *config, MemoryContext context)
{
	uint64 count = kept_plan_run(&agents_select, NULL, NULL, true, 0);

	config->agent_count = (int) count;
	config->agents = MemoryContextAllocHuge(context, sizeof(RoutingAgent) * (count + 1));
	for (uint64 i = 0; i < count; i++)
	{
		RoutingAgent *agent = &config->agents[i];
		struct varlena *skills;
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		agent->agent_id = spi_id(i, 1);
		agent->capacity = spi_int32(i, 2);
		agent->active = spi_bool(i, 3);
		agent->department = spi_text(i, 4, context);
		agent->queue_count = 0;
		skills = PG_DETOAST_DATUM_PACKED(spi_datum(i, 5, &isnull));
		agent->skills = MemoryContextAlloc(context, VARSIZE_ANY(skills));
		memcpy(agent->skills, skills, VARSIZE_ANY(skills));
		ItemPointerSetInvalid(&agent->place.last);
	}

	config->fluency = MemoryContextAllocHuge(context, count * config->channel_count + 1);
	memset(config->fluency, 0, count * config->channel_count + 1);
	count = kept_plan_run(&fluencies_select, NULL, NULL, true, 0);
	for (uint64 i = 0; i < count; i++)
	{
		int agent = config_agent(config, spi_id(i, 1));
		int channel = config_channel(config, spi_text(i, 2, CurrentMemoryContext));

		CHECK_FOR_INTERRUPTS();
		if (agent >= 0 && channel >= 0)
			config->fluency[(size_t) agent * config->channel_count + channel] = (uint8) spi_int32(i, 3);
	}
}

static void
read_queues(RoutingConfig *config, MemoryContext context)
{
	const char **overflows;
	uint64 count;

	config->queue_count = (int) kept_plan_run(&queues_select, NULL, NULL, true, 0);
	config->queues = MemoryContextAllocZero(context, sizeof(RoutingQueue) * (config->queue_count + 1));
	overflows = palloc(sizeof(char *) * (config->queue_count + 1));
	for (int i = 0; i < config->queue_count; i++)
	{
		RoutingQueue *queue = &config->queues[i];
		bool never;

		queue->queue = spi_text(i, 1, context);
		config->queues_hash = hash_combine(
			config->queues_hash, hash_bytes((const unsigned char *) queue->queue, (int) strlen(queue->queue)));
		queue->hold_for_owner = spi_usecs(i, 2);
		queue->prefer_for = spi_usecs(i, 3);
		queue->age_after = spi_usecs(i, 4);
		queue->offer_for = spi_usecs(i, 5);
		queue->decline_for = spi_usecs(i, 6);
		queue->wrap_up = spi_usecs(i, 7);
		overflows[i] = spi_text(i, 8, CurrentMemoryContext);
		queue->overflow_after = spi_usecs(i, 9);
		(void) spi_datum(i, 15, &never);
		queue->keep_room_after = never ? -1 : spi_usecs(i, 15);
		config->keeps_room = config->keeps_room || !never;
		queue->idle_from_offer = spi_bool(i, 16);
		for (int part = 0; part < SCORE_PARTS; part++)
		{
			bool isnull;

			queue->weights[part] = DatumGetFloat8(spi_datum(i, 10 + part, &isnull));
		}
	}
	for (int i = 0; i < config->queue_count; i++)
		config->queues[i].overflow = overflows[i] == NULL ? -1 : config_queue(config, overflows[i]);

	count = kept_plan_run(&members_select, NULL, NULL, true, 0);
	for (uint64 i = 0; i < count;)
	{
		char *code = spi_text(i, 1, CurrentMemoryContext);
		int queue = config_queue(config, code);
		uint64 end = i;

		while (end < count && strcmp(spi_text(end, 1, CurrentMemoryContext), code) == 0)
			end++;
		if (queue >= 0)
		{
			RoutingQueue *found = &config->queues[queue];

			found->members = MemoryContextAllocHuge(context, sizeof(RoutingMember) * (end - i));
			for (uint64 row = i; row < end; row++)
			{
				int agent = config_agent(config, spi_id(row, 2));

				if (agent < 0)
					continue;
				found->members[found->member_count].agent = agent;
				found->members[found->member_count++].join_after = spi_usecs(row, 3);
			}
		}
		CHECK_FOR_INTERRUPTS();
		i = end;
	}
}

/* Notes with each agent which queues he serves. */
static void
note_queues(RoutingConfig *config, MemoryContext context)
{
	size_t total = 0;
	int *queues;

	for (int queue = 0; queue < config->queue_count; queue++)
	{
		total += config->queues[queue].member_count;
		for (int i = 0; i < config->queues[queue].member_count; i++)
			config->agents[config->queues[queue].members[i].agent].queue_count++;
	}
	queues = MemoryContextAllocHuge(context, sizeof(int) * (total + 1));
	for (int agent = 0; agent < config->agent_count; agent++)
	{
		config->agents[agent].queues = queues;
		queues += config->agents[agent].queue_count;
		config->agents[agent].queue_count = 0;
	}
	for (int queue = 0; queue < config->queue_count; queue++)
	{
		for (int i = 0; i < config->queues[queue].member_count; i++)
		{
			RoutingAgent *agent = &config->agents[config->queues[queue].members[i].agent];

			unconstify(int *, agent->queues)[agent->queue_count++] = queue;
		}
	}
}

/*
 * Begins an SPI scope for statements on the tables of what is going on.
 *
 * Those are empty in the morning and full at noon: a plan made when there was nothing to scan must not be kept for
 * then. So a plan is made once, by the indexes and in their order. What it is said to cost for that must not have it
 * compiled, which takes longer than to run it. spi_scope_end() ends the scope.
 */
void
routing_scope_begin(SpiScope *scope)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"}, {"enable_sort", "off"}, {"jit", "off"}, {"plan_cache_mode", "force_generic_plan"}};

	spi_scope_begin(scope, false);
	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
}

/*
 * routing_reads_begin opens more tables, a set of ROWS_BITs, to be read by config->rows if these are open and suit;
 * otherwise it begins a scope, and config->rows is NULL until routing_reads_end().
 */
void
routing_reads_begin(RoutingConfig *config, int tables, RoutingReads *reads)
{
	reads->rows = config->rows;
	if (config->rows != NULL && rows_open_more(config->rows, tables))
		return;
	config->rows = NULL;
	routing_scope_begin(&reads->scope);
}

/* routing_reads_end ends it; the rows are as they were before. */
void
routing_reads_end(RoutingConfig *config, RoutingReads *reads)
{
	if (config->rows != NULL)
		return;
	spi_scope_end(&reads->scope);
	config->rows = reads->rows;
}

/* Reads the configuration. */
static void *
routing_build(ConfigCache *cache, MemoryContext context)
{
	RoutingConfig *config = MemoryContextAllocZero(context, sizeof(RoutingConfig));

	read_channels(config, context);
	read_states(config, context);
	read_agents(config, context);
	read_queues(config, context);
	note_queues(config, context);
	if (kept_plan_run(&notify_select, NULL, NULL, true, 1) > 0)
		config->notify_channel = spi_text(0, 1, context);
	config->pool_context = AllocSetContextCreate(context, "omnichannel pools of agents", ALLOCSET_DEFAULT_SIZES);
	return config;
}

/*
 * routing_config returns the configuration, good until the next call; only its pools change.
 *
 * Raises 55000 before setup(), 42501 for a role that may not read the tables.
 */
RoutingConfig *
routing_config(void)
{
	RoutingConfig *config = unconstify(RoutingConfig *, (const RoutingConfig *) config_cache_get(&routing_cache));

	config->generation = routing_cache.generation;
	config->rows = NULL;
	return config;
}

/* Returns the index of an agent, or -1. */
int
config_agent(const RoutingConfig *config, int64 agent_id)
{
	int low = 0;
	int high = config->agent_count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (config->agents[middle].agent_id < agent_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < config->agent_count && config->agents[low].agent_id == agent_id ? low : -1;
}

/* Returns the index of a queue, or -1. */
int
config_queue(const RoutingConfig *config, const char *queue)
{
	int low = 0;
	int high = config->queue_count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (strcmp(config->queues[middle].queue, queue) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < config->queue_count && strcmp(config->queues[low].queue, queue) == 0 ? low : -1;
}

/* Returns the index of a channel, or -1. */
int
config_channel(const RoutingConfig *config, const char *channel)
{
	for (int i = 0; i < config->channel_count; i++)
	{
		if (strcmp(config->channels[i].channel, channel) == 0)
			return i;
	}
	return -1;
}

/* Returns a presence state, or NULL. */
const RoutingState *
config_state(const RoutingConfig *config, const char *state)
{
	for (int i = 0; i < config->state_count; i++)
	{
		if (strcmp(config->states[i].state, state) == 0)
			return &config->states[i];
	}
	return NULL;
}

/* Returns the membership of an agent in a queue, or NULL. */
const RoutingMember *
config_member(const RoutingConfig *config, int queue, int agent)
{
	const RoutingQueue *found = &config->queues[queue];
	int low = 0;
	int high = found->member_count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (found->members[middle].agent < agent)
			low = middle + 1;
		else
			high = middle;
	}
	return low < found->member_count && found->members[low].agent == agent ? &found->members[low] : NULL;
}

/* Returns the mean level, as a part of the score, of the skills that either set names; a missing skill counts 0. */
static double
skill_part(const SkillSet *requires, const SkillSet *prefers, const SkillSet *skills)
{
	const SkillSet *asked[2] = {requires, prefers};
	int sum = 0;
	int count = 0;

	for (int i = 0; i < 2; i++)
	{
		const unsigned char *next = SKILL_SET_BYTES(asked[i]);
		const unsigned char *end = next + SKILL_SET_SIZE(asked[i]);
		SkillItem item;

		while (skill_next(&next, end, &item))
		{
			if (i == 1 &&
				skill_find(SKILL_SET_BYTES(requires), SKILL_SET_SIZE(requires), item.code, (size_t) item.length) > 0)
				continue;
			sum += skill_find(SKILL_SET_BYTES(skills), SKILL_SET_SIZE(skills), item.code, (size_t) item.length);
			count++;
		}
	}
	return count == 0 ? 0 : (double) sum / (count * SKILL_LEVEL_MAX);
}

/* Returns what the configuration says of an agent for a kind of request; fills member where the agent can serve it. */
Verdict
config_judge(const RoutingConfig *config, int queue, int channel, const SkillSet *requires, const SkillSet *prefers,
			 int agent, PoolMember *member)
{
	const RoutingAgent *found = &config->agents[agent];
	const RoutingMember *membership = config_member(config, queue, agent);
	int fluency = config->fluency[(size_t) agent * config->channel_count + channel];

	if (!found->active)
		return VERDICT_INACTIVE;
	if (membership == NULL)
		return VERDICT_NOT_IN_QUEUE;
	if (fluency == 0)
		return VERDICT_CHANNEL;
	if (!skill_set_contains(found->skills, requires))
		return VERDICT_SKILL;

	member->agent = agent;
	member->capacity = found->capacity;
	member->join_after = membership->join_after;
	member->preferred = skill_set_contains(found->skills, prefers);
	member->fluency = (double) fluency / 10;
	member->skill = skill_part(requires, prefers, found->skills);
	return VERDICT_CANDIDATE;
}

/* Returns whether two sets are equal. */
bool
same_skills(const SkillSet *a, const SkillSet *b)
{
	return SKILL_SET_SIZE(a) == SKILL_SET_SIZE(b) &&
		   memcmp(SKILL_SET_BYTES(a), SKILL_SET_BYTES(b), SKILL_SET_SIZE(a)) == 0;
}

static SkillSet *
copy_skills(const SkillSet *set, MemoryContext context)
{
	SkillSet *copy = MemoryContextAlloc(context, VARSIZE_ANY(set));

	memcpy(copy, set, VARSIZE_ANY(set));
	return copy;
}

/* Returns the agents who can serve a kind of request as far as the configuration says; the one asked last is first. */
Pool *
config_pool(RoutingConfig *config, int queue, int channel, SkillSet *requires, SkillSet *prefers)
{
	RoutingQueue *found = &config->queues[queue];
	MemoryContext caller;
	Datum *ids;
	Pool *pool;

	for (Pool **link = &found->pools; *link != NULL; link = &(*link)->next)
	{
		pool = *link;
		if (pool->channel == channel && same_skills(pool->requires, requires) && same_skills(pool->prefers, prefers))
		{
			*link = pool->next;
			pool->next = found->pools;
			found->pools = pool;
			return pool;
		}
	}

	if (config->pool_count >= POOLS_MAX)
	{
		for (int i = 0; i < config->queue_count; i++)
			config->queues[i].pools = NULL;
		config->pool_count = 0;
		MemoryContextReset(config->pool_context);
	}

	/* Nothing is linked in before it is whole. */
	caller = MemoryContextSwitchTo(config->pool_context);
	pool = palloc0(sizeof(Pool));
	pool->channel = channel;
	pool->requires = copy_skills(requires, config->pool_context);
	pool->prefers = copy_skills(prefers, config->pool_context);
	pool->members = MemoryContextAllocHuge(config->pool_context, sizeof(PoolMember) * (found->member_count + 1));
	for (int i = 0; i < found->member_count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (config_judge(config, queue, channel, requires, prefers, found->members[i].agent,
						 &pool->members[pool->count]) == VERDICT_CANDIDATE)
			pool->count++;
	}
	ids = palloc(sizeof(Datum) * (pool->count + 1));
	for (int i = 0; i < pool->count; i++)
		ids[i] = Int64GetDatum(config->agents[pool->members[i].agent].agent_id);
	pool->agent_ids = array_of(ids, NULL, pool->count, INT8OID);
	pfree(ids);
	MemoryContextSwitchTo(caller);

	pool->next = found->pools;
	found->pools = pool;
	config->pool_count++;
	return pool;
}

/* Returns an agent's membership of a pool, or NULL. */
const PoolMember *
pool_member(const Pool *pool, int agent)
{
	int low = 0;
	int high = pool->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (pool->members[middle].agent < agent)
			low = middle + 1;
		else
			high = middle;
	}
	return low < pool->count && pool->members[low].agent == agent ? &pool->members[low] : NULL;
}
