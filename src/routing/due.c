/*
 * due.c
 *	  What only time makes due, as the sweep finds it before it takes its locks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "routing/due.h"

/*
 * One call does so much of each kind and no more: it holds the locks of queues until its transaction ends. Some of it
 * is taken from anywhere, so that what cannot be moved does not stand before all others each time.
 */
#define SOME_OF(due)                                                                                                   \
	"WITH due AS MATERIALIZED (" due "), first AS (SELECT request_id, at FROM due ORDER BY at, request_id LIMIT 200)," \
	" further AS (SELECT request_id, at FROM (SELECT request_id, at FROM due ORDER BY at, request_id OFFSET 200)"      \
	" AS rest ORDER BY random() LIMIT 50)"                                                                             \
	" SELECT request_id FROM (SELECT * FROM first UNION ALL SELECT * FROM further) AS chosen ORDER BY at, request_id"

static KeptPlan arrivals_select = {
	.sql = SOME_OF("SELECT DISTINCT a.request_id, 0 AS at FROM omnichannel.arrival AS a"
				   " LEFT JOIN omnichannel.request AS q USING (request_id) WHERE coalesce(q.queue <> ALL ($1), true)"),
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/* Offers that have run out of time, or of their agent. */
static KeptPlan expired_select = {
	.sql = SOME_OF(
		"SELECT a.request_id, a.expires_at AS at FROM omnichannel.assignment AS a"
		" LEFT JOIN omnichannel.lane AS l USING (lane_id) WHERE a.accepted_at IS NULL AND (a.expires_at <= $2"
		" OR NOT EXISTS (SELECT FROM omnichannel.agent_state AS s"
		" JOIN omnichannel.presence_state AS p USING (state) JOIN omnichannel.agent AS g USING (agent_id)"
		" WHERE s.agent_id = a.agent_id AND p.available AND g.active)) AND coalesce(l.queue <> ALL ($1), true)"),
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TIMESTAMPTZOID},
};

/*
 * Whose request was closed or deleted, or whose agent was deleted, where no trigger told of it, as by TRUNCATE. The
 * triggers tell of nearly all, so that a few pages of many are enough each time, taken from anywhere.
 */
static KeptPlan closed_select = {
	.sql = SOME_OF(
		"SELECT a.request_id, 0 AS at FROM omnichannel.assignment AS a TABLESAMPLE SYSTEM (least(100, 1600.0 *"
		" current_setting('block_size')::integer / greatest(pg_relation_size('omnichannel.assignment'), 1)))"
		" LEFT JOIN omnichannel.lane AS l USING (lane_id) WHERE (coalesce((SELECT q.closed_at IS NOT NULL"
		" FROM omnichannel.request AS q WHERE q.request_id = a.request_id AND q.customer_id = a.customer_id), true)"
		" OR NOT EXISTS (SELECT FROM omnichannel.agent AS g WHERE g.agent_id = a.agent_id OFFSET 0))"
		" AND coalesce(l.queue <> ALL ($1), true)"),
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/* What came into these queues at these times, or before. */
static KeptPlan overflow_select = {
	.sql = SOME_OF("SELECT w.request_id, w.queued_at AS at FROM unnest($1, $2) AS o (queue, queued_before)"
				   " JOIN omnichannel.lane AS l ON l.queue = o.queue"
				   " JOIN omnichannel.waiting AS w ON w.lane_id = l.lane_id AND w.queued_at <= o.queued_before"),
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TIMESTAMPTZARRAYOID},
};

/*
 * What has been due since a time: the queue and the other one that it needs, and since when. In any order, so that what
 * nobody ever gets does not stand before all others each time.
 *
 * Offers, arrivals, what overflows, and what waits where somebody idles, in these queues. Since when that is due is not
 * known, nor is it certain: it is waited for, but not spoken of.
 */
