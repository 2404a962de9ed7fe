/*
 * offer.c
 *	  Offers and assignments as rows: what route_offer() does by one statement, done without SQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "request/request.h"
#include "routing/route.h"
#include "routing/rows.h"

static KeptPlan request_note = {
	.sql = "UPDATE omnichannel.request SET state = $3, agent_id = nullif($4, 0)"
		   " WHERE request_id = $1 AND customer_id = $2 AND closed_at IS NULL",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, TEXTOID, INT8OID},
	.indexed = true,
};

/* Returns whether nobody but routing goes by what a request in this state becomes. */
static bool
is_ours(Datum state)
{
	return text_equals(state, "new") || text_equals(state, "waiting_agent") || text_equals(state, "offered") ||
		   text_equals(state, "assigned");
}

/* Returns whether an offer of the request can be made without SQL. */
bool
offer_suits_rows(const MatchRequest *request)
{
	return !request->kept_place && is_ours(CStringGetTextDatum(request->state));
}

/* Notes state and agent by the statement, where others go by them; returns whether the request is open still. */
static bool
note_by_plan(const MatchRequest *request, const char *state, int64 agent_id)
{
	Datum values[4] = {Int64GetDatum(request->request_id), Int64GetDatum(request->customer_id),
					   CStringGetTextDatum(state), Int64GetDatum(agent_id)};
	SpiScope scope;
	bool open;

	routing_scope_begin(&scope);
	open = requests_write(&request_note, values, NULL) == 1;
	requests_changed(&request->request_id, 1);
	spi_scope_end(&scope);
	return open;
}

/*
 * Takes room of an agent if he has it as of now; returns whether, and since when he was idle. With wait it waits for
 * whoever changes him.
 *
 * The row is looked at again after each change by others, until the change made here is to the row as it is.
 */
bool
offer_take_room(RoutingConfig *config, int agent, int32 cost, bool accepted, bool wait, TimestampTz now,
				TimestampTz *idle_since)
{
	for (;;)
	{
		HeapTuple tuple = live_row(config, agent);
		ItemPointerData place;
		AgentStateRow *row;
		const RoutingState *state;
		TM_Result result;

		CHECK_FOR_INTERRUPTS();
		if (tuple == NULL)
			return false;
		row = (AgentStateRow *) ((char *) tuple->t_data + tuple->t_data->t_hoff);
		state = live_state(config, row->state);
		if (state == NULL || !(accepted ? state->present : state->available) || row->busy_until > now ||
			(int64) row->used + cost > config->agents[agent].capacity)
			return false;
		place = tuple->t_self;
		*idle_since = row->idle_since;
		row->used += cost;
		row->idle_since = GetCurrentTimestamp();
		result = rows_update(config->rows, ROWS_AGENT_STATE, &place, tuple, wait);
		if (result == TM_Ok)
		{
			rows_moved(&config->agents[agent].place, tuple);
			heap_freetuple(tuple);
			return true;
		}
		heap_freetuple(tuple);
		if (result == TM_BeingModified)
			return false;
		rows_refresh(config->rows);
	}
}

/* Gives back the room that was taken of an agent and nothing came of. */
void
offer_give_back(RoutingConfig *config, int agent, int32 cost, TimestampTz idle_since)
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
			rows_moved(&config->agents[agent].place, tuple);
			return;
		}
	}
}

/* Takes a request that waits out of its queue. */
static void
leave_by_rows(Rows *rows, int64 request_id)
{
	while (rows_find(rows, ROWS_WAITING, request_id) &&
		   rows_delete(rows, ROWS_WAITING, &rows->slots[ROWS_WAITING]->tts_tid, true) != TM_Ok)
		rows_refresh(rows);
}

/*
 * offer_note_state notes state and agent, or 0, in a request that is found by its id; returns whether it is open still,
 * and, where it is not held, as it was read.
 *
 * What guard_request() would do is done here; nobody else goes by these states.
 */
