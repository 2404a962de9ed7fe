/*
 * route.c
 *	  Offers a request to the best agent, or lets it wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/route.h"
#include "routing/routing.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_route);
SQL_FUNCTION(omnichannel_waiting_level);

/*
 * The agent first, then the request: what is offered is decided by the agent's row as it is when its lock is held. The
 * other parts follow from that row.
 */
#define OFFER_SQL(the_agent, gone)                                                                                     \
	"WITH agent AS (UPDATE omnichannel.agent_state AS s SET used = s.used + $4, idle_since = $6"                       \
	" WHERE s.agent_id = " the_agent " AND s.state = ANY ($9) AND s.busy_until <= $6 AND s.used::bigint + $4 <= $5"    \
	" AND EXISTS (SELECT FROM omnichannel.request AS q WHERE q.request_id = $1 AND q.customer_id = $2"                 \
	" AND q.closed_at IS NULL) RETURNING s.agent_id)," gone                                                            \
	" made AS (INSERT INTO omnichannel.assignment (request_id, customer_id, agent_id, lane_id, cost, priority,"        \
	" due_at, entered_at, offered_at, expires_at,"                                                                     \
	" accepted_at) SELECT $1, $2, agent.agent_id, $10, $4, $11, $12, $8, $6, $7,"                                      \
	" CASE WHEN $13 THEN $6 END FROM agent),"                                                                          \
	" noted AS (UPDATE omnichannel.request AS q SET agent_id = $3,"                                                    \
	" state = CASE WHEN $13 THEN 'assigned' ELSE 'offered' END FROM agent"                                             \
	" WHERE q.request_id = $1 AND q.customer_id = $2 AND q.closed_at IS NULL RETURNING q.request_id)"                  \
	" SELECT (SELECT count(*) FROM agent), (SELECT count(*) FROM noted)"

#define UNLOCKED_AGENT                                                                                                 \
	"(SELECT f.agent_id FROM omnichannel.agent_state AS f WHERE f.agent_id = $3 FOR UPDATE SKIP LOCKED)"
#define LEAVES_QUEUE " gone AS (DELETE FROM omnichannel.waiting AS w USING agent WHERE w.request_id = $1),"

#define OFFER_ARGS                                                                                                     \
	.nargs = 13,                                                                                                       \
	.argtypes = {INT8OID,        INT8OID,      INT8OID, INT4OID, INT4OID,        TIMESTAMPTZOID, TIMESTAMPTZOID,       \
				 TIMESTAMPTZOID, TEXTARRAYOID, INT8OID, INT4OID, TIMESTAMPTZOID, BOOLOID}

/* Whether to wait for the agent's row, and whether the request stands in the queue. */
static KeptPlan offer_plans[2][2] = {
	{{.sql = OFFER_SQL(UNLOCKED_AGENT, ""), OFFER_ARGS}, {.sql = OFFER_SQL(UNLOCKED_AGENT, LEAVES_QUEUE), OFFER_ARGS}},
	{{.sql = OFFER_SQL("$3", ""), OFFER_ARGS}, {.sql = OFFER_SQL("$3", LEAVES_QUEUE), OFFER_ARGS}},
};

static KeptPlan place_delete = {
	.sql = "DELETE FROM omnichannel.kept_place WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan queue_select = {
	.sql = "SELECT queue FROM omnichannel.request WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

static KeptPlan enqueue = {
	.sql =
		"WITH waits AS (INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, level, due_at, entered_at,"
		" owner_id, priority)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (request_id) DO UPDATE SET lane_id = excluded.lane_id, level = excluded.level,"
		" due_at = excluded.due_at, owner_id = excluded.owner_id, priority = excluded.priority RETURNING request_id),"
		" head AS (UPDATE omnichannel.lane_head AS h SET rank = -$4, due_at = $5, entered_at = $6, request_id = $1"
		" WHERE h.lane_id = $3 AND (h.rank, h.due_at, h.entered_at, h.request_id) > (-$4, $5, $6, $1))"
		" UPDATE omnichannel.request AS q SET state = 'waiting_agent',"
		" agent_id = nullif($9, 0) FROM waits"
		" WHERE q.request_id = $1 AND q.customer_id = $2 AND q.closed_at IS NULL",
	.nargs = 9,
	.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT4OID, INT8OID},
};

