/*
 * follow.c
 *	  follow_request(): what follows from a change of requests follows whoever makes it.
 *
 * The functions of the rooms say themselves which requests they have changed, with what else they know, and at once for
 * many. For all other statements, the application's and the DBA's, two triggers do: one for rows notes the requests in
 * which something changed that others go by, and one for statements tells of them. While a room's own statement runs,
 * the second keeps still, and what is left over of the notes is told with the room's own: so a user's trigger that
 * changes another request meanwhile is not forgotten.
 *
 * A note too many does no harm, because who is told compares with what it knows. That is why notes of a transaction
 * that was rolled back to a savepoint may stay.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "request/request.h"

SQL_FUNCTION(omnichannel_follow_request);
SQL_FUNCTION(omnichannel_note_request);
SQL_FUNCTION(omnichannel_prepare_close);

RequestListener request_listener = NULL;
RequestClosingListener request_closing_listener = NULL;

/* Requests that are told of at once. */
#define BATCH_REQUESTS 1000

/* Requests that were changed and of which nobody was told. */
static struct
{
	LocalTransactionId lxid; /* the transaction that changed them */
	int count;
	int room;
	int64 *request_ids;
} noted;

/* Rooms' own statements that run. */
static int own_statements = 0;

/* Forgets the notes of a transaction that is over. */
static void
forget_stale(void)
{
	if (noted.lxid != MY_LXID)
	{
		noted.lxid = MY_LXID;
		noted.count = 0;
	}
}

/* Notes that a request was changed. */
static void
note(int64 request_id)
{
	forget_stale();
	if (noted.count == noted.room)
	{
		int room = Max(16, noted.room * 2);

		noted.request_ids = noted.request_ids == NULL ? MemoryContextAlloc(TopMemoryContext, sizeof(int64) * room)
													  : repalloc_huge(noted.request_ids, sizeof(int64) * room);
		noted.room = room;
	}
	noted.request_ids[noted.count++] = request_id;
}

/* Tells the later room that cares of what is noted, each once, but for the sorted ids. Needs an SPI scope. */
static void
tell_noted(const int64 *but, int but_count)
{
	MemoryContext batch;
	int64 *left;
	int count = 0;

	forget_stale();
	if (noted.count == 0)
		return;
	left = palloc_extended(sizeof(int64) * noted.count, MCXT_ALLOC_HUGE);
	qsort(noted.request_ids, noted.count, sizeof(int64), id_compare);
	for (int i = 0; i < noted.count; i++)
		if ((count == 0 || left[count - 1] != noted.request_ids[i]) &&
			(but_count == 0 || bsearch(&noted.request_ids[i], but, but_count, sizeof(int64), id_compare) == NULL))
			left[count++] = noted.request_ids[i];
	noted.count = 0;
	if (count == 0 || request_listener == NULL)
		return;
	batch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel batch", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < count; i += BATCH_REQUESTS)
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		request_listener(&left[i], Min(count - i, BATCH_REQUESTS));
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
	MemoryContextDelete(batch);
}

/*
 * requests_told takes it that the later room that cares was told of these requests, and tells it of all others that are
 * noted. Needs an SPI scope that may write that room's tables.
 */
void
requests_told(const int64 *request_ids, int count)
{
	int64 *sorted;

	forget_stale();
	if (noted.count == 0)
		return;
	sorted = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		sorted[i] = request_ids[i];
	qsort(sorted, count, sizeof(int64), id_compare);
	tell_noted(sorted, count);
	pfree(sorted);
}

/* Tells the later room that cares of requests that were opened or changed. Needs an SPI scope. */
void
requests_changed(const int64 *request_ids, int count)
{
	if (request_listener != NULL)
		request_listener(request_ids, count);
	requests_told(request_ids, count);
}

/*
 * requests_write runs a room's own statement, which writes requests, as kept_plan_run() does.
 *
 * The caller then calls requests_changed() or requests_told() with those requests.
 */
uint64
requests_write(KeptPlan *plan, Datum *values, const char *nulls)
{
	volatile uint64 written = 0;

	own_statements++;
	PG_TRY();
	{
		written = kept_plan_run(plan, values, nulls, false, 0);
	}
	PG_FINALLY();
	{
		own_statements--;
	}
	PG_END_TRY();
	return written;
}

/* What others go by. */
static const char *const followed[] = {"state", "kind", "queue", "priority", "opened_at", "channel", "current_channel"};

/* Returns what a state means for others. */
static RequestState
state_class(const char *name)
{
	RequestState state = REQUEST_NEW;

	(void) request_state_parse(name, &state);
	return request_state_ends(state) || state == REQUEST_WAITING_CUSTOMER ? state : REQUEST_NEW;
}

/* Returns the state of a row as others go by it. */
static RequestState
row_state(HeapTuple row, TupleDesc desc, int column)
{
	char *name = SPI_getvalue(row, desc, column);
	RequestState state = name == NULL ? REQUEST_NEW : state_class(name);

	if (name != NULL)
		pfree(name);
	return state;
}

/* Returns a time of a row, which is not NULL. */
static TimestampTz
row_time(HeapTuple row, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetTimestampTz(heap_getattr(row, column, desc, &isnull));
}

