/*
 * choice.c
 *	  Finds what comes first for an agent among the waiting requests that suit him.
 *
 * Each lane is read from its head on, so that nobody steps over the traces of all requests that were taken before while
 * an old snapshot keeps them: whoever has to step over a few moves the head on. Whether what was found may be had now
 * is asked of match.c, as for a request that arrives, where the lane does not tell: for whom it is held, who has just
 * become its owner.
 *
 * Rows are read without SQL where they are to be had so (rows.c), by the statements below otherwise.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/choice.h"
#include "routing/rows.h"
#include "sla/sla.h"

/*
 * Of more traces than so many before the first request of a lane its head is moved on: to step over these in four lanes
 * takes longer than that.
 */
#define PASSED_MAX 8

/* One of so many first requests is marked by the head of its lane, whatever comes before it. */
#define MARKED_OF 32

/* After so many of a kind that came too late for an agent the rest of these is not read. */
#define YOUNG_MAX 16

/* Of so many in a lane that do not fit it is asked for whom room is kept for them. */
#define KEEP_MAX 32

/* So many requests a statement reads of a lane. */
#define BATCH 32

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

/* Adds the lanes of a queue that suit the agent; returns whether he has room for what waits in any of them. */
static bool
add_choices(Taking *taking, const Lanes *lanes, int queue_index)
{
	const RoutingConfig *config = taking->config;
	const RoutingQueue *queue = &config->queues[queue_index];
	int32 capacity = config->agents[taking->agent].capacity;
	int64 room = capacity - taking->used;
	bool any_fits = false;

	for (int i = lanes->firsts[queue_index]; i < lanes->firsts[queue_index + 1]; i++)
	{
		const Lane *lane = &lanes->lanes[lanes->by_queue[i]];
		Choice *choice = &taking->choices[taking->count];
		PoolMember member;
		TimestampTz kept_before;
		int64 cost;

		if (lane->channel < 0)
			continue;
		cost = config->channels[lane->channel].cost;
		if (cost > room && (queue->keep_room_after < 0 || cost > capacity))
			continue;
		if (config_judge(config, queue_index, lane->channel, lane->requires, lane->prefers, taking->agent, &member) !=
			VERDICT_CANDIDATE)
			continue;
		/* Who waited for the lock began before what arrived meanwhile: no wait is no bound. */
		memset(choice, 0, sizeof(*choice));
		choice->lane = lane;
		choice->queue = queue_index;
		choice->channel = lane->channel;
		choice->age = queue_age(queue, taking->now);
		choice->fits = cost <= room;
		any_fits = any_fits || choice->fits;
		kept_before = choice->fits ? DT_NOEND : taking->now - queue->keep_room_after;
		choice->joined_before = Min(kept_before, member.join_after == 0 ? DT_NOEND : taking->now - member.join_after);
		choice->last_rank = choice->joined_before == DT_NOEND || queue->age_after == 0
								? PG_INT64_MAX
								: queue_age(queue, choice->joined_before) - lane->min_priority;
		choice->preferred_before =
			member.preferred || queue->prefer_for == 0 ? DT_NOEND : taking->now - queue->prefer_for;
		choice->held_since = queue->hold_for_owner == 0 ? DT_NOEND : taking->now - queue->hold_for_owner;
		taking->count++;
	}
	return any_fits;
}

/*
 * choices_find finds the lanes that suit the agent with the room that he has. They are kept, whatever else asks for
 * lanes meanwhile, until choices_end(). Raises what lanes_get() raises.
 */
void
choices_find(Taking *taking)
{
	const RoutingAgent *agent = &taking->config->agents[taking->agent];
	const Lanes *lanes;
	bool any_fits = taking->beside;
	int total = 0;

	config_caches_hold();
	lanes = lanes_get(taking->config);
	for (int i = 0; i < agent->queue_count; i++)
		total += lanes->firsts[agent->queues[i] + 1] - lanes->firsts[agent->queues[i]];
	taking->count = 0;
	taking->choices = palloc(sizeof(Choice) * (total + 1));
	for (int i = 0; i < agent->queue_count; i++)
	{
		if (taking->locks == NULL || taking->locks->modes[agent->queues[i]] == QUEUE_FREE ||
			taking->locks->modes[agent->queues[i]] == QUEUE_BOTH)
			any_fits |= add_choices(taking, lanes, agent->queues[i]);
	}
	if (!any_fits)
		taking->count = 0;
}

/* choices_end forgets what was found. An error does so too, at the latest at the end of the transaction. */
void
choices_end(Taking *taking)
{
	pfree(taking->choices);
	taking->choices = NULL;
	taking->count = 0;
	config_caches_release();
}

