/*
 * serve.c
 *	  Gives a free agent the request that comes first among those that suit: set_presence(), claim(), next_offer().
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "routing/route.h"
#include "routing/rows.h"

SQL_FUNCTION(omnichannel_set_presence);
SQL_FUNCTION(omnichannel_claim);
SQL_FUNCTION(omnichannel_next_offer);

/* How often next_offer() looks again, and how long it does at most. */
#define POLL_MSECS 100
#define WAIT_MAX USECS_PER_HOUR

#define AGENT_SQL "SELECT state, used, busy_until FROM omnichannel.agent_state WHERE agent_id = $1"

static KeptPlan agent_select = {.sql = AGENT_SQL, .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan agent_lock = {.sql = AGENT_SQL " FOR UPDATE", .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan agent_try = {.sql = AGENT_SQL " FOR UPDATE SKIP LOCKED", .nargs = 1, .argtypes = {INT8OID}};

/*
 * What may be taken from a lane: what has waited long enough for this agent, is not held for somebody else who is
 * present, and was not refused by him. The lane's head h says where to begin.
 */
#define SUITS(lane_id, entered_before, held_since, agent, now, present)                                                \
	" w.lane_id = " lane_id " AND (w.rank, w.due_at, w.entered_at, w.request_id)"                                      \
	" >= (coalesce(h.rank, -9223372036854775807), coalesce(h.due_at, '-infinity'),"                                    \
	" coalesce(h.entered_at, '-infinity'), coalesce(h.request_id, 0)) AND w.entered_at <= " entered_before             \
	" AND (w.owner_id = 0 OR w.owner_id = " agent " OR w.entered_at <= " held_since " OR NOT EXISTS"                   \
	" (SELECT FROM omnichannel.agent_state AS o WHERE o.agent_id = w.owner_id AND o.state = ANY (" present ")))"       \
	" AND NOT EXISTS (SELECT FROM omnichannel.refusal AS f"                                                            \
	" WHERE f.request_id = w.request_id AND f.agent_id = " agent " AND f.until > " now ")"                             \
	" ORDER BY w.rank, w.due_at, w.entered_at, w.request_id LIMIT 1"

/* The lane with the request that comes first, without a lock; $4 is what each queue's ageing adds by now. */
static KeptPlan lane_peek = {
	.sql = "SELECT lane.lane_id FROM unnest($1, $2, $3, $4) AS lane (lane_id, entered_before, held_since, age)"
		   " LEFT JOIN omnichannel.lane_head AS h ON h.lane_id = lane.lane_id"
		   " CROSS JOIN LATERAL (SELECT w.rank, w.due_at, w.entered_at, w.request_id FROM omnichannel.waiting AS w"
		   " WHERE" SUITS("lane.lane_id", "lane.entered_before", "lane.held_since", "$5", "$6",
						  "$7") ") AS head"
								" ORDER BY head.rank - lane.age, head.due_at, head.entered_at, head.request_id LIMIT 1",
	.nargs = 7,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT8OID, TIMESTAMPTZOID,
				 TEXTARRAYOID},
};

/* Takes the first request of one lane that nobody else is taking. */
static KeptPlan lane_take = {
	.sql =
		"DELETE FROM omnichannel.waiting WHERE request_id = (SELECT head.request_id FROM (SELECT $1) AS lane (lane_id)"
		" LEFT JOIN omnichannel.lane_head AS h ON h.lane_id = lane.lane_id"
		" CROSS JOIN LATERAL (SELECT w.request_id FROM omnichannel.waiting AS w"
		" WHERE" SUITS("lane.lane_id", "$2", "$3", "$4", "$5",
					   "$6") " FOR UPDATE SKIP LOCKED) AS head)"
							 " RETURNING request_id, customer_id, due_at, entered_at, priority",
	.nargs = 6,
	.argtypes = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, TEXTARRAYOID},
};

