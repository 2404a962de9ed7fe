/*
 * take.c
 *	  Gives a free agent what comes first among the waiting requests that suit him.
 *
 * Each lane is read from its head on, so that nobody steps over the traces of all requests that were taken before while
 * an old snapshot keeps them: whoever has to step over a few moves the head on. Whether what was found may be had now
 * is asked of match.c, as for a request that arrives, where the lane does not tell: for whom it is held, who has just
 * become its owner.
 *
 * Rows are read and written without SQL where they are to be had so (rows.c), by the statements below otherwise.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/live.h"
#include "routing/route.h"
#include "routing/rows.h"

/* Of so many traces before a lane's first request its head is moved on. */
#define PASSED_MAX 32

/* After so many of a kind that came too late for an agent the rest of these is not read. */
#define YOUNG_MAX 16

/* So many requests a statement reads of a lane. */
#define BATCH 32

#define AGENT_SQL "SELECT state, used, busy_until, idle_since FROM omnichannel.agent_state WHERE agent_id = $1"

static KeptPlan agent_select = {.sql = AGENT_SQL, .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan agent_lock = {.sql = AGENT_SQL " FOR UPDATE", .nargs = 1, .argtypes = {INT8OID}};
static KeptPlan agent_try = {.sql = AGENT_SQL " FOR UPDATE SKIP LOCKED", .nargs = 1, .argtypes = {INT8OID}};

/*
 * The next requests of a lane after a place, or from its head on, but for those that the agent refused and those that
 * have not waited for as long as he helps after.
 */
#define WAITING_SQL(after)                                                                                             \
	"SELECT w.request_id, w.customer_id, w.rank, w.due_at, w.entered_at, w.priority, w.queued_at"                      \
	" FROM omnichannel.waiting AS w WHERE w.lane_id = $1 AND w.rank <= $5 AND w.queued_at <= $4"                       \
	" AND (w.rank, w.due_at, w.entered_at, w.request_id) " after                                                       \
	" AND NOT EXISTS (SELECT FROM omnichannel.refusal AS f"                                                            \
	" WHERE f.request_id = w.request_id AND f.agent_id = $2 AND f.until > $3)"                                         \
	" ORDER BY w.rank, w.due_at, w.entered_at, w.request_id LIMIT " CppAsString2(BATCH)

static KeptPlan waiting_first = {
	.sql =
		WAITING_SQL(">= (coalesce((SELECT rank FROM omnichannel.lane_head WHERE lane_id = $1), -9223372036854775807),"
					" coalesce((SELECT due_at FROM omnichannel.lane_head WHERE lane_id = $1), '-infinity'),"
					" coalesce((SELECT entered_at FROM omnichannel.lane_head WHERE lane_id = $1), '-infinity'),"
					" coalesce((SELECT request_id FROM omnichannel.lane_head WHERE lane_id = $1), 0))"),
	.nargs = 5,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID},
};

static KeptPlan waiting_next = {
	.sql = WAITING_SQL("> ($6, $7, $8, $9)"),
	.nargs = 9,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				 INT8OID},
};

