/*
 * serve.c
 *	  Gives a free agent the request that comes first among those that suit: set_presence(), claim(), next_offer().
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "routing/route.h"
#include "routing/rows.h"

SQL_FUNCTION(omnichannel_set_presence);
SQL_FUNCTION(omnichannel_claim);
SQL_FUNCTION(omnichannel_next_offer);
SQL_FUNCTION(omnichannel_serve_changed);

/*
 * How often next_offer() looks again, and how long it does at most: the statement that calls it holds its snapshot all
 * the time, which keeps what is dead in the tables of the queues from being cleared away.
 */
#define POLL_MSECS 100
#define WAIT_MAX USECS_PER_MINUTE

static KeptPlan state_upsert = {
	.sql = "INSERT INTO omnichannel.agent_state AS s (agent_id, idle_since, state, used) VALUES ($1, $3, $2,"
		   " (SELECT coalesce(sum(a.cost), 0) FROM omnichannel.assignment AS a WHERE a.agent_id = $1))"
		   " ON CONFLICT (agent_id) DO UPDATE SET state = $2,"
		   " idle_since = CASE WHEN $4 AND s.state <> $2 THEN greatest($3, s.idle_since) ELSE s.idle_since END,"
		   " busy_until = CASE WHEN $4 THEN '-infinity' ELSE s.busy_until END",
	.nargs = 4,
	.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, BOOLOID},
};

/*
 * The agent's row is locked, so that no other change of his presence can come between these two. But one may have come
 * after this transaction began: then it is by the clock that the state ends. One that this transaction has set counts
 * for nothing, unless that would leave two intervals of the same state side by side.
 */
