/*
 * route.c
 *	  Offers a request to the best agent, or lets it wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/route.h"
#include "routing/routing.h"
#include "routing/rows.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_route);
SQL_FUNCTION(omnichannel_waiting_level);

/*
 * The agent first, then the request: what is offered is decided by the agent's row as it is when its lock is held. The
 * other parts follow from that row.
 */
#define OFFER_SQL(the_agent, gone)                                                                                     \
	"WITH agent AS (UPDATE omnichannel.agent_state AS s SET used = s.used + $4, idle_since = clock_timestamp()"        \
	" WHERE s.agent_id = " the_agent " AND s.state = ANY ($9) AND s.busy_until <= $6 AND s.used::bigint + $4 <= $5"    \
	" AND EXISTS (SELECT FROM omnichannel.request AS q WHERE q.request_id = $1 AND q.customer_id = $2"                 \
	" AND q.closed_at IS NULL) RETURNING s.agent_id)," gone                                                            \
	" made AS (INSERT INTO omnichannel.assignment (request_id, customer_id, agent_id, lane_id, cost, priority,"        \
	" due_at, entered_at, queued_at, offered_at, expires_at,"                                                          \
	" accepted_at, owner_id) SELECT $1, $2, agent.agent_id, $10, $4, $11, $12, $8, $14, clock_timestamp(), $7,"        \
	" CASE WHEN $13 THEN clock_timestamp() END, nullif($15, 0) FROM agent),"                                           \
	" noted AS (UPDATE omnichannel.request AS q SET agent_id = $3,"                                                    \
	" state = CASE WHEN $13 THEN 'assigned' ELSE 'offered' END FROM agent"                                             \
	" WHERE q.request_id = $1 AND q.customer_id = $2 AND q.closed_at IS NULL RETURNING q.request_id)"                  \
	" SELECT (SELECT count(*) FROM agent), (SELECT count(*) FROM noted)"

#define UNLOCKED_AGENT                                                                                                 \
	"(SELECT f.agent_id FROM omnichannel.agent_state AS f WHERE f.agent_id = $3 FOR UPDATE SKIP LOCKED)"
#define LEAVES_QUEUE " gone AS (DELETE FROM omnichannel.waiting AS w USING agent WHERE w.request_id = $1),"

#define OFFER_ARGS                                                                                                     \
	.nargs = 15, .argtypes = {INT8OID,        INT8OID,        INT8OID,        INT4OID,        INT4OID,                 \
							  TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID,   INT8OID,                 \
							  INT4OID,        TIMESTAMPTZOID, BOOLOID,        TIMESTAMPTZOID, INT8OID}

/* Whether to wait for the agent's row, and whether the request stands in the queue. */
static KeptPlan offer_plans[2][2] = {
	{{.sql = OFFER_SQL(UNLOCKED_AGENT, ""), OFFER_ARGS}, {.sql = OFFER_SQL(UNLOCKED_AGENT, LEAVES_QUEUE), OFFER_ARGS}},
	{{.sql = OFFER_SQL("$3", ""), OFFER_ARGS}, {.sql = OFFER_SQL("$3", LEAVES_QUEUE), OFFER_ARGS}},
};

static KeptPlan queue_select = {
	.sql = "SELECT queue, customer_id FROM omnichannel.request WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* The trigger of the table notes it when the transaction ends. */
static KeptPlan await_sweep = {
	.sql = "UPDATE omnichannel.request SET state = 'waiting_agent'"
		   " WHERE request_id = $1 AND customer_id = $2 AND closed_at IS NULL",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
};

/* Returns how many whole steps lie between 2000 and that time. */
static int64
steps(TimestampTz at, int64 step)
{
	if (step == 0)
		return 0;
	return at / step - (at % step < 0 ? 1 : 0);
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
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("age_after must not be negative: \"%s\"", interval_text(PG_GETARG_INTERVAL_P(2))),
						errhint("Give the time after which a waiting request rises by one priority, or NULL.")));
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a request cannot wait since %s", timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(1))),
						errhint("Give the time when it began to wait.")));
	PG_RETURN_INT64((int64) PG_GETARG_INT32(0) - steps(PG_GETARG_TIMESTAMPTZ(1), step));
}

/* queue_is_served returns whether anybody serves a queue, or one that it overflows into in the end. */
bool
queue_is_served(const RoutingConfig *config, int queue)
{
	/* As many steps as there are queues: a circle is refused by a trigger, which may be disabled. */
	for (int steps = 0; queue >= 0 && steps < config->queue_count; steps++)
	{
		if (config->queues[queue].member_count > 0)
			return true;
		queue = config->queues[queue].overflow;
	}
	return false;
}