bool
offer_note_state(Rows *rows, const MatchRequest *request, const char *state, int64 agent_id)
{
	for (;;)
	{
		TupleTableSlot *slot = rows->slots[ROWS_REQUEST];
		int columns[4] = {REQUEST_STATE, REQUEST_AGENT_ID, REQUEST_VERSION, REQUEST_STATE_SINCE};
		Datum values[4];
		bool nulls[4] = {0};
		HeapTuple tuple;
		HeapTuple changed;
		Datum before;
		TM_Result result;
		bool isnull;
		bool same;

		CHECK_FOR_INTERRUPTS();
		if (!rows_find(rows, ROWS_REQUEST, request->request_id))
			return false;
		(void) slot_getattr(slot, REQUEST_CLOSED_AT, &isnull);
		if (!isnull)
			return false;
		before = slot_getattr(slot, REQUEST_STATE, &isnull);
		if (!is_ours(before))
			return note_by_plan(request, state, agent_id);
		same = text_equals(before, state);
		values[0] = CStringGetTextDatum(state);
		values[1] = Int64GetDatum(agent_id);
		nulls[1] = agent_id == 0;
		values[2] = Int64GetDatum(DatumGetInt64(slot_getattr(slot, REQUEST_VERSION, &isnull)) + 1);
		values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
		tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
		changed = heap_modify_tuple_by_cols(tuple, slot->tts_tupleDescriptor, same ? 3 : 4, columns, values, nulls);
		result = rows_update(rows, ROWS_REQUEST, &tuple->t_self, changed, !request->unheld);
		heap_freetuple(changed);
		if (result == TM_Ok || request->unheld)
			return result == TM_Ok;
		rows_refresh(rows);
	}
}

/* Returns when an offer that is made now expires: a transaction may have waited for long by then. */
TimestampTz
offer_ends(const RoutingQueue *queue)
{
	return GetCurrentTimestamp() + queue->offer_for;
}

/*
 * offer_note writes down the assignment of a request to an agent whose room was taken; returns as
 * offer_note_state() does,
 * and writes nothing where that is not so.
 */
bool
offer_note(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, int64 lane_id)
{
	const RoutingQueue *queue = &config->queues[request->queue];
	int64 agent_id = config->agents[agent].agent_id;
	TimestampTz now = GetCurrentTimestamp();
	Datum values[13];
	bool nulls[13] = {0};

	if (!offer_note_state(config->rows, request, accepted ? "assigned" : "offered", agent_id))
		return false;
	values[0] = Int64GetDatum(request->request_id);
	values[1] = Int64GetDatum(request->customer_id);
	values[2] = Int64GetDatum(agent_id);
	values[3] = Int64GetDatum(lane_id);
	values[4] = Int32GetDatum(config->channels[request->channel].cost);
	values[5] = Int32GetDatum(request->priority);
	values[6] = TimestampTzGetDatum(request->due_at);
	values[7] = TimestampTzGetDatum(request->entered_at);
	values[8] = TimestampTzGetDatum(request->queued_at);
	values[9] = TimestampTzGetDatum(now);
	values[10] = TimestampTzGetDatum(accepted ? DT_NOEND : offer_ends(queue));
	values[11] = TimestampTzGetDatum(now);
	nulls[11] = !accepted;
	values[12] = Int64GetDatum(request->agent_id);
	nulls[12] = request->agent_id == 0;
	rows_insert(config->rows, ROWS_ASSIGNMENT, values, nulls);
	return true;
}

/*
 * offer_by_rows offers a request to an agent if he can take it as of now, or assigns it to him at once.
 *
 * Raises 40001 where a request that is held was closed meanwhile. Needs config->rows with what it changes, and a
 * request that suits rows.
 */
OfferResult
offer_by_rows(RoutingConfig *config, const MatchRequest *request, int agent, bool accepted, bool wait, TimestampTz now,
			  int64 lane_id)
{
	int32 cost = config->channels[request->channel].cost;
	TimestampTz idle_since;

	if (!offer_take_room(config, agent, cost, accepted, wait, now, &idle_since))
		return OFFER_NO_ROOM;
	if (request->waiting)
		leave_by_rows(config->rows, request->request_id);
	if (offer_note(config, request, agent, accepted, lane_id))
		return OFFER_MADE;
	if (!request->unheld)
		route_changed_meanwhile(request);
	offer_give_back(config, agent, cost, idle_since);
	return OFFER_OVERTAKEN;
}