/* Returns whether the agent, 0 for any, refused a request not long ago; the statements leave out what this one did. */
static bool
has_refused(const Taking *taking, int64 request_id, int64 agent_id)
{
	Rows *rows = taking->config->rows;
	bool refused = false;
	RowsScan *scan;

	if (rows == NULL)
		return false;
	scan = rows_scan(rows, ROWS_REFUSAL, ROWS_BY_KEY, request_id);
	while (!refused && rows_next(rows, ROWS_REFUSAL, scan, ForwardScanDirection))
	{
		const RefusalRow *row = rows_data(rows, ROWS_REFUSAL);

		refused = (agent_id == 0 || row->agent_id == agent_id) && row->until > taking->now;
	}
	rows_end(scan);
	return refused;
}

/* choice_suits returns whether the agent may be given the request that a choice stands at. */
bool
choice_suits(const Taking *taking, const Choice *choice)
{
	const WaitingRow *row = &choice->row;
	int64 owner_id;
	bool held;

	for (int i = 0; i < taking->passed_count; i++)
		if (row->request_id == taking->passed[i])
			return false;
	if (row->queued_at > choice->joined_before || has_refused(taking, row->request_id, taking->agent_id))
		return false;
	if (row->queued_at <= choice->preferred_before && row->queued_at <= choice->held_since)
		return true;
	owner_id = match_owner(taking->config, row->request_id, taking->now, &held);
	return owner_id == taking->agent_id || (!held && row->queued_at <= choice->preferred_before);
}

/* Returns where a row stands in its lane. */
static LanePlace
place_of(const WaitingRow *row)
{
	return (LanePlace){
		.rank = row->rank, .due_at = row->due_at, .entered_at = row->entered_at, .request_id = row->request_id};
}

/* Makes a place that from which on a choice is looked at. */
static void
look_from(Choice *choice, const LanePlace *place)
{
	choice->at = *place;
	choice->bounded = true;
}

/* Moves a lane's head on to a place before which nothing waits. */
static void
move_head(RoutingConfig *config, const Lane *lane, const LanePlace *place)
{
	RowPlace *kept = &unconstify(Lane *, lane)->head_place;
	HeapTuple head = rows_follow(config->rows, ROWS_LANE_HEAD, lane->lane_id, kept);
	ItemPointerData old;

	/* Who is about to do the same has done it for others, too. */
	if (head == NULL || rows_is_changing(head))
		return;
	old = head->t_self;
	((LaneHeadRow *) ((char *) head->t_data + head->t_data->t_hoff))->place = *place;
	if (rows_update(config->rows, ROWS_LANE_HEAD, &old, head, false) == TM_Ok)
		rows_moved(kept, head);
	heap_freetuple(head);
}

/*
 * Returns whether whoever finds this request first in a lane moves the head on: one in so many, because an index steps
 * over what it knows to be gone without a word.
 */
static bool
marks_head(const LanePlace *head, const LanePlace *first)
{
	return murmurhash32((uint32) first->request_id) % MARKED_OF == 0 && head->request_id != first->request_id;
}

/* Finds from where on a lane is to be looked at. */
static void
begin_by_rows(const Taking *taking, Choice *choice)
{
	HeapTuple head = rows_follow(taking->config->rows, ROWS_LANE_HEAD, choice->lane->lane_id,
								 &unconstify(Lane *, choice->lane)->head_place);

	if (head == NULL)
		return;
	look_from(choice, &((const LaneHeadRow *) ((char *) head->t_data + head->t_data->t_hoff))->place);
	choice->at_head = true;
	heap_freetuple(head);
}

/*
 * Looks for the first request of a lane that suits the agent, from where the choice stands, by rows; but not beyond
 * the best that was found in others, where the choice stands then.
 *
 * What came too late for a helper is not stepped over one by one: of requests of one rank and due time those that
 * follow came later still, and beyond last_rank all did.
 */
