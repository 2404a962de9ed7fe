/*
 * enqueue.c
 *	  Lets a request wait in its queue: by the rows that are open where they suit, otherwise by a statement.
 *
 * Where nobody is free each arrival does, and the statement costs ten times what the rest of route() does: it has the
 * checks of the table request read from their text, and its triggers, which look again when the transaction ends
 * (test/bench/route.sh).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/route.h"
#include "routing/rows.h"
#include "sla/sla.h"

static KeptPlan enqueue = {
	.sql = "WITH waits AS (INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, due_at, entered_at,"
		   " priority, queued_at)"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7, $9)"
		   " ON CONFLICT (request_id) DO UPDATE SET lane_id = excluded.lane_id, rank = excluded.rank,"
		   " due_at = excluded.due_at, priority = excluded.priority, queued_at = excluded.queued_at"
		   " RETURNING request_id),"
		   " head AS (UPDATE omnichannel.lane_head AS h SET rank = $4, due_at = $5, entered_at = $6, request_id = $1"
		   " WHERE h.lane_id = $3 AND (h.rank, h.due_at, h.entered_at, h.request_id) > ($4, $5, $6, $1))"
		   " UPDATE omnichannel.request AS q SET state = 'waiting_agent',"
		   " agent_id = nullif($8, 0) FROM waits"
		   " WHERE q.request_id = $1 AND q.customer_id = $2 AND q.closed_at IS NULL",
	.nargs = 9,
	.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT8OID, TIMESTAMPTZOID},
};

/* Fills in where a request is to wait. Needs an SPI scope unless rows are open. */
static void
find_place(const RoutingConfig *config, MatchRequest *request)
{
	request->waits_in =
		lane_ensure(config, request->queue, request->channel, request->requires, request->prefers, request->priority);
	request->waits_with = request->priority;
	request->rank = -queue_level(&config->queues[request->queue], request->priority, request->entered_at);
	request->due_at = sla_request_due(request->request_id);
}

/*
 * route_enqueue lets a request wait, with the age that it has, and notes where.
 *
 * The holder has the queue's lock and the request's, and rows are not open. Needs an SPI scope.
 */
void
route_enqueue(const RoutingConfig *config, MatchRequest *request)
{
	bool returns = strcmp(request->state, "waiting_customer") == 0;
	Datum values[9];

	find_place(config, request);
	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] = Int64GetDatum(request->waits_in);
	values[3] = Int64GetDatum(request->rank);
	values[4] = TimestampTzGetDatum(request->due_at);
	values[5] = TimestampTzGetDatum(request->entered_at);
	values[6] = Int32GetDatum(request->priority);
	values[7] = Int64GetDatum(request->agent_id);
	values[8] = TimestampTzGetDatum(request->queued_at);
	if (requests_write(&enqueue, values, NULL) != 1)
		route_changed_meanwhile(request);
	if (request->kept_place)
		leave_forget_place(config, request, GetCurrentTimestamp());
	request->kept_place = false;
	request->waiting = true;
	strlcpy(request->state, "waiting_agent", sizeof(request->state));
	if (!returns)
		return;
	/* Its clocks go on: it is due at another time. */
	requests_changed(&request->request_id, 1);
	request->due_at = sla_request_due(request->request_id);
}

/* Returns whether a place comes before another one of the same lane. */
static bool
stands_before(const LanePlace *a, const LanePlace *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	if (a->due_at != b->due_at)
		return a->due_at < b->due_at;
	if (a->entered_at != b->entered_at)
		return a->entered_at < b->entered_at;
	return a->request_id < b->request_id;
}

/* Moves the head of a lane back to a place that comes before it. */
static void
move_head_back(RoutingConfig *config, int64 lane_id, const LanePlace *place)
{
	Rows *rows = config->rows;
	Lane *lane = unconstify(Lane *, lane_find(config, lane_id));
	RowPlace unknown = {.root = InvalidOffsetNumber};
	RowPlace *kept = lane == NULL ? &unknown : &lane->head_place;
	HeapTuple head;

	ItemPointerSetInvalid(&unknown.last);
	while ((head = rows_follow(rows, ROWS_LANE_HEAD, lane_id, kept)) != NULL)
	{
		LanePlace *first = &((LaneHeadRow *) ((char *) head->t_data + head->t_data->t_hoff))->place;
		ItemPointerData old = head->t_self;
		bool done = !stands_before(place, first);

		CHECK_FOR_INTERRUPTS();
		if (!done)
		{
			*first = *place;
			done = rows_update(rows, ROWS_LANE_HEAD, &old, head, true) == TM_Ok;
			if (done)
				rows_moved(kept, head);
			else
				rows_refresh(rows);
		}
		heap_freetuple(head);
		if (done)
			return;
	}
}

/* Writes down that a request waits, and where. */
static void
insert_waiting(Rows *rows, const MatchRequest *request)
{
	Datum values[8] = {Int64GetDatum(request->request_id),      Int64GetDatum(request->customer_id),
					   Int64GetDatum(request->waits_in),        Int64GetDatum(request->rank),
					   TimestampTzGetDatum(request->due_at),    TimestampTzGetDatum(request->entered_at),
					   TimestampTzGetDatum(request->queued_at), Int32GetDatum(request->priority)};
	bool nulls[8] = {0};

	rows_insert(rows, ROWS_WAITING, values, nulls);
}

/*
 * enqueue_by_rows does what route_enqueue() does by config->rows; returns false, with nothing done, where these or the
 * request suit not, as one that waits in another place.
 *
 * What the trigger would look for when the transaction ends is so: the request waits as what its row says.
 */
bool
enqueue_by_rows(RoutingConfig *config, MatchRequest *request)
{
	Rows *rows = config->rows;
	LanePlace place;

	if (request->waiting || request->assigned_to != 0 || !offer_suits_rows(request) ||
		!rows_open_more(rows, ROWS_BIT(ROWS_LANE_HEAD)) || !rows_may_insert(rows, ROWS_WAITING))
		return false;
	find_place(config, request);
	rows_refresh(rows);
	place = (LanePlace){request->rank, request->due_at, request->entered_at, request->request_id};
	insert_waiting(rows, request);
	if (!offer_note_state(rows, request, "waiting_agent", request->agent_id))
		route_changed_meanwhile(request);
	move_head_back(config, request->waits_in, &place);
	request->waiting = true;
	strlcpy(request->state, "waiting_agent", sizeof(request->state));
	return true;
}