/* Raises 55000 for a queue in which nobody would ever look for a request. */
void
queue_check_members(const RoutingConfig *config, int queue)
{
	if (!queue_is_served(config, queue))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("queue \"%s\" has no members", config->queues[queue].queue),
						errhint("Insert agents into omnichannel.queue_member or departments into "
								"omnichannel.queue_department.")));
}

/* Raises 40001 for a request that somebody else changed between two statements of ours. */
void
route_changed_meanwhile(const MatchRequest *request)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("request " INT64_FORMAT " was changed meanwhile", request->request_id),
					errhint("Try again.")));
}

/* Offers by the statement that stands above, as route_offer() does; returns whether. */
static bool
offer_by_plan(const RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, bool wait,
			  TimestampTz now, int64 lane_id)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	TimestampTz began = GetCurrentTimestamp();
	Datum values[15];
	bool isnull;

	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] = Int64GetDatum(config->agents[agent].agent_id);
	values[3] = Int32GetDatum(config->channels[request->channel].cost);
	values[4] = Int32GetDatum(config->agents[agent].capacity);
	values[5] = TimestampTzGetDatum(now);
	values[6] = TimestampTzGetDatum(accepted ? DT_NOEND : offer_ends(queue));
	values[7] = TimestampTzGetDatum(request->entered_at);
	values[8] = accepted ? config->present_states : config->available_states;
	values[9] = Int64GetDatum(lane_id);
	values[10] = Int32GetDatum(request->priority);
	values[11] = TimestampTzGetDatum(request->due_at);
	values[12] = BoolGetDatum(accepted);
	values[13] = TimestampTzGetDatum(request->queued_at);
	values[14] = Int64GetDatum(request->agent_id);
	(void) requests_write(&offer_plans[wait][request->waiting], values, NULL);
	if (DatumGetInt64(spi_datum(0, 1, &isnull)) == 0)
		return false;
	if (DatumGetInt64(spi_datum(0, 2, &isnull)) == 0)
		route_changed_meanwhile(request);
	if (request->kept_place)
		leave_forget_place(config, request, began);
	if (strcmp(request->state, "waiting_customer") == 0)
		requests_changed(&request->request_id, 1);
	return true;
}

/*
 * route_offer offers a request to an agent if he can take it as of now, or assigns it to him at once.
 *
 * The holder has the queue's lock, and the request's unless it says otherwise. With wait it waits for a transaction
 * that changes the agent. Needs an SPI scope unless config->rows are open, which then suit the request.
 */
OfferResult
route_offer(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, bool wait, TimestampTz now)
{
	int64 lane_id = request->lane_id != 0 ? request->lane_id
										  : lane_ensure(config, request->queue, request->channel, request->requires,
														request->prefers, request->priority);

	if (config->rows != NULL)
	{
		OfferResult result = offer_by_rows(config, request, agent, accepted, wait, now, lane_id);

		if (result != OFFER_MADE)
			return result;
	}
	else if (!offer_by_plan(config, request, agent, accepted, wait, now, lane_id))
		return OFFER_NO_ROOM;

	if (!accepted)
		offer_notify(config, agent, request->request_id);
	return OFFER_MADE;
}

/* Locks a request that was read without, if nobody else has it; returns whether it is as it was read. */
static bool
hold_as_read(Rows *rows, MatchRequest *request)
{
	ItemPointerData place;

	if (!rows_find(rows, ROWS_REQUEST, request->request_id))
		return false;
	place = rows->slots[ROWS_REQUEST]->tts_tid;
	request->unheld = !rows_lock(rows, ROWS_REQUEST, false);
	return !request->unheld && ItemPointerEquals(&rows->slots[ROWS_REQUEST]->tts_tid, &place);
}

/* Does what route_request() does, by the rows if they are open. */
static int64
offer_or_enqueue(RoutingConfig *config, MatchRequest *request, bool patient, int64 *given)
{
	Turns turns = {TURNS_MAX};
	int64 agent_id = turn_offer(config, request, patient, &turns);

	if (given != NULL)
		*given += turns.given;
	if (agent_id != 0)
		return agent_id;
	if (request->unheld && !hold_as_read(config->rows, request))
		return -1;
	if (request->misplaced || !match_in_place(config, request))
	{
		if (config->rows == NULL)
			route_enqueue(config, request);
		else if (!enqueue_by_rows(config, request))
		{
			SpiScope scope;

			route_rows_end(config);
			routing_scope_begin(&scope);
			route_enqueue(config, request);
			spi_scope_end(&scope);
		}
	}
	return 0;
}

