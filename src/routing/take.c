/*
 * take.c
 *	  Gives a free agent what comes first, without SQL: what serve.c does by statements.
 *
 * Each lane is read from its head on, so that nobody steps over the traces of all requests that were taken before while
 * an old snapshot keeps them: whoever has to step over a few moves the head on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "routing/live.h"
#include "routing/route.h"
#include "routing/rows.h"

/* Of so many traces before a lane's first request its head is moved on. */
#define PASSED_MAX 32

/* The first request of a lane that suits an agent, as far as it was looked for. */
typedef struct Head
{
	const Lane *lane;
	bool looked;
	bool found;
	bool after; /* one was found before, which somebody else is taking */
	WaitingRow row;
	ItemPointerData place;
} Head;

/* Returns whether an agent is there, so that requests are held for him. */
static bool
is_present(RoutingConfig *config, int64 agent_id)
{
	int agent = config_agent(config, agent_id);
	const RoutingState *state = NULL;

	if (agent >= 0)
	{
		HeapTuple tuple = live_row(config, agent);

		if (tuple != NULL)
		{
			state = live_state(config, ((AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff))->state);
			heap_freetuple(tuple);
		}
	}
	else if (rows_find(config->rows, ROWS_AGENT_STATE, agent_id))
		state = live_state(config, ((const AgentStateRow *) rows_data(config->rows, ROWS_AGENT_STATE))->state);
	return state != NULL && state->present;
}

/* Returns whether an agent refused a request not long ago. */
static bool
has_refused(Rows *rows, int64 request_id, int64 agent_id, TimestampTz now)
{
	IndexScanDesc scan = rows_scan(rows, ROWS_REFUSAL, ROWS_BY_KEY, request_id);
	bool refused = false;

	while (!refused && rows_next(rows, ROWS_REFUSAL, scan, ForwardScanDirection))
	{
		const RefusalRow *row = rows_data(rows, ROWS_REFUSAL);

		refused = row->agent_id == agent_id && row->until > now;
	}
	rows_end(scan);
	return refused;
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

/* Looks for the first request of a lane that suits the agent, after the one found before. */
static void
look(RoutingConfig *config, const LaneList *list, int index, Head *head, int64 agent_id, TimestampTz now)
{
	Rows *rows = config->rows;
	TimestampTz entered_before = DatumGetTimestampTz(list->entered_before[index]);
	TimestampTz held_since = DatumGetTimestampTz(list->held_since[index]);
	ItemPointer head_place = &unconstify(Lane *, head->lane)->head_place;
	HeapTuple bound = head->after ? NULL : rows_follow(rows, ROWS_LANE_HEAD, head->lane->lane_id, head_place);
	LaneHeadRow from;
	bool bounded = head->after || bound != NULL;
	bool is_first = true;
	ScanKeyData keys[6];
	IndexScanDesc scan;
	int passed = 0;

	if (head->after)
	{
		from.rank = head->row.rank;
		from.due_at = head->row.due_at;
		from.entered_at = head->row.entered_at;
		from.request_id = head->row.request_id;
	}
	else if (bound != NULL)
		memcpy(&from, (char *) bound->t_data + bound->t_data->t_hoff, sizeof(from));

	head->looked = true;
	head->found = false;
	scan = rows_scan_lane(rows, head->lane->lane_id, bounded ? &from : NULL, head->after, keys);
	while (!head->found && rows_next_passing(rows, ROWS_WAITING, scan, &passed))
	{
		memcpy(&head->row, rows_data(rows, ROWS_WAITING), offsetof(WaitingRow, priority) + sizeof(int32));
		head->place = rows->slots[ROWS_WAITING]->tts_tid;
		if (is_first && bound != NULL && passed > PASSED_MAX)
			move_head(config, head->lane, bound, &head->row, now);
		is_first = false;
		head->found = head->row.entered_at <= entered_before &&
					  (head->row.owner_id == 0 || head->row.owner_id == agent_id ||
					   head->row.entered_at <= held_since || !is_present(config, head->row.owner_id)) &&
					  !has_refused(rows, head->row.request_id, agent_id, now);
	}
	rows_end(scan);
	if (is_first && bound != NULL && passed > PASSED_MAX)
		move_head(config, head->lane, bound, NULL, now);
	if (bound != NULL)
		heap_freetuple(bound);
}

/* Returns whether the first of two heads comes before the other: aged priority, due time, longest wait, id. */
static bool
comes_before(const Head *a, int64 age_a, const Head *b, int64 age_b)
{
	if (a->row.rank - age_a != b->row.rank - age_b)
		return a->row.rank - age_a < b->row.rank - age_b;
	if (a->row.due_at != b->row.due_at)
		return a->row.due_at < b->row.due_at;
	if (a->row.entered_at != b->row.entered_at)
		return a->row.entered_at < b->row.entered_at;
	return a->row.request_id < b->row.request_id;
}

/* Returns the index of the lane with the request that comes first, or -1. */
static int
first_of(RoutingConfig *config, const LaneList *list, Head *heads, int64 agent_id, TimestampTz now)
{
	int best = -1;

	for (int i = 0; i < list->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!heads[i].looked)
			look(config, list, i, &heads[i], agent_id, now);
		if (heads[i].found && (best < 0 || comes_before(&heads[i], DatumGetInt64(list->ages[i]), &heads[best],
														DatumGetInt64(list->ages[best]))))
			best = i;
	}
	return best;
}