/* Returns whether the assignment in its slot is an offer to an agent that he can accept by now. */
static bool
is_open_offer(Rows *rows, int64 agent_id)
{
	const AssignmentRow *row = rows_data(rows, ROWS_ASSIGNMENT);
	bool isnull;

	(void) slot_getattr(rows->slots[ROWS_ASSIGNMENT], ASSIGNMENT_ACCEPTED_AT, &isnull);
	return isnull && row->agent_id == agent_id && row->expires_at > GetCurrentTimestamp();
}

/* Returns whether the request in its slot is open, of a customer, and in a channel. */
static bool
is_open_in(Rows *rows, int64 customer_id, const char *channel)
{
	TupleTableSlot *slot = rows->slots[ROWS_REQUEST];
	Datum code;
	bool isnull;

	(void) slot_getattr(slot, REQUEST_CLOSED_AT, &isnull);
	if (!isnull || DatumGetInt64(slot_getattr(slot, REQUEST_CUSTOMER_ID, &isnull)) != customer_id)
		return false;
	code = slot_getattr(slot, REQUEST_CURRENT_CHANNEL, &isnull);
	if (isnull)
		code = slot_getattr(slot, REQUEST_CHANNEL, &isnull);
	return text_equals(code, channel);
}

/* Notes in the assignment in its slot that it is accepted as of now; returns false where it has been changed since. */
static bool
note_accepted(Rows *rows)
{
	TupleTableSlot *slot = rows->slots[ROWS_ASSIGNMENT];
	int columns[2] = {ASSIGNMENT_EXPIRES_AT, ASSIGNMENT_ACCEPTED_AT};
	Datum values[2] = {TimestampTzGetDatum(DT_NOEND), TimestampTzGetDatum(GetCurrentTimestamp())};
	bool nulls[2] = {false, false};
	HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	HeapTuple changed = heap_modify_tuple_by_cols(tuple, slot->tts_tupleDescriptor, 2, columns, values, nulls);
	TM_Result result = rows_update(rows, ROWS_ASSIGNMENT, &tuple->t_self, changed, true);

	heap_freetuple(changed);
	return result == TM_Ok;
}

/*
 * offer_accept_by_rows accepts an offer for an agent; returns whether. Otherwise nothing is changed: it is for the
 * statements to do it, or to find out why not.
 *
 * The request is locked, and waited for, before the offer is looked at. Needs config->rows with both.
 */
bool
offer_accept_by_rows(RoutingConfig *config, int64 request_id, int64 agent_id)
{
	Rows *rows = config->rows;
	MatchRequest request = {.request_id = request_id};
	const AssignmentRow *row;
	const Lane *lane;

	if (!rows_find(rows, ROWS_ASSIGNMENT, request_id) || !rows_find(rows, ROWS_REQUEST, request_id) ||
		!rows_lock(rows, ROWS_REQUEST, !queues_were_asked()))
		return false;
	rows_refresh(rows);
	if (!rows_find(rows, ROWS_ASSIGNMENT, request_id) || !is_open_offer(rows, agent_id) ||
		!rows_find(rows, ROWS_REQUEST, request_id))
		return false;
	row = rows_data(rows, ROWS_ASSIGNMENT);
	request.customer_id = row->customer_id;
	lane = lane_find(config, row->lane_id);
	if (lane == NULL || !is_open_in(rows, row->customer_id, lane->channel_code) || !note_accepted(rows))
		return false;
	if (!offer_note_state(rows, &request, "assigned", agent_id))
		route_changed_meanwhile(&request);
	return true;
}

/* Notifies an agent of an offer, where that is asked for. */
void
offer_notify(const RoutingConfig *config, int agent, int64 request_id)
{
	char payload[32];
	char *name;

	if (config->notify_channel == NULL)
		return;
	name = psprintf("%s_" INT64_FORMAT, config->notify_channel, config->agents[agent].agent_id);
	pg_lltoa(request_id, payload);
	Async_Notify(name, payload);
	pfree(name);
}
