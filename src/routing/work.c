/*
 * work.c
 *	  What happens to a request after it was offered: accepted, declined, transferred, released, abandoned.
 *
 * Whatever frees an agent gives him his next request in the same transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "customer/customer.h"
#include "request/request.h"
#include "routing/route.h"
#include "routing/routing.h"
#include "routing/rows.h"

SQL_FUNCTION(omnichannel_accept_request);
SQL_FUNCTION(omnichannel_decline_request);
SQL_FUNCTION(omnichannel_transfer_request);
SQL_FUNCTION(omnichannel_release_request);
SQL_FUNCTION(omnichannel_abandon_request);
SQL_FUNCTION(omnichannel_request_callback);

static KeptPlan accept_offer = {
	.sql = "WITH accepted AS (UPDATE omnichannel.assignment AS a SET accepted_at = $3, expires_at = 'infinity'"
		   " WHERE a.request_id = $1 AND a.agent_id = $2 AND a.accepted_at IS NULL AND a.expires_at > $3"
		   " AND EXISTS (SELECT FROM omnichannel.request AS q JOIN omnichannel.lane AS l ON l.lane_id = a.lane_id"
		   " WHERE q.request_id = $1 AND q.customer_id = a.customer_id AND q.closed_at IS NULL"
		   " AND l.channel = coalesce(q.current_channel, q.channel)) RETURNING a.customer_id)"
		   " UPDATE omnichannel.request AS q SET state = 'assigned', agent_id = $2 FROM accepted"
		   " WHERE q.request_id = $1 AND q.customer_id = accepted.customer_id AND q.closed_at IS NULL",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
};

static KeptPlan assignment_select = {
	.sql = "SELECT agent_id, accepted_at IS NOT NULL, expires_at, customer_id FROM omnichannel.assignment"
		   " WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Whether somebody has the request or it waits. */
static KeptPlan place_select = {
	.sql = "SELECT FROM omnichannel.assignment WHERE request_id = $1 UNION ALL"
		   " SELECT FROM omnichannel.waiting WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan request_change = {
	.sql = "UPDATE omnichannel.request SET state = coalesce($3, state), queue = coalesce($4, queue),"
		   " current_channel = CASE WHEN $5 IS NULL THEN current_channel ELSE nullif($5, channel) END,"
		   " requires = coalesce(CAST($6 AS omnichannel.skill_set), requires),"
		   " prefers = coalesce(CAST($7 AS omnichannel.skill_set), prefers),"
		   " agent_id = CASE WHEN $3 IS NULL THEN agent_id ELSE nullif($8, 0) END"
		   " WHERE request_id = $1 AND customer_id = $2",
	.nargs = 8,
	.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID},
};

/* Both agents of a request that is passed on: those who pass requests to each other lock them in one order. */
static KeptPlan agents_hold = {
	.sql = "SELECT FROM omnichannel.agent_state WHERE agent_id IN ($1, $2) ORDER BY agent_id FOR NO KEY UPDATE",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
};

/*
 * Changes the columns that are given, and, with the state, the owner.
 *
 * As by any statement: what follows for others follows from the triggers of the table, with the rights of its owner.
 */
static void
change_request(const MatchRequest *request, const char *state, const char *queue, const char *channel,
			   const char *requires, const char *prefers)
{
	const char *columns[5] = {state, queue, channel, requires, prefers};
	Datum values[8];
	char nulls[8] = "        ";

	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	for (int i = 0; i < 5; i++)
	{
		values[2 + i] = columns[i] == NULL ? (Datum) 0 : CStringGetTextDatum(columns[i]);
		nulls[2 + i] = columns[i] == NULL ? 'n' : ' ';
	}
	values[7] = Int64GetDatum(request->agent_id);
	(void) kept_plan_run(&request_change, values, nulls, false, 0);
}

/* Raises 40001 for a queue that somebody else holds while this transaction holds others. */
pg_noreturn static void
queue_is_held(const RoutingConfig *config, int queue)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("queue \"%s\" is held by another transaction", config->queues[queue].queue),
					errhint("Try again, and call one function of the queues a transaction where you can.")));
}

/* What a request is read by. */
#define WORK_ROWS                                                                                                      \
	(ROWS_BIT(ROWS_REQUEST) | ROWS_BIT(ROWS_CUSTOMER) | ROWS_BIT(ROWS_WAITING) | ROWS_BIT(ROWS_ASSIGNMENT) |           \
	 ROWS_BIT(ROWS_KEPT_PLACE))

