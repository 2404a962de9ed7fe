/*
 * turn.c
 *	  Offers a request to the best agent when its turn has come: not before what waits longer and suits him as well.
 *
 * As a rule nothing waits for an agent who is free. But between the end of a wrap-up, of a hold, of a preference or of
 * a refusal and the sweep that sees it, something does: whoever arrives then does not pass those who wait, but gives
 * them their agents first, each the best one for it, in their order. So does the sweep with all who idle.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "routing/choice.h"
#include "routing/rows.h"

/* Nobody else takes it out of its queue then. */
static KeptPlan place_hold = {
	.sql = "SELECT FROM omnichannel.waiting WHERE request_id = $1 FOR UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Whose turn it is with an agent. */
typedef enum Turn
{
	TURN_OWN,    /* the request's */
	TURN_SERVED, /* another's, which has been offered now: look again */
	TURN_KEPT,   /* another's, for which the agent keeps his room */
	TURN_LATER,  /* another's still: the request waits */
	TURN_UNHELD  /* another's, and the request is not held */
} Turn;

/* Locks a request that waits, and its place, if nobody else has them, and reads it; returns whether. */
static bool
hold_waiting(RoutingConfig *config, int64 request_id, MatchRequest *request)
{
	Rows *rows = config->rows;
	Datum id = Int64GetDatum(request_id);

	if (!match_look(config, request_id, false, request) || !request->waiting)
		return false;
	if (rows != NULL)
		return (request->closed || offer_suits_rows(request)) && rows_find(rows, ROWS_REQUEST, request_id) &&
			   rows_hold(rows, ROWS_REQUEST) && rows_find(rows, ROWS_WAITING, request_id) &&
			   rows_hold(rows, ROWS_WAITING);
	return request_hold(request_id, request->customer_id, false) &&
		   kept_plan_run(&place_hold, &id, NULL, false, 1) == 1 && match_look(config, request_id, false, request) &&
		   request->waiting;
}

/*
 * customer_hold_try keeps others from deciding about the other requests of a request's customer, where whose these are
 * counts in its queue; returns false where somebody is about to.
 */
bool
customer_hold_try(RoutingConfig *config, const MatchRequest *request)
{
	if (request->queue < 0 || config->queues[request->queue].hold_for_owner == 0)
		return true;
	if (!customer_lock_try(match_root(request)))
		return false;
	if (config->rows != NULL)
		rows_refresh(config->rows);
	return true;
}

/*
 * Offers a request that waits to the best agent; returns whether.
 *
 * What somebody else has is left, and so is what does not stand where it should. With locked the holder has the lock of
 * its queue, otherwise it is taken if it is to be had at once.
 */
static bool
serve_waiting(RoutingConfig *config, int64 request_id, bool locked, Turns *turns)
{
	MatchRequest request;

	CHECK_FOR_INTERRUPTS();
	if (!hold_waiting(config, request_id, &request))
		return false;
	if (request.closed)
		leave_closed(config, request_id);
	else if (customer_hold_try(config, &request) && request.assigned_to == 0 && match_in_place(config, &request) &&
			 (locked || queue_lock_try(config, request.queue, QUEUE_ARRIVE)) &&
			 turn_offer(config, &request, false, turns) > 0)
	{
		turns->given++;
		return true;
	}
	return false;
}

/* Returns whose turn it is with an agent who could be offered a request, and gives others theirs. */
static Turn
turn_with(RoutingConfig *config, const MatchRequest *request, const Candidate *candidate, TimestampTz now, Turns *turns)
{
	int64 passed[TURNS_MAX + 1] = {request->request_id};

	for (int count = 1;; count++)
	{
		bool kept;
		int64 first = choices_before(config, candidate, request, now, passed, count, &kept);

		if (first == 0)
			return TURN_OWN;
		if (kept)
			return TURN_KEPT;
		if (request->unheld)
			return TURN_UNHELD;
		if (turns->left == 0)
			return TURN_LATER;
		turns->left--;
		if (serve_waiting(config, first, false, turns))
			return TURN_SERVED;
		passed[count] = first;
	}
}

/*
 * turn_offer offers a request to the best agent and returns his id, or 0 where nobody can have it.
 *
 * Contract as of route_request(). What waits and comes before it for an agent is offered before it; when no
 * turns are left the request waits instead.
 */
int64
turn_offer(RoutingConfig *config, MatchRequest *request, bool patient, Turns *turns)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	MatchResult result;
	int max = MATCH_NEXT;

	for (;;)
	{
		bool again = false;

		match_find(config, request, now, false, max, NULL, NULL, &result);

		/*
		 * First whoever is not being changed at this moment, so that arrivals do not queue up for the same agent: but
		 * for the owner, who is waited for.
		 */
		for (int pass = 0; pass < (patient ? 2 : 1) && !again; pass++)
		{
			for (int i = 0; i < result.count && !again; i++)
			{
				int agent = result.candidates[i].agent;
				bool owner = result.candidates[i].owner;
				Turn turn = turn_with(config, request, &result.candidates[i], now, turns);
				OfferResult offer;

				/* An owner who keeps his room is waited for as one who has none. */
				if (turn == TURN_KEPT && owner && result.owner_until != 0)
					return 0;
				if (turn == TURN_KEPT)
					continue;
				if (turn == TURN_LATER)
					return 0;
				if (turn == TURN_UNHELD)
					return -1;
				if (turn == TURN_SERVED)
				{
					/* Whoever has changed an agent waits for none. */
					patient = false;
					again = true;
					break;
				}
				offer = route_offer(config, request, agent, false, patient && (owner || pass == 1), now);
				if (offer != OFFER_NO_ROOM)
					return offer == OFFER_MADE ? config->agents[agent].agent_id : -1;

				/* The owner is not as he was: whether it is held for him is another question now. */
				if (owner && !patient)
					return 0;
				again = owner;
			}
		}
		CHECK_FOR_INTERRUPTS();
		if (again)
		{
			if (config->rows != NULL)
				rows_refresh(config->rows);
			continue;
		}

		/* All of them were taken while we looked, or keep their room for others: look at everybody. */
		if (!result.more)
			return 0;
		max = PG_INT32_MAX;
	}
}