static KeptPlan starved_select = {
	.sql = "SELECT queue, other, since FROM (SELECT l.queue, NULL AS other, min(a.expires_at) AS since"
		   " FROM omnichannel.assignment AS a JOIN omnichannel.lane AS l USING (lane_id)"
		   " WHERE a.accepted_at IS NULL AND a.expires_at <= $1 GROUP BY l.queue"
		   " UNION ALL SELECT q.queue, l.queue, min(a.noted_at) FROM omnichannel.arrival AS a"
		   " LEFT JOIN omnichannel.request AS q USING (request_id)"
		   " LEFT JOIN omnichannel.waiting AS w USING (request_id) LEFT JOIN omnichannel.lane AS l USING (lane_id)"
		   " WHERE a.noted_at <= $1 GROUP BY q.queue, l.queue"
		   " UNION ALL SELECT o.queue, o.other, min(w.queued_at) + ($1 - o.queued_before)"
		   " FROM unnest($2, $3, $4) AS o (queue, other, queued_before) JOIN omnichannel.lane AS l ON l.queue = o.queue"
		   " JOIN omnichannel.waiting AS w ON w.lane_id = l.lane_id AND w.queued_at <= o.queued_before"
		   " GROUP BY o.queue, o.other, o.queued_before"
		   " UNION ALL SELECT q.queue, NULL, NULL FROM omnichannel.queue AS q WHERE q.queue = ANY ($5) AND EXISTS"
		   " (SELECT FROM omnichannel.lane AS l JOIN omnichannel.waiting AS w ON w.lane_id = l.lane_id"
		   " WHERE l.queue = q.queue AND w.queued_at <= $1 - q.hold_for_owner - q.prefer_for)) AS due"
		   " ORDER BY random()",
	.nargs = 5,
	.argtypes = {TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
};

static KeptPlan agent_select = {
	.sql = "SELECT agent_id FROM omnichannel.assignment WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* In which lanes something waits. */
static KeptPlan filled_select = {
	.sql = "SELECT l.lane_id FROM omnichannel.lane AS l CROSS JOIN LATERAL"
		   " (SELECT FROM omnichannel.waiting AS w WHERE w.lane_id = l.lane_id LIMIT 1) AS w",
	.indexed = true,
};

/* Those who could take something, and how much, the longest idle first. */
static KeptPlan free_select = {
	.sql = "SELECT s.agent_id, a.capacity - s.used FROM omnichannel.agent_state AS s"
		   " JOIN omnichannel.agent AS a USING (agent_id) JOIN omnichannel.presence_state AS p USING (state)"
		   " WHERE p.available AND s.busy_until <= $1 AND a.active AND (s.used < a.capacity"
		   " OR EXISTS (SELECT FROM omnichannel.channel AS c WHERE c.cost = 0)) ORDER BY s.idle_since, s.agent_id",
	.nargs = 1,
	.argtypes = {TIMESTAMPTZOID},
};

/* Appends the ids of the last result, which has so many rows. */
static void
append_ids(IdList *list, uint64 count)
{
	Size size = sizeof(int64) * (list->count + count + 1);

	list->ids = list->ids == NULL ? palloc(size) : repalloc(list->ids, size);
	for (uint64 row = 0; row < count; row++)
		list->ids[list->count++] = spi_id(row, 1);
}

/* due_agent returns the agent who has a request, or 0. Needs an SPI scope. */
int64
due_agent(int64 request_id)
{
	Datum id = Int64GetDatum(request_id);

	return kept_plan_run(&agent_select, &id, NULL, false, 1) == 0 ? 0 : spi_id(0, 1);
}

/* Adds the locks for ending an assignment or moving a request. */
static void
add_request_locks(const RoutingConfig *config, QueueLocks *locks, const IdList *list, QueueLock mode, bool overflow)
{
	for (int i = 0; i < list->count; i++)
	{
		MatchRequest request;
		const Lane *lane;
		int agent;

		CHECK_FOR_INTERRUPTS();
		if (!match_look(config, list->ids[i], false, &request))
		{
			memset(&request, 0, sizeof(request));
			request.queue = -1;
			request.assigned_to = due_agent(list->ids[i]);
		}
		if (request.queue >= 0)
			queue_locks_add(locks, request.queue, mode);
		lane = request.waiting ? lane_find(config, request.waits_in) : NULL;
		if (lane != NULL && lane->queue >= 0)
			queue_locks_add(locks, lane->queue, mode);
		if (request.queue >= 0 && overflow && config->queues[request.queue].overflow >= 0)
			queue_locks_add(locks, config->queues[request.queue].overflow, QUEUE_BOTH);
		agent = request.assigned_to == 0 ? -1 : config_agent(config, request.assigned_to);
		if (agent >= 0)
			queue_locks_add_agent(config, locks, agent);
	}
}

/* What an agent needs whom nothing suits. */
#define NEEDS_MORE PG_INT32_MAX

/* Finds whom what waits could suit as far as the configuration and their room say, and in which queues that is. */
static void
find_idle(RoutingConfig *config, const QueueLocks *locks, TimestampTz now, Due *due)
{
	int32 *needs = palloc(sizeof(int32) * (config->agent_count + 1)); /* the least room that takes anything */
	Datum time = TimestampTzGetDatum(now);
	IdList lanes = {0};
	uint64 count = 0;

	for (int agent = 0; agent < config->agent_count; agent++)
		needs[agent] = NEEDS_MORE;
	due->filled = palloc0(sizeof(bool) * (config->queue_count + 1));
	append_ids(&lanes, kept_plan_run(&filled_select, NULL, NULL, false, 0));
	for (int i = 0; i < lanes.count; i++)
	{
		const Lane *lane = lane_find(config, lanes.ids[i]);
		const Pool *pool;
		int32 cost;

		CHECK_FOR_INTERRUPTS();
		if (lane == NULL || lane->queue < 0 || lane->channel < 0 || locks->stuck[lane->queue])
			continue;
		if (!queue_is_served(config, lane->queue))
			ereport(WARNING, (errmsg("requests wait in queue \"%s\", which has no members", lane->queue_code),
							  errhint("Insert agents into omnichannel.queue_member or departments into "
									  "omnichannel.queue_department.")));
		pool = config_pool(config, lane->queue, lane->channel, lane->requires, lane->prefers);
		cost = config->channels[lane->channel].cost;
		for (int member = 0; member < pool->count; member++)
			needs[pool->members[member].agent] = Min(needs[pool->members[member].agent], cost);
		due->filled[lane->queue] = due->filled[lane->queue] || pool->count > 0;
	}
	if (lanes.count > 0)
		count = kept_plan_run(&free_select, &time, NULL, false, 0);
	due->idle.ids = palloc(sizeof(int64) * (count + 1));
	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		int64 agent_id = DatumGetInt64(spi_datum(row, 1, &isnull));
		int agent = config_agent(config, agent_id);

		if (agent >= 0 && needs[agent] != NEEDS_MORE && needs[agent] <= DatumGetInt32(spi_datum(row, 2, &isnull)))
			due->idle.ids[due->idle.count++] = agent_id;
	}
}

/*
 * Sets the queues that overflow into one that is served, that one unless into is NULL, and since when something must
 * have waited at that time to overflow; but of those that are stuck none, unless stuck is NULL. Returns how many.
 */
static int
find_overflow(const RoutingConfig *config, const bool *stuck, TimestampTz now, Datum *from, Datum *into, Datum *times)
{
	int count = 0;

	for (int i = 0; i < config->queue_count; i++)
	{
		const RoutingQueue *queue = &config->queues[i];

		if (queue->overflow < 0 || (stuck != NULL && (stuck[i] || stuck[queue->overflow])) ||
			!queue_is_served(config, queue->overflow))
			continue;
		from[count] = CStringGetTextDatum(queue->queue);
		if (into != NULL)
			into[count] = CStringGetTextDatum(config->queues[queue->overflow].queue);
		times[count++] = TimestampTzGetDatum(now - queue->overflow_after);
	}
	return count;
}

/* due_find finds what is due, but in queues that are stuck. Needs an SPI scope. */
void
due_find(RoutingConfig *config, const QueueLocks *locks, TimestampTz now, Due *due)
{
	Datum *codes = palloc(sizeof(Datum) * (config->queue_count + 1));
	Datum *times = palloc(sizeof(Datum) * (config->queue_count + 1));
	Datum values[2];
	int count = 0;

	memset(due, 0, sizeof(*due));
	for (int i = 0; i < config->queue_count; i++)
		if (locks->stuck[i])
			codes[count++] = CStringGetTextDatum(config->queues[i].queue);
	values[0] = array_of(codes, NULL, count, TEXTOID);
	values[1] = TimestampTzGetDatum(now);
	append_ids(&due->arrivals, kept_plan_run(&arrivals_select, values, NULL, false, 0));
	append_ids(&due->overdue, kept_plan_run(&expired_select, values, NULL, false, 0));
	append_ids(&due->overdue, kept_plan_run(&closed_select, values, NULL, false, 0));

	count = find_overflow(config, locks->stuck, now, codes, NULL, times);
	values[0] = array_of(codes, NULL, count, TEXTOID);
	values[1] = array_of(times, NULL, count, TIMESTAMPTZOID);
	if (count > 0)
		append_ids(&due->late, kept_plan_run(&overflow_select, values, NULL, false, 0));
	find_idle(config, locks, now, due);
}

/* Returns whether one of those who idle is a member of a queue in which something waits for one. */
static bool
has_idle(const RoutingConfig *config, const Due *due, int queue)
{
	for (int i = 0; due->filled[queue] && i < due->idle.count; i++)
	{
		int agent = config_agent(config, due->idle.ids[i]);

		if (agent >= 0 && config_member(config, queue, agent) != NULL)
			return true;
	}
	return false;
}

/* Returns the queue with that code in the last result, or -1. */
static int
queue_at(const RoutingConfig *config, uint64 row, int column)
{
	bool isnull;
	Datum code = spi_datum(row, column, &isnull);

	return isnull ? -1 : config_queue(config, TextDatumGetCString(code));
}

/*
 * due_starved finds in which queues work has been due for long, and any one piece of it that needs a stuck one.
 *
 * Where other queues have such work too, it is the turn of that one by half: to wait for it they are given back, and
 * those that others use are not to be had again without waiting. What due says was found before anything was stuck.
 * Needs an SPI scope.
 */
void
due_starved(const RoutingConfig *config, const QueueLocks *locks, const Due *due, TimestampTz now, Starved *starved)
{
	TimestampTz before = TimestampTzPlusMilliseconds(now, -OVERDUE_MSECS);
	Size size = sizeof(Datum) * (config->queue_count + 1);
	Datum *idle = palloc(size);
	Datum *from = palloc(size);
	Datum *into = palloc(size);
	Datum *times = palloc(size);
	Datum values[5];
	int idle_count = 0;
	int late_count;
	bool elsewhere = false;
	bool found = false;
	uint64 count;

	starved->since = palloc0(sizeof(TimestampTz) * (config->queue_count + 1));
	starved->wanted = queue_locks(config);
	for (int i = 0; i < config->queue_count; i++)
		if (has_idle(config, due, i))
			idle[idle_count++] = CStringGetTextDatum(config->queues[i].queue);
	late_count = find_overflow(config, NULL, before, from, into, times);
	values[0] = TimestampTzGetDatum(before);
	values[1] = array_of(from, NULL, late_count, TEXTOID);
	values[2] = array_of(into, NULL, late_count, TEXTOID);
	values[3] = array_of(times, NULL, late_count, TIMESTAMPTZOID);
	values[4] = array_of(idle, NULL, idle_count, TEXTOID);
	count = kept_plan_run(&starved_select, values, NULL, false, 0);
	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		TimestampTz since = DatumGetTimestampTz(spi_datum(row, 3, &isnull));
		int needs[2] = {queue_at(config, row, 1), queue_at(config, row, 2)};
		bool stuck = (needs[0] >= 0 && locks->stuck[needs[0]]) || (needs[1] >= 0 && locks->stuck[needs[1]]);

		for (int i = 0; i < 2; i++)
		{
			if (needs[i] < 0)
				continue;
			if (stuck && !found)
				queue_locks_add(starved->wanted, needs[i], QUEUE_BOTH);
			if (!isnull && (starved->since[needs[i]] == 0 || since < starved->since[needs[i]]))
				starved->since[needs[i]] = since;
		}
		found = found || stuck;
		elsewhere = elsewhere || !stuck;
	}
	starved->waits = found && (!elsewhere || GetCurrentTimestamp() % 2 == 0);
}

/* due_add_locks adds the locks for what is due. Needs an SPI scope. */
void
due_add_locks(const RoutingConfig *config, QueueLocks *locks, const Due *due)
{
	add_request_locks(config, locks, &due->arrivals, QUEUE_ARRIVE, false);
	add_request_locks(config, locks, &due->overdue, QUEUE_BOTH, false);
	add_request_locks(config, locks, &due->late, QUEUE_BOTH, true);
	for (int i = 0; i < config->queue_count && due->idle.count > 0; i++)
		if (due->filled[i])
			queue_locks_add(locks, i, QUEUE_FREE);
}
