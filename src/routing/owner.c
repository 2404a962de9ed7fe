/*
 * owner.c
 *	  Whose a request is: what is known of agents and customer, and to whom it goes before others.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "routing/match.h"
#include "routing/routing.h"
#include "routing/rows.h"

enum
{
	FACT_RELATIONSHIP = 1,
	FACT_OWNER = 2,
	FACT_REFUSAL = 3
};

/* What is known of the customer, and of customers merged with this one; and who refused the request. */
static KeptPlan facts_select = {
	.sql = "SELECT 1, r.agent_id, r.contacts, r.strength, r.aged_at FROM omnichannel.relationship AS r"
		   " WHERE r.customer_id = ANY ($1)"
		   " UNION ALL (SELECT 2, q.agent_id, NULL, NULL, NULL FROM omnichannel.request AS q"
		   " WHERE q.customer_id = ANY ($1) AND q.closed_at IS NULL"
		   " AND q.state IN ('waiting_agent', 'offered', 'assigned', 'waiting_customer')"
		   " AND q.agent_id IS NOT NULL AND q.request_id <> $2 ORDER BY q.opened_at DESC, q.request_id DESC)"
		   " UNION ALL SELECT 3, f.agent_id, NULL, NULL, NULL FROM omnichannel.refusal AS f"
		   " WHERE f.request_id = $2 AND f.until > $3",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT8OID, TIMESTAMPTZOID},
};