/* Reads a request as match_load() does, without SQL where that may be. Needs an SPI scope. */
static void
load_request(RoutingConfig *config, int64 request_id, MatchRequest *request)
{
	config->rows = rows_open(WORK_ROWS);
	match_load(config, request_id, false, request);
	route_rows_end(config);
}

/*
 * Takes the locks for ending what an agent does with a request, and reads the request under them.
 *
 * It is locked before the queues: nobody waits for a request with those in his hands, because whoever has it may be
 * waiting for what somebody who waits for the same queue has written, as messages of one customer do. The agent's
 * queues are locked for him; with arrives the request's own is for it, because it goes back there, and the queue to
 * which it may go next.
 */
static RoutingConfig *
lock_work(RoutingConfig *config, QueueLocks **at, int64 request_id, bool arrives, const char *to_queue,
		  MatchRequest *request)
{
	QueueLocks *locks = *at = queue_locks(config);
	uint64 generation = config->generation;
	int target = -1;
	int queue;
	int agent;

	load_request(config, request_id, request);
	if (!request_hold(request_id, request->customer_id, true))
		route_changed_meanwhile(request);
	load_request(config, request_id, request);
	queue = request->queue;
	agent = request->assigned_to == 0 ? -1 : config_agent(config, request->assigned_to);
	if (queue >= 0 && arrives)
		queue_locks_add(locks, queue, QUEUE_ARRIVE);
	if (to_queue != NULL)
	{
		target = config_queue(config, to_queue);
		if (target < 0)
			ereport(ERROR,
					(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("queue \"%s\" does not exist", excerpt(to_queue)),
					 errhint("Insert it into omnichannel.queue.")));
		queue_locks_add(locks, target, QUEUE_ARRIVE);
	}
	if (agent >= 0)
		queue_locks_add_agent(config, locks, agent);
	config = queue_locks_take(config, locks);
	if (arrives && queue >= 0 && locks->stuck[queue])
		queue_is_held(config, queue);
	if (target >= 0 && locks->stuck[target])
		queue_is_held(config, target);
	if (config->generation != generation)
		load_request(config, request_id, request);
	return config;
}

/* Gives a freed agent what comes next; returns the id of that request, or 0. */
static int64
serve_freed(RoutingConfig *config, const QueueLocks *locks, int64 agent_id)
{
	int agent = agent_id == 0 ? -1 : config_agent(config, agent_id);

	return agent < 0 ? 0 : serve_agent(config, agent, locks, SERVE_ALL, GetCurrentTransactionStartTimestamp());
}

/*
 * work_take_back takes back what is offered to an agent who takes nothing new any more, and offers it to the others, or
 * ends it where the request was closed; what somebody has in his hands is left.
 *
 * The holder has the lock of the request's queue for arrivals. He has changed that agent, as others who leave have
 * changed themselves: nobody is waited for. Needs an SPI scope.
 */
void
work_take_back(RoutingConfig *config, int64 request_id, int64 customer_id, int64 agent_id)
{
	MatchRequest request;

	if (!request_hold(request_id, customer_id, false) || !match_look(config, request_id, false, &request) ||
		request.assigned_to != agent_id || request.accepted)
		return;
	assignment_end(config, &request, request.closed ? "finished" : "expired", false);
	if (!request.closed)
		(void) route_again(config, &request, NULL);
}

/* Raises 55000 because a request is not offered to an agent. */
static void
not_offered(int64 request_id, int64 agent_id, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("request " INT64_FORMAT " is not offered to agent " INT64_FORMAT, request_id, agent_id),
					errdetail("%s", why), errhint("next_offer(agent_id) returns what is offered to an agent.")));
}

/* Returns why a request is not offered to an agent, or NULL where it is; accepted tells whether he has it already. */
static const char *
why_not_offered(int64 request_id, int64 agent_id, bool *accepted)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum id = Int64GetDatum(request_id);
	bool isnull;

	*accepted = false;
	if (kept_plan_run(&assignment_select, &id, NULL, false, 0) == 0)
		return "It is offered to nobody.";
	if (spi_id(0, 1) != agent_id)
		return psprintf("It is with agent " INT64_FORMAT ".", spi_id(0, 1));
	*accepted = DatumGetBool(spi_datum(0, 2, &isnull));
	if (!*accepted && DatumGetTimestampTz(spi_datum(0, 3, &isnull)) <= now)
		return "The offer has expired.";
	return NULL;
}

