/*
 * lane.c
 *	  The kinds of requests that have waited, cached.
 *
 * All requests of a lane suit the same agents. So a free agent looks at the heads of the few lanes that suit, each
 * found by one descent of an index, however many requests wait behind them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "routing/route.h"

SQL_FUNCTION(omnichannel_level_waiting);

static void *lane_build(ConfigCache *cache, MemoryContext context);

static ConfigCache lane_cache = {.name = "lane", .tables = {"lane"}, .build = lane_build};

static KeptPlan lanes_select = {
	.sql = "SELECT lane_id, queue, channel, requires, prefers, min_priority FROM omnichannel.lane ORDER BY lane_id",
};

static KeptPlan lane_insert = {
	.sql = "INSERT INTO omnichannel.lane (queue, channel, requires, prefers)"
		   " VALUES ($1, $2, CAST($3 AS omnichannel.skill_set), CAST($4 AS omnichannel.skill_set)) RETURNING lane_id",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID},
};

static KeptPlan lane_lower = {
	.sql = "UPDATE omnichannel.lane SET min_priority = least(min_priority, $2) WHERE lane_id = $1",
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID},
};

static KeptPlan waiting_level = {
	.sql =
		"WITH heads AS (DELETE FROM omnichannel.lane_head AS h USING omnichannel.lane AS l"
		" WHERE l.lane_id = h.lane_id AND l.queue = $1)"
		" UPDATE omnichannel.waiting AS w SET rank = -omnichannel.waiting_level(w.priority, w.entered_at, q.age_after)"
		" FROM omnichannel.lane AS l JOIN omnichannel.queue AS q ON q.queue = l.queue"
		" WHERE l.lane_id = w.lane_id AND l.queue = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* That queue, and all whose rows this (sub)transaction has changed until now. */
static KeptPlan changed_select = {
	.sql = "SELECT $1 UNION SELECT q.queue FROM omnichannel.queue AS q WHERE q.xmin = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, XIDOID},
};

/* Returns a copy of the skills in a column of the last result. */
static SkillSet *
spi_skills(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	struct varlena *skills = PG_DETOAST_DATUM_PACKED(spi_datum(row, column, &isnull));
	SkillSet *copy = MemoryContextAlloc(context, VARSIZE_ANY(skills));

	memcpy(copy, skills, VARSIZE_ANY(skills));
	return copy;
}

static void *
lane_build(ConfigCache *cache, MemoryContext context)
{
	Lanes *lanes = MemoryContextAllocZero(context, sizeof(Lanes));

	lanes->count = (int) kept_plan_run(&lanes_select, NULL, NULL, true, 0);
	lanes->lanes = MemoryContextAllocHuge(context, sizeof(Lane) * (lanes->count + 1));
	lanes->by_queue = MemoryContextAllocHuge(context, sizeof(int) * (lanes->count + 1));
	lanes->context = context;
	for (int i = 0; i < lanes->count; i++)
	{
		Lane *lane = &lanes->lanes[i];
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		lane->lane_id = DatumGetInt64(spi_datum(i, 1, &isnull));
		lane->queue_code = spi_text(i, 2, context);
		lane->channel_code = spi_text(i, 3, context);
		lane->requires = spi_skills(i, 4, context);
		lane->prefers = spi_skills(i, 5, context);
		lane->min_priority = DatumGetInt32(spi_datum(i, 6, &isnull));
		ItemPointerSetInvalid(&lane->head_place.last);
		lane->leaf = (RowsLeaf){InvalidBuffer, InvalidBlockNumber};
	}
	return lanes;
}

/* Makes queues and channels those of this configuration, or -1 where it has them not. */
static void
resolve(Lanes *lanes, const RoutingConfig *config)
{
	int *next = MemoryContextAllocZero(lanes->context, sizeof(int) * (config->queue_count + 2));
	int *old = lanes->firsts;

	lanes->generation = 0;
	lanes->firsts = next;
	if (old != NULL)
		pfree(old);
	for (int i = 0; i < lanes->count; i++)
	{
		Lane *lane = &lanes->lanes[i];

		lane->queue = config_queue(config, lane->queue_code);
		lane->channel = config_channel(config, lane->channel_code);
		if (lane->queue >= 0)
			next[lane->queue + 2]++;
	}
	for (int queue = 1; queue <= config->queue_count; queue++)
		next[queue + 1] += next[queue];
	for (int i = 0; i < lanes->count; i++)
	{
		if (lanes->lanes[i].queue >= 0)
			lanes->by_queue[next[lanes->lanes[i].queue + 1]++] = i;
	}
	lanes->generation = config->generation;
}

/*
 * lanes_get returns the lanes, with the queues and channels of this configuration, or -1 where it has them not.
 *
 * Good until the second next call, or for as long as the caller holds the caches by config_caches_hold(); then only
 * the queues and channels may become those of another configuration. Raises what config_cache_get() raises.
 */
