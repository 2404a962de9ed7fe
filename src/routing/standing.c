/*
 * standing.c
 *	  A request that looks for an agent, and where it stands: read without SQL where rows are open, by a statement
 *	  otherwise.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "routing/match.h"
#include "routing/rows.h"

static KeptPlan request_select = {
	.sql = "SELECT q.customer_id, q.state, q.queue, coalesce(q.current_channel, q.channel), q.requires, q.prefers,"
		   " q.priority, q.agent_id, q.state_since, w.entered_at, w.due_at, a.agent_id, a.accepted_at IS NOT NULL,"
		   " a.entered_at, a.due_at, p.entered_at, a.expires_at, array_append((SELECT array_agg(m.customer_id)"
		   " FROM omnichannel.customer AS m WHERE m.merged_into = coalesce(c.merged_into, c.customer_id)),"
		   " coalesce(c.merged_into, c.customer_id)), w.lane_id, w.priority,"
		   " coalesce(w.queued_at, a.queued_at, p.queued_at), w.rank, a.lane_id, a.owner_id"
		   " FROM omnichannel.request AS q"
		   " JOIN omnichannel.customer AS c ON c.customer_id = q.customer_id"
		   " LEFT JOIN omnichannel.waiting AS w ON w.request_id = q.request_id"
		   " LEFT JOIN omnichannel.assignment AS a ON a.request_id = q.request_id"
		   " LEFT JOIN omnichannel.kept_place AS p ON p.request_id = q.request_id AND p.until > $2"
		   " WHERE q.request_id = $1",
	.nargs = 2,
	.argtypes = {INT8OID, TIMESTAMPTZOID},
};

/* Returns a copy of the skills in a column of the last result, the empty set for NULL. */
static SkillSet *
spi_skills(uint64 row, int column)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	return isnull ? skill_set_from_text("") : (SkillSet *) PG_DETOAST_DATUM_COPY(value);
}

/* Raises 23503. */
pg_noreturn static void
request_is_missing(int64 request_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("request " INT64_FORMAT " does not exist", request_id),
			 errhint("open_request() opens one and returns its id.")));
}

/* Fills in queue and channel, which are NULL for none; raises 23503 where the configuration has them not. */
static void
set_codes(const RoutingConfig *config, MatchRequest *request, const char *queue, const char *channel)
{
	request->closed = strcmp(request->state, "done") == 0 || strcmp(request->state, "cancelled") == 0;
	request->queue = queue == NULL ? -1 : config_queue(config, queue);
	request->channel = config_channel(config, channel);

	/* What the configuration does not see is what row-level security hides. */
	if (queue != NULL && request->queue < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("queue \"%s\" of request " INT64_FORMAT " does not exist", queue, request->request_id),
				 errhint("Insert it into omnichannel.queue.")));
	if (request->channel < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("channel \"%s\" of request " INT64_FORMAT " does not exist", channel, request->request_id),
				 errhint("Insert it into omnichannel.channel.")));
}

/* Returns the ids under which a customer is on record, as bigint[]. */
static Datum
family_by_rows(Rows *rows, int64 customer_id)
{
	RowsScan *scan;
	Datum *ids = palloc(sizeof(Datum) * 8);
	int room = 8;
	int count = 0;
	int64 root = customer_id;
	bool isnull = true;

	if (rows_find(rows, ROWS_CUSTOMER, customer_id))
	{
		Datum merged_into = slot_getattr(rows->slots[ROWS_CUSTOMER], CUSTOMER_MERGED_INTO, &isnull);

		if (!isnull)
			root = DatumGetInt64(merged_into);
	}
	scan = rows_scan(rows, ROWS_CUSTOMER, ROWS_BY_MERGED_INTO, root);
	while (rows_next(rows, ROWS_CUSTOMER, scan, ForwardScanDirection))
	{
		if (count + 1 == room)
			ids = repalloc(ids, sizeof(Datum) * (room *= 2));
		ids[count++] = slot_getattr(rows->slots[ROWS_CUSTOMER], 1, &isnull);
	}
	rows_end(scan);
	rows_done(rows, ROWS_CUSTOMER);
	ids[count++] = Int64GetDatum(root);
	return array_of(ids, NULL, count, INT8OID);
}

/* match_root returns who the customer of a request is by now. */
int64
match_root(const MatchRequest *request)
{
	ArrayType *ids = DatumGetArrayTypeP(request->family);

	return ((const int64 *) ((char *) ids + ARR_OVERHEAD_NONULLS(1)))[ARR_DIMS(ids)[0] - 1];
}

