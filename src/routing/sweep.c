/*
 * sweep.c
 *	  The net below the matching: what only time changes, found by tick_queues().
 *
 * Offers expire, holds for owners and preferences end, further helpers join, wrap-ups end, requests overflow, and
 * requests are opened, closed and deleted without a word to the queue. What is due is looked for first, then all locks
 * are taken in their order, then each is looked at again under them.
 *
 * The sweep holds the locks of many queues, so it waits for nobody for long: what somebody else holds, a queue, a
 * request or an agent, is left to the next one. Nor does a request that cannot be moved, as where a trigger of the
 * company's refuses it, keep it from moving the others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/route.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_tick_queues);

/*
 * One call does so much of each kind and no more: it holds the locks of queues until its transaction ends. Some of it
 * is taken from anywhere, so that what cannot be moved does not stand before all others each time.
 */
#define SOME_OF(due)                                                                                                   \
	"WITH due AS MATERIALIZED (" due "), first AS (SELECT request_id, at FROM due ORDER BY at, request_id LIMIT 200)," \
	" further AS (SELECT request_id, at FROM (SELECT request_id, at FROM due ORDER BY at, request_id OFFSET 200)"      \
	" AS rest ORDER BY random() LIMIT 50)"                                                                             \
	" SELECT request_id FROM (SELECT * FROM first UNION ALL SELECT * FROM further) AS chosen ORDER BY at, request_id"

/* For so long the sweep waits for queues in all, and for whatever else a change of one request needs. */
#define WAIT_MSECS 100