static KeptPlan root_select = {
	.sql = "SELECT merged_into FROM omnichannel.customer WHERE customer_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* What is known of each of a pool's agents, as it is being gathered. */
typedef struct Facts
{
	const RoutingConfig *config;
	const Pool *pool;
	const MatchRequest *request;
	TimestampTz now;
	Acquaintance *known;
	const PoolMember *named; /* by the newest of the customer's other requests whose agent can own this one */
	const PoolMember *best;  /* who knows the customer best */
	double best_strength;
} Facts;

/* owner_root returns who a customer is by now. Reads by config->rows if they are open, else needs an SPI scope. */
int64
owner_root(const RoutingConfig *config, int64 customer_id)
{
	Datum root = Int64GetDatum(customer_id);
	bool isnull = true;

	if (config->rows == NULL)
	{
		if (kept_plan_run(&root_select, &root, NULL, false, 0) > 0)
			root = spi_datum(0, 1, &isnull);
	}
	else if (rows_find(config->rows, ROWS_CUSTOMER, customer_id))
		root = slot_getattr(config->rows->slots[ROWS_CUSTOMER], CUSTOMER_MERGED_INTO, &isnull);
	return isnull ? customer_id : DatumGetInt64(root);
}

/* Returns the member of the pool who an agent is, or NULL. */
static const PoolMember *
member_of(const Facts *facts, int64 agent_id)
{
	int agent = agent_id == 0 ? -1 : config_agent(facts->config, agent_id);

	return agent < 0 ? NULL : pool_member(facts->pool, agent);
}

/* Returns whether a member of the pool can ever have the request. */
static bool
has_room(const Facts *facts, const PoolMember *member)
{
	return facts->config->channels[facts->request->channel].cost <= member->capacity;
}

/* Returns the member of the pool who an agent is if he can ever have the request, or NULL. */
static const PoolMember *
can_own(const Facts *facts, int64 agent_id)
{
	const PoolMember *member = member_of(facts, agent_id);

	return member != NULL && has_room(facts, member) ? member : NULL;
}

/* Returns what is known of a member of the pool. */
static Acquaintance *
fact_of(Facts *facts, const PoolMember *member)
{
	return &facts->known[member - facts->pool->members];
}

/* Takes in that an agent refused the request. */
static void
add_refusal(Facts *facts, int64 agent_id)
{
	const PoolMember *member = member_of(facts, agent_id);

	if (member != NULL)
		fact_of(facts, member)->refused = true;
}

/* Takes in a relationship; rows of merged customers add up. */
static void
add_relationship(Facts *facts, int64 agent_id, int64 contacts, double strength, TimestampTz aged_at)
{
	const PoolMember *member = member_of(facts, agent_id);
	Acquaintance *found;

	if (member == NULL)
		return;

	/* Anything can be written into the table. */
	found = fact_of(facts, member);
	if (strength > 0 && !isinf(strength))
		found->strength += relationship_strength_at(strength, aged_at, facts->now);
	found->contacts += contacts;
	if (has_room(facts, member) &&
		(found->strength > facts->best_strength ||
		 (found->strength == facts->best_strength && facts->best != NULL && member < facts->best)))
	{
		facts->best_strength = found->strength;
		facts->best = member;
	}
}

/* Finds whom the newest other open request of the customer names that has an agent who can own this one. */
static void
name_by_rows(Facts *facts, const int64 *family, int count)
{
	Rows *rows = facts->config->rows;
	const MatchRequest *request = facts->request;
	TimestampTz newest = DT_NOBEGIN;
	int64 newest_id = 0;

	for (int i = 0; i < count; i++)
	{
		RowsScan *scan = rows_scan(rows, ROWS_REQUEST, ROWS_OPEN_BY_CUSTOMER, family[i]);
		TupleTableSlot *slot = rows->slots[ROWS_REQUEST];

		while (rows_next_other(rows, ROWS_REQUEST, scan, BackwardScanDirection, request->request_id))
		{
			bool isnull;
			int64 request_id = DatumGetInt64(slot_getattr(slot, REQUEST_REQUEST_ID, &isnull));
			Datum state = slot_getattr(slot, REQUEST_STATE, &isnull);
			Datum agent_id = slot_getattr(slot, REQUEST_AGENT_ID, &isnull);
			bool open;
			const PoolMember *member;
			TimestampTz opened_at;

			CHECK_FOR_INTERRUPTS();
			if (isnull || request_id == request->request_id || text_equals(state, "new"))
				continue;
			/* The index may be one of all requests. */
			(void) slot_getattr(slot, REQUEST_CLOSED_AT, &open);
			if (!open)
				continue;
			member = can_own(facts, DatumGetInt64(agent_id));
			if (member == NULL)
				continue;
			opened_at = DatumGetTimestampTz(slot_getattr(slot, REQUEST_OPENED_AT, &isnull));
			if (facts->named == NULL || opened_at > newest || (opened_at == newest && request_id > newest_id))
			{
				facts->named = member;
				newest = opened_at;
				newest_id = request_id;
			}
			break;
		}
		rows_end(scan);
	}
}

/* Is asked by rows_next_of() whether an agent is in the pool. */
static bool
is_member(void *arg, int64 agent_id)
{
	return member_of(arg, agent_id) != NULL;
}

/* Gathers the facts where rows are open. */
static void
facts_by_rows(Facts *facts)
{
	const MatchRequest *request = facts->request;
	Rows *rows = facts->config->rows;
	ArrayType *ids = DatumGetArrayTypeP(request->family);
	const int64 *family = (const int64 *) ((char *) ids + ARR_OVERHEAD_NONULLS(1));
	int count = ARR_DIMS(ids)[0];
	RowsScan *scan;

	for (int i = 0; i < count; i++)
	{
		scan = rows_scan(rows, ROWS_RELATIONSHIP, ROWS_BY_KEY, family[i]);
		while (rows_next_of(rows, ROWS_RELATIONSHIP, scan, is_member, facts))
		{
			const RelationshipRow *row = rows_data(rows, ROWS_RELATIONSHIP);

			CHECK_FOR_INTERRUPTS();
			add_relationship(facts, row->agent_id, row->contacts, row->strength, row->aged_at);
		}
		rows_end(scan);
	}
	rows_done(rows, ROWS_RELATIONSHIP);
	scan = rows_scan(rows, ROWS_REFUSAL, ROWS_BY_KEY, request->request_id);
	while (rows_next(rows, ROWS_REFUSAL, scan, ForwardScanDirection))
	{
		const RefusalRow *row = rows_data(rows, ROWS_REFUSAL);

		if (row->until > facts->now)
			add_refusal(facts, row->agent_id);
	}
	rows_end(scan);
	name_by_rows(facts, family, count);
}

/* Gathers the facts by SQL. */
static void
facts_by_plan(Facts *facts, bool read_only)
{
	const MatchRequest *request = facts->request;
	Datum values[3] = {request->family, Int64GetDatum(request->request_id), TimestampTzGetDatum(facts->now)};
	uint64 count = kept_plan_run(&facts_select, values, NULL, read_only, 0);

	for (uint64 row = 0; row < count; row++)
	{
		bool isnull;
		int fact = DatumGetInt32(spi_datum(row, 1, &isnull));
		int64 agent_id = spi_id(row, 2);

		if (fact == FACT_OWNER && facts->named == NULL)
			facts->named = can_own(facts, agent_id);
		else if (fact == FACT_REFUSAL)
			add_refusal(facts, agent_id);
		else if (fact == FACT_RELATIONSHIP)
			add_relationship(facts, agent_id, spi_id(row, 3), DatumGetFloat8(spi_datum(row, 4, &isnull)),
							 spi_time(row, 5, facts->now));
	}
}

/*
 * Fills what is known of each of the pool's agents; returns the member to whom the facts say that the request belongs,
 * or NULL: the first who can ever have it of the request's own agent, those of the customer's other open requests, the
 * newest first, and those who know the customer, the best first.
 */
static const PoolMember *
read_facts(const RoutingConfig *config, const MatchRequest *request, const Pool *pool, TimestampTz now, bool read_only,
		   Acquaintance *known)
{
	Facts facts = {.config = config, .pool = pool, .request = request, .now = now, .known = known};
	const PoolMember *own = request->assigned_to == 0 ? can_own(&facts, request->agent_id) : NULL;

	if (config->rows != NULL)
		facts_by_rows(&facts);
	else
		facts_by_plan(&facts, read_only);
	if (own != NULL)
		return own;
	return facts.named != NULL ? facts.named : facts.best;
}

/*
 * owner_find returns the agent to whom a request goes before others, or 0; owner_member is then his membership of the
 * pool.
 *
 * Fills what is known of each of the pool's agents.
 */
int64
owner_find(const RoutingConfig *config, const MatchRequest *request, const Pool *pool, TimestampTz now, bool read_only,
		   Acquaintance *known, const PoolMember **owner_member)
{
	*owner_member = read_facts(config, request, pool, now, read_only, known);
	if (config->queues[request->queue].hold_for_owner == 0)
		*owner_member = NULL;
	return *owner_member == NULL ? 0 : config->agents[(*owner_member)->agent].agent_id;
}

/*
 * owner_held_until returns until when a request is its owner's before others, because he is present, helps by then and
 * did not refuse it; 0 if not.
 */
TimestampTz
owner_held_until(const RoutingConfig *config, const MatchRequest *request, const PoolMember *member,
				 const Acquaintance *known, const Live *live, TimestampTz now)
{
	int64 hold = config->queues[request->queue].hold_for_owner;

	if (known->refused || member->join_after >= hold || live->state == NULL || !live->state->present ||
		now - request->queued_at >= hold)
		return 0;
	return request->queued_at + hold;
}