static KeptPlan state_upsert = {
	.sql = "INSERT INTO omnichannel.agent_state AS s (agent_id, idle_since, state) VALUES ($1, $3, $2)"
		   " ON CONFLICT (agent_id) DO UPDATE SET state = $2,"
		   " idle_since = CASE WHEN $4 AND s.state <> $2 THEN $3 ELSE s.idle_since END,"
		   " busy_until = CASE WHEN $4 THEN '-infinity' ELSE s.busy_until END",
	.nargs = 4,
	.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, BOOLOID},
};

/* The agent's row is locked, so that no other change of his presence can come between these two. */
static KeptPlan presence_close = {
	.sql = "UPDATE omnichannel.presence SET during = CASE WHEN lower(during) < $3 THEN tstzrange(lower(during), $3)"
		   " ELSE during END, state = CASE WHEN lower(during) < $3 THEN state ELSE $2 END"
		   " WHERE agent_id = $1 AND upper_inf(during) AND state <> $2",
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID},
};

static KeptPlan presence_open = {
	.sql = "INSERT INTO omnichannel.presence (agent_id, state, during)"
		   " SELECT $1, $2, tstzrange($3, NULL) WHERE NOT EXISTS"
		   " (SELECT FROM omnichannel.presence WHERE agent_id = $1 AND upper_inf(during))",
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID},
};