/* match_row reads what a request's own row says, where rows are open; returns false where there is none. */
bool
match_row(const RoutingConfig *config, int64 request_id, MatchRequest *request)
{
	Rows *rows = config->rows;
	TupleTableSlot *slot = rows->slots[ROWS_REQUEST];
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;
	char *queue;

	if (!rows_find(rows, ROWS_REQUEST, request_id))
		return false;
	slot_getsomeattrs(slot, REQUEST_STATE_SINCE);
	memset(request, 0, sizeof(*request));
	request->request_id = request_id;
	request->customer_id = DatumGetInt64(values[REQUEST_CUSTOMER_ID - 1]);
	strlcpy(request->state, TextDatumGetCString(values[REQUEST_STATE - 1]), sizeof(request->state));
	queue = nulls[REQUEST_QUEUE - 1] ? NULL : TextDatumGetCString(values[REQUEST_QUEUE - 1]);
	request->requires = nulls[REQUEST_REQUIRES - 1] ? skill_set_from_text("")
													: (SkillSet *) PG_DETOAST_DATUM_COPY(values[REQUEST_REQUIRES - 1]);
	request->prefers = nulls[REQUEST_PREFERS - 1] ? skill_set_from_text("")
												  : (SkillSet *) PG_DETOAST_DATUM_COPY(values[REQUEST_PREFERS - 1]);
	request->priority = DatumGetInt32(values[REQUEST_PRIORITY - 1]);
	request->agent_id = nulls[REQUEST_AGENT_ID - 1] ? 0 : DatumGetInt64(values[REQUEST_AGENT_ID - 1]);
	request->entered_at = strcmp(request->state, "waiting_agent") == 0
							  ? DatumGetTimestampTz(values[REQUEST_STATE_SINCE - 1])
							  : GetCurrentTransactionStartTimestamp();
	request->queued_at = request->entered_at;
	request->due_at = DT_NOEND;
	set_codes(config, request, queue,
			  TextDatumGetCString(
				  values[(nulls[REQUEST_CURRENT_CHANNEL - 1] ? REQUEST_CHANNEL : REQUEST_CURRENT_CHANNEL) - 1]));
	return true;
}

/* Reads a request as match_look() does, where rows are open. */
static bool
load_by_rows(const RoutingConfig *config, int64 request_id, MatchRequest *request)
{
	Rows *rows = config->rows;

	if (!match_row(config, request_id, request))
		return false;
	if (rows_find(rows, ROWS_KEPT_PLACE, request_id))
	{
		const KeptPlaceRow *place = rows_data(rows, ROWS_KEPT_PLACE);

		request->kept_place = place->until > GetCurrentTransactionStartTimestamp();
		if (request->kept_place)
		{
			request->entered_at = place->entered_at;
			request->queued_at = place->queued_at;
		}
	}
	request->waiting = rows_find(rows, ROWS_WAITING, request_id);
	if (rows_find(rows, ROWS_ASSIGNMENT, request_id))
	{
		const AssignmentRow *assignment = rows_data(rows, ROWS_ASSIGNMENT);
		Datum owner;
		bool isnull;

		request->assigned_to = assignment->agent_id;
		request->assigned_in = assignment->lane_id;
		(void) slot_getattr(rows->slots[ROWS_ASSIGNMENT], ASSIGNMENT_ACCEPTED_AT, &request->accepted);
		request->accepted = !request->accepted;
		owner = slot_getattr(rows->slots[ROWS_ASSIGNMENT], ASSIGNMENT_OWNER_ID, &isnull);
		request->owner_id = isnull ? 0 : DatumGetInt64(owner);
		request->entered_at = assignment->entered_at;
		request->queued_at = assignment->queued_at;
		request->due_at = assignment->due_at;
		request->expires_at = request->waiting ? 0 : assignment->expires_at;
	}
	if (request->waiting)
	{
		const WaitingRow *waiting = rows_data(rows, ROWS_WAITING);

		request->entered_at = waiting->entered_at;
		request->queued_at = waiting->queued_at;
		request->due_at = waiting->due_at;
		request->waits_in = waiting->lane_id;
		request->waits_with = waiting->priority;
		request->rank = waiting->rank;
	}
	request->family = family_by_rows(rows, request->customer_id);
	return true;
}

