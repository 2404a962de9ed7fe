/*
 * arrival.c
 *	  Requests that a statement puts into a queue and that nobody passes to route(): noted for the sweep.
 *
 * A trigger looks when the transaction ends, so that what is opened and routed in one leaves no trace. It matches
 * nothing itself: the statement may be anybody's, at any isolation level, with any locks in its hands.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/rel.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_note_arrival);

static KeptPlan arrival_insert = {
	.sql = "INSERT INTO omnichannel.arrival (request_id) SELECT q.request_id FROM omnichannel.request AS q"
		   " WHERE q.request_id = $1 AND q.customer_id = $2 AND q.state = 'waiting_agent' AND q.queue IS NOT NULL"
		   " AND NOT EXISTS (SELECT FROM omnichannel.waiting AS w WHERE w.request_id = $1)"
		   " AND NOT EXISTS (SELECT FROM omnichannel.assignment AS a WHERE a.request_id = $1)"
		   " ON CONFLICT (request_id) DO NOTHING",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

/* Returns a bigint of the trigger's row. */
static Datum
id_column(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	int number = SPI_fnumber(desc, name);
	bool isnull;

	if (number <= 0)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("table \"%s\" has no column \"%s\"", RelationGetRelationName(trigger->tg_relation),
							   name),
						errhint("The trigger belongs to the table omnichannel.request.")));
	return heap_getattr(tuple, number, desc, &isnull);
}

/* note_arrival(): trigger function; notes a request that stands in a queue and was not routed. */
Datum
omnichannel_note_arrival(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple tuple;
	Datum values[2];
	SpiScope scope;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"note_arrival\" was not called by the trigger manager")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"note_arrival\" must be fired AFTER INSERT OR UPDATE FOR EACH ROW")));

	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	values[0] = id_column(trigger, tuple, "request_id");
	values[1] = id_column(trigger, tuple, "customer_id");
	spi_scope_begin(&scope, true);
	(void) kept_plan_run(&arrival_insert, values, NULL, false, 0);
	spi_scope_end(&scope);
	return PointerGetDatum(NULL);
}
