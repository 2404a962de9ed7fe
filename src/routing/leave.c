/*
 * leave.c
 *	  How a request leaves its queue otherwise than by an offer, and comes back: both are kept in waiting_history.
 *
 * What an offer ends is told by the assignment, which is why neither route() nor claim() write anything here. The
 * history is written with the rights of the tables' owner, by a statement of its own that says what the caller's own
 * rights have just done: nobody else need be able to write it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "routing/route.h"
#include "routing/rows.h"

SQL_FUNCTION(omnichannel_leave_lane);

/* A request that was closed or released by a plain statement left when it was, not when somebody sees it. */
#define LEAVE_SQL(the_row)                                                                                             \
	"WITH gone AS (DELETE FROM omnichannel.waiting WHERE request_id = " the_row " RETURNING *),"                       \
	" kept AS (INSERT INTO omnichannel.kept_place (request_id, entered_at, until, queued_at) SELECT $1, $2, $3, $5"    \
	" WHERE $3 > $4 ON CONFLICT (request_id) DO UPDATE SET entered_at = $2, until = $3, queued_at = $5)"               \
	" SELECT g.customer_id, l.queue, l.channel, g.entered_at, g.queued_at, greatest(g.queued_at,"                      \
	" CASE WHEN q.state <> 'waiting_agent' THEN coalesce(q.closed_at, q.state_since) ELSE clock_timestamp() END),"     \
	" coalesce(q.state, 'cancelled')"                                                                                  \
	" FROM gone AS g JOIN omnichannel.lane AS l USING (lane_id)"                                                       \
	" LEFT JOIN omnichannel.request AS q ON q.request_id = g.request_id AND q.customer_id = g.customer_id"

#define LEAVE_ARGS .nargs = 5, .argtypes = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID}

/* Whether to wait for whoever has the row. */
static KeptPlan leave_plans[2] = {
	{.sql = LEAVE_SQL("(SELECT w.request_id FROM omnichannel.waiting AS w WHERE w.request_id = $1"
					  " FOR UPDATE SKIP LOCKED)"),
	 LEAVE_ARGS},
	{.sql = LEAVE_SQL("$1"), LEAVE_ARGS},
};

static KeptPlan place_delete = {
	.sql = "DELETE FROM omnichannel.kept_place WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Nothing happens before what is on record: a statement may tell of a time that was before the last offer. */
static KeptPlan history_insert = {
	.sql = "INSERT INTO omnichannel.waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at,"
		   " happened_at, event) SELECT $1, $2, $3, $4, $5, $6, greatest($7, (SELECT max(h.ended_at)"
		   " FROM omnichannel.assignment_history AS h WHERE h.request_id = $1), (SELECT max(h.happened_at)"
		   " FROM omnichannel.waiting_history AS h WHERE h.request_id = $1)), $8",
	.nargs = 8,
	.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
};

/* Of those that wait in a lane, which goes with its queue or its channel; what somebody takes out of it he tells of. */
static KeptPlan lane_leave = {
	.sql =
		"WITH left_behind AS (SELECT * FROM omnichannel.waiting WHERE lane_id = $1 FOR UPDATE)"
		" INSERT INTO omnichannel.waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at,"
		" happened_at, event) SELECT w.request_id, w.customer_id, $2, $3, w.entered_at, w.queued_at,"
		" greatest(clock_timestamp(), w.queued_at), CASE coalesce(q.state, 'cancelled')"
		" WHEN 'cancelled' THEN 'cancelled' WHEN 'done' THEN 'done_elsewhere' WHEN 'waiting_customer' THEN 'abandoned'"
		" ELSE 'transferred' END FROM left_behind AS w LEFT JOIN omnichannel.request AS q"
		" ON q.request_id = w.request_id AND q.customer_id = w.customer_id ORDER BY w.request_id",
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, TEXTOID},
};

/* Writes down what became of a request that waited: the first seven columns, and what it was. */
static void
note_history(Datum *values, const char *event)
{
	OwnerSwitch owner;

	values[7] = CStringGetTextDatum(event);
	owner_switch_begin(&owner);
	(void) kept_plan_run(&history_insert, values, NULL, false, 0);
	owner_switch_end(&owner);
}

/* left_early returns what is said of a request that is in this state now and that nobody had accepted before. */
const char *
left_early(const char *state)
{
	return strcmp(state, "done") == 0 ? LEFT_DONE : strcmp(state, "cancelled") == 0 ? LEFT_CANCELLED : LEFT_ABANDONED;
}