/* Returns how many whole steps lie between 2000 and that time. */
static int64
steps(TimestampTz at, int64 step)
{
	if (step == 0)
		return 0;
	return at >= 0 ? at / step : -((step - 1 - at) / step);
}

/* Returns what ageing adds to a queue's levels at that time. */
int64
queue_age(const RoutingQueue *queue, TimestampTz at)
{
	return steps(at, queue->age_after);
}

/*
 * Returns the level of a request that began to wait at that time: its priority now is the level plus queue_age() of
 * now, so that the level alone, which never changes, puts requests in order.
 */
int64
queue_level(const RoutingQueue *queue, int32 priority, TimestampTz entered_at)
{
	return (int64) priority - queue_age(queue, entered_at);
}

/* waiting_level(priority, entered_at, age_after): the same for SQL. */
Datum
omnichannel_waiting_level(PG_FUNCTION_ARGS)
{
	int64 step = PG_ARGISNULL(2) ? 0 : interval_usecs(PG_GETARG_INTERVAL_P(2));

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (step < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("age_after must not be negative"),
						errhint("Give the time after which a waiting request rises by one priority, or NULL.")));
	PG_RETURN_INT64((int64) PG_GETARG_INT32(0) - steps(PG_GETARG_TIMESTAMPTZ(1), step));
}

/* Raises 55000 for a queue in which nobody would ever look for a request. */
void
queue_check_members(const RoutingConfig *config, int queue)
{
	if (config->queues[queue].member_count == 0 && config->queues[queue].overflow < 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("queue \"%s\" has no members", config->queues[queue].queue),
						errhint("Insert agents into omnichannel.queue_member or departments into "
								"omnichannel.queue_department.")));
}

/* Raises the error of a request that somebody else closed between two statements of ours. */
static void
changed_meanwhile(const MatchRequest *request)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("request " INT64_FORMAT " was changed meanwhile", request->request_id),
					errhint("Try again.")));
}

/*
 * route_offer offers a request to an agent if he can take it as of now, or assigns it to him at once; returns whether.
 *
 * The holder has the queue's lock and the request's. With wait it waits for a transaction that changes the agent.
 */
bool
route_offer(const RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, bool wait,
			TimestampTz now)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	int64 agent_id = config->agents[agent].agent_id;
	Datum values[13];
	bool isnull;

	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] = Int64GetDatum(agent_id);
	values[3] = Int32GetDatum(config->channels[request->channel].cost);
	values[4] = Int32GetDatum(config->agents[agent].capacity);
	values[5] = TimestampTzGetDatum(now);
	values[6] = TimestampTzGetDatum(accepted ? DT_NOEND : now + queue->offer_for);
	values[7] = TimestampTzGetDatum(request->entered_at);
	values[8] = accepted ? config->present_states : config->available_states;
	values[9] = Int64GetDatum(request->lane_id != 0 ? request->lane_id
													: lane_ensure(config, request->queue, request->channel,
																  request->requires, request->prefers));
	values[10] = Int32GetDatum(request->priority);
	values[11] = TimestampTzGetDatum(request->due_at);
	values[12] = BoolGetDatum(accepted);
	(void) requests_write(&offer_plans[wait][request->waiting], values, NULL);
	if (DatumGetInt64(spi_datum(0, 1, &isnull)) == 0)
		return false;
	if (DatumGetInt64(spi_datum(0, 2, &isnull)) == 0)
		changed_meanwhile(request);
	if (request->kept_place)
		(void) kept_plan_run(&place_delete, values, NULL, false, 0);
	if (strcmp(request->state, "waiting_customer") == 0)
		requests_changed(&request->request_id, 1);

	if (config->notify_channel != NULL && !accepted)
	{
		char payload[32];
		char *name = psprintf("%s_" INT64_FORMAT, config->notify_channel, agent_id);

		pg_lltoa(request->request_id, payload);
		Async_Notify(name, payload);
	}
	return true;
}