/* Accepts an offer without SQL, where that may be and there is nothing to say against it; returns whether. */
static bool
accept_by_rows(RoutingConfig *config, int64 request_id, int64 agent_id)
{
	bool accepted;

	config->rows = rows_open(ROWS_BIT(ROWS_REQUEST) | ROWS_BIT(ROWS_ASSIGNMENT));
	if (config->rows == NULL)
		return false;
	accepted = offer_accept_by_rows(config, request_id, agent_id);
	route_rows_end(config);
	return accepted;
}

/* accept_request(request_id, agent_id): the agent takes what is offered to him; a second time changes nothing. */
Datum
omnichannel_accept_request(PG_FUNCTION_ARGS)
{
	int64 request_id = PG_GETARG_INT64(0);
	int64 agent_id = PG_GETARG_INT64(1);
	Datum values[3] = {Int64GetDatum(request_id), Int64GetDatum(agent_id)};
	RoutingConfig *config;
	MatchRequest request;
	SpiScope scope;

	routing_arguments(fcinfo, "accept_request()");
	routing_writes("accept_request()");
	config = routing_config();
	if (!config->agents[agent_argument(config, agent_id)].active)
		not_offered(request_id, agent_id, "The agent is inactive.");
	if (accept_by_rows(config, request_id, agent_id))
		PG_RETURN_VOID();
	routing_scope_begin(&scope);
	if (kept_plan_run(&assignment_select, values, NULL, false, 0) == 0 || !request_hold(request_id, spi_id(0, 4), true))
		not_offered(request_id, agent_id, "It is offered to nobody.");
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	if (kept_plan_run(&accept_offer, values, NULL, false, 0) == 0)
	{
		bool accepted;
		const char *why = why_not_offered(request_id, agent_id, &accepted);

		if (why == NULL)
			why = match_look(config, request_id, false, &request) && match_moved(config, &request)
					  ? "Its customer is in another channel by now: it will be offered anew."
					  : "It was closed.";
		if (!accepted)
			not_offered(request_id, agent_id, why);
	}
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}

/* decline_request(request_id, agent_id): the agent to whom it is offered instead, or NULL where it waits. */
Datum
omnichannel_decline_request(PG_FUNCTION_ARGS)
{
	int64 request_id = PG_GETARG_INT64(0);
	int64 agent_id = PG_GETARG_INT64(1);
	RoutingConfig *config;
	QueueLocks *locks;
	MatchRequest request;
	SpiScope scope;
	bool accepted;
	const char *why;
	int64 next;

	routing_arguments(fcinfo, "decline_request()");
	routing_writes("decline_request()");
	config = routing_config();
	(void) agent_argument(config, agent_id);
	routing_scope_begin(&scope);
	config = lock_work(config, &locks, request_id, true, NULL, &request);
	why = why_not_offered(request_id, agent_id, &accepted);
	if (why == NULL && request.closed)
		why = "It was closed.";
	if (why != NULL || accepted)
		not_offered(request_id, agent_id,
					why != NULL ? why : "The agent has accepted it: transfer_request() passes it on.");
	assignment_end(config, &request, "declined", true);
	next = route_again(config, &request, NULL);
	(void) serve_freed(config, locks, agent_id);
	spi_scope_end(&scope);
	RETURN_ID(next);
}

/* Offers a request to a colleague whom its agent has named; raises 55000 where that one cannot take it. */
static void
offer_to_colleague(RoutingConfig *config, const MatchRequest *request, int64 agent_id)
{
	int agent = agent_argument(config, agent_id);
	const char *why = NULL;

	if (!config->agents[agent].active)
		why = "The agent is inactive.";
	else if (config->fluency[(size_t) agent * config->channel_count + request->channel] == 0)
		why = psprintf("The agent does not work in channel %s.", config->channels[request->channel].channel);
	else if (route_offer(config, request, agent, false, true, GetCurrentTransactionStartTimestamp()) != OFFER_MADE)
		why = "The agent is not available or has no room.";
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("agent " INT64_FORMAT " cannot take request " INT64_FORMAT " now", agent_id,
							   request->request_id),
						errdetail("%s", why), errhint("Transfer it to a queue, where it waits for an agent.")));
	assignment_welcome(request->request_id, agent_id);
}