static KeptPlan waiting_take = {
	.sql = "DELETE FROM omnichannel.waiting WHERE request_id ="
		   " (SELECT w.request_id FROM omnichannel.waiting AS w WHERE w.request_id = $1 FOR UPDATE SKIP LOCKED)",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* A lane that suits the agent, and the first request in it that does, as far as it was looked for. */
typedef struct Choice
{
	const Lane *lane;
	int64 age;                    /* what the queue's ageing adds by now */
	TimestampTz joined_before;    /* what has waited in its queue since then at least is for this agent */
	int64 last_rank;              /* what comes after it has not waited for that long */
	TimestampTz preferred_before; /* the same for agents without the preferred skills, but for the owner */
	TimestampTz held_since;       /* what has waited since then is not held for its owner any more */
	bool looked;
	bool found;
	bool after; /* one was found before, which is not to be had */
	WaitingRow row;
	ItemPointerData place;
} Choice;

/* An agent who is to be given something. */
typedef struct Taking
{
	RoutingConfig *config;
	int agent;
	int64 agent_id;
	const QueueLocks *locks; /* see serve_agent() */
	int how;                 /* SERVE_ flags */
	TimestampTz now;
	int64 used;
	TimestampTz idle_since;
	Choice *choices;
	int count;
} Taking;

/* Finds the lanes that suit the agent with the room that he has. */
static void
choose_lanes(Taking *taking)
{
	const RoutingConfig *config = taking->config;
	int64 room = config->agents[taking->agent].capacity - taking->used;
	int count;
	const Lane *lanes = lanes_get(config, &count);

	taking->count = 0;
	taking->choices = palloc0(sizeof(Choice) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		const Lane *lane = &lanes[i];
		Choice *choice = &taking->choices[taking->count];
		const RoutingQueue *queue;
		PoolMember member;

		if (lane->queue < 0 || lane->channel < 0 || config->channels[lane->channel].cost > room)
			continue;
		if (taking->locks != NULL && taking->locks->modes[lane->queue] != QUEUE_FREE &&
			taking->locks->modes[lane->queue] != QUEUE_BOTH)
			continue;
		if (config_judge(config, lane->queue, lane->channel, lane->requires, lane->prefers, taking->agent, &member) !=
			VERDICT_CANDIDATE)
			continue;
		queue = &config->queues[lane->queue];

		/* Who waited for the lock began before what arrived meanwhile: no wait is no bound. */
		choice->lane = lane;
		choice->age = queue_age(queue, taking->now);
		choice->joined_before = member.join_after == 0 ? DT_NOEND : taking->now - member.join_after;
		choice->last_rank = member.join_after == 0 || queue->age_after == 0
								? PG_INT64_MAX
								: queue_age(queue, choice->joined_before) - lane->min_priority;
		choice->preferred_before =
			member.preferred || queue->prefer_for == 0 ? DT_NOEND : taking->now - queue->prefer_for;
		choice->held_since = queue->hold_for_owner == 0 ? DT_NOEND : taking->now - queue->hold_for_owner;
		taking->count++;
	}
}

/* Returns whether the agent refused a request not long ago; the statements leave such requests out. */
static bool
has_refused(const Taking *taking, int64 request_id)
{
	Rows *rows = taking->config->rows;
	bool refused = false;
	IndexScanDesc scan;

	if (rows == NULL)
		return false;
	scan = rows_scan(rows, ROWS_REFUSAL, ROWS_BY_KEY, request_id);
	while (!refused && rows_next(rows, ROWS_REFUSAL, scan, ForwardScanDirection))
	{
		const RefusalRow *row = rows_data(rows, ROWS_REFUSAL);

		refused = row->agent_id == taking->agent_id && row->until > taking->now;
	}
	rows_end(scan);
	return refused;
}

/* Returns whether the agent may be given the request that a choice stands at. */
static bool
suits(const Taking *taking, const Choice *choice)
{
	const WaitingRow *row = &choice->row;
	int64 owner_id;
	bool held;

	if (row->queued_at > choice->joined_before || has_refused(taking, row->request_id))
		return false;
	if (row->queued_at <= choice->preferred_before && row->queued_at <= choice->held_since)
		return true;
	owner_id = match_owner(taking->config, row->request_id, taking->now, &held);
	return owner_id == taking->agent_id || (!held && row->queued_at <= choice->preferred_before);
}

/* Moves a lane's head on to its first request, or, where there is none, to where one can be that arrives now. */
static void
move_head(RoutingConfig *config, const Lane *lane, HeapTuple head, const WaitingRow *first, TimestampTz now)
{
	LaneHeadRow *row = (LaneHeadRow *) ((char *) head->t_data + head->t_data->t_hoff);
	ItemPointerData place = head->t_self;

	row->rank = first != NULL ? first->rank : -queue_level(&config->queues[lane->queue], 0, now);
	row->due_at = first != NULL ? first->due_at : DT_NOBEGIN;
	row->entered_at = first != NULL ? first->entered_at : now;
	row->request_id = first != NULL ? first->request_id : 0;
	if (rows_update(config->rows, ROWS_LANE_HEAD, &place, head, false) == TM_Ok)
		unconstify(Lane *, lane)->head_place = head->t_self;
}

/*
 * Looks for the first request of a lane that suits the agent, after the one found before, by rows.
 *
 * What came too late for a helper is not stepped over one by one: of requests of one rank and due time those that
 * follow came later still, and beyond last_rank all did.
 */
static void
look_by_rows(const Taking *taking, Choice *choice)
{
	RoutingConfig *config = taking->config;
	Rows *rows = config->rows;
	ItemPointer head_place = &unconstify(Lane *, choice->lane)->head_place;
	HeapTuple bound = choice->after ? NULL : rows_follow(rows, ROWS_LANE_HEAD, choice->lane->lane_id, head_place);
	LaneHeadRow from;
	bool bounded = choice->after || bound != NULL;
	bool is_first = true;
	ScanKeyData keys[6];
	IndexScanDesc scan;
	int passed = 0;
	int young = 0;

	if (choice->after)
	{
		from.rank = choice->row.rank;
		from.due_at = choice->row.due_at;
		from.entered_at = choice->row.entered_at;
		from.request_id = choice->row.request_id;
	}
	else if (bound != NULL)
		memcpy(&from, (char *) bound->t_data + bound->t_data->t_hoff, sizeof(from));

	scan = rows_scan_lane(rows, choice->lane->lane_id, bounded ? &from : NULL, choice->after, keys);
	while (!choice->found && rows_next_passing(rows, ROWS_WAITING, scan, &passed))
	{
		memcpy(&choice->row, rows_data(rows, ROWS_WAITING), offsetof(WaitingRow, priority) + sizeof(int32));
		choice->place = rows->slots[ROWS_WAITING]->tts_tid;
		if (is_first && taking->locks != NULL && bound != NULL && passed > PASSED_MAX)
			move_head(config, choice->lane, bound, &choice->row, taking->now);
		is_first = false;
		if (choice->row.rank > choice->last_rank)
			break;
		choice->found = suits(taking, choice);
		young = choice->row.entered_at > choice->joined_before ? young + 1 : 0;
		if (young > YOUNG_MAX)
		{
			from = (LaneHeadRow){.rank = choice->row.rank,
								 .due_at = choice->row.due_at,
								 .entered_at = DT_NOEND,
								 .request_id = PG_INT64_MAX};
			rows_end(scan);
			scan = rows_scan_lane(rows, choice->lane->lane_id, &from, true, keys);
			young = 0;
		}
	}
	rows_end(scan);
	if (is_first && taking->locks != NULL && bound != NULL && passed > PASSED_MAX)
		move_head(config, choice->lane, bound, NULL, taking->now);
	if (bound != NULL)
		heap_freetuple(bound);
}

/* Does the same by statements, in an SPI scope. */
static void
look_by_plan(const Taking *taking, Choice *choice)
{
	bool first = !choice->after;

	while (!choice->found)
	{
		WaitingRow batch[BATCH];
		Datum values[9];
		uint64 count;
		bool isnull;

		values[0] = Int64GetDatum(choice->lane->lane_id);
		values[1] = Int64GetDatum(taking->agent_id);
		values[2] = TimestampTzGetDatum(taking->now);
		values[3] = TimestampTzGetDatum(choice->joined_before);
		values[4] = Int64GetDatum(choice->last_rank);
		values[5] = Int64GetDatum(choice->row.rank);
		values[6] = TimestampTzGetDatum(choice->row.due_at);
		values[7] = TimestampTzGetDatum(choice->row.entered_at);
		values[8] = Int64GetDatum(choice->row.request_id);
		count = kept_plan_run(first ? &waiting_first : &waiting_next, values, NULL, false, BATCH);
		first = false;
		for (uint64 i = 0; i < count; i++)
		{
			batch[i].request_id = DatumGetInt64(spi_datum(i, 1, &isnull));
			batch[i].customer_id = DatumGetInt64(spi_datum(i, 2, &isnull));
			batch[i].rank = DatumGetInt64(spi_datum(i, 3, &isnull));
			batch[i].due_at = DatumGetTimestampTz(spi_datum(i, 4, &isnull));
			batch[i].entered_at = DatumGetTimestampTz(spi_datum(i, 5, &isnull));
			batch[i].priority = DatumGetInt32(spi_datum(i, 6, &isnull));
			batch[i].queued_at = DatumGetTimestampTz(spi_datum(i, 7, &isnull));
		}
		for (uint64 i = 0; i < count && !choice->found; i++)
		{
			CHECK_FOR_INTERRUPTS();
			choice->row = batch[i];
			choice->found = suits(taking, choice);
		}
		if (count < BATCH)
			return;
	}
}

/* Returns whether the first of two choices comes before the other: aged priority, due time, longest wait, id. */
static bool
comes_before(const Choice *a, const Choice *b)
{
	if (a->row.rank - a->age != b->row.rank - b->age)
		return a->row.rank - a->age < b->row.rank - b->age;
	if (a->row.due_at != b->row.due_at)
		return a->row.due_at < b->row.due_at;
	if (a->row.entered_at != b->row.entered_at)
		return a->row.entered_at < b->row.entered_at;
	return a->row.request_id < b->row.request_id;
}

/* Returns the choice whose request comes first, or NULL. */
static Choice *
first_choice(Taking *taking)
{
	Choice *best = NULL;

	for (int i = 0; i < taking->count; i++)
	{
		Choice *choice = &taking->choices[i];

		CHECK_FOR_INTERRUPTS();
		if (!choice->looked)
		{
			choice->looked = true;
			choice->found = false;
			if (taking->config->rows != NULL)
				look_by_rows(taking, choice);
			else
				look_by_plan(taking, choice);
		}
		if (choice->found && (best == NULL || comes_before(choice, best)))
			best = choice;
	}
	return best;
}

/* What became of a request since it began to wait. */
typedef enum Standing
{
	STANDS,
	STANDS_ELSEWHERE, /* the sweep will put it into its place */
	CLOSED
} Standing;

/* Returns how the request of a choice stands now, and locks it where the sweep asks. */
static Standing
standing_of(const Taking *taking, const Choice *choice)
{
	RoutingConfig *config = taking->config;
	const Lane *lane = choice->lane;
	MatchRequest request;
	bool found = config->rows != NULL ? match_row(config, choice->row.request_id, &request)
									  : match_look(config, choice->row.request_id, false, &request);

	if (!found || request.closed)
		return CLOSED;
	if (request.queue != lane->queue || request.channel != lane->channel || request.priority != choice->row.priority ||
		strcmp(request.state, "waiting_agent") != 0 || !same_skills(request.requires, lane->requires) ||
		!same_skills(request.prefers, lane->prefers))
		return STANDS_ELSEWHERE;
	if ((taking->how & SERVE_SKIP) &&
		!(config->rows != NULL ? rows_hold(config->rows, ROWS_REQUEST)
							   : request_hold(choice->row.request_id, choice->row.customer_id, false)))
		return STANDS_ELSEWHERE;
	return STANDS;
}

/*
 * Takes the request that comes first for the agent out of its queue; returns whether, and the request.
 *
 * By rows, the agent's room is taken before the request: whoever cannot have both leaves the queue as it was.
 */
static bool
take_first(Taking *taking, MatchRequest *request)
{
	RoutingConfig *config = taking->config;
	Rows *rows = config->rows;
	int32 taken = 0;
	bool has_room = false;
	Choice *choice;

	while ((choice = first_choice(taking)) != NULL)
	{
		int32 cost = config->channels[choice->lane->channel].cost;
		Standing standing = standing_of(taking, choice);
		Datum id = Int64GetDatum(choice->row.request_id);
		bool gone = false;

		if (rows != NULL && standing == STANDS && (!has_room || taken != cost))
		{
			if (has_room)
			{
				offer_give_back(config, taking->agent, taken, taking->idle_since);
				rows_refresh(rows);
			}
			has_room = offer_take_room(config, taking->agent, cost, taking->how & SERVE_ASSIGN,
									   !(taking->how & SERVE_SKIP), taking->now, &taking->idle_since);
			if (!has_room)
				break;
			taken = cost;
		}

		/* A request that was closed without a word to the queue leaves it. */
		if (standing != STANDS_ELSEWHERE)
			gone = rows != NULL ? rows_delete(rows, ROWS_WAITING, &choice->place, false) == TM_Ok
								: kept_plan_run(&waiting_take, &id, NULL, false, 0) == 1;
		if (gone && standing == STANDS)
		{
			memset(request, 0, sizeof(*request));
			strlcpy(request->state, "waiting_agent", sizeof(request->state));
			request->request_id = choice->row.request_id;
			request->customer_id = choice->row.customer_id;
			request->due_at = choice->row.due_at;
			request->entered_at = choice->row.entered_at;
			request->queued_at = choice->row.queued_at;
			request->priority = choice->row.priority;
			request->lane_id = choice->lane->lane_id;
			request->queue = choice->lane->queue;
			request->channel = choice->lane->channel;
			request->requires = choice->lane->requires;
			request->prefers = choice->lane->prefers;
			return true;
		}
		choice->looked = false;
		choice->after = true;
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
		KeptPlan *plan = read_only ? &agent_select : taking->how & SERVE_SKIP ? &agent_try : &agent_lock;
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

/*
 * take_for_agent does what serve_agent() does, with config->rows open or in an SPI scope.
 */
int64
take_for_agent(RoutingConfig *config, int agent, const QueueLocks *locks, int how, TimestampTz now, int64 *given)
{
	bool accepted = how & SERVE_ASSIGN;
	Taking taking = {.config = config,
					 .agent = agent,
					 .agent_id = config->agents[agent].agent_id,
					 .locks = locks,
					 .how = how,
					 .now = now};
	int64 first = 0;

	if (!read_agent(&taking, false))
		return 0;
	for (;;)
	{
		MatchRequest request;

		CHECK_FOR_INTERRUPTS();
		choose_lanes(&taking);
		if (!take_first(&taking, &request))
			break;
		if (config->rows != NULL)
		{
			if (!offer_note(config, &request, agent, accepted, request.lane_id))
				route_changed_meanwhile(&request);
			if (!accepted)
				offer_notify(config, agent, request.request_id);
		}
		else if (route_offer(config, &request, agent, accepted, true, now) != OFFER_MADE)
			rows_not_taken("agent_state");
		taking.used += config->channels[request.channel].cost;
		taking.idle_since = GetCurrentTimestamp();
		if (first == 0)
			first = request.request_id;
		if (given != NULL)
			(*given)++;
		if (!(how & SERVE_ALL))
			break;
		if (config->rows != NULL)
			rows_refresh(config->rows);
	}
	return first;
}

/*
 * could_take returns whether something waits that the agent could be offered now. Only reads, with config->rows open or
 * in an SPI scope.
 */
bool
could_take(RoutingConfig *config, int agent, TimestampTz now)
{
	Taking taking = {.config = config, .agent = agent, .agent_id = config->agents[agent].agent_id, .now = now};

	if (!config->agents[agent].active || !read_agent(&taking, true))
		return false;
	choose_lanes(&taking);
	return first_choice(&taking) != NULL;
}
