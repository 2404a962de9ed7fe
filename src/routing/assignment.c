/*
 * assignment.c
 *	  Assignments that begin without an offer, and how any assignment ends.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/route.h"

/* Whoever declines is not offered the same at once, whatever the queue says. */
#define DECLINE_MIN USECS_PER_SEC

static KeptPlan assignment_delete = {
	.sql = "WITH ended AS (DELETE FROM omnichannel.assignment WHERE request_id = $1 RETURNING *),"
		   " freed AS (UPDATE omnichannel.agent_state AS s SET used = greatest(s.used - e.cost, 0),"
		   " idle_since = CASE WHEN $6 THEN s.idle_since ELSE $2 END,"
		   " busy_until = CASE WHEN e.accepted_at IS NOT NULL AND $4 > $2 THEN greatest($4, s.busy_until)"
		   " ELSE s.busy_until END FROM ended AS e WHERE s.agent_id = e.agent_id),"
		   " refused AS (INSERT INTO omnichannel.refusal AS f (request_id, agent_id, until)"
		   " SELECT e.request_id, e.agent_id, $5 FROM ended AS e WHERE $5 > $2"
		   " ON CONFLICT (request_id, agent_id) DO UPDATE SET until = excluded.until)"
		   " INSERT INTO omnichannel.assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at,"
		   " queued_at, offered_at, accepted_at, ended_at, outcome) SELECT e.request_id, e.customer_id, e.agent_id,"
		   " l.queue, l.channel, e.entered_at, e.queued_at, e.offered_at, e.accepted_at,"
		   " greatest($2, e.offered_at, e.accepted_at),"
		   " CASE WHEN $3 <> 'finished' OR e.accepted_at IS NOT NULL THEN $3 ELSE $7 END FROM ended AS e"
		   " JOIN omnichannel.lane AS l USING (lane_id)",
	.nargs = 7,
	.argtypes = {INT8OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, TEXTOID},
};

/* Whoever was never there is away, with what he was given. */
static KeptPlan assignment_insert = {
	.sql = "WITH room AS (UPDATE omnichannel.agent_state SET used = used + $5, idle_since = clock_timestamp()"
		   " WHERE agent_id = $3)"
		   " INSERT INTO omnichannel.assignment (request_id, customer_id, agent_id, lane_id, cost, priority, due_at,"
		   " entered_at, queued_at, offered_at, expires_at, accepted_at)"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), 'infinity', clock_timestamp())",
	.nargs = 9,
	.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

static KeptPlan refusal_delete = {
	.sql = "DELETE FROM omnichannel.refusal WHERE request_id = $1 AND agent_id = $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
};

/* assignment_welcome forgets that an agent would not have a request: somebody has given it to him by name. */
void
assignment_welcome(int64 request_id, int64 agent_id)
{
	Datum values[2] = {Int64GetDatum(request_id), Int64GetDatum(agent_id)};

	(void) kept_plan_run(&refusal_delete, values, NULL, false, 0);
}

/*
 * assignment_given notes that an agent has a request that he was given without an offer: it takes his capacity, also
 * where it does not fit.
 *
 * The holder has the request's lock and the agent's. Needs an SPI scope.
 */
void
assignment_given(const RoutingConfig *config, const MatchRequest *request, int64 agent_id)
{
	Datum values[9];

	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] = Int64GetDatum(agent_id);
	values[3] = Int64GetDatum(
		lane_ensure(config, request->queue, request->channel, request->requires, request->prefers, request->priority));
	values[4] = Int32GetDatum(config->channels[request->channel].cost);
	values[5] = Int32GetDatum(request->priority);
	values[6] = TimestampTzGetDatum(request->due_at);
	values[7] = TimestampTzGetDatum(request->entered_at);
	values[8] = TimestampTzGetDatum(request->queued_at);
	(void) kept_plan_run(&assignment_insert, values, NULL, false, 0);
	assignment_welcome(request->request_id, agent_id);
}

/*
 * assignment_end ends the assignment of a request with this outcome: frees the agent, notes the history and, with
 * refuse, keeps the request from coming back to him at once.
 *
 * What ends as finished before it was accepted was abandoned, or closed, as the state of the request says, which a
 * caller who is about to change that sets before; where it was deleted there is none.
 *
 * It ends by the clock, as offers begin: transactions do not get their turns in the order in which they began.
 *
 * The holder has the locks of the agent's queues and the request's. The request is left without an agent, or with the
 * owner whom it had before it was offered, which has to be written down.
 */
void
assignment_end(const RoutingConfig *config, MatchRequest *request, const char *outcome, bool refuse)
{
	TimestampTz now = GetCurrentTimestamp();
	const RoutingQueue *queue = request->queue < 0 ? NULL : &config->queues[request->queue];
	Datum values[7];

	const Lane *lane = request->queue < 0 ? NULL : lane_find(config, request->assigned_in);

	/* A plain statement has put it into another queue meanwhile: there it waits from now on. */
	if (lane != NULL && lane->queue != request->queue)
		request->queued_at = GetCurrentTransactionStartTimestamp();
	values[0] = Int64GetDatum(request->request_id);
	values[1] = TimestampTzGetDatum(now);
	values[2] = CStringGetTextDatum(outcome);
	values[3] = TimestampTzGetDatum(queue == NULL ? now : now + queue->wrap_up);
	values[4] = TimestampTzGetDatum(queue == NULL || !refuse ? now : now + Max(queue->decline_for, DECLINE_MIN));
	values[5] = BoolGetDatum(queue != NULL && queue->idle_from_offer);
	values[6] = CStringGetTextDatum(request->customer_id == 0 ? LEFT_CANCELLED : left_early(request->state));
	(void) kept_plan_run(&assignment_delete, values, NULL, false, 0);
	if (request->accepted)
		request->agent_id = 0;
	else if (request->agent_id == request->assigned_to)
		request->agent_id = request->owner_id;
	request->assigned_to = 0;
	request->accepted = false;
}