static void
look_by_rows(const Taking *taking, Choice *choice, const Choice *best)
{
	RoutingConfig *config = taking->config;
	Rows *rows = config->rows;
	bool moves = choice->at_head && taking->locks != NULL;
	LanePlace head = choice->at;
	LanePlace from = head;
	LanePlace until = {0};
	RowsLeaf *leaf = &unconstify(Lane *, choice->lane)->leaf;
	bool is_first = true;
	bool ended = false;
	RowsScan *scan;
	int passed = 0;
	int young = 0;

	if (best != NULL)
	{
		until = best->at;
		until.rank += choice->age - best->age;
	}
	scan = rows_scan_lane(rows, choice->lane->lane_id, choice->bounded ? &from : NULL, choice->after,
						  best != NULL ? &until : NULL, leaf);
	while (!choice->found && !ended && rows_next_passing(rows, ROWS_WAITING, scan, &passed))
	{
		memcpy(&choice->row, rows_data(rows, ROWS_WAITING), offsetof(WaitingRow, priority) + sizeof(int32));
		choice->place = rows->slots[ROWS_WAITING]->tts_tid;
		choice->bounded = true;
		choice->at = from = place_of(&choice->row);
		if (is_first && moves && (passed > PASSED_MAX || marks_head(&head, &from)))
			move_head(config, choice->lane, &from);
		is_first = false;
		ended = choice->at.rank > choice->last_rank;
		/* What somebody is taking at this moment is not to be had; the rest of it need not be read to know that. */
		choice->found =
			!ended && !(taking->locks != NULL && rows_is_taken(rows, ROWS_WAITING)) && choice_suits(taking, choice);
		young = choice->at.entered_at > choice->joined_before ? young + 1 : 0;
		if (young > YOUNG_MAX)
		{
			from.entered_at = DT_NOEND;
			from.request_id = PG_INT64_MAX;
			rows_end(scan);
			scan = rows_scan_lane(rows, choice->lane->lane_id, &from, true, best != NULL ? &until : NULL, leaf);
			young = 0;
		}
	}
	rows_end(scan);
	choice->at_head = false;
	choice->looked = choice->found || ended || best == NULL;
	if (choice->found || ended)
		return;

	/* Where there is nothing, the head goes to where a request can be that arrives now. */
	if (best == NULL)
	{
		until.rank = -queue_level(&config->queues[choice->queue], 0, taking->now);
		until.due_at = DT_NOBEGIN;
		until.entered_at = taking->now;
	}
	if (is_first && moves && passed > PASSED_MAX)
		move_head(config, choice->lane, &until);
	if (best != NULL)
	{
		look_from(choice, &until);
		choice->after = false;
	}
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
		values[5] = Int64GetDatum(choice->at.rank);
		values[6] = TimestampTzGetDatum(choice->at.due_at);
		values[7] = TimestampTzGetDatum(choice->at.entered_at);
		values[8] = Int64GetDatum(choice->at.request_id);
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
			choice->at = place_of(&choice->row);
			choice->found = choice_suits(taking, choice);
		}
		if (count < BATCH)
			return;
	}
}

/* Returns whether a choice comes before another, if there is one: aged priority, due time, longest wait, id. */
static bool
comes_before(const Choice *a, const Choice *b)
{
	if (b == NULL)
		return true;
	if (a->at.rank - a->age != b->at.rank - b->age)
		return a->at.rank - a->age < b->at.rank - b->age;
	if (a->at.due_at != b->at.due_at)
		return a->at.due_at < b->at.due_at;
	if (a->at.entered_at != b->at.entered_at)
		return a->at.entered_at < b->at.entered_at;
	return a->at.request_id < b->at.request_id;
}

/* Returns the choice that has a request which comes first, of those found until now, or NULL. */
static Choice *
best_found(const Taking *taking)
{
	Choice *best = NULL;

	for (int i = 0; i < taking->count; i++)
	{
		Choice *choice = &taking->choices[i];

		if (choice->found && comes_before(choice, best))
			best = choice;
	}
	return best;
}

/* Returns the choice to look at next: of those that can have anything before the best, the one that can begin first. */
static Choice *
next_to_look(const Taking *taking, const Choice *best)
{
	Choice *next = NULL;

	for (int i = 0; i < taking->count; i++)
	{
		Choice *choice = &taking->choices[i];

		if (choice->looked)
			continue;
		if (!choice->begun && taking->config->rows != NULL)
			begin_by_rows(taking, choice);
		choice->begun = true;
		if (!choice->bounded)
			return choice;
		if (comes_before(choice, next != NULL ? next : best))
			next = choice;
	}
	return next;
}

/*
 * Returns the choice whose request comes first, or NULL.
 *
 * Most lanes show by where they begin that they have nothing before what was found in another, or before the bound:
 * what does not come before that may be returned or not.
 */
