/*
 * sweep.c
 *	  The net below the matching: what only time changes, found by tick_queues().
 *
 * Offers expire, holds for owners and preferences end, further helpers join, wrap-ups end, requests overflow, and
 * requests are opened, closed and deleted without a word to the queue. What is due is looked for first, then all locks
 * are taken in their order, then each is looked at again under them.
 *
 * The sweep holds the locks of many queues, so it waits for nobody for long: what somebody else holds, a queue, a
 * request or an agent, is left to the next one. Where transactions that follow one another hold a queue all the time,
 * that would be so for ever: once work has been due there for some seconds, the sweep waits for the queue alone until
 * those end which hold it, with the others in line behind it. It warns of those that it has not had even so.
 *
 * Nor does a request that cannot be moved, as where a trigger of the company's refuses it, keep it from moving the
 * others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/due.h"
#include "routing/route.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_tick_queues);

/* For so long the sweep waits for queues in all, and once for whatever else changes need; then for a moment. */
#define WAIT_MSECS 100

/* And before that for the queues of one piece of work that has been due for OVERDUE_MSECS. */
#define STARVED_MSECS 1000

static KeptPlan arrival_delete = {
	.sql = "DELETE FROM omnichannel.arrival WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan agent_hold = {
	.sql = "SELECT FROM omnichannel.agent_state WHERE agent_id = $1 FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan overflow_move = {
	.sql = "UPDATE omnichannel.request SET queue = $3 WHERE request_id = $1 AND customer_id = $2",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TEXTOID},
};

/* A sweep under way. */
typedef struct Sweep
{
	RoutingConfig *config;
	QueueLocks *locks;
	TimestampTz now;
	IdList freed;   /* agents */
	bool impatient; /* it has waited for as long as it may */
} Sweep;

/* Does what is due with one request or agent; returns how many requests that moved. */
typedef int64 (*SweepStep)(Sweep *sweep, int64 id);

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

/* Returns whether there is no such agent, as where one was deleted while no trigger fired. */
static bool
is_gone(const RoutingConfig *config, int64 agent_id)
{
	return agent_id != 0 && config_agent(config, agent_id) < 0 && !request_agent_exists(agent_id);
}

/* Returns whether an agent was ever there. */
static bool
has_state(RoutingConfig *config, int64 agent_id)
{
	int agent = config_agent(config, agent_id);
	Live live;

	if (agent < 0)
		return false;
	live_one(config, agent, &live);
	return live.state != NULL;
}

