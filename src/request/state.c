/*
 * state.c
 *	  The states of a request, and which may follow which.
 *
 * A row trigger guards them, because several rooms and the company's own statements change them. It only looks at the
 * row and never writes another: what follows from a change is the business of the function that makes it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "request/request.h"

SQL_FUNCTION(omnichannel_guard_request);

static const char *const state_names[REQUEST_STATES] = {
	"new", "waiting_agent", "offered", "assigned", "waiting_customer", "done", "cancelled",
};

#define BIT(state) (1 << (state))

/* Each state's successors. A request that is done can be opened again; one that was cancelled cannot. */
static const int successors[REQUEST_STATES] = {
	[REQUEST_NEW] = BIT(REQUEST_WAITING_AGENT) | BIT(REQUEST_OFFERED) | BIT(REQUEST_ASSIGNED) |
					BIT(REQUEST_WAITING_CUSTOMER) | BIT(REQUEST_DONE) | BIT(REQUEST_CANCELLED),
	[REQUEST_WAITING_AGENT] = BIT(REQUEST_OFFERED) | BIT(REQUEST_ASSIGNED) | BIT(REQUEST_WAITING_CUSTOMER) |
							  BIT(REQUEST_DONE) | BIT(REQUEST_CANCELLED),
	[REQUEST_OFFERED] = BIT(REQUEST_WAITING_AGENT) | BIT(REQUEST_ASSIGNED) | BIT(REQUEST_DONE) | BIT(REQUEST_CANCELLED),
	[REQUEST_ASSIGNED] = BIT(REQUEST_WAITING_AGENT) | BIT(REQUEST_OFFERED) | BIT(REQUEST_WAITING_CUSTOMER) |
						 BIT(REQUEST_DONE) | BIT(REQUEST_CANCELLED),
	[REQUEST_WAITING_CUSTOMER] = BIT(REQUEST_NEW) | BIT(REQUEST_WAITING_AGENT) | BIT(REQUEST_OFFERED) |
								 BIT(REQUEST_ASSIGNED) | BIT(REQUEST_DONE) | BIT(REQUEST_CANCELLED),
	[REQUEST_DONE] =
		BIT(REQUEST_WAITING_AGENT) | BIT(REQUEST_OFFERED) | BIT(REQUEST_ASSIGNED) | BIT(REQUEST_WAITING_CUSTOMER),
	[REQUEST_CANCELLED] = 0,
};

/* Returns the state's name. */
const char *
request_state_name(RequestState state)
{
	return state_names[state];
}

/* Sets the state of this name; returns false where there is none. */
bool
request_state_parse(const char *name, RequestState *state)
{
	for (int i = 0; i < REQUEST_STATES; i++)
	{
		if (strcmp(name, state_names[i]) == 0)
		{
			*state = (RequestState) i;
			return true;
		}
	}
	return false;
}

/* Returns whether a request in this state is closed. */
bool
request_state_ends(RequestState state)
{
	return state == REQUEST_DONE || state == REQUEST_CANCELLED;
}

/* Returns whether a request may go from one state to the other. */
static bool
request_may_become(RequestState from, RequestState to)
{
	return (successors[from] & BIT(to)) != 0;
}

/* Returns the names of the states that may follow. */
static const char *
successor_names(RequestState from)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < REQUEST_STATES; i++)
		if (request_may_become(from, (RequestState) i))
			appendStringInfo(&names, "%s%s", names.len == 0 ? "" : ", ", state_names[i]);
	return names.len == 0 ? "none" : names.data;
}

/* Returns the number of a column of the table of requests, for its triggers. */
int
request_column(Relation relation, const char *name)
{
	int number = SPI_fnumber(RelationGetDescr(relation), name);

	if (number <= 0)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("table \"%s\" has no column \"%s\"", RelationGetRelationName(relation), name),
						errhint("The trigger belongs to the table omnichannel.request.")));
	return number;
}

/* Raises 22008 where a time of a request is infinite or to come: clocks would start or stop then. */
void
request_refuse_time(const char *column, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > GetCurrentTimestamp() + CLOCK_SKEW)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
						errmsg("%s of a request must not be %s", column, timestamptz_to_str(at)),
						errhint("Name a time that has come, or leave the column out for now().")));
}