/*
 * route_enqueue lets a request wait, with the age that it has.
 *
 * The holder has the queue's lock and the request's.
 */
void
route_enqueue(const RoutingConfig *config, const MatchRequest *request, int64 owner_id)
{
	Datum values[9];

	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] =
		Int64GetDatum(lane_ensure(config, request->queue, request->channel, request->requires, request->prefers));
	values[3] = Int64GetDatum(queue_level(&config->queues[request->queue], request->priority, request->entered_at));
	values[4] =
		TimestampTzGetDatum(request->due_at != DT_NOEND ? request->due_at : sla_request_due(request->request_id));
	values[5] = TimestampTzGetDatum(request->entered_at);
	values[6] = Int64GetDatum(owner_id);
	values[7] = Int32GetDatum(request->priority);
	values[8] = Int64GetDatum(request->agent_id);
	if (requests_write(&enqueue, values, NULL) != 1)
		changed_meanwhile(request);
	if (request->kept_place)
		(void) kept_plan_run(&place_delete, values, NULL, false, 0);
	if (strcmp(request->state, "waiting_customer") == 0)
		requests_changed(&request->request_id, 1);
}

/*
 * route_request offers a request to the best agent and returns his id, or lets it wait and returns 0.
 *
 * The holder has the queue's lock and the request's, and has read the request under them.
 */
int64
route_request(RoutingConfig *config, MatchRequest *request)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	MatchResult result;
	int max = 8;

	for (;;)
	{
		match_find(config, request, now, false, max, NULL, NULL, &result);

		/* First whoever is not being changed at this moment, so that arrivals do not queue up for the same agent. */
		for (int pass = 0; pass < 2; pass++)
		{
			for (int i = 0; i < result.count; i++)
			{
				int agent = result.candidates[i].agent;

				if (route_offer(config, request, agent, false, pass == 1, now))
					return config->agents[agent].agent_id;
			}
		}

		/* All of them were taken while we looked: look at everybody. */
		if (result.count < max)
			break;
		max = PG_INT32_MAX;
		CHECK_FOR_INTERRUPTS();
	}

	if (!request->waiting || strcmp(request->state, "waiting_agent") != 0)
		route_enqueue(config, request, result.owner_id);
	return 0;
}

/* Returns the index of a request's queue, before any lock; raises what match_read() raises where there is none. */
static int
queue_of(const RoutingConfig *config, int64 request_id)
{
	Datum id = Int64GetDatum(request_id);
	MatchRequest request;
	char *queue = NULL;
	int found = -1;

	if (kept_plan_run(&queue_select, &id, NULL, false, 0) > 0)
		queue = spi_text(0, 1, CurrentMemoryContext);
	if (queue != NULL)
		found = config_queue(config, queue);
	if (found < 0)
	{
		match_read(config, request_id, false, &request);
		found = request.queue;
	}
	return found;
}

/* route(request_id): the agent to whom the request is offered, or NULL where it waits. */
Datum
omnichannel_route(PG_FUNCTION_ARGS)
{
	int64 request_id = PG_GETARG_INT64(0);
	RoutingConfig *config;
	MatchRequest request;
	QueueLocks *locks;
	SpiScope scope;
	int64 agent_id;
	int queue;

	routing_writes("route()");
	config = routing_config();
	routing_scope_begin(&scope);

	queue = queue_of(config, request_id);
	locks = queue_locks(config);
	queue_locks_add(locks, queue, QUEUE_ARRIVE);
	config = queue_locks_take(config, locks);
	request_lock(request_id);
	match_read(config, request_id, false, &request);
	if (request.queue != queue)
		changed_meanwhile(&request);

	if (request.assigned_to != 0)
		agent_id = request.assigned_to;
	else if (strcmp(request.state, "assigned") == 0)
		agent_id = request.agent_id;
	else
	{
		queue_check_members(config, queue);
		agent_id = route_request(config, &request);
	}
	spi_scope_end(&scope);

	if (agent_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(agent_id);
}