/* Gives back the room that was taken of an agent and nothing was found for. */
static void
give_back(RoutingConfig *config, int agent, int32 cost, TimestampTz idle_since)
{
	for (;;)
	{
		HeapTuple tuple;
		AgentStateRow *row;
		ItemPointerData place;

		rows_refresh(config->rows);
		tuple = live_row(config, agent);
		if (tuple == NULL)
			return;
		row = (AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff);
		row->used -= cost;
		row->idle_since = idle_since;
		place = tuple->t_self;
		if (rows_update(config->rows, ROWS_AGENT_STATE, &place, tuple, true) == TM_Ok)
		{
			config->agents[agent].place = tuple->t_self;
			return;
		}
	}
}

/* Returns whether a request is open still. */
static bool
is_open(Rows *rows, int64 request_id)
{
	bool never_closed;

	if (!rows_find(rows, ROWS_REQUEST, request_id))
		return false;
	(void) slot_getattr(rows->slots[ROWS_REQUEST], REQUEST_CLOSED_AT, &never_closed);
	return never_closed;
}

/*
 * Takes the request that comes first for the agent, and the room for it; returns whether, and the request.
 *
 * The agent's room is taken before the request: whoever cannot have both leaves the queue as it was.
 */
static bool
take_first(RoutingConfig *config, int agent, const LaneList *list, bool patient, bool accepted, TimestampTz now,
		   TimestampTz idle_since, MatchRequest *request)
{
	Rows *rows = config->rows;
	int64 agent_id = config->agents[agent].agent_id;
	Head *heads = palloc0(sizeof(Head) * (list->count + 1));
	int32 taken = 0;
	bool has_room = false;
	int best;

	for (int i = 0; i < list->count; i++)
		heads[i].lane = list->lanes[i];
	while ((best = first_of(config, list, heads, agent_id, now)) >= 0)
	{
		Head *head = &heads[best];
		int32 cost = config->channels[head->lane->channel].cost;
		bool open = is_open(rows, head->row.request_id);

		if (open && !patient && !rows_hold(rows, ROWS_REQUEST))
		{
			head->looked = false;
			head->after = true;
			continue;
		}

		/* A request that was closed without a word to the queue leaves it. */
		if (open && (!has_room || taken != cost))
		{
			if (has_room)
			{
				give_back(config, agent, taken, idle_since);
				rows_refresh(rows);
			}
			has_room = offer_take_room(config, agent, cost, accepted, patient, now);
			if (!has_room)
				break;
			taken = cost;
		}
		if (rows_delete(rows, ROWS_WAITING, &head->place, false) == TM_Ok && open)
		{
			memset(request, 0, sizeof(*request));
			request->request_id = head->row.request_id;
			request->customer_id = head->row.customer_id;
			request->due_at = head->row.due_at;
			request->entered_at = head->row.entered_at;
			request->priority = head->row.priority;
			request->lane_id = head->lane->lane_id;
			request->queue = head->lane->queue;
			request->channel = head->lane->channel;
			request->requires = head->lane->requires;
			request->prefers = head->lane->prefers;
			pfree(heads);
			return true;
		}
		head->looked = false;
		head->after = true;
	}
	if (has_room)
		give_back(config, agent, taken, idle_since);
	pfree(heads);
	return false;
}

/* serve_by_rows does what serve_agent() does, with config->rows open. */
int64
serve_by_rows(RoutingConfig *config, int agent, const QueueLocks *locks, bool accepted, bool all, TimestampTz now)
{
	Rows *rows = config->rows;
	HeapTuple tuple = live_row(config, agent);
	const AgentStateRow *row;
	const RoutingState *state;
	int64 first = 0;
	int64 used;
	TimestampTz idle_since;

	if (tuple == NULL)
		return 0;
	row = (const AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff);
	state = live_state(config, row->state);
	used = row->used;
	idle_since = row->idle_since;
	if (state == NULL || !(accepted ? state->present : state->available) || row->busy_until > now)
		return 0;

	for (;;)
	{
		MatchRequest request;
		LaneList list;

		CHECK_FOR_INTERRUPTS();
		lanes_of_agent(config, agent, locks, config->agents[agent].capacity - used, now, &list);
		if (!take_first(config, agent, &list, locks == NULL, accepted, now, idle_since, &request))
			break;
		if (!offer_note(config, &request, agent, accepted, now, request.lane_id))
			route_changed_meanwhile(&request);
		if (!accepted)
			offer_notify(config, agent, request.request_id);
		used += config->channels[request.channel].cost;
		idle_since = now;
		if (first == 0)
			first = request.request_id;
		if (!all)
			break;
		rows_refresh(rows);
	}
	return first;
}