/*
 * Takes a request out of its queue by these arguments and notes the event, unless NULL. What has been closed by now was
 * not given up.
 */
static void
leave_by_plan(Datum *arguments, bool wait, const char *event)
{
	Datum values[8] = {arguments[0]};
	bool isnull;

	/* A lane that is there no more has gone with its queue, and told of all in it. */
	if (kept_plan_run(&leave_plans[wait], arguments, NULL, false, 0) == 0 || event == NULL)
		return;
	for (int i = 1; i < 7; i++)
		values[i] =
			i == 2 || i == 3 ? CStringGetTextDatum(spi_text(0, i, CurrentMemoryContext)) : spi_datum(0, i, &isnull);
	if (strcmp(event, LEFT_ABANDONED) == 0)
		event = left_early(spi_text(0, 7, CurrentMemoryContext));
	note_history(values, event);
}

/*
 * leave_queue takes a request out of its queue; its place is kept until then where that is to come.
 *
 * event is what waiting_history is to say of it, NULL where it does not leave or an assignment says so. Needs an SPI
 * scope.
 */
void
leave_queue(MatchRequest *request, TimestampTz keep_until, const char *event)
{
	Datum values[5] = {Int64GetDatum(request->request_id), TimestampTzGetDatum(request->entered_at),
					   TimestampTzGetDatum(keep_until), TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
					   TimestampTzGetDatum(request->queued_at)};

	leave_by_plan(values, true, event);
	request->waiting = false;
}

/* leave_closed takes a request that was closed without a word to the queue out of it, unless somebody has its place. */
void
leave_closed(RoutingConfig *config, int64 request_id)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Datum values[5] = {Int64GetDatum(request_id), TimestampTzGetDatum(now), TimestampTzGetDatum(DT_NOBEGIN),
					   TimestampTzGetDatum(now), TimestampTzGetDatum(now)};
	SpiScope scope;

	routing_scope_begin(&scope);
	leave_by_plan(values, false, LEFT_ABANDONED);
	spi_scope_end(&scope);
	if (config->rows != NULL)
		rows_refresh(config->rows);
}

/*
 * leave_other_queue takes a request that waits in another queue than its own, because a plain statement has changed
 * that, out of it: it comes into its own one now, with its age.
 */
void
leave_other_queue(RoutingConfig *config, MatchRequest *request)
{
	const Lane *lane = request->waiting ? lane_find(config, request->waits_in) : NULL;
	SpiScope scope;

	if (!request->waiting || (lane != NULL && lane->queue == request->queue))
		return;
	routing_scope_begin(&scope);
	leave_queue(request, DT_NOBEGIN, LEFT_TRANSFERRED);
	spi_scope_end(&scope);
	if (config->rows != NULL)
		rows_refresh(config->rows);
	request->queued_at = GetCurrentTransactionStartTimestamp();
}

/*
 * leave_forget_place forgets the place that was kept for the customer of a request, who is back since then. Needs an
 * SPI scope.
 */
void
leave_forget_place(const RoutingConfig *config, const MatchRequest *request, TimestampTz since)
{
	Datum values[8] = {Int64GetDatum(request->request_id),
					   Int64GetDatum(request->customer_id),
					   CStringGetTextDatum(config->queues[request->queue].queue),
					   CStringGetTextDatum(config->channels[request->channel].channel),
					   TimestampTzGetDatum(request->entered_at),
					   TimestampTzGetDatum(request->queued_at),
					   TimestampTzGetDatum(since)};

	if (kept_plan_run(&place_delete, values, NULL, false, 0) > 0)
		note_history(values, LEFT_RETURNED);
}

/* leave_lane(): trigger function; notes that what waits in a lane that is deleted has left its queue. */
Datum
omnichannel_leave_lane(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "lane");
	static const char *const columns[] = {"lane_id", "queue", "channel"};
	Datum values[3];
	SpiScope scope;
	bool isnull;

	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"leave_lane\" must be fired BEFORE DELETE FOR EACH ROW of lane")));
	for (int i = 0; i < (int) lengthof(columns); i++)
		values[i] = heap_getattr(trigger->tg_trigtuple, SPI_fnumber(RelationGetDescr(trigger->tg_relation), columns[i]),
								 RelationGetDescr(trigger->tg_relation), &isnull);
	spi_scope_begin(&scope, true);
	(void) kept_plan_run(&lane_leave, values, NULL, false, 0);
	spi_scope_end(&scope);
	return PointerGetDatum(trigger->tg_trigtuple);
}