/*
 * match_look reads a request and where it stands, its queue -1 where it is in none; returns false where there is none.
 *
 * Reads by config->rows if they are open, otherwise needs an SPI scope. Raises 23503 for an unknown queue or channel.
 */
bool
match_look(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Datum values[2] = {Int64GetDatum(request_id), TimestampTzGetDatum(now)};
	char *queue;
	char *channel;
	bool isnull;

	if (config->rows != NULL)
		return load_by_rows(config, request_id, request);
	if (kept_plan_run(&request_select, values, NULL, read_only, 1) == 0)
		return false;

	memset(request, 0, sizeof(*request));
	request->request_id = request_id;
	request->customer_id = spi_id(0, 1);
	strlcpy(request->state, spi_text(0, 2, CurrentMemoryContext), sizeof(request->state));
	queue = spi_text(0, 3, CurrentMemoryContext);
	channel = spi_text(0, 4, CurrentMemoryContext);
	request->requires = spi_skills(0, 5);
	request->prefers = spi_skills(0, 6);
	request->priority = DatumGetInt32(spi_datum(0, 7, &isnull));
	request->agent_id = spi_id(0, 8);

	request->family = PointerGetDatum(PG_DETOAST_DATUM_COPY(spi_datum(0, 18, &isnull)));
	(void) spi_datum(0, 16, &isnull);
	request->kept_place = !isnull;
	(void) spi_datum(0, 10, &isnull);
	request->waiting = !isnull;
	request->assigned_to = spi_id(0, 12);
	request->assigned_in = spi_id(0, 23);
	request->owner_id = spi_id(0, 24);
	request->accepted = request->assigned_to != 0 && DatumGetBool(spi_datum(0, 13, &isnull));
	if (request->waiting)
	{
		request->entered_at = spi_time(0, 10, now);
		request->due_at = spi_time(0, 11, DT_NOEND);
		request->waits_in = spi_id(0, 19);
		request->waits_with = DatumGetInt32(spi_datum(0, 20, &isnull));
		request->rank = spi_id(0, 22);
	}
	else if (request->assigned_to != 0)
	{
		request->entered_at = spi_time(0, 14, now);
		request->due_at = spi_time(0, 15, DT_NOEND);
		request->expires_at = spi_time(0, 17, DT_NOEND);
	}
	else
	{
		TimestampTz since = strcmp(request->state, "waiting_agent") == 0 ? spi_time(0, 9, now) : now;

		request->entered_at = spi_time(0, 16, since);
		request->due_at = DT_NOEND;
	}
	request->queued_at = spi_time(0, 21, request->entered_at);

	set_codes(config, request, queue, channel);
	return true;
}

/* match_moved returns whether a request is offered in another channel than its customer is in by now. */
bool
match_moved(const RoutingConfig *config, const MatchRequest *request)
{
	const Lane *lane = request->assigned_to == 0 || request->accepted ? NULL : lane_find(config, request->assigned_in);

	return lane != NULL && lane->channel != request->channel;
}

/* match_in_place returns whether a request waits as what it is by now; if not, the sweep will see to it. */
bool
match_in_place(const RoutingConfig *config, const MatchRequest *request)
{
	const Lane *lane = request->waiting ? lane_find(config, request->waits_in) : NULL;

	return lane != NULL && request->waits_with == request->priority && strcmp(request->state, "waiting_agent") == 0 &&
		   request->queue >= 0 && lane->queue == request->queue && lane->channel == request->channel &&
		   same_skills(lane->requires, request->requires) && same_skills(lane->prefers, request->prefers);
}

/* match_load does what match_look() does; raises 23503 for an unknown request. */
void
match_load(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request)
{
	if (!match_look(config, request_id, read_only, request))
		request_is_missing(request_id);
}

/* match_check raises 55000 for a request that is closed or in no queue: it needs no agent. */
void
match_check(const MatchRequest *request)
{
	if (request->closed)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " is %s", request->request_id, request->state),
						errhint("Open it again, or open another one with open_request().")));
	if (request->queue < 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("request " INT64_FORMAT " is in no queue", request->request_id),
						errhint("transfer_request(request_id, queue => 'support') puts it into one.")));
}

/* match_read reads a request that needs an agent, as match_load() and match_check() do. */
void
match_read(const RoutingConfig *config, int64 request_id, bool read_only, MatchRequest *request)
{
	match_load(config, request_id, read_only, request);
	match_check(request);
}