/*
 * route_request offers a request to the best agent and returns his id, or lets it wait and returns 0.
 *
 * The holder has the queue's lock and the request's, and has read the request under them; or, with config->rows, not
 * the request's: then -1 is returned where somebody has changed it, or is about to, or where others are to be served
 * before it. With patient, agents are waited for whom somebody is changing, where there is nobody else.
 *
 * In an SPI scope rows are opened for it if they suit. Adds to given, unless NULL, how many others were offered before
 * it.
 */
int64
route_request(RoutingConfig *config, MatchRequest *request, bool patient, int64 *given)
{
	bool opens = config->rows == NULL && offer_suits_rows(request);
	int64 agent_id;

	if (opens)
		config->rows = rows_open(ROUTE_ROWS);
	agent_id = offer_or_enqueue(config, request, patient, given);
	if (opens)
		route_rows_end(config);
	return agent_id;
}

/*
 * route_again does the same for a request that has been with an agent or in another queue, where rows are not open: it
 * waits where another session decides about a request of the same customer.
 *
 * It is written down first that it waits: whose the customer's other requests are is not to be read from a row that
 * names an agent who has it no more. That holds the head of its lane, so that no agent is waited for then: who is
 * changing one serves him, or the sweep does.
 */
int64
route_again(RoutingConfig *config, MatchRequest *request, int64 *given)
{
	route_enqueue(config, request);
	if (!customer_hold_try(config, request))
		return 0;
	return route_request(config, request, false, given);
}

/* Lets a request wait without a place in its queue, which the sweep gives it. */
static void
leave_to_sweep(const MatchRequest *request)
{
	Datum values[2] = {Int64GetDatum(request->request_id), Int64GetDatum(request->customer_id)};

	if (request->waiting)
		return;
	if (requests_write(&await_sweep, values, NULL) != 1)
		route_changed_meanwhile(request);
	requests_changed(&request->request_id, 1);
}

/* Closes the rows, if they are open. */
void
route_rows_end(RoutingConfig *config)
{
	Rows *rows = config->rows;

	config->rows = NULL;
	if (rows != NULL)
		rows_close(rows);
}

/*
 * Returns the index of a request's queue, before any lock, and the customer; raises what match_read() raises where
 * there is none.
 */
static int
queue_of(RoutingConfig *config, int64 request_id, int64 *customer_id)
{
	Datum id = Int64GetDatum(request_id);
	MatchRequest request;
	char *queue = NULL;
	int found = -1;
	bool isnull;

	if (config->rows != NULL)
	{
		if (rows_find(config->rows, ROWS_REQUEST, request_id))
		{
			TupleTableSlot *slot = config->rows->slots[ROWS_REQUEST];
			Datum code = slot_getattr(slot, REQUEST_QUEUE, &isnull);

			queue = isnull ? NULL : TextDatumGetCString(code);
			*customer_id = DatumGetInt64(slot_getattr(slot, REQUEST_CUSTOMER_ID, &isnull));
			rows_keep(config->rows, ROWS_REQUEST);
		}
	}
	else if (kept_plan_run(&queue_select, &id, NULL, false, 0) > 0)
	{
		queue = spi_text(0, 1, CurrentMemoryContext);
		*customer_id = DatumGetInt64(spi_datum(0, 2, &isnull));
	}
	if (queue != NULL)
		found = config_queue(config, queue);
	if (found < 0)
	{
		match_read(config, request_id, false, &request);
		found = request.queue;
		*customer_id = request.customer_id;
	}
	return found;
}

/*
 * Locks the row of a request that is about to be read, by config->rows or in an SPI scope; returns whether it is there
 * and, without wait, nobody else has it.
 */
static bool
hold_row(RoutingConfig *config, int64 request_id, int64 customer_id, bool wait)
{
	Rows *rows = config->rows;

	if (rows == NULL)
		return request_hold(request_id, customer_id, wait);
	return rows_find(rows, ROWS_REQUEST, request_id) && rows_lock(rows, ROWS_REQUEST, wait);
}

/* So often, and after so long, the row of a request is tried under the locks of its queue and customer. */
#define HOLD_TRIES 5
#define HOLD_USECS 5000