static KeptPlan presence_close = {
	.sql = "UPDATE omnichannel.presence AS p SET state = CASE WHEN lower(p.during) = $3 AND o.other THEN $2"
		   " ELSE p.state END, during = CASE WHEN lower(p.during) < $3 THEN tstzrange(lower(p.during), $3)"
		   " WHEN lower(p.during) = $3 AND o.other THEN p.during ELSE tstzrange(lower(p.during),"
		   " greatest(clock_timestamp(), lower(p.during) + interval '1 microsecond')) END"
		   " FROM (SELECT NOT EXISTS (SELECT FROM omnichannel.presence AS b WHERE b.agent_id = $1 AND b.state = $2"
		   " AND b.during @> $3::timestamptz - interval '1 microsecond') AS other) AS o"
		   " WHERE p.agent_id = $1 AND upper_inf(p.during) AND p.state <> $2 RETURNING upper(p.during)",
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

static KeptPlan available_select = {
	.sql = "SELECT FROM omnichannel.agent_state AS s JOIN omnichannel.presence_state AS p USING (state)"
		   " WHERE s.agent_id = $1 AND p.available",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

/* What is offered to an agent, and in which queue: in the order in which requests are locked, or heads of lanes. */
#define OFFERS_SQL(order)                                                                                              \
	"SELECT a.request_id, a.customer_id, q.queue FROM omnichannel.assignment AS a"                                     \
	" JOIN omnichannel.request AS q USING (request_id, customer_id)"                                                   \
	" WHERE a.agent_id = $1 AND a.accepted_at IS NULL AND q.queue IS NOT NULL ORDER BY " order ", a.request_id"

static KeptPlan offers_by_customer = {.sql = OFFERS_SQL("a.customer_id"), .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan offers_by_lane = {.sql = OFFERS_SQL("a.lane_id"), .nargs = 1, .argtypes = {INT8OID}};

static KeptPlan offer_select = {
	.sql = "SELECT a.request_id FROM omnichannel.assignment AS a JOIN omnichannel.lane AS l USING (lane_id)"
		   " JOIN omnichannel.request AS q ON q.request_id = a.request_id AND q.customer_id = a.customer_id"
		   " WHERE a.agent_id = $1 AND a.accepted_at IS NULL AND a.expires_at > clock_timestamp()"
		   " AND q.closed_at IS NULL AND l.channel = coalesce(q.current_channel, q.channel)"
		   " ORDER BY a.offered_at, a.request_id LIMIT 1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* What an agent is served from. */
#define SERVE_ROWS                                                                                                     \
	(ROWS_BIT(ROWS_REQUEST) | ROWS_BIT(ROWS_WAITING) | ROWS_BIT(ROWS_ASSIGNMENT) | ROWS_BIT(ROWS_REFUSAL) |            \
	 ROWS_BIT(ROWS_AGENT_STATE) | ROWS_BIT(ROWS_LANE_HEAD))

/*
 * serve_agent gives an agent, as of now, the request that comes first, and, with SERVE_ALL, further ones while they
 * fit; returns the id of the first one, or 0.
 *
 * The holder has these locks: what waits in other queues is left. Needs no SPI scope.
 */
int64
serve_agent(RoutingConfig *config, int agent, const QueueLocks *locks, int how, TimestampTz now)
{
	SpiScope scope;
	int64 first;

	if (!config->agents[agent].active)
		return 0;
	config->rows = rows_open(SERVE_ROWS);
	if (config->rows != NULL)
	{
		first = take_for_agent(config, agent, locks, how, now);
		route_rows_end(config);
		return first;
	}
	routing_scope_begin(&scope);
	first = take_for_agent(config, agent, locks, how, now);
	spi_scope_end(&scope);
	return first;
}

/* An offer, and the queue that it goes back to. */
typedef struct Offer
{
	int64 request_id;
	int64 customer_id;
	int queue; /* or -1 */
} Offer;

/* Returns what is offered to an agent. */
static Offer *
offers_to(const RoutingConfig *config, int64 agent_id, KeptPlan *in_order, int *count)
{
	Datum id = Int64GetDatum(agent_id);
	Offer *offers;
	bool isnull;

	*count = (int) kept_plan_run(in_order, &id, NULL, false, 0);
	offers = palloc(sizeof(Offer) * (*count + 1));
	for (int i = 0; i < *count; i++)
	{
		offers[i].request_id = DatumGetInt64(spi_datum(i, 1, &isnull));
		offers[i].customer_id = DatumGetInt64(spi_datum(i, 2, &isnull));
		offers[i].queue = config_queue(config, spi_text(i, 3, CurrentMemoryContext));
	}
	return offers;
}

/*
 * Writes down presence: where the agent is now with the rights of the caller, the intervals with those of the tables'
 * owner, so that nobody else need be able to write the past. Whoever may not change agent_state gets no further.
 */
static void
note_presence(int64 agent_id, const char *state, bool available)
{
	Datum values[4] = {Int64GetDatum(agent_id), CStringGetTextDatum(state),
					   TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()), BoolGetDatum(available)};
	TimestampTz began = GetCurrentTransactionStartTimestamp();
	OwnerSwitch owner;

	if (kept_plan_run(&state_upsert, values, NULL, false, 0) != 1)
		rows_not_taken("agent_state");
	owner_switch_begin(&owner);
	if (kept_plan_run(&presence_close, values, NULL, false, 0) > 0)
		values[2] = TimestampTzGetDatum(spi_time(0, 1, began));
	(void) kept_plan_run(&presence_open, values, NULL, false, 0);
	owner_switch_end(&owner);
}

/* Takes the locks of the queues to which offers go back. */
static RoutingConfig *
lock_offers(RoutingConfig *config, QueueLocks *locks, const Offer *offers, int count)
{
	for (int i = 0; i < count; i++)
		if (offers[i].queue >= 0)
			queue_locks_add(locks, offers[i].queue, QUEUE_ARRIVE);
	return queue_locks_take(config, locks);
}

/*
 * Notes that an agent takes nothing new from now on, and offers to others what was offered to him.
 *
 * What is offered to him is locked before all else. What was offered meanwhile, and is in somebody's hands, is left to
 * the sweep.
 */
static void
leave(RoutingConfig *config, int64 agent_id, const char *state)
{
	QueueLocks *locks = queue_locks(config);
	int count;
	Offer *offers = offers_to(config, agent_id, &offers_by_customer, &count);

	for (int i = 0; i < count; i++)
		(void) request_hold(offers[i].request_id, offers[i].customer_id, !queues_were_asked());
	config = lock_offers(config, locks, offers, count);
	note_presence(agent_id, state, false);

	/* Nothing more is offered to him now, but something may have been meanwhile. */
	offers = offers_to(config, agent_id, &offers_by_lane, &count);
	config = lock_offers(config, locks, offers, count);
	for (int i = 0; i < count; i++)
		if (offers[i].queue >= 0 && locks->modes[offers[i].queue] != 0)
			work_take_back(config, offers[i].request_id, offers[i].customer_id, agent_id);
}

/* set_presence(agent_id, state): the first request that the agent is offered by it, or NULL. */
Datum
omnichannel_set_presence(PG_FUNCTION_ARGS)
{
	int64 agent_id = PG_GETARG_INT64(0);
	char *name;
	RoutingConfig *config;
	const RoutingState *state;
	SpiScope scope;
	int64 request_id = 0;
	int agent;

	routing_arguments(fcinfo, "set_presence()");
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	routing_writes("set_presence()");
	config = routing_config();
	agent = agent_argument(config, agent_id);
	state = config_state(config, name);
	if (state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("presence state \"%s\" does not exist", excerpt(name)),
				 errhint("The table omnichannel.presence_state lists them, as in available and break.")));
	if (state->available && !config->agents[agent].active)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("agent " INT64_FORMAT " is inactive", agent_id),
						errhint("Set agent.active first.")));

	routing_scope_begin(&scope);
	if (state->available)
	{
		QueueLocks *locks = queue_locks(config);

		queue_locks_add_agent(config, locks, agent);
		config = queue_locks_take(config, locks);
		note_presence(agent_id, name, true);
		request_id = serve_agent(config, agent_argument(config, agent_id), locks, SERVE_ALL,
								 GetCurrentTransactionStartTimestamp());
	}
	else
		leave(config, agent_id, name);
	spi_scope_end(&scope);
	RETURN_ID(request_id);
}