/* transfer_request(request_id, queue, agent_id, requires, prefers): the agent to whom it is offered, or NULL. */
Datum
omnichannel_transfer_request(PG_FUNCTION_ARGS)
{
	char *queue = text_argument(fcinfo, 1);
	int64 to_agent = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	char *requires = text_argument(fcinfo, 3);
	char *prefers = text_argument(fcinfo, 4);
	RoutingConfig *config;
	QueueLocks *locks;
	MatchRequest request;
	MatchRequest before;
	SpiScope scope;
	int64 from_agent;
	int64 next;

	routing_writes("transfer_request()");
	if (PG_ARGISNULL(0) || (queue == NULL && to_agent == 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("transfer_request() needs a request and a queue or an agent"),
						errhint("For example transfer_request(17, queue => 'billing').")));
	config = routing_config();
	if (to_agent != 0)
		(void) agent_argument(config, to_agent);
	if (requires != NULL)
		(void) skill_set_from_text(requires);
	if (prefers != NULL)
		(void) skill_set_from_text(prefers);

	routing_scope_begin(&scope);
	config = lock_work(config, &locks, PG_GETARG_INT64(0), true, queue, &request);
	if (request.closed)
		match_read(config, request.request_id, false, &request);
	leave_other_queue(config, &request);
	from_agent = request.assigned_to;
	if (from_agent != 0 && from_agent == to_agent)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " is with agent " INT64_FORMAT " already", request.request_id,
							   to_agent),
						errhint("Transfer it to another agent or to a queue.")));
	if (to_agent != 0)
	{
		Datum agents[2] = {Int64GetDatum(from_agent), Int64GetDatum(to_agent)};

		(void) kept_plan_run(&agents_hold, agents, NULL, false, 0);
	}
	if (from_agent != 0)
		assignment_end(config, &request, "transferred", true);
	change_request(&request, NULL, queue, NULL, requires, prefers);

	/* It keeps its age. */
	before = request;
	match_read(config, request.request_id, false, &request);
	request.entered_at = before.entered_at;
	request.queued_at = request.queue == before.queue ? before.queued_at : GetCurrentTransactionStartTimestamp();
	request.due_at = before.due_at;
	request.agent_id = 0;
	if (request.waiting && request.queue != before.queue)
		leave_queue(&request, DT_NOBEGIN, LEFT_TRANSFERRED);
	if (to_agent != 0)
	{
		offer_to_colleague(config, &request, to_agent);
		next = to_agent;
	}
	else
	{
		queue_check_members(config, request.queue);
		if (request.waiting)
			leave_queue(&request, DT_NOBEGIN, NULL);
		next = route_again(config, &request, NULL);
	}
	(void) serve_freed(config, locks, from_agent);
	spi_scope_end(&scope);
	RETURN_ID(next);
}

/*
 * Ends what routing has to do with a request that becomes this, which is written where it is to be; returns the freed
 * agent's next request, or 0.
 */
static int64
release(RoutingConfig *config, int64 request_id, const char *state, bool write)
{
	QueueLocks *locks;
	MatchRequest request;
	int64 agent_id;

	config = lock_work(config, &locks, request_id, false, NULL, &request);
	agent_id = request.assigned_to;
	if (!request.closed)
		strlcpy(request.state, state, sizeof(request.state));
	if (agent_id != 0)
	{
		bool accepted = request.accepted;

		assignment_end(config, &request, "finished", false);
		/* Who has dealt with it owns it. */
		if (accepted)
			request.agent_id = agent_id;
	}
	if (request.waiting)
		leave_queue(&request, DT_NOBEGIN, left_early(request.state));
	if (write && !request.closed)
		change_request(&request, state, NULL, NULL, NULL, NULL);
	return serve_freed(config, locks, agent_id);
}

/*
 * Ends what routing has to do with a request that is about to be closed: it leaves the queue, or its agent is freed and
 * given the next one. Its own row is not touched.
 *
 * Needs an SPI scope. Whoever may not write assignments, or is above READ COMMITTED, leaves it to the sweep.
 */