const Lanes *
lanes_get(const RoutingConfig *config)
{
	Lanes *lanes;

	config_caches_hold();
	lanes = unconstify(Lanes *, (const Lanes *) config_cache_get(&lane_cache));
	config_caches_release();
	if (lanes->firsts == NULL || lanes->generation != config->generation)
		resolve(lanes, config);
	return lanes;
}

/* Returns a lane, or NULL. */
const Lane *
lane_find(const RoutingConfig *config, int64 lane_id)
{
	const Lanes *lanes = lanes_get(config);
	int low = 0;
	int high = lanes->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (lanes->lanes[middle].lane_id < lane_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < lanes->count && lanes->lanes[low].lane_id == lane_id ? &lanes->lanes[low] : NULL;
}

/* Returns the text of a set. */
static Datum
skills_text(SkillSet *set)
{
	char *text = palloc(SKILL_TEXT_MAX(SKILL_SET_SIZE(set)));

	(void) skill_format(SKILL_SET_BYTES(set), SKILL_SET_SIZE(set), text);
	return CStringGetTextDatum(text);
}

/* Notes in a lane that a lower priority is to come; by powers of two, so that this is seldom. */
static void
lower_priority(const Lane *lane, int32 priority)
{
	int64 least = -1;
	Datum values[2];
	SpiScope scope;

	while (least > priority)
		least *= 2;
	values[0] = Int64GetDatum(lane->lane_id);
	values[1] = Int32GetDatum((int32) least);
	routing_scope_begin(&scope);
	(void) kept_plan_run(&lane_lower, values, NULL, false, 0);
	spi_scope_end(&scope);
}

/*
 * Returns the lane of a kind of request with this priority, made where it is the first.
 *
 * Two that come first at once make one each: none waits for the other, and the sweep removes all but the oldest when
 * they are empty.
 */
int64
lane_ensure(const RoutingConfig *config, int queue, int channel, SkillSet *requires, SkillSet *prefers, int32 priority)
{
	const Lanes *lanes = lanes_get(config);
	Datum values[4];
	SpiScope scope;
	int64 lane_id;
	bool isnull;

	for (int i = 0; i < lanes->count; i++)
	{
		const Lane *lane = &lanes->lanes[i];

		if (lane->queue == queue && lane->channel == channel &&
			skill_compare(SKILL_SET_BYTES(lane->requires), SKILL_SET_SIZE(lane->requires), SKILL_SET_BYTES(requires),
						  SKILL_SET_SIZE(requires)) == 0 &&
			skill_compare(SKILL_SET_BYTES(lane->prefers), SKILL_SET_SIZE(lane->prefers), SKILL_SET_BYTES(prefers),
						  SKILL_SET_SIZE(prefers)) == 0)
		{
			lane_id = lane->lane_id;
			if (priority < lane->min_priority)
				lower_priority(lane, priority);
			return lane_id;
		}
	}

	values[0] = CStringGetTextDatum(config->queues[queue].queue);
	values[1] = CStringGetTextDatum(config->channels[channel].channel);
	values[2] = skills_text(requires);
	values[3] = skills_text(prefers);
	routing_scope_begin(&scope);
	if (kept_plan_run(&lane_insert, values, NULL, false, 0) == 0)
		rows_not_taken("lane");
	lane_id = DatumGetInt64(spi_datum(0, 1, &isnull));
	spi_scope_end(&scope);
	return priority < 0 ? lane_ensure(config, queue, channel, requires, prefers, priority) : lane_id;
}

/*
 * level_waiting(): trigger function; puts the waiting requests of a queue in the order of its changed age_after.
 *
 * Under the queue's lock: who arrives meanwhile waits, and then reads the new setting. A statement that changes several
 * queues has changed all of them by the time of the first one's trigger, which takes their locks in order. Raises 55000
 * above READ COMMITTED, where those who arrived meanwhile would not be seen, and 40001 where the transaction has locked
 * queues before and somebody else has this one.
 */
Datum
omnichannel_level_waiting(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "queue");
	Datum values[2];
	SpiScope scope;
	char **queues;
	uint64 count;
	bool isnull;

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"level_waiting\" must be fired AFTER UPDATE FOR EACH ROW of queue")));
	routing_writes("a change of queue.age_after");
	values[0] = heap_getattr(trigger->tg_newtuple, SPI_fnumber(RelationGetDescr(trigger->tg_relation), "queue"),
							 RelationGetDescr(trigger->tg_relation), &isnull);
	values[1] = TransactionIdGetDatum(GetCurrentTransactionId());
	routing_scope_begin(&scope);
	count = kept_plan_run(&changed_select, values, NULL, false, 0);
	queues = palloc(sizeof(char *) * count);
	for (uint64 row = 0; row < count; row++)
		queues[row] = spi_text(row, 1, CurrentMemoryContext);
	queues_lock(queues, (int) count, QUEUE_BOTH);
	(void) kept_plan_run(&waiting_level, values, NULL, false, 0);
	spi_scope_end(&scope);
	return PointerGetDatum(NULL);
}