/* Returns whether the current role may do what serving an agent takes. */
static bool
may_serve(void)
{
	return pg_class_aclcheck(omni_table("assignment"), GetUserId(), ACL_INSERT) == ACLCHECK_OK &&
		   pg_class_aclcheck(omni_table("waiting"), GetUserId(), ACL_DELETE) == ACLCHECK_OK &&
		   pg_class_aclcheck(omni_table("agent_state"), GetUserId(), ACL_UPDATE) == ACLCHECK_OK &&
		   pg_class_aclcheck(omni_table("request"), GetUserId(), ACL_UPDATE) == ACLCHECK_OK;
}

/* For so long in all a transaction that changes agents waits for queues when it ends. */
#define CHANGED_MSECS 100

/* Until when the last transaction that changed agents does. */
static struct
{
	LocalTransactionId lxid;
	TimestampTz end;
} changing;

/* Serves an agent whose configuration was changed, for subtransaction_try(): what others hold is left to the sweep. */
static void
serve_one(void *argument)
{
	int64 agent_id = *(const int64 *) argument;
	RoutingConfig *config = routing_config();
	int agent = config_agent(config, agent_id);
	QueueLocks *locks = queue_locks(config);

	if (agent < 0)
		return;
	if (changing.lxid != MY_LXID)
	{
		changing.lxid = MY_LXID;
		changing.end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CHANGED_MSECS);
	}
	queue_locks_add_agent(config, locks, agent);
	config = queue_locks_try(config, locks, changing.end);
	agent = config_agent(config, agent_id);
	if (agent >= 0)
		(void) turn_serve(config, agent, locks, GetCurrentTransactionStartTimestamp());
}