static KeptPlan offer_select = {
	.sql = "SELECT request_id FROM omnichannel.assignment WHERE agent_id = $1 AND accepted_at IS NULL AND expires_at >"
		   " clock_timestamp()"
		   " ORDER BY offered_at, request_id LIMIT 1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Finds the lanes that suit an agent with that much room, in queues that are locked for it; all for no locks. */
void
lanes_of_agent(const RoutingConfig *config, int agent, const QueueLocks *locks, int64 room, TimestampTz now,
			   LaneList *list)
{
	int count;
	const Lane *lanes = lanes_get(config, &count);

	list->count = 0;
	list->lanes = palloc(sizeof(Lane *) * (count + 1));
	list->ids = palloc(sizeof(Datum) * (count + 1));
	list->ages = palloc(sizeof(Datum) * (count + 1));
	list->entered_before = palloc(sizeof(Datum) * (count + 1));
	list->held_since = palloc(sizeof(Datum) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		const Lane *lane = &lanes[i];
		const RoutingQueue *queue;
		PoolMember member;
		int64 wait;

		if (lane->queue < 0 || lane->channel < 0 || config->channels[lane->channel].cost > room)
			continue;
		if (locks != NULL && locks->modes[lane->queue] != QUEUE_FREE && locks->modes[lane->queue] != QUEUE_BOTH)
			continue;
		if (config_judge(config, lane->queue, lane->channel, lane->requires, lane->prefers, agent, &member) !=
			VERDICT_CANDIDATE)
			continue;
		queue = &config->queues[lane->queue];
		wait = Max(member.join_after, member.preferred ? 0 : queue->prefer_for);

		/* Who waited for the lock began before what arrived meanwhile: no wait is no bound. */
		list->lanes[list->count] = lane;
		list->ids[list->count] = Int64GetDatum(lane->lane_id);
		list->ages[list->count] = Int64GetDatum(queue_age(queue, now));
		list->entered_before[list->count] = TimestampTzGetDatum(wait == 0 ? DT_NOEND : now - wait);
		list->held_since[list->count] = TimestampTzGetDatum(now - queue->hold_for_owner);
		list->count++;
	}
}

static Datum
int64_array(Datum *values, int count, Oid type)
{
	return PointerGetDatum(construct_array(values, count, type, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Returns the index in the list of the lane with the request that comes first, or -1. Reads, does not lock. */
static int
best_lane(const RoutingConfig *config, const LaneList *list, int64 agent_id, TimestampTz now)
{
	Datum values[7];
	int64 lane_id;
	int best = 0;
	bool isnull;

	if (list->count == 0)
		return -1;
	values[0] = int64_array(list->ids, list->count, INT8OID);
	values[1] = int64_array(list->entered_before, list->count, TIMESTAMPTZOID);
	values[2] = int64_array(list->held_since, list->count, TIMESTAMPTZOID);
	values[3] = int64_array(list->ages, list->count, INT8OID);
	values[4] = Int64GetDatum(agent_id);
	values[5] = TimestampTzGetDatum(now);
	values[6] = config->present_states;
	if (kept_plan_run(&lane_peek, values, NULL, false, 0) == 0)
		return -1;
	lane_id = DatumGetInt64(spi_datum(0, 1, &isnull));
	while (list->lanes[best]->lane_id != lane_id)
		best++;
	return best;
}

/* Takes the first request of a lane; returns whether there was one. */
static bool
take_from(const RoutingConfig *config, const LaneList *list, int lane, int64 agent_id, TimestampTz now)
{
	Datum values[6];

	values[0] = list->ids[lane];
	values[1] = list->entered_before[lane];
	values[2] = list->held_since[lane];
	values[3] = Int64GetDatum(agent_id);
	values[4] = TimestampTzGetDatum(now);
	values[5] = config->present_states;
	return kept_plan_run(&lane_take, values, NULL, false, 0) == 1;
}

/* Takes the request that comes first out of the waiting ones; returns false where none suits. */
static bool
take_next(const RoutingConfig *config, LaneList *list, int64 agent_id, TimestampTz now, MatchRequest *request)
{
	while (list->count > 0)
	{
		/* Of one lane the first is taken without a look at it. */
		int best = list->count == 1 ? 0 : best_lane(config, list, agent_id, now);
		const Lane *lane;
		bool isnull;

		if (best < 0)
			return false;
		lane = list->lanes[best];
		if (take_from(config, list, best, agent_id, now))
		{
			memset(request, 0, sizeof(*request));
			request->request_id = DatumGetInt64(spi_datum(0, 1, &isnull));
			request->customer_id = DatumGetInt64(spi_datum(0, 2, &isnull));
			request->due_at = DatumGetTimestampTz(spi_datum(0, 3, &isnull));
			request->entered_at = DatumGetTimestampTz(spi_datum(0, 4, &isnull));
			request->priority = DatumGetInt32(spi_datum(0, 5, &isnull));
			request->lane_id = lane->lane_id;
			request->queue = lane->queue;
			request->channel = lane->channel;
			request->requires = lane->requires;
			request->prefers = lane->prefers;
			return true;
		}

		/* What was there is being taken by others: the other lanes are left. */
		list->count--;
		list->lanes[best] = list->lanes[list->count];
		list->ids[best] = list->ids[list->count];
		list->ages[best] = list->ages[list->count];
		list->entered_before[best] = list->entered_before[list->count];
		list->held_since[best] = list->held_since[list->count];
	}
	return false;
}

/* Returns whether the agent of the last result may be given something, as of now. */
static bool
may_take(const RoutingConfig *config, bool accepted, TimestampTz now)
{
	const RoutingState *state = config_state(config, spi_text(0, 1, CurrentMemoryContext));
	bool isnull;

	return state != NULL && (accepted ? state->present : state->available) &&
		   DatumGetTimestampTz(spi_datum(0, 3, &isnull)) <= now;
}

/* Returns the capacity that the agent of the last result has used. */
static int64
agent_used(void)
{
	bool isnull;

	return DatumGetInt32(spi_datum(0, 2, &isnull));
}

/* Does what serve_agent() does by the statements above, in an SPI scope. */
static int64
serve_by_plan(RoutingConfig *config, int agent, const QueueLocks *locks, bool accepted, bool all, TimestampTz now)
{
	int64 agent_id = config->agents[agent].agent_id;
	Datum id = Int64GetDatum(agent_id);
	int64 first = 0;
	int64 used;

	if (kept_plan_run(locks == NULL ? &agent_lock : &agent_try, &id, NULL, false, 0) == 0 ||
		!may_take(config, accepted, now))
		return 0;
	used = agent_used();

	for (;;)
	{
		MatchRequest request;
		LaneList list;

		CHECK_FOR_INTERRUPTS();
		lanes_of_agent(config, agent, locks, config->agents[agent].capacity - used, now, &list);
		if (!take_next(config, &list, agent_id, now, &request))
			break;
		if (!route_offer(config, &request, agent, accepted, true, now))
		{
			/* A request that was closed without a word to the queue has just left it. */
			MatchRequest found;

			match_load(config, request.request_id, false, &found);
			if (!found.closed)
				elog(ERROR, "agent " INT64_FORMAT " is not as he was when his row was locked", agent_id);
			continue;
		}
		used += config->channels[request.channel].cost;
		if (first == 0)
			first = request.request_id;
		if (!all)
			break;
	}
	return first;
}

/* What an agent is served from. */
#define SERVE_ROWS                                                                                                     \
	(ROWS_BIT(ROWS_REQUEST) | ROWS_BIT(ROWS_WAITING) | ROWS_BIT(ROWS_ASSIGNMENT) | ROWS_BIT(ROWS_REFUSAL) |            \
	 ROWS_BIT(ROWS_AGENT_STATE) | ROWS_BIT(ROWS_LANE_HEAD))

/*
 * serve_agent gives an agent, as of now, the request that comes first, and, with all, further ones while they fit;
 * returns the id of the first one, or 0.
 *
 * The holder has the locks of the agent's queues, or of those of these locks, if they are given: then what waits in
 * others is left, and what somebody else is changing. With accepted they are assigned to him at once. Needs no SPI
 * scope.
 */
int64
serve_agent(RoutingConfig *config, int agent, const QueueLocks *locks, bool accepted, bool all, TimestampTz now)
{
	SpiScope scope;
	int64 first;

	if (!config->agents[agent].active)
		return 0;
	config->rows = rows_open(SERVE_ROWS);
	if (config->rows != NULL)
	{
		first = serve_by_rows(config, agent, locks, accepted, all, now);
		route_rows_end(config);
		return first;
	}
	routing_scope_begin(&scope);
	first = serve_by_plan(config, agent, locks, accepted, all, now);
	spi_scope_end(&scope);
	return first;
}

/* set_presence(agent_id, state): the first request that the agent is offered by it, or NULL. */
Datum
omnichannel_set_presence(PG_FUNCTION_ARGS)
{
	int64 agent_id = PG_GETARG_INT64(0);
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	RoutingConfig *config;
	const RoutingState *state;
	Datum values[4];
	SpiScope scope;
	bool available;
	int64 request_id = 0;
	int agent;

	routing_writes("set_presence()");
	config = routing_config();
	agent = agent_argument(config, agent_id);
	state = config_state(config, name);
	if (state == NULL)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("presence state \"%s\" does not exist", name),
						errhint("The table omnichannel.presence_state lists them, as in available and break.")));
	available = state->available;
	if (available && !config->agents[agent].active)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("agent " INT64_FORMAT " is inactive", agent_id),
						errhint("Set agent.active first.")));

	routing_scope_begin(&scope);
	if (available)
	{
		QueueLocks *locks = queue_locks(config);

		queue_locks_add_agent(config, locks, agent);
		config = queue_locks_take(config, locks);
		agent = agent_argument(config, agent_id);
	}
	values[0] = Int64GetDatum(agent_id);
	values[1] = CStringGetTextDatum(name);
	values[2] = TimestampTzGetDatum(now);
	values[3] = BoolGetDatum(available);
	(void) kept_plan_run(&state_upsert, values, NULL, false, 0);
	(void) kept_plan_run(&presence_close, values, NULL, false, 0);
	(void) kept_plan_run(&presence_open, values, NULL, false, 0);
	if (available)
		request_id = serve_agent(config, agent, NULL, false, true, now);
	spi_scope_end(&scope);

	if (request_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(request_id);
}

/* claim(agent_id): the request that the agent now works on, or NULL where none suits. */
Datum
omnichannel_claim(PG_FUNCTION_ARGS)
{
	int64 agent_id = PG_GETARG_INT64(0);
	RoutingConfig *config;
	QueueLocks *locks;
	int64 request_id;
	int agent;

	routing_writes("claim()");
	config = routing_config();
	agent = agent_argument(config, agent_id);
	locks = queue_locks(config);
	queue_locks_add_agent(config, locks, agent);
	config = queue_locks_take(config, locks);
	request_id =
		serve_agent(config, agent_argument(config, agent_id), NULL, true, false, GetCurrentTransactionStartTimestamp());

	if (request_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(request_id);
}

/* Returns the agent's oldest offer that can be accepted, or 0, as of now. */
static int64
offer_of_agent(int64 agent_id)
{
	Datum id = Int64GetDatum(agent_id);
	int64 request_id = 0;
	SpiScope scope;
	bool isnull;

	routing_scope_begin(&scope);
	if (kept_plan_run(&offer_select, &id, NULL, false, 0) > 0)
		request_id = DatumGetInt64(spi_datum(0, 1, &isnull));
	spi_scope_end(&scope);
	return request_id;
}

/* Returns whether something waits that the agent could be given at this moment. Reads, does not lock. */
static bool
could_be_served(RoutingConfig *config, int agent, TimestampTz now)
{
	Datum id = Int64GetDatum(config->agents[agent].agent_id);
	LaneList list;

	if (!config->agents[agent].active || kept_plan_run(&agent_select, &id, NULL, false, 0) == 0 ||
		!may_take(config, false, now))
		return false;
	lanes_of_agent(config, agent, NULL, config->agents[agent].capacity - agent_used(), now, &list);
	return best_lane(config, &list, config->agents[agent].agent_id, now) >= 0;
}

/*
 * Offers the agent what waits and suits him at this moment, as when his wrap-up has ended meanwhile; returns the first
 * of it, or 0.
 *
 * The queues' locks are taken only where something is there to be offered, and given back with the subtransaction where
 * somebody else was quicker: the caller may wait for an hour.
 */
static int64
serve_now(int64 agent_id)
{
	TimestampTz now = GetCurrentTimestamp();
	RoutingConfig *config = routing_config();
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	QueueLocks *locks;
	SpiScope scope;
	int64 request_id;
	bool worth_it;

	routing_scope_begin(&scope);
	worth_it = could_be_served(config, agent_argument(config, agent_id), now);
	spi_scope_end(&scope);
	if (!worth_it)
		return 0;

	BeginInternalSubTransaction(NULL);
	routing_scope_begin(&scope);
	locks = queue_locks(config);
	queue_locks_add_agent(config, locks, agent_argument(config, agent_id));
	config = queue_locks_take(config, locks);
	request_id = serve_agent(config, agent_argument(config, agent_id), NULL, false, true, now);
	spi_scope_end(&scope);
	if (request_id != 0)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return request_id;
}

/* next_offer(agent_id, wait): the oldest request that is offered to the agent, waited for, or NULL. */
Datum
omnichannel_next_offer(PG_FUNCTION_ARGS)
{
	int64 agent_id = PG_GETARG_INT64(0);
	int64 wait = interval_usecs(PG_GETARG_INTERVAL_P(1));
	TimestampTz end;
	int64 request_id;

	routing_writes("next_offer()");
	if (wait < 0 || wait > WAIT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("cannot wait for that long"),
						errhint("Wait between 0 and 1 hour.")));
	(void) agent_argument(routing_config(), agent_id);

	end = GetCurrentTimestamp() + wait;
	while ((request_id = offer_of_agent(agent_id)) == 0 && (request_id = serve_now(agent_id)) == 0 &&
		   GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MSECS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (request_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(request_id);
}