/* Refuses a time that an UPDATE gives to a column. */
static void
refuse_new_time(const TriggerData *trigger, const char *name)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	int column = request_column(trigger->tg_relation, name);
	bool was_null;
	bool isnull;
	TimestampTz before = DatumGetTimestampTz(heap_getattr(trigger->tg_trigtuple, column, desc, &was_null));
	TimestampTz after = DatumGetTimestampTz(heap_getattr(trigger->tg_newtuple, column, desc, &isnull));

	if (!isnull && (was_null || before != after))
		request_refuse_time(name, after);
}

/* Raises 55000 where an UPDATE gives a request to another customer: contacts and clocks stay with whom they are of. */
static void
refuse_other_customer(const TriggerData *trigger)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	int column = request_column(trigger->tg_relation, "customer_id");
	bool isnull;
	int64 before = DatumGetInt64(heap_getattr(trigger->tg_trigtuple, column, desc, &isnull));
	Datum after = heap_getattr(trigger->tg_newtuple, column, desc, &isnull);

	if (!isnull && DatumGetInt64(after) != before)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a request of customer " INT64_FORMAT " cannot become one of customer " INT64_FORMAT,
							   before, DatumGetInt64(after)),
						errhint("Cancel it and open one of the other customer, or merge the two if they are one.")));
}

/*
 * guard_request(): trigger function; returns the new row with its version, state_since and closed_at. Raises 55000 and
 * 22008.
 */
Datum
omnichannel_guard_request(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "request");
	Relation relation;
	TupleDesc desc;
	int columns[3];
	Datum values[3];
	bool nulls[3] = {false, false, false};
	int changed = 0;
	int state_column;
	int version_column;
	char *before;
	char *after;
	bool isnull;

	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"guard_request\" must be fired BEFORE UPDATE FOR EACH ROW")));

	relation = trigger->tg_relation;
	desc = RelationGetDescr(relation);
	state_column = request_column(relation, "state");
	version_column = request_column(relation, "version");

	refuse_other_customer(trigger);
	refuse_new_time(trigger, "opened_at");
	refuse_new_time(trigger, "state_since");
	refuse_new_time(trigger, "closed_at");

	/* Whatever the statement says: nobody may set it back. */
	columns[changed] = version_column;
	values[changed++] =
		Int64GetDatum(DatumGetInt64(heap_getattr(trigger->tg_trigtuple, version_column, desc, &isnull)) + 1);

	before = SPI_getvalue(trigger->tg_trigtuple, desc, state_column);
	after = SPI_getvalue(trigger->tg_newtuple, desc, state_column);
	if (before != NULL && after != NULL && strcmp(before, after) != 0)
	{
		RequestState from;
		RequestState to;
		int since = request_column(relation, "state_since");
		int closed = request_column(relation, "closed_at");
		Datum old_since = heap_getattr(trigger->tg_trigtuple, since, desc, &isnull);
		Datum new_since = heap_getattr(trigger->tg_newtuple, since, desc, &isnull);
		Datum closed_at;
		bool closed_isnull;

		if (!request_state_parse(after, &to) || !request_state_parse(before, &from))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is no state of a request", after),
							errhint("The states are new, waiting_agent, offered, assigned, waiting_customer, done and "
									"cancelled.")));
		if (!request_may_become(from, to))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("request %s cannot go from \"%s\" to \"%s\"",
								   SPI_getvalue(trigger->tg_trigtuple, desc, request_column(relation, "request_id")),
								   before, after),
							errhint("What may follow: %s.", successor_names(from))));

		closed_at = heap_getattr(trigger->tg_newtuple, closed, desc, &closed_isnull);
		/*
		 * It is in that state since it was closed, where the statement says when that was, whatever else it says; else
		 * as of now: after all that was logged before, perhaps in this transaction.
		 */
		if (request_state_ends(to) && !closed_isnull)
		{
			columns[changed] = since;
			values[changed++] = closed_at;
		}
		else if (isnull || DatumGetTimestampTz(new_since) == DatumGetTimestampTz(old_since))
		{
			new_since = TimestampTzGetDatum(GetCurrentTimestamp());
			columns[changed] = since;
			values[changed++] = new_since;
		}
		if (request_state_ends(to) == closed_isnull)
		{
			columns[changed] = closed;
			values[changed] = new_since;
			nulls[changed++] = !closed_isnull;
		}
	}
	return PointerGetDatum(heap_modify_tuple_by_cols(trigger->tg_newtuple, desc, changed, columns, values, nulls));
}