/* serve_changed(): trigger function; serves an agent to whom the configuration gives more than before. */
Datum
omnichannel_serve_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, NULL);
	TupleDesc desc;
	HeapTuple tuple;
	SpiScope scope;
	Datum agent_id;
	bool isnull;
	bool available;

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"serve_changed\" must be fired AFTER INSERT OR UPDATE FOR EACH ROW")));
	desc = RelationGetDescr(trigger->tg_relation);
	if (SPI_fnumber(desc, "agent_id") <= 0)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("table \"%s\" has no column \"agent_id\"",
							   RelationGetRelationName(trigger->tg_relation)),
						errhint("The trigger belongs to the tables of agents.")));
	if (IsolationUsesXactSnapshot() || !may_serve())
		return PointerGetDatum(NULL);

	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	agent_id = heap_getattr(tuple, SPI_fnumber(desc, "agent_id"), desc, &isnull);
	routing_scope_begin(&scope);
	available = kept_plan_run(&available_select, &agent_id, NULL, false, 1) > 0;
	spi_scope_end(&scope);
	if (available)
	{
		int64 id = DatumGetInt64(agent_id);
		ErrorData *error = subtransaction_try(serve_one, &id);

		if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
	}
	return PointerGetDatum(NULL);
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

	routing_arguments(fcinfo, "claim()");
	routing_writes("claim()");
	config = routing_config();
	agent = agent_argument(config, agent_id);
	locks = queue_locks(config);
	queue_locks_add_agent(config, locks, agent);
	config = queue_locks_take(config, locks);
	request_id = serve_agent(config, agent_argument(config, agent_id), locks, SERVE_ASSIGN,
							 GetCurrentTransactionStartTimestamp());
	RETURN_ID(request_id);
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

/* Raised inside a poll that gives the locks back, because somebody else was quicker. */
#define NOTHING_LEFT MAKE_SQLSTATE('O', 'M', 'N', 'I', '2')

/* A poll for an agent, and the first request that it gave him. */
typedef struct Poll
{
	int64 agent_id;
	TimestampTz now;
	int64 request_id;
} Poll;

/* Offers the agent what waits and suits him, for subtransaction_try(); raises NOTHING_LEFT where there is none. */
static void
serve_poll(void *argument)
{
	Poll *polled = argument;
	RoutingConfig *config = routing_config();
	QueueLocks *locks = queue_locks(config);
	SpiScope scope;

	routing_scope_begin(&scope);
	queue_locks_add_agent(config, locks, agent_argument(config, polled->agent_id));
	config = queue_locks_take(config, locks);
	polled->request_id =
		serve_agent(config, agent_argument(config, polled->agent_id), locks, SERVE_ALL | SERVE_POLL, polled->now);
	spi_scope_end(&scope);
	if (polled->request_id == 0)
		ereport(ERROR, (errcode(NOTHING_LEFT), errmsg("somebody else was quicker")));
}

/*
 * Offers the agent what waits and suits him at this moment, as when his wrap-up has ended meanwhile; returns the first
 * of it, or 0.
 *
 * The queues' locks are taken only where something is there to be offered, and given back with the subtransaction where
 * somebody else was quicker: the caller may wait on.
 */
static int64
serve_now(int64 agent_id)
{
	Poll polled = {.agent_id = agent_id, .now = GetCurrentTimestamp()};
	RoutingConfig *config = routing_config();
	ErrorData *error;
	SpiScope scope;
	bool worth_it;

	config->rows = rows_open(SERVE_ROWS);
	if (config->rows == NULL)
		routing_scope_begin(&scope);
	worth_it = could_take(config, agent_argument(config, agent_id), polled.now);
	if (config->rows == NULL)
		spi_scope_end(&scope);
	else
		route_rows_end(config);
	if (!worth_it)
		return 0;

	error = subtransaction_try(serve_poll, &polled);
	if (error == NULL)
		return polled.request_id;
	if (error->sqlerrcode != NOTHING_LEFT)
		ReThrowError(error);
	FreeErrorData(error);
	return 0;
}

/* next_offer(agent_id, wait): the oldest request that is offered to the agent, waited for, or NULL. */
Datum
omnichannel_next_offer(PG_FUNCTION_ARGS)
{
	int64 agent_id = PG_GETARG_INT64(0);
	int64 wait;
	TimestampTz end;
	int64 request_id;

	routing_arguments(fcinfo, "next_offer()");
	wait = interval_usecs(PG_GETARG_INTERVAL_P(1));
	routing_writes("next_offer()");
	(void) agent_argument(routing_config(), agent_id);
	if (wait < 0 || wait > WAIT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot wait for \"%s\"", interval_text(PG_GETARG_INTERVAL_P(1))),
						errhint("Wait between 0 and 1 minute, and call it again.")));

	end = GetCurrentTimestamp() + wait;
	while ((request_id = offer_of_agent(agent_id)) == 0 && (request_id = serve_now(agent_id)) == 0 &&
		   GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MSECS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	RETURN_ID(request_id);
}