/* What the sweep gives from and to. */
#define SWEEP_ROWS (ROUTE_ROWS | ROWS_BIT(ROWS_LANE_HEAD))

/* Gives what comes first for an agent to whom it suits best, as long as there is any; returns how many there were. */
static int64
serve_in_turn(RoutingConfig *config, int agent, const QueueLocks *locks, TimestampTz now)
{
	int64 *passed = palloc(sizeof(int64) * 8);
	int room = 8;
	Taking taking = {.config = config,
					 .agent = agent,
					 .agent_id = config->agents[agent].agent_id,
					 .locks = locks,
					 .now = now,
					 .passed = passed};
	int64 given = 0;

	while (take_could(&taking))
	{
		Turns turns = {TURNS_MAX};
		const Choice *first = choices_first(&taking);

		if (first == NULL || !first->fits)
		{
			choices_end(&taking);
			break;
		}
		if (!serve_waiting(config, first->row.request_id, true, &turns))
		{
			if (taking.passed_count == room)
				taking.passed = passed = repalloc(passed, sizeof(int64) * (room *= 2));
			passed[taking.passed_count++] = first->row.request_id;
		}
		given += turns.given;
		choices_end(&taking);
		if (config->rows != NULL)
			rows_refresh(config->rows);
	}
	return given;
}

/*
 * turn_serve gives what waits for an agent who idles to whom it suits best, him or others, until nothing is left for
 * him; returns how many requests that were.
 *
 * The holder has these locks: what waits in other queues is left, and what somebody else has. Needs no SPI scope.
 */
int64
turn_serve(RoutingConfig *config, int agent, const QueueLocks *locks, TimestampTz now)
{
	SpiScope scope;
	int64 given;

	config->rows = rows_open(SWEEP_ROWS);
	if (config->rows == NULL)
		routing_scope_begin(&scope);
	given = serve_in_turn(config, agent, locks, now);
	if (config->rows == NULL)
		spi_scope_end(&scope);
	else
		route_rows_end(config);
	return given;
}