static void
request_close(int64 request_id, RequestState state)
{
	Datum id = Int64GetDatum(request_id);

	if (IsolationUsesXactSnapshot() ||
		pg_class_aclcheck(omni_table("assignment"), GetUserId(), ACL_DELETE) != ACLCHECK_OK)
		return;
	if (kept_plan_run(&place_select, &id, NULL, false, 1) > 0)
		(void) release(routing_config(), request_id, request_state_name(state), false);
}

/* Registers what this room does when requests are closed. */
void
routing_init(void)
{
	request_closing_listener = request_close;
	arrivals_init();
}

/* release_request(request_id, state): the request that the freed agent is offered next, or NULL. */
Datum
omnichannel_release_request(PG_FUNCTION_ARGS)
{
	char *state;
	SpiScope scope;
	int64 next;

	routing_arguments(fcinfo, "release_request()");
	state = text_to_cstring(PG_GETARG_TEXT_PP(1));
	routing_writes("release_request()");
	if (strcmp(state, "waiting_customer") != 0 && strcmp(state, "done") != 0 && strcmp(state, "cancelled") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is no state without an agent", excerpt(state)),
						errhint("Release a request as waiting_customer, done or cancelled.")));
	routing_scope_begin(&scope);
	next = release(routing_config(), PG_GETARG_INT64(0), state, true);
	spi_scope_end(&scope);
	RETURN_ID(next);
}

/* abandon_request(request_id, keep_for): the customer has left the queue; comes back before then to the same place. */
Datum
omnichannel_abandon_request(PG_FUNCTION_ARGS)
{
	int64 keep_for;
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	RoutingConfig *config;
	QueueLocks *locks;
	MatchRequest request;
	SpiScope scope;
	int64 agent_id;

	routing_arguments(fcinfo, "abandon_request()");
	keep_for = interval_usecs(PG_GETARG_INTERVAL_P(1));
	routing_writes("abandon_request()");
	if (keep_for < 0 || keep_for > 366 * USECS_PER_DAY)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a place cannot be kept for \"%s\"", interval_text(PG_GETARG_INTERVAL_P(1))),
						errhint("Keep it between 0 and 366 days.")));
	routing_scope_begin(&scope);
	config = lock_work(routing_config(), &locks, PG_GETARG_INT64(0), true, NULL, &request);
	if (request.closed || request.accepted || !(request.waiting || request.assigned_to != 0))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " does not wait for an agent", request.request_id),
						request.closed ? errdetail("It was closed.") : 0,
						errhint("release_request() ends the work of its agent.")));
	agent_id = request.assigned_to;
	if (agent_id != 0)
		assignment_end(config, &request, "abandoned", false);

	/* An offer goes back before the customer is waited for: the states say so. */
	if (agent_id != 0)
		route_enqueue(config, &request);
	leave_queue(&request, now + keep_for, agent_id != 0 ? NULL : LEFT_ABANDONED);
	change_request(&request, "waiting_customer", NULL, NULL, NULL, NULL);
	(void) serve_freed(config, locks, agent_id);
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}

/* request_callback(request_id, channel): the agent to whom it is offered, or NULL where it keeps its place. */
Datum
omnichannel_request_callback(PG_FUNCTION_ARGS)
{
	char *channel;
	RoutingConfig *config;
	QueueLocks *locks;
	MatchRequest request;
	SpiScope scope;
	int64 next;

	routing_arguments(fcinfo, "request_callback()");
	channel = text_to_cstring(PG_GETARG_TEXT_PP(1));
	routing_writes("request_callback()");
	(void) channel_get(channel);
	routing_scope_begin(&scope);
	config = lock_work(routing_config(), &locks, PG_GETARG_INT64(0), true, NULL, &request);
	if (request.closed || request.assigned_to != 0 || request.queue < 0 ||
		!(request.waiting || request.kept_place || strcmp(request.state, "new") == 0 ||
		  strcmp(request.state, "waiting_agent") == 0))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " does not wait for an agent", request.request_id),
						errhint("Whoever waits in a queue can be called back.")));
	queue_check_members(config, request.queue);
	leave_other_queue(config, &request);
	change_request(&request, NULL, NULL, channel, NULL, NULL);
	request.channel = config_channel(config, channel);
	if (request.waiting)
		leave_queue(&request, DT_NOBEGIN, NULL);
	next = route_again(config, &request, NULL);
	spi_scope_end(&scope);
	RETURN_ID(next);
}
