/*
 * arrival.c
 *	  Requests that do not stand where they should, because a statement put them into a queue or changed them and nobody
 *	  told the matching: noted for the sweep.
 *
 * A trigger looks when the transaction ends, so that what is opened and routed in one leaves no trace. It matches
 * nothing itself: the statement may be anybody's, at any isolation level, with any locks in its hands. So is a waiting
 * request whose clocks are due at another time.
 *
 * Each change has a note of its own, so that nobody waits for somebody else who notes the same; and the sweep, which
 * removes the notes that it sees before it looks at the request, cannot miss the later change.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/look.h"
#include "request/request.h"
#include "routing/route.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_note_arrival);

/*
 * Whether a request waits as another kind of request than it is by now, with another priority, is offered in another
 * channel than its customer is in, or has an agent.
 */
static KeptPlan arrival_insert = {
	.sql = "INSERT INTO omnichannel.arrival (request_id) SELECT q.request_id FROM omnichannel.request AS q"
		   " LEFT JOIN omnichannel.waiting AS w ON w.request_id = q.request_id"
		   " LEFT JOIN omnichannel.assignment AS a ON a.request_id = q.request_id"
		   " LEFT JOIN omnichannel.lane AS l ON l.lane_id = coalesce(w.lane_id, a.lane_id)"
		   " WHERE q.request_id = $1 AND q.customer_id = $2"
		   " AND CASE WHEN q.state = 'waiting_agent' AND q.queue IS NOT NULL THEN a.request_id IS NOT NULL"
		   " OR (l.queue, l.channel, w.priority) IS DISTINCT FROM"
		   " (q.queue, coalesce(q.current_channel, q.channel), q.priority)"
		   " OR l.requires OPERATOR(" OMNI_SCHEMA ".<>) coalesce(q.requires, '')"
		   " OR l.prefers OPERATOR(" OMNI_SCHEMA ".<>) coalesce(q.prefers, '')"
		   " ELSE w.request_id IS NOT NULL OR (a.request_id IS NOT NULL AND q.state NOT IN ('offered', 'assigned'))"
		   " OR (q.state = 'offered' AND l.channel <> coalesce(q.current_channel, q.channel))"
		   " OR (q.state = 'assigned' AND q.queue IS NOT NULL AND q.agent_id IS DISTINCT FROM a.agent_id) END",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

/* A request that is there no more, and waits or has an agent. */
static KeptPlan removal_insert = {
	.sql = "INSERT INTO omnichannel.arrival (request_id) SELECT $1 WHERE EXISTS"
		   " (SELECT FROM omnichannel.waiting WHERE request_id = $1) OR EXISTS"
		   " (SELECT FROM omnichannel.assignment WHERE request_id = $1)",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

/* Which of these wait. */
static KeptPlan waiting_insert = {
	.sql = "INSERT INTO omnichannel.arrival (request_id) SELECT w.request_id FROM omnichannel.waiting AS w"
		   " WHERE w.request_id = ANY ($1)",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Of so few it is looked first whether any waits: most that are written to do not. */
#define FEW 4

static LookUp waiting_look = {
	.table = "waiting",
	.nkeys = 1,
	.seldom = true,
	.ncolumns = 1,
	.columns = (const TableColumn[]){{"request_id", INT8OID}},
};

/* Returns whether a request may wait: not known where it cannot be looked up without SQL. */
static bool
may_wait(int64 request_id)
{
	Datum key = Int64GetDatum(request_id);
	Datum value;
	bool isnull;
	LookScan scan;
	bool found;

	if (!look_begin(&scan, &waiting_look, &key, 1, NULL))
		return true;
	found = look_next(&scan, false, &value, &isnull);
	look_end(&scan);
	return found;
}

/* Notes those of these requests that wait: their clocks are due at other times. */
static void
dues_changed(Datum request_ids)
{
	ArrayType *array = DatumGetArrayTypeP(request_ids);
	const int64 *ids = (const int64 *) ((char *) array + ARR_OVERHEAD_NONULLS(1));
	int count = ARR_DIMS(array)[0];
	bool any = count > FEW;
	SpiScope scope;

	for (int i = 0; i < count && !any; i++)
		any = may_wait(ids[i]);
	if (!any)
		return;
	spi_scope_begin(&scope, true);
	(void) kept_plan_run(&waiting_insert, &request_ids, NULL, false, 0);
	spi_scope_end(&scope);
}

/* Registers what this room does when requests are due at other times. */
void
arrivals_init(void)
{
	sla_due_listener = dues_changed;
}

/* Returns a column of the trigger's row. */
static Datum
id_column(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	bool isnull;

	return heap_getattr(tuple, request_column(trigger->tg_relation, name), RelationGetDescr(trigger->tg_relation),
						&isnull);
}

/* note_arrival(): trigger function; notes a request that does not stand where it should. Raises 39P01. */
Datum
omnichannel_note_arrival(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "request");
	HeapTuple tuple;
	Datum values[2];
	SpiScope scope;

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"note_arrival\" must be fired AFTER ... FOR EACH ROW")));

	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	values[0] = id_column(trigger, tuple, "request_id");
	values[1] = id_column(trigger, tuple, "customer_id");
	spi_scope_begin(&scope, true);
	(void) kept_plan_run(TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? &removal_insert : &arrival_insert, values, NULL,
						 false, 0);
	spi_scope_end(&scope);
	return PointerGetDatum(NULL);
}
