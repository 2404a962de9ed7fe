/*
 * wait.c
 *	  The customer who waits for an answer, and writes once more.
 *
 * That is the most ordinary contact of all: it goes into the request that the ones before it went into, and changes no
 * clock. So the customer's row says of messages of which request and channel that holds, and of those that name no
 * request where the row of that is: then neither the requests of the customer are looked for nor its clocks, each of
 * which lie somewhere else for each customer.
 *
 * What makes that hold no more is told by one of three things, all of which are looked at. Who changes the request
 * leaves another version of its row. Who opens another request, or writes what may change a clock, has the customer's
 * row and takes the hint out of it, or, where somebody else had the row, has noted the customer in sla_behind. What
 * commits after the snapshot makes no difference but where the customer's row was changed, which is found out when
 * this message changes it: see prompt.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "core/look.h"
#include "core/row.h"
#include "request/request.h"
#include "sla/clock.h"
#include "sla/sla.h"

LookUp sla_known_look = {
	.table = "sla_customer",
	.nkeys = 1,
	.for_change = true,
	.ncolumns = SLA_KNOWN_COLUMNS,
	.columns = (const TableColumn[]){{"customer_id", INT8OID},
									 {"last_at", TIMESTAMPTZOID},
									 {"last_rank", INT2OID},
									 {"oldest_at", TIMESTAMPTZOID},
									 {"grouped", BOOLOID},
									 {"waits_request_id", INT8OID},
									 {"waits_channel", TEXTOID},
									 {"waits_place", TIDOID}},
};

static LookUp behind_look = {
	.table = "sla_behind",
	.nkeys = 1,
	.seldom = true,
	.ncolumns = 1,
	.columns = (const TableColumn[]){{"customer_id", INT8OID}},
};

#define PASSED_COLUMNS 5
#define CHANGED_COLUMNS 8

static const TableColumn changed_columns[CHANGED_COLUMNS] = {
	{"last_at", TIMESTAMPTZOID}, {"last_rank", INT2OID},        {"next_at", TIMESTAMPTZOID}, {"next_rank", INT2OID},
	{"late", BOOLOID},           {"waits_request_id", INT8OID}, {"waits_channel", TEXTOID},  {"waits_place", TIDOID},
};

static RowTable changed_row = {
	.name = "sla_customer",
	.change = true,
	.yields = true,
	.ncolumns = CHANGED_COLUMNS,
	.columns = changed_columns,
};

/* What the customer waits for stays. */
static RowTable passed_row = {
	.name = "sla_customer",
	.change = true,
	.yields = true,
	.ncolumns = PASSED_COLUMNS,
	.columns = changed_columns,
};

/* What was written of requests while nobody kept anything of customers, whose rows, called one, are taken if so. */
#define WAITS_FORGET(so)                                                                                               \
	"WITH k AS MATERIALIZED (SELECT DISTINCT r.customer_id FROM omnichannel.request AS r"                              \
	" WHERE r.request_id = ANY ($1)), held AS MATERIALIZED (SELECT h.* FROM k"                                         \
	" CROSS JOIN LATERAL (SELECT one.customer_id, one.waits_request_id FROM omnichannel.sla_customer AS one"           \
	" WHERE one.customer_id = k.customer_id" so " FOR UPDATE SKIP LOCKED) AS h), forgotten AS"                         \
	" (UPDATE omnichannel.sla_customer AS h SET waits_request_id = NULL FROM held"                                     \
	" WHERE h.customer_id = held.customer_id AND held.waits_request_id IS NOT NULL)"                                   \
	" INSERT INTO omnichannel.sla_behind (customer_id, since) SELECT k.customer_id, 'infinity' FROM k"                 \
	" WHERE k.customer_id NOT IN (SELECT held.customer_id FROM held) AND EXISTS"                                       \
	" (SELECT FROM omnichannel.sla_customer AS h WHERE h.customer_id = k.customer_id)"