static Choice *
first_found(const Taking *taking)
{
	Choice *best = best_found(taking);
	Choice *choice;

	while ((choice = next_to_look(taking, best != NULL ? best : taking->bound)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (taking->config->rows != NULL)
			look_by_rows(taking, choice, best != NULL ? best : taking->bound);
		else
		{
			choice->found = false;
			look_by_plan(taking, choice);
			choice->looked = true;
		}
		if (choice->found && comes_before(choice, best))
			best = choice;
	}
	return best;
}

/* Returns since when a request of a lane has waited that is held for nobody, and whom all may have who suit it. */
static TimestampTz
alike_before(const Taking *taking, const Choice *choice)
{
	const RoutingQueue *queue = &taking->config->queues[choice->queue];
	const Pool *pool =
		config_pool(taking->config, choice->queue, choice->channel, choice->lane->requires, choice->lane->prefers);
	int64 longest = Max(queue->hold_for_owner, queue->prefer_for);

	for (int i = 0; i < pool->count; i++)
		longest = Max(longest, pool->members[i].join_after);
	return taking->now - longest;
}

/*
 * Returns whether the agent keeps his room for the request of a choice, which does not fit. Of many that are alike only
 * the first is asked for, where rows tell that they are.
 */
static bool
keeps_room(const Taking *taking, Choice *choice)
{
	bool alike;
	int64 nearest;

	if (choice->asked++ == 0)
		choice->alike_before = alike_before(taking, choice);
	alike = taking->config->rows != NULL && choice->row.queued_at <= choice->alike_before &&
			!has_refused(taking, choice->row.request_id, 0);
	if (alike && choice->elsewhere)
		return false;
	nearest = match_nearest(taking->config, choice->row.request_id, taking->now);
	choice->elsewhere = choice->elsewhere || (alike && nearest != 0 && nearest != taking->agent_id);
	return nearest == taking->agent_id;
}

/* choice_pass passes a choice over: what comes next in its lane is looked for. */
void
choice_pass(Choice *choice)
{
	choice->looked = false;
	choice->found = false;
	choice->after = true;
}

/*
 * choices_first returns the choice whose request comes first, or NULL; one that does not fit, for which the agent keeps
 * his room, so that he is given nothing now.
 */
Choice *
choices_first(Taking *taking)
{
	Choice *first;

	while ((first = first_found(taking)) != NULL && !first->fits && !keeps_room(taking, first))
	{
		CHECK_FOR_INTERRUPTS();
		choice_pass(first);
		first->looked = first->asked >= KEEP_MAX;
	}
	return first;
}

/* Returns whether the first of two choices comes before a request; asks its clocks only where it comes to that. */
static bool
comes_before_request(const Choice *choice, Choice *own, const MatchRequest *request)
{
	if (!own->looked && choice->at.rank - choice->age == own->at.rank - own->age)
	{
		own->at.due_at = sla_request_due(request->request_id);
		own->looked = true;
	}
	return comes_before(choice, own);
}

/*
 * choices_before returns the request that comes first for an agent who has room for another request, where it comes
 * before that one, or 0; but none of those passed. Sets kept where it does not fit and his room is kept for it.
 *
 * Reads by config->rows if they are open and suit, otherwise by SQL. What waits in other queues is seen as it is
 * committed.
 */
int64
choices_before(RoutingConfig *config, const Candidate *candidate, const MatchRequest *request, TimestampTz now,
			   const int64 *passed, int passed_count, bool *kept)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	Taking taking = {.config = config,
					 .agent = candidate->agent,
					 .agent_id = config->agents[candidate->agent].agent_id,
					 .now = now,
					 .beside = true,
					 .used = candidate->used,
					 .passed = passed,
					 .passed_count = passed_count};
	bool in_place = !request->misplaced && match_in_place(config, request);
	Choice own = {.age = queue_age(queue, now),
				  .looked = in_place,
				  .at = {.request_id = request->request_id,
						 .rank = in_place ? request->rank : -queue_level(queue, request->priority, request->entered_at),
						 .due_at = request->due_at,
						 .entered_at = request->entered_at}};
	Choice bound = own;
	const Choice *first;
	int64 request_id = 0;
	RoutingReads reads;

	*kept = false;
	if (config->rows != NULL && rows_none(config->rows, ROWS_WAITING))
		return 0;
	choices_find(&taking);
	if (taking.count == 0)
	{
		choices_end(&taking);
		return 0;
	}
	for (int i = 0; i < taking.count; i++)
		taking.choices[i].last_rank = Min(taking.choices[i].last_rank, own.at.rank - own.age + taking.choices[i].age);
	if (!own.looked)
		bound.at.due_at = DT_NOEND;
	taking.bound = &bound;
	routing_reads_begin(config, ROWS_BIT(ROWS_LANE_HEAD), &reads);
	first = choices_first(&taking);
	if (first != NULL && comes_before_request(first, &own, request))
	{
		request_id = first->row.request_id;
		*kept = !first->fits;
	}
	routing_reads_end(config, &reads);
	choices_end(&taking);
	return request_id;
}