/* Locks the row of an agent, if nobody else has it; returns whether. Who was never there has none to be locked. */
static bool
hold_agent(RoutingConfig *config, int64 agent_id)
{
	Datum id = Int64GetDatum(agent_id);

	return !has_state(config, agent_id) || kept_plan_run(&agent_hold, &id, NULL, false, 1) == 1;
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

/*
 * Takes back an offer that has expired, or whose agent has left, and work of one that there is not; or ends the work on
 * what was closed or deleted.
 */
static int64
end_overdue(Sweep *sweep, int64 request_id)
{
	RoutingConfig *config = sweep->config;
	MatchRequest request;
	bool over;
	bool expired;
	bool gone;
	bool accepted;
	int64 agent_id;
	int64 moved = 1;

	if (!hold_request(config, request_id, &request))
		return 0;
	over = request.customer_id == 0 || request.closed;
	agent_id = request.customer_id == 0 ? due_agent(request.request_id) : request.assigned_to;
	expired = request.expires_at <= sweep->now;
	gone = is_gone(config, agent_id);
	accepted = request.accepted;
	if (agent_id == 0 || (!over && !gone && (accepted || !(expired || has_left(config, agent_id)))))
		return 0;
	if (!over && (request.queue < 0 || sweep->locks->modes[request.queue] != QUEUE_BOTH))
		return 0;
	if (!gone && !hold_agent(config, agent_id))
		return 0;
	assignment_end(config, &request, over ? "finished" : accepted ? "transferred" : "expired", !over && expired);
	if (!over)
		(void) route_again(config, &request, &moved);
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
	leave_queue(&request, DT_NOBEGIN, request.closed ? LEFT_ABANDONED : LEFT_OVERFLOWED);
	if (!request.closed)
	{
		values[0] = Int64GetDatum(request.request_id);
		values[1] = Int64GetDatum(request.customer_id);
		values[2] = CStringGetTextDatum(config->queues[queue->overflow].queue);
		(void) requests_write(&overflow_move, values, NULL);
		requests_changed(&request.request_id, 1);
		request.queue = queue->overflow;
		request.queued_at = sweep->now;
		(void) route_again(config, &request, &moved);
	}
	return moved;
}

/* Returns whether an arrival can be let into a queue under the locks. */
static bool
may_arrive(const QueueLocks *locks, int queue)
{
	return locks->modes[queue] == QUEUE_ARRIVE || locks->modes[queue] == QUEUE_BOTH;
}

/* Returns what waiting_history is to say of a request that waits for no agent of its queue any more. */
static const char *
left_as(const MatchRequest *request)
{
	bool gave_up = request->customer_id == 0 || request->closed || strcmp(request->state, "waiting_customer") == 0;

	return gave_up ? LEFT_ABANDONED : LEFT_TRANSFERRED;
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
	bool nobody;
	bool waits;

	if (!hold_request(config, request_id, &request))
		return 0;
	given = strcmp(request.state, "assigned") == 0 && request.queue >= 0 && config_agent(config, request.agent_id) >= 0
				? request.agent_id
				: 0;
	moved = match_moved(config, &request);
	/* Whom it was given to is not there: it waits. */
	nobody = given == 0 && strcmp(request.state, "assigned") == 0 && is_gone(config, request.agent_id);
	waits = (moved || nobody || strcmp(request.state, "waiting_agent") == 0) && request.queue >= 0;
	lane = request.waiting ? lane_find(config, request.waits_in) : NULL;
	if ((waits && !may_arrive(sweep->locks, request.queue)) ||
		(lane != NULL && lane->queue >= 0 && !may_arrive(sweep->locks, lane->queue)))
		return 0;
	if (waits && !customer_hold_try(config, &request))
		return 0;
	agent_id = request.customer_id == 0 ? due_agent(request.request_id) : request.assigned_to;
	if (given == agent_id)
		given = 0;
	if ((strcmp(request.state, "offered") == 0 && !moved) ||
		(strcmp(request.state, "assigned") == 0 && given == 0 && !nobody))
		agent_id = 0;
	if ((agent_id != 0 && !hold_agent(config, agent_id)) || (given != 0 && !hold_agent(config, given)))
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
	if (nobody)
		request.agent_id = 0;
	if (waits)
	{
		request.misplaced = request.waiting && request.due_at != sla_request_due(request.request_id);
		if (!request.misplaced && match_in_place(config, &request))
			return 0;
		leave_other_queue(config, &request);
		(void) route_request(config, &request, false, &before);
	}
	else if (given != 0)
		leave_other_queue(config, &request);
	if (!waits && (request.waiting || request.customer_id == 0))
		leave_queue(&request, DT_NOBEGIN, given != 0 ? NULL : left_as(&request));
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
	int most = batch->sweep->impatient ? 1 : WAIT_MSECS;

	LockTimeout = LockTimeout > 0 ? Min(LockTimeout, most) : most;
	for (int i = 0; i < batch->count; i++)
		batch->done += batch->step(batch->sweep, batch->ids[i]);

	/* The time may have run out just as the last lock was had. */
	CHECK_FOR_INTERRUPTS();
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
	sweep->impatient = sweep->impatient || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
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

/* Warns of queues that are stuck although work has been due there for long. */
static void
warn_of_starved(const RoutingConfig *config, const QueueLocks *locks, const Starved *starved)
{
	for (int i = 0; i < config->queue_count; i++)
		if (locks->stuck[i] && starved->since[i] != 0)
			ereport(WARNING,
					(errmsg("the sweep left queue \"%s\" alone, which other transactions hold",
							config->queues[i].queue),
					 errdetail("Work has been due there since %s.", timestamptz_to_str(starved->since[i])),
					 errhint("Commit soon after calls that route. The next sweep tries again; pg_locks shows who holds "
							 "queues, with classid 'omnichannel.waiting'::regclass.")));
}

/* tick_queues(): does what only time makes due; returns how many requests it moved. */
Datum
omnichannel_tick_queues(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_MSECS);
	Sweep sweep = {.now = now};
	Due due;
	Starved starved;
	RoutingConfig *config;
	QueueLocks *locks;
	SpiScope scope;
	int64 done;

	routing_writes("tick_queues()");
	config = routing_config();
	routing_scope_begin(&scope);

	sweep.locks = locks = queue_locks(config);
	due_find(config, locks, now, &due);
	due_add_locks(config, locks, &due);
	config = queue_locks_try(config, locks, end);

	/*
	 * What is due in queues that are stuck does not stand in the way of the rest. What that asks for besides may come
	 * before what the sweep has by now: it is tried, and never seen waiting.
	 */
	if (locks->partial)
	{
		due_starved(config, locks, &due, now, &starved);
		if (starved.waits && !locks->later)
		{
			config = queue_locks_wait(config, locks, starved.wanted, STARVED_MSECS);
			end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_MSECS);
		}
		due_find(config, locks, now, &due);
		due_add_locks(config, locks, &due);
		config = queue_locks_try(config, locks, end);
		warn_of_starved(config, locks, &starved);
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