/* Returns whether an update changed something that others go by. */
static bool
is_followed(Relation relation, HeapTuple before, HeapTuple after)
{
	TupleDesc desc = RelationGetDescr(relation);
	int since = request_column(relation, "state_since");
	TimestampTz since_before = row_time(before, desc, since);
	TimestampTz since_after = row_time(after, desc, since);

	/* A state that is told as of before the one that was known may mean more than the same; so may waiting again. */
	if (since_after < since_before)
		return true;
	if (since_after > since_before &&
		row_state(after, desc, request_column(relation, "state")) == REQUEST_WAITING_CUSTOMER)
		return true;
	for (int i = 0; i < (int) lengthof(followed); i++)
	{
		int column = request_column(relation, followed[i]);
		Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);
		bool was_null;
		bool is_null;
		Datum was = heap_getattr(before, column, desc, &was_null);
		Datum is = heap_getattr(after, column, desc, &is_null);

		if (was_null && is_null)
			continue;
		if (was_null == is_null && datum_image_eq(was, is, attribute->attbyval, attribute->attlen))
			continue;
		if (i > 0 || row_state(before, desc, column) != row_state(after, desc, column))
			return true;
	}
	return false;
}

/* Raises 22008 where a request is inserted with a time that is infinite or to come. */
static void
refuse_times(Relation relation, HeapTuple row)
{
	static const char *const times[] = {"opened_at", "state_since", "closed_at"};

	for (int i = 0; i < (int) lengthof(times); i++)
	{
		bool isnull;
		Datum at = heap_getattr(row, request_column(relation, times[i]), RelationGetDescr(relation), &isnull);

		if (!isnull)
			request_refuse_time(times[i], DatumGetTimestampTz(at));
	}
}

/*
 * Raises 23503 where a plain statement gives an open request to an agent that there is not: nobody would see to it.
 *
 * There is no foreign key, because whoever has a request changes with each offer: the rooms' own statements know.
 */
static void
refuse_stranger(const TriggerData *trigger)
{
	Relation relation = trigger->tg_relation;
	TupleDesc desc = RelationGetDescr(relation);
	bool updated = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	HeapTuple row = updated ? trigger->tg_newtuple : trigger->tg_trigtuple;
	int agent_column = request_column(relation, "agent_id");
	int closed_column = request_column(relation, "closed_at");
	bool isnull;
	bool was_null;
	bool is_open;
	bool was_open;
	int64 agent_id = DatumGetInt64(heap_getattr(row, agent_column, desc, &isnull));
	SpiScope scope;

	(void) heap_getattr(row, closed_column, desc, &is_open);
	if (isnull || !is_open)
		return;
	if (updated)
	{
		int64 before = DatumGetInt64(heap_getattr(trigger->tg_trigtuple, agent_column, desc, &was_null));

		(void) heap_getattr(trigger->tg_trigtuple, closed_column, desc, &was_open);
		if (was_open && !was_null && before == agent_id)
			return;
	}
	spi_scope_begin(&scope, false);
	request_check_agent(agent_id);
	spi_scope_end(&scope);
}

/* Notes the request of a row that was inserted, updated or deleted, where others care. */
static void
note_row(TriggerData *trigger)
{
	Relation relation = trigger->tg_relation;
	TupleDesc desc = RelationGetDescr(relation);
	HeapTuple row = trigger->tg_trigtuple;
	int closed_column = request_column(relation, "closed_at");
	bool was_closed;
	bool isnull;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		refuse_times(relation, row);
	(void) heap_getattr(row, closed_column, desc, &was_closed);
	was_closed = !was_closed;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		bool is_closed;

		(void) heap_getattr(trigger->tg_newtuple, closed_column, desc, &is_closed);
		is_closed = !is_closed;
		if ((was_closed && is_closed) || !is_followed(relation, row, trigger->tg_newtuple))
			return;
		row = trigger->tg_newtuple;
	}
	else if (was_closed)
		return;
	note(DatumGetInt64(heap_getattr(row, request_column(relation, "request_id"), desc, &isnull)));
}

/* follow_request(): trigger function for rows and for statements; returns nothing. Raises 22008 and 23503. */
Datum
omnichannel_follow_request(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "request");
	SpiScope scope;

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"follow_request\" must be fired AFTER INSERT, UPDATE or DELETE")));

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		if (own_statements == 0 && !TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
			refuse_stranger(trigger);
		note_row(trigger);
	}
	else if (own_statements == 0 && noted.count > 0)
	{
		/* Whoever may change a request need not have rights on what follows. */
		spi_scope_begin(&scope, true);
		tell_noted(NULL, 0);
		spi_scope_end(&scope);
	}
	return PointerGetDatum(NULL);
}

/* note_request(request_id): returns nothing; tells the later room that cares of a request that was changed. */
Datum
omnichannel_note_request(PG_FUNCTION_ARGS)
{
	int64 request_id = PG_GETARG_INT64(0);
	SpiScope scope;

	omni_table("request");
	spi_scope_begin(&scope, false);
	requests_changed(&request_id, 1);
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}

/* prepare_close(request_id, state): returns nothing; lets the later room end what it does with a request. */
Datum
omnichannel_prepare_close(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RequestState state;
	SpiScope scope;

	omni_table("request");
	if (!request_state_parse(name, &state) || !request_state_ends(state))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a request is not closed as \"%s\"", excerpt(name)),
				 errhint("It becomes done or cancelled.")));
	if (request_closing_listener == NULL)
		PG_RETURN_VOID();
	spi_scope_begin(&scope, false);
	request_closing_listener(PG_GETARG_INT64(0), state);
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}
