/*
 * take.c
 *	  Gives a free agent what comes first among the waiting requests that suit him.
 *
 * Rows are read and written without SQL where they are to be had so (rows.c), by the statements below otherwise.
 */

#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/choice.h"
#include "routing/route.h"
#include "routing/rows.h"

#define AGENT_SQL "SELECT state, used, busy_until, idle_since FROM omnichannel.agent_state WHERE agent_id = $1"

static KeptPlan agent_select = {.sql = AGENT_SQL, .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan agent_lock = {.sql = AGENT_SQL " FOR UPDATE", .nargs = 1, .argtypes = {INT8OID}};

static KeptPlan waiting_take = {
	.sql = "DELETE FROM omnichannel.waiting WHERE request_id ="
		   " (SELECT w.request_id FROM omnichannel.waiting AS w WHERE w.request_id = $1 FOR UPDATE SKIP LOCKED)",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* What became of a request since it began to wait. */
typedef enum Standing
{
	STANDS,
	STANDS_ELSEWHERE, /* the sweep will see to it */
	CLOSED
} Standing;

/* Returns how the request of a choice stands now, and who owns it then, or 0. */
static Standing
standing_of(const Taking *taking, const Choice *choice, int64 *owner_id)
{
	RoutingConfig *config = taking->config;
	const Lane *lane = choice->lane;
	MatchRequest request;
	bool found = config->rows != NULL ? match_row(config, choice->row.request_id, &request)
									  : match_look(config, choice->row.request_id, false, &request);

	if (!found || request.closed)
		return CLOSED;
	if (request.queue != choice->queue || request.channel != choice->channel ||
		request.priority != choice->row.priority || strcmp(request.state, "waiting_agent") != 0 ||
		!same_skills(request.requires, lane->requires) || !same_skills(request.prefers, lane->prefers))
		return STANDS_ELSEWHERE;
	*owner_id = request.agent_id;
	return STANDS;
}

/*
 * Keeps others from deciding about the requests of the customer of a choice, where the agent may have it because of
 * what these say; returns whether he may still.
 */
static bool
hold_customer(const Taking *taking, const Choice *choice)
{
	RoutingConfig *config = taking->config;
	RoutingReads reads;
	int64 root;

	if (choice->row.queued_at <= choice->held_since)
		return true;
	routing_reads_begin(config, ROWS_BIT(ROWS_CUSTOMER), &reads);
	root = owner_root(config, choice->row.customer_id);
	routing_reads_end(config, &reads);
	if (!customer_lock_try(root))
		return false;
	if (config->rows != NULL)
		rows_refresh(config->rows);
	return choice_suits(taking, choice);
}

/* Returns whether somebody has the request of a choice, as far as is to be seen without taking it. */
static bool
is_taken(const Taking *taking, const Choice *choice)
{
	Rows *rows = taking->config->rows;

	return rows != NULL && rows_find(rows, ROWS_REQUEST, choice->row.request_id) && rows_is_taken(rows, ROWS_REQUEST);
}

/* Fills in the request of a choice as it is offered. */
static void
request_of(const Choice *choice, int64 owner_id, MatchRequest *request)
{
	memset(request, 0, sizeof(*request));
	strlcpy(request->state, "waiting_agent", sizeof(request->state));
	request->request_id = choice->row.request_id;
	request->customer_id = choice->row.customer_id;
	request->agent_id = owner_id;
	request->due_at = choice->row.due_at;
	request->entered_at = choice->row.entered_at;
	request->queued_at = choice->row.queued_at;
	request->priority = choice->row.priority;
	request->lane_id = choice->lane->lane_id;
	request->queue = choice->queue;
	request->channel = choice->channel;
	request->requires = choice->lane->requires;
	request->prefers = choice->lane->prefers;
}

/*
 * Gives the agent, who has room for it, the request of a choice, if nobody else has it and it is as it was read;
 * returns whether. Nobody else takes it out of its queue then.
 */
static bool
give(Taking *taking, Choice *choice, MatchRequest *request)
{
	RoutingConfig *config = taking->config;
	bool accepted = taking->how & SERVE_ASSIGN;
	Datum id = Int64GetDatum(request->request_id);
	int64 owner_id;

	if (config->rows != NULL)
	{
		request->unheld = true;
		if (!offer_note(config, request, taking->agent, accepted, request->lane_id))
			return false;
		if (rows_delete(config->rows, ROWS_WAITING, &choice->place, true) != TM_Ok)
			route_changed_meanwhile(request);
		if (!accepted)
			offer_notify(config, taking->agent, request->request_id);
		return true;
	}
	if (!request_hold(request->request_id, request->customer_id, false) ||
		standing_of(taking, choice, &owner_id) != STANDS || kept_plan_run(&waiting_take, &id, NULL, false, 0) != 1)
		return false;
	request->agent_id = owner_id;
	if (route_offer(config, request, taking->agent, accepted, true, taking->now) != OFFER_MADE)
		rows_not_taken("agent_state");
	return true;
}

/*
 * Gives the agent the request that comes first for him; returns whether, and the request.
 *
 * By rows, the agent's room is taken before the request: whoever cannot have both leaves the queue as it was. What
 * somebody has is passed over, and noted, before room is taken where that is to be seen.
 */
static bool
take_first(Taking *taking, MatchRequest *request)
{
	RoutingConfig *config = taking->config;
	Rows *rows = config->rows;
	int32 taken = 0;
	bool has_room = false;
	Choice *choice;

	taking->busy = false;
	while ((choice = choices_first(taking)) != NULL && choice->fits)
	{
		int32 cost = config->channels[choice->channel].cost;
		int64 owner_id = 0;
		Standing standing;

		if (is_taken(taking, choice))
		{
			taking->busy = true;
			choice_pass(choice);
			continue;
		}
		if (rows != NULL && (!has_room || taken != cost))
		{
			if (has_room)
			{
				offer_give_back(config, taking->agent, taken, taking->idle_since);
				rows_refresh(rows);
			}
			has_room = offer_take_room(config, taking->agent, cost, taking->how & SERVE_ASSIGN, true, taking->now,
									   &taking->idle_since);
			if (!has_room)
				break;
			taken = cost;
		}

		/* What was seen before the agent was waited for is not to be gone by. */
		standing = hold_customer(taking, choice) ? standing_of(taking, choice, &owner_id) : STANDS_ELSEWHERE;
		if (standing == STANDS)
		{
			request_of(choice, owner_id, request);
			if (give(taking, choice, request))
				return true;
			taking->busy = true;
		}

		/* A request that was closed without a word to the queue leaves it. */
		if (standing == CLOSED)
			leave_closed(config, choice->row.request_id);
		choice_pass(choice);
	}
	if (has_room)
		offer_give_back(config, taking->agent, taken, taking->idle_since);
	return false;
}

/* Reads the agent's row, and locks it unless it is read only; returns whether he may be given something as of now. */
static bool
read_agent(Taking *taking, bool read_only)
{
	RoutingConfig *config = taking->config;
	const RoutingState *state;
	TimestampTz busy_until;

	if (config->rows != NULL)
	{
		HeapTuple tuple = live_row(config, taking->agent);
		const AgentStateRow *row;

		if (tuple == NULL)
			return false;
		row = (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff);
		state = live_state(config, row->state);
		taking->used = row->used;
		busy_until = row->busy_until;
		taking->idle_since = row->idle_since;
	}
	else
	{
		Datum id = Int64GetDatum(taking->agent_id);
		KeptPlan *plan = read_only ? &agent_select : &agent_lock;
		bool isnull;

		if (kept_plan_run(plan, &id, NULL, false, 0) == 0)
			return false;
		state = config_state(config, spi_text(0, 1, CurrentMemoryContext));
		taking->used = DatumGetInt32(spi_datum(0, 2, &isnull));
		busy_until = DatumGetTimestampTz(spi_datum(0, 3, &isnull));
		taking->idle_since = DatumGetTimestampTz(spi_datum(0, 4, &isnull));
	}
	return state != NULL && (taking->how & SERVE_ASSIGN ? state->present : state->available) &&
		   busy_until <= taking->now;
}

/* So often, and after so long, an agent looks again for what others had, where there is nothing else for him. */
#define BUSY_TRIES 4
#define BUSY_USECS 5000

/*
 * take_for_agent does what serve_agent() does, with config->rows open or in an SPI scope.
 */
int64
take_for_agent(RoutingConfig *config, int agent, const QueueLocks *locks, int how, TimestampTz now)
{
	Taking taking = {.config = config,
					 .agent = agent,
					 .agent_id = config->agents[agent].agent_id,
					 .locks = locks,
					 .how = how,
					 .now = now};
	int64 first = 0;
	int left = how & SERVE_POLL ? 0 : BUSY_TRIES;

	if (!read_agent(&taking, false))
		return 0;
	for (;;)
	{
		MatchRequest request;
		bool given;

		CHECK_FOR_INTERRUPTS();
		choices_find(&taking);
		given = take_first(&taking, &request);
		choices_end(&taking);
		if (!given)
		{
			if (!taking.busy || left-- == 0)
				break;
			pg_usleep(BUSY_USECS);
			if (config->rows != NULL)
				rows_refresh(config->rows);
			continue;
		}
		taking.used += config->channels[request.channel].cost;
		taking.idle_since = GetCurrentTimestamp();
		if (first == 0)
			first = request.request_id;
		if (!(how & SERVE_ALL))
			break;
		if (config->rows != NULL)
			rows_refresh(config->rows);
	}
	return first;
}

/*
 * take_could finds what an agent could be given as of now, for choices_end() to forget; returns whether he may be given
 * anything, and has found nothing where not. Only reads.
 */
bool
take_could(Taking *taking)
{
	if (!taking->config->agents[taking->agent].active || !read_agent(taking, true))
		return false;
	choices_find(taking);
	return true;
}

/*
 * could_take returns whether something waits that the agent could be offered now, and nobody has. Only reads, with
 * config->rows open or in an SPI scope.
 */
bool
could_take(RoutingConfig *config, int agent, TimestampTz now)
{
	Taking taking = {.config = config, .agent = agent, .agent_id = config->agents[agent].agent_id, .now = now};
	Choice *first;
	bool could = false;

	if (!take_could(&taking))
		return false;
	while (!could && (first = choices_first(&taking)) != NULL && first->fits)
	{
		CHECK_FOR_INTERRUPTS();
		could = !is_taken(&taking, first);
		choice_pass(first);
	}
	choices_end(&taking);
	return could;
}
