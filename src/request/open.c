/*
 * open.c
 *	  Opens requests.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "omnichannel.h"
#include "customer/customer.h"
#include "request/request.h"

SQL_FUNCTION(omnichannel_open_request);

/* What a request is opened with; NULL pointers and agent_id 0 stand for what is not given. */
typedef struct RequestOpening
{
	int64 customer_id;
	const char *kind;
	const char *channel;
	const char *queue;
	int32 priority;
	const char *requires;
	const char *prefers;
	Jsonb *data;
	int64 agent_id;
	const char *subject;
	TimestampTz opened_at;
} RequestOpening;

static KeptPlan request_insert = {
	.sql =
		"INSERT INTO omnichannel.request (customer_id, kind, state, channel, queue, priority, requires, prefers, data,"
		" agent_id, subject, opened_at, state_since)"
		" VALUES ($1, $2, $3, $4, $5, $6, CAST($7 AS omnichannel.skill_set), CAST($8 AS omnichannel.skill_set),"
		" coalesce($9, '{}'), $10, $11, $12, $12) RETURNING request_id",
	.nargs = 12,
	.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, JSONBOID, INT8OID, TEXTOID,
				 TIMESTAMPTZOID},
};

static KeptPlan queue_select = {
	.sql = "SELECT FROM omnichannel.queue WHERE queue = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static KeptPlan agent_select = {
	.sql = "SELECT FROM omnichannel.agent WHERE agent_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Bytes of a subject, as of a contact's. */
#define SUBJECT_MAX 998

/* request_agent_exists returns whether there is an agent, also for whoever may not read them. Needs an SPI scope. */
bool
request_agent_exists(int64 agent_id)
{
	Datum value = Int64GetDatum(agent_id);
	OwnerSwitch owner;
	bool exists;

	owner_switch_begin(&owner);
	exists = kept_plan_run(&agent_select, &value, NULL, false, 1) > 0;
	owner_switch_end(&owner);
	return exists;
}

/* request_check_agent raises 23503 for an agent that there is not. Needs an SPI scope. */
void
request_check_agent(int64 agent_id)
{
	if (!request_agent_exists(agent_id))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("agent " INT64_FORMAT " does not exist", agent_id),
				 errhint("The table omnichannel.agent lists the agents; NULL is for none.")));
}

/* Raises 23503 for a queue or an agent that there is not; whoever opens a request need not read them. */
static void
check_references(const RequestOpening *opening)
{
	OwnerSwitch owner;

	if (opening->agent_id != 0)
		request_check_agent(opening->agent_id);
	owner_switch_begin(&owner);
	if (opening->queue != NULL)
	{
		Datum value = CStringGetTextDatum(opening->queue);

		if (kept_plan_run(&queue_select, &value, NULL, false, 1) == 0)
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
							errmsg("queue \"%s\" does not exist", excerpt(opening->queue)),
							errhint("The table omnichannel.queue lists the queues; NULL is for none.")));
	}
	owner_switch_end(&owner);
}

/* Returns a text datum, marking in nulls what is not there. */
static Datum
text_or_null(const char *value, char *null)
{
	*null = value == NULL ? 'n' : ' ';
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/*
 * request_open inserts a request and returns its id.
 *
 * Needs an SPI scope. Raises 23503 for an unknown customer, channel, queue or agent, 55000 for an erased customer,
 * 22023 for a bad kind or data, 22001 for an overlong subject, 22008 for a time that is infinite or to come.
 */
static int64
request_open(const RequestOpening *opening)
{
	RequestState state = opening->agent_id != 0   ? REQUEST_ASSIGNED
						 : opening->queue != NULL ? REQUEST_WAITING_AGENT
												  : REQUEST_NEW;
	Datum values[12];
	char nulls[12];
	int64 request_id;

	if (opening->kind[0] == '\0' || strlen(opening->kind) > 63)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is no kind of request", excerpt(opening->kind)),
						errhint("A kind is a code of 1 to 63 bytes, as in complaint.")));
	if (TIMESTAMP_NOT_FINITE(opening->opened_at) || opening->opened_at > GetCurrentTimestamp() + CLOCK_SKEW)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a request cannot be opened at %s", timestamptz_to_str(opening->opened_at)),
						errhint("Give the time when it was opened, or NULL for now.")));
	if (opening->data != NULL && !JB_ROOT_IS_OBJECT(opening->data))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the data of a request are no JSON object"),
						errhint("Write them as in '{\"order\": 17}'.")));
	if (opening->subject != NULL && strlen(opening->subject) > SUBJECT_MAX)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the subject of a request is longer than %d bytes", SUBJECT_MAX),
						errhint("What the request says belongs in its data.")));
	(void) channel_get(opening->channel);
	customer_require(opening->customer_id);
	check_references(opening);

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(opening->customer_id);
	values[1] = CStringGetTextDatum(opening->kind);
	values[2] = CStringGetTextDatum(request_state_name(state));
	values[3] = CStringGetTextDatum(opening->channel);
	values[4] = text_or_null(opening->queue, &nulls[4]);
	values[5] = Int32GetDatum(opening->priority);
	values[6] = text_or_null(opening->requires, &nulls[6]);
	values[7] = text_or_null(opening->prefers, &nulls[7]);
	values[8] = JsonbPGetDatum(opening->data);
	nulls[8] = opening->data == NULL ? 'n' : ' ';
	values[9] = Int64GetDatum(opening->agent_id);
	nulls[9] = opening->agent_id == 0 ? 'n' : ' ';
	values[10] = text_or_null(opening->subject, &nulls[10]);
	values[11] = TimestampTzGetDatum(opening->opened_at);

	if (requests_write(&request_insert, values, nulls) != 1)
		rows_not_taken("request");
	request_id = spi_id(0, 1);
	requests_changed(&request_id, 1);
	return request_id;
}

/* open_request(customer_id, kind, channel, …): returns the new request's id. */
Datum
omnichannel_open_request(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"customer_id", "kind", "channel"};
	RequestOpening opening = {0};
	SpiScope scope;
	int64 request_id;

	for (int i = 0; i < (int) lengthof(required); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be NULL", required[i]),
							errhint("A request names its customer, its kind and the channel it was opened in.")));

	opening.customer_id = PG_GETARG_INT64(0);
	opening.kind = text_argument(fcinfo, 1);
	opening.channel = text_argument(fcinfo, 2);
	opening.queue = text_argument(fcinfo, 3);
	opening.priority = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4);
	opening.requires = text_argument(fcinfo, 5);
	opening.prefers = text_argument(fcinfo, 6);
	opening.data = PG_ARGISNULL(7) ? NULL : PG_GETARG_JSONB_P(7);
	opening.agent_id = PG_ARGISNULL(8) ? 0 : PG_GETARG_INT64(8);
	opening.subject = text_argument(fcinfo, 9);
	opening.opened_at = PG_ARGISNULL(10) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(10);

	omni_table("request");
	spi_scope_begin(&scope, false);
	request_id = request_open(&opening);
	spi_scope_end(&scope);
	PG_RETURN_INT64(request_id);
}