static KeptPlan arrivals_select = {
	.sql = SOME_OF("SELECT DISTINCT a.request_id, 0 AS at FROM omnichannel.arrival AS a"
				   " LEFT JOIN omnichannel.request AS q USING (request_id) WHERE coalesce(q.queue <> ALL ($1), true)"),
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

static KeptPlan arrival_delete = {
	.sql = "DELETE FROM omnichannel.arrival WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
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
 * Whose request was closed or deleted where no trigger told of it, as by TRUNCATE. The triggers tell of nearly all, so
 * that a few pages of many are enough each time, taken from anywhere.
 */
static KeptPlan closed_select = {
	.sql = SOME_OF(
		"SELECT a.request_id, 0 AS at FROM omnichannel.assignment AS a TABLESAMPLE SYSTEM (least(100, 1600.0 *"
		" current_setting('block_size')::integer / greatest(pg_relation_size('omnichannel.assignment'), 1)))"
		" LEFT JOIN omnichannel.lane AS l USING (lane_id) WHERE coalesce((SELECT q.closed_at IS NOT NULL"
		" FROM omnichannel.request AS q WHERE q.request_id = a.request_id AND q.customer_id = a.customer_id), true)"
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

static KeptPlan agent_hold = {
	.sql = "SELECT FROM omnichannel.agent_state WHERE agent_id = $1 FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan agent_select = {
	.sql = "SELECT agent_id FROM omnichannel.assignment WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan overflow_move = {
	.sql = "UPDATE omnichannel.request SET queue = $3 WHERE request_id = $1 AND customer_id = $2",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TEXTOID},
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

/* Ids found before the locks were taken. */
typedef struct IdList
{
	int64 *ids;
	int count;
} IdList;

/* Appends the ids of the last result, which has so many rows. */
static void
append_ids(IdList *list, uint64 count)
{
	Size size = sizeof(int64) * (list->count + count + 1);

	list->ids = list->ids == NULL ? palloc(size) : repalloc(list->ids, size);
	for (uint64 row = 0; row < count; row++)
		list->ids[list->count++] = spi_id(row, 1);
}

/* Returns the agent who has a request, or 0. */
static int64
agent_of(int64 request_id)
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
			request.assigned_to = agent_of(list->ids[i]);
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

/* What is due, by kind, and who idles. */
typedef struct Due
{
	IdList arrivals;
	IdList overdue;
	IdList late;
	IdList idle;
	bool *filled; /* for each queue, whether something waits in it that one of the idle could take */
} Due;

/* A sweep under way. */
typedef struct Sweep
{
	RoutingConfig *config;
	QueueLocks *locks;
	TimestampTz now;
	IdList freed; /* agents */
} Sweep;

/* Does what is due with one request or agent; returns how many requests that moved. */
typedef int64 (*SweepStep)(Sweep *sweep, int64 id);

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

/* Finds what is due, but in queues that are stuck. */
static void
find_due(RoutingConfig *config, const QueueLocks *locks, TimestampTz now, Due *due)
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

	count = 0;
	for (int i = 0; i < config->queue_count; i++)
	{
		const RoutingQueue *queue = &config->queues[i];

		if (queue->overflow < 0 || locks->stuck[i] || locks->stuck[queue->overflow] ||
			!queue_is_served(config, queue->overflow))
			continue;
		codes[count] = CStringGetTextDatum(queue->queue);
		times[count++] = TimestampTzGetDatum(now - queue->overflow_after);
	}
	values[0] = array_of(codes, NULL, count, TEXTOID);
	values[1] = array_of(times, NULL, count, TIMESTAMPTZOID);
	if (count > 0)
		append_ids(&due->late, kept_plan_run(&overflow_select, values, NULL, false, 0));
	find_idle(config, locks, now, due);
}

/* Adds the locks for what is due. */
static void
add_due_locks(const RoutingConfig *config, QueueLocks *locks, const Due *due)
{
	add_request_locks(config, locks, &due->arrivals, QUEUE_ARRIVE, false);
	add_request_locks(config, locks, &due->overdue, QUEUE_BOTH, false);
	add_request_locks(config, locks, &due->late, QUEUE_BOTH, true);
	for (int i = 0; i < config->queue_count && due->idle.count > 0; i++)
		if (due->filled[i])
			queue_locks_add(locks, i, QUEUE_FREE);
}

/*
 * Locks a request and reads it; returns whether nobody else has it.
 *
 * The customer is 0 where the request was deleted.
 */
static bool
hold_request(const RoutingConfig *config, int64 request_id, MatchRequest *request)
{
	CHECK_FOR_INTERRUPTS();
	if (match_look(config, request_id, false, request))
	{
		if (!request_hold(request_id, request->customer_id, false))
			return false;
		if (match_look(config, request_id, false, request))
			return true;
	}
	memset(request, 0, sizeof(*request));
	request->request_id = request_id;
	request->queue = -1;
	return true;
}

/* Locks the row of an agent, if nobody else has it; returns whether. */
static bool
hold_agent(int64 agent_id)
{
	Datum id = Int64GetDatum(agent_id);

	return kept_plan_run(&agent_hold, &id, NULL, false, 1) == 1;
}

/* Returns whether an agent was ever there. */
static bool
has_state(RoutingConfig *config, int64 agent_id)
{
	Live live;

	live_one(config, config_agent(config, agent_id), &live);
	return live.state != NULL;
}

/* Returns whether an agent takes nothing new any more. */
static bool
has_left(RoutingConfig *config, int64 agent_id)
{
	int agent = config_agent(config, agent_id);
	Live live;

	if (agent < 0 || !config->agents[agent].active)
		return true;
	live_one(config, agent, &live);
	return live.state == NULL || !live.state->available;
}

/* Takes back an offer that has expired, or whose agent has left, or ends the work on what was closed or deleted. */
static int64
end_overdue(Sweep *sweep, int64 request_id)
{
	RoutingConfig *config = sweep->config;
	MatchRequest request;
	bool over;
	bool expired;
	int64 agent_id;
	int64 moved = 1;

	if (!hold_request(config, request_id, &request))
		return 0;
	over = request.customer_id == 0 || request.closed;
	agent_id = request.customer_id == 0 ? agent_of(request.request_id) : request.assigned_to;
	expired = request.expires_at <= sweep->now;
	if (agent_id == 0 || (!over && (request.accepted || !(expired || has_left(config, agent_id)))))
		return 0;
	if (!over && (request.queue < 0 || sweep->locks->modes[request.queue] != QUEUE_BOTH))
		return 0;
	if (!hold_agent(agent_id))
		return 0;
	assignment_end(config, &request, over ? "finished" : "expired", !over && expired);
	if (!over)
		(void) route_again(config, &request, false, &moved);
	sweep->freed.ids[sweep->freed.count++] = agent_id;
	return moved;
}

/* Moves a request that has waited too long to the next queue. */
static int64
move_overflow(Sweep *sweep, int64 request_id)
{
	RoutingConfig *config = sweep->config;
	MatchRequest request;
	const RoutingQueue *queue;
	Datum values[3];
	int64 moved = 1;

	if (!hold_request(config, request_id, &request) || !request.waiting || request.queue < 0 ||
		sweep->locks->modes[request.queue] != QUEUE_BOTH)
		return 0;
	queue = &config->queues[request.queue];
	if (queue->overflow < 0 || !queue_is_served(config, queue->overflow) ||
		sweep->now - request.queued_at < queue->overflow_after || sweep->locks->modes[queue->overflow] != QUEUE_BOTH)
		return 0;
	work_leave_queue(&request, DT_NOBEGIN);
	if (!request.closed)
	{
		values[0] = Int64GetDatum(request.request_id);
		values[1] = Int64GetDatum(request.customer_id);
		values[2] = CStringGetTextDatum(config->queues[queue->overflow].queue);
		(void) requests_write(&overflow_move, values, NULL);
		requests_changed(&request.request_id, 1);
		request.queue = queue->overflow;
		request.queued_at = sweep->now;
		(void) route_again(config, &request, false, &moved);
	}
	return moved;
}

/* Returns whether an arrival can be let into a queue under the locks. */
static bool
may_arrive(const QueueLocks *locks, int queue)
{
	return locks->modes[queue] == QUEUE_ARRIVE || locks->modes[queue] == QUEUE_BOTH;
}

/*
 * Gives a request that was noted the place that is its own: it waits, is offered, or has left.
 *
 * What somebody holds stays noted.
 */
static int64
place_arrival(Sweep *sweep, int64 request_id)
{
	RoutingConfig *config = sweep->config;
	Datum id = Int64GetDatum(request_id);
	MatchRequest request;
	const Lane *lane;
	int64 agent_id;
	int64 given;
	int64 before = 0;
	bool moved;
	bool waits;

	if (!hold_request(config, request_id, &request))
		return 0;
	given = strcmp(request.state, "assigned") == 0 && request.queue >= 0 && config_agent(config, request.agent_id) >= 0
				? request.agent_id
				: 0;
	moved = match_moved(config, &request);
	waits = (moved || strcmp(request.state, "waiting_agent") == 0) && request.queue >= 0;
	lane = request.waiting ? lane_find(config, request.waits_in) : NULL;
	if ((waits && !may_arrive(sweep->locks, request.queue)) ||
		(lane != NULL && lane->queue >= 0 && !may_arrive(sweep->locks, lane->queue)))
		return 0;
	if (waits && config->queues[request.queue].hold_for_owner > 0 && !customer_lock_try(match_root(&request)))
		return 0;
	agent_id = request.customer_id == 0 ? agent_of(request.request_id) : request.assigned_to;
	if (given == agent_id)
		given = 0;
	if ((strcmp(request.state, "offered") == 0 && !moved) || (strcmp(request.state, "assigned") == 0 && given == 0))
		agent_id = 0;
	if ((agent_id != 0 && !hold_agent(agent_id)) || (given != 0 && has_state(config, given) && !hold_agent(given)))
		return 0;

	(void) kept_plan_run(&arrival_delete, &id, NULL, false, 0);
	if (agent_id != 0)
	{
		assignment_end(config, &request,
					   moved                 ? "expired"
					   : waits || given != 0 ? "transferred"
											 : "finished",
					   waits && !moved);
		/* Whoever comes back in another channel gets the same agent, if he works in it and nobody owns it. */
		if (moved && request.agent_id == 0)
			request.agent_id = agent_id;
		sweep->freed.ids[sweep->freed.count++] = agent_id;
	}
	if (waits)
	{
		request.misplaced = request.waiting && request.due_at != sla_request_due(request.request_id);
		if (request.waiting && !request.misplaced && route_in_place(config, &request))
			return 0;
		if (lane != NULL && lane->queue != request.queue)
			request.queued_at = sweep->now;
		(void) route_request(config, &request, false, &before);
	}
	else if (request.waiting || request.customer_id == 0)
		work_leave_queue(&request, DT_NOBEGIN);
	if (given != 0)
		assignment_given(config, &request, given);
	return before + (waits || lane != NULL || agent_id != 0 || given != 0);
}

/* Gives what comes first for an agent who idles to whom it suits best. */
static int64
serve_idle(Sweep *sweep, int64 agent_id)
{
	int agent = config_agent(sweep->config, agent_id);

	CHECK_FOR_INTERRUPTS();
	return agent < 0 ? 0 : turn_serve(sweep->config, agent, sweep->locks, sweep->now);
}

/* Returns whether an error is about more than what was being moved. */
static bool
ends_sweep(int code)
{
	return code == ERRCODE_QUERY_CANCELED || code == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		   ERRCODE_TO_CATEGORY(code) == ERRCODE_INSUFFICIENT_RESOURCES;
}

/* A step that is to be done with these, and with how many it was. */
typedef struct Batch
{
	Sweep *sweep;
	SweepStep step;
	const int64 *ids;
	int count;
	int64 done;
} Batch;

/* Does a step with all of a batch, for subtransaction_try(). */
static void
step_all(void *argument)
{
	Batch *batch = argument;

	LockTimeout = LockTimeout > 0 ? Min(LockTimeout, WAIT_MSECS) : WAIT_MSECS;
	for (int i = 0; i < batch->count; i++)
		batch->done += batch->step(batch->sweep, batch->ids[i]);
}

/*
 * Does a step with these, all or none of them; returns whether, and adds to done how many there were.
 *
 * Warns of what a single one met with, unless it is only that somebody else has it.
 */
static bool
attempt(Sweep *sweep, SweepStep step, const int64 *ids, int count, const char *what, int64 *done)
{
	Batch batch = {sweep, step, ids, count, 0};
	int setting = LockTimeout;
	int freed = sweep->freed.count;
	ErrorData *error = subtransaction_try(step_all, &batch);

	LockTimeout = setting;
	if (error == NULL)
	{
		*done += batch.done;
		return true;
	}
	if (ends_sweep(error->sqlerrcode))
		ReThrowError(error);
	sweep->config->rows = NULL;
	sweep->freed.count = freed;
	if (count == 1 && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_TRANSACTION_ROLLBACK)
		ereport(WARNING,
				(errcode(error->sqlerrcode), errmsg("the sweep left %s " INT64_FORMAT " alone", what, ids[0]),
				 errdetail("%s", error->message), errhint("The next one tries again.")));
	FreeErrorData(error);
	return false;
}

/* Does a step with all of a list, or with each that can be done where they cannot all be; returns with how many. */
static int64
sweep_list(Sweep *sweep, SweepStep step, const IdList *list, const char *what)
{
	int64 done = 0;

	if (list->count == 0 || attempt(sweep, step, list->ids, list->count, what, &done))
		return done;
	for (int i = 0; list->count > 1 && i < list->count; i++)
		(void) attempt(sweep, step, &list->ids[i], 1, what, &done);
	return done;
}

/* tick_queues(): does what only time makes due; returns how many requests it moved. */
Datum
omnichannel_tick_queues(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_MSECS);
	Sweep sweep = {.now = now};
	Due due;
	RoutingConfig *config;
	QueueLocks *locks;
	SpiScope scope;
	int64 done;

	routing_writes("tick_queues()");
	config = routing_config();
	routing_scope_begin(&scope);

	sweep.locks = locks = queue_locks(config);
	find_due(config, locks, now, &due);
	add_due_locks(config, locks, &due);
	config = queue_locks_try(config, locks, end);

	/* What is due in queues that are stuck does not stand in the way of the rest. */
	if (locks->partial)
	{
		find_due(config, locks, now, &due);
		add_due_locks(config, locks, &due);
		config = queue_locks_try(config, locks, end);
	}

	sweep.config = config;
	sweep.freed.ids = palloc(sizeof(int64) * (due.arrivals.count + due.overdue.count + 1));
	done = sweep_list(&sweep, place_arrival, &due.arrivals, "request");
	done += sweep_list(&sweep, end_overdue, &due.overdue, "request");
	done += sweep_list(&sweep, move_overflow, &due.late, "request");
	done += sweep_list(&sweep, serve_idle, &sweep.freed, "agent");
	done += sweep_list(&sweep, serve_idle, &due.idle, "agent");
	queues_tidy(config, locks, now);
	spi_scope_end(&scope);
	PG_RETURN_INT64(done);
}