/* Does the same with those locks in hand, for a moment: whoever has the row may be waiting for them. */
static bool
hold_row_try(RoutingConfig *config, int64 request_id, int64 customer_id)
{
	for (int left = HOLD_TRIES; !hold_row(config, request_id, customer_id, false); left--)
	{
		CHECK_FOR_INTERRUPTS();
		if (left == 0)
			return false;
		pg_usleep(HOLD_USECS);
	}
	return true;
}

/*
 * Returns whether a request that was found by rows may be one that has just come: one that stood somewhere is locked
 * before the queue is.
 */
static bool
may_have_come(Rows *rows, int64 request_id)
{
	Datum state;
	bool isnull;

	if (!rows_kept_free(rows) || !rows_find(rows, ROWS_REQUEST, request_id))
		return false;
	state = slot_getattr(rows->slots[ROWS_REQUEST], REQUEST_STATE, &isnull);
	return text_equals(state, "new") ||
		   (text_equals(state, "waiting_agent") && !rows_find(rows, ROWS_WAITING, request_id));
}

/* Returns whether a request stands nowhere yet, neither in its queue nor with an agent. */
static bool
has_just_come(const MatchRequest *request)
{
	return !request->waiting && request->assigned_to == 0 &&
		   (strcmp(request->state, "new") == 0 || strcmp(request->state, "waiting_agent") == 0);
}

/*
 * Routes a request, with config->rows open or in an SPI scope; returns the agent's id, or 0 where it waits. The
 * configuration is then the one under the locks.
 *
 * Returns -1, with the locks held, where the rows turned out not to suit the request, to be called again. A later call
 * of a transaction, which may have changed agents whom others wait for, waits for nobody's change of an agent; it is
 * told by the first try, which sets later.
 */
static int64
route_locked(RoutingConfig **at, int64 request_id, bool again, bool *later)
{
	RoutingConfig *config = *at;
	Rows *rows = config->rows;
	QueueLocks *locks = queue_locks(config);
	int64 customer_id;
	int queue = queue_of(config, request_id, &customer_id);
	bool hold = rows == NULL || !may_have_come(rows, request_id);
	MatchRequest request;
	bool alone;

	/* What has just come is not locked before it is given away: whoever changes it meanwhile makes us look again. */
	if (hold && !again)
		(void) hold_row(config, request_id, customer_id, !queues_were_asked());
	alone = config->queues[queue].hold_for_owner == 0 || customer_lock(owner_root(config, customer_id));

	queue_locks_add(locks, queue, QUEUE_ARRIVE);
	config = *at = queue_locks_take(config, locks);
	config->rows = rows;
	locks->partial = locks->partial || !alone;
	if (!again)
		*later = locks->later;

	for (;; hold = true)
	{
		int64 agent_id;
		bool held;

		if (rows != NULL)
			rows_refresh(rows);
		held = hold && hold_row_try(config, request_id, customer_id);
		match_load(config, request_id, false, &request);
		if (hold && !held)
			route_changed_meanwhile(&request);
		request.unheld = !hold;
		if (!hold && !has_just_come(&request))
			continue;
		match_check(&request);
		if (request.queue != queue)
			route_changed_meanwhile(&request);
		if (rows != NULL && (locks->partial || !offer_suits_rows(&request)))
			return -1;
		if (request.assigned_to != 0)
			return request.assigned_to;
		if (strcmp(request.state, "assigned") == 0)
			return request.agent_id;
		queue_check_members(config, queue);
		if (locks->partial)
		{
			leave_to_sweep(&request);
			return 0;
		}
		leave_other_queue(config, &request);
		agent_id = route_request(config, &request, !*later, NULL);
		if (agent_id >= 0)
			return agent_id;
	}
}

/* route(request_id): the agent to whom the request is offered, or NULL where it waits. */
Datum
omnichannel_route(PG_FUNCTION_ARGS)
{
	int64 request_id = PG_GETARG_INT64(0);
	RoutingConfig *config;
	int64 agent_id = -1;
	bool again = false;
	bool later;

	routing_arguments(fcinfo, "route()");
	routing_writes("route()");
	config = routing_config();
	config->rows = rows_open(ROUTE_ROWS);
	if (config->rows != NULL)
	{
		agent_id = route_locked(&config, request_id, false, &later);
		again = true;
		route_rows_end(config);
	}
	if (agent_id < 0)
	{
		SpiScope scope;

		config = routing_config();
		routing_scope_begin(&scope);
		agent_id = route_locked(&config, request_id, again, &later);
		spi_scope_end(&scope);
	}
	RETURN_ID(agent_id);
}