static KeptPlan waits_forget = {
	.sql = WAITS_FORGET(""),
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Of whoever is merged nothing is taken but with the row of the root, as everywhere. */
static KeptPlan merged_waits_forget = {
	.sql = WAITS_FORGET(" AND (NOT one.grouped OR EXISTS (SELECT FROM omnichannel.customer AS c"
						" WHERE c.customer_id = one.customer_id AND c.merged_into IS NULL) OR EXISTS"
						" (SELECT FROM omnichannel.sla_customer AS root WHERE root.customer_id = (SELECT c.merged_into"
						" FROM omnichannel.customer AS c WHERE c.customer_id = one.customer_id)"
						" FOR UPDATE SKIP LOCKED))"),
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Returns whether something of the customer is noted that is not followed yet, or may be. */
static bool
is_behind(int64 customer_id, Snapshot snapshot)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	LookScan scan;
	Datum row[1];
	bool nulls[1];
	bool found;

	if (!look_begin(&scan, &behind_look, keys, 1, snapshot))
		return true;
	found = look_next(&scan, false, row, nulls);
	look_end(&scan);
	return found;
}

/* Returns whether a moment is a message of the customer. */
bool
sla_is_message(const SlaMoment *moment)
{
	return moment->what == MOMENT_INBOUND && strcmp(moment->outcome, "received") == 0;
}

/* Returns whether a moment is a message that the customer's row may tell of, if it is in this request and channel. */
static bool
is_told_by_row(const SlaMoment *moment)
{
	return sla_is_message(moment) && moment->request_id != 0 && moment->thread == NULL;
}

/* Returns whether a row of sla_known_look says that a moment moves no clock and need not be written. */
bool
sla_known_to_wait(const SlaMoment *moment, const Datum *row, const bool *nulls)
{
	return !nulls[5] && !nulls[6] && is_told_by_row(moment) && DatumGetInt64(row[5]) == moment->request_id &&
		   strcmp(TextDatumGetCString(row[6]), moment->channel) == 0;
}

/* Sets how far the customer is known by a moment that comes in order. */
static void
pass(TimestampTz at, MomentKind what, Datum *values)
{
	values[0] = values[2] = TimestampTzGetDatum(at);
	values[1] = values[3] = Int16GetDatum((int16) what);
	values[4] = BoolGetDatum(false);
}

/*
 * Takes in a moment that comes in order in the row of sla_known_look that the scan is on; returns false where
 * somebody else has changed that since the scan's snapshot, or is about to. waits: the customer waits, and the next
 * message need not be written either; request is what is known of its request, or NULL. moves: clocks may move, and
 * nothing is known of the next.
 */
bool
sla_known_change(LookScan *scan, const SlaMoment *moment, const SlaRequestState *request, bool waits, bool moves,
				 const Datum *row, const bool *row_nulls)
{
	Datum values[CHANGED_COLUMNS];
	bool nulls[CHANGED_COLUMNS] = {0};

	pass(moment->at, moment->what, values);
	for (int i = 5; i < CHANGED_COLUMNS; i++)
	{
		values[i] = row[i];
		nulls[i] = row_nulls[i] || moves;
	}
	if (waits && is_told_by_row(moment))
	{
		if (request != NULL && ItemPointerIsValid(&request->place))
		{
			values[7] = PointerGetDatum(&request->place);
			nulls[7] = false;
		}
		else
			nulls[7] = request != NULL || row_nulls[7] || !sla_known_to_wait(moment, row, row_nulls);
		values[5] = Int64GetDatum(moment->request_id);
		values[6] = CStringGetTextDatum(moment->channel);
		nulls[5] = nulls[6] = false;
	}
	return row_change(&changed_row, scan, values, nulls);
}

/*
 * sla_wait_find returns whether the customer's message at that time, received and without a thread, goes into a request
 * and moves no clock, if that request is open and the newest that was open in the message's channel, which is for the
 * caller to see: there must be a row of it at request_place. Needs an SPI scope that may write the tables of this room.
 */
bool
sla_wait_find(int64 customer_id, const char *channel, TimestampTz at, Snapshot snapshot, SlaWait *wait)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	LookScan scan;
	Datum row[SLA_KNOWN_COLUMNS];
	bool nulls[SLA_KNOWN_COLUMNS];
	bool found;

	if (sla_policies_to_write()->count == 0 || !look_begin(&scan, &sla_known_look, keys, 1, snapshot))
		return false;
	found = look_next(&scan, false, row, nulls) && !nulls[5] && !nulls[6] && !nulls[7] && !DatumGetBool(row[4]) &&
			at > DatumGetTimestampTz(row[1]) && at >= DatumGetTimestampTz(row[3]) &&
			strcmp(TextDatumGetCString(row[6]), channel) == 0;
	if (found)
	{
		wait->request_id = DatumGetInt64(row[5]);
		wait->request_place = *(ItemPointer) DatumGetPointer(row[7]);
		wait->place = scan.slot->tts_tid;
	}
	look_end(&scan);
	return found && !is_behind(customer_id, snapshot);
}

/*
 * sla_wait_go_on takes in the message of which sla_wait_find() has told under the active snapshot, and which is to say
 * itself that it is still; returns false, having done nothing, where somebody else has had to do with the customer
 * since, or has the customer's row: then what others did whom that kept from telling is to be looked at, too.
 */
bool
sla_wait_go_on(SlaWait *wait, TimestampTz at)
{
	Datum values[PASSED_COLUMNS];

	pass(at, MOMENT_INBOUND, values);
	if (!row_change_at(&passed_row, &wait->place, values, NULL))
		return false;
	requests_told(&wait->request_id, 1);
	return true;
}

/*
 * Forgets what customers wait for whose requests were opened or changed; merged says that some of them may be merged
 * into others. Waits for nobody. Needs an SPI scope.
 */
void
sla_waits_forget(const int64 *request_ids, int count, bool merged)
{
	Datum values[1] = {id_array(request_ids, count)};

	(void) kept_plan_run(merged ? &merged_waits_forget : &waits_forget, values, NULL, false, 0);
}
