/*
 * prompt.c
 *	  The ordinary contact: it comes in order, and changes no clock.
 *
 * Most contacts go on with what runs already. That is found out by looking: all is read under one snapshot, and
 * nothing is locked. The customer's row of sla_customer is changed then, which waits for whoever holds it; if nobody
 * has changed it since the snapshot, nobody has written a moment or a clock of this customer since, and what was found
 * out holds. Otherwise nothing was done yet, and the contact goes the way of all others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/row.h"
#include "sla/clock.h"

static LookUp known_look = {
	.table = "sla_customer",
	.nkeys = 1,
	.ncolumns = 3,
	.columns = {{"customer_id", INT8OID}, {"last_at", TIMESTAMPTZOID}, {"last_rank", INT2OID}},
};

static LookUp customer_look = {
	.table = "customer",
	.nkeys = 1,
	.ncolumns = 2,
	.columns = {{"customer_id", INT8OID}, {"merged_into", INT8OID}},
};

static LookUp merged_look = {
	.table = "customer",
	.index = "customer_merged_into",
	.nkeys = 1,
	.ncolumns = 1,
	.columns = {{"merged_into", INT8OID}},
};

static LookUp request_look = {
	.table = "request",
	.nkeys = 2,
	.ncolumns = 6,
	.columns = {{"request_id", INT8OID},
				{"customer_id", INT8OID},
				{"state", TEXTOID},
				{"kind", TEXTOID},
				{"queue", TEXTOID},
				{"priority", INT4OID}},
};

static LookUp clocks_look = {
	.table = "sla_clock",
	.index = "sla_clock_open",
	.nkeys = 1,
	.where = LOOK_NULL,
	.where_column = "stopped_at",
	.ncolumns = 7,
	.columns = {{"customer_id", INT8OID},
				{"metric", TEXTOID},
				{"request_id", INT8OID},
				{"channel", TEXTOID},
				{"thread", TEXTOID},
				{"started_at", TIMESTAMPTZOID},
				{"pauses", TSTZMULTIRANGEOID}},
};

static RowTable known_row = {
	.name = "sla_customer",
	.change = true,
	.ncolumns = 5,
	.columns = {{"last_at", TIMESTAMPTZOID},
				{"last_rank", INT2OID},
				{"next_at", TIMESTAMPTZOID},
				{"next_rank", INT2OID},
				{"late", BOOLOID}},
};

static RowTable moment_row = {
	.name = "sla_moment",
	.ncolumns = 9,
	.columns = {{"customer_id", INT8OID},
				{"at", TIMESTAMPTZOID},
				{"moment_id", INT8OID},
				{"what", TEXTOID},
				{"request_id", INT8OID},
				{"contact_id", INT8OID},
				{"channel", TEXTOID},
				{"thread", TEXTOID},
				{"outcome", TEXTOID}},
};

/* Returns a text of a row, NULL for NULL. */
static const char *
text_of(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* Returns whether the customer neither was merged nor had others merged into it. */
static bool
is_alone(int64 customer_id, Snapshot snapshot)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	LookScan scan;
	Datum row[2];
	bool nulls[2];
	bool alone;

	if (!look_begin(&scan, &customer_look, keys, 1, snapshot))
		return false;
	alone = look_next(&scan, false, row, nulls) && nulls[1];
	look_end(&scan);
	if (!alone || !look_begin(&scan, &merged_look, keys, 1, snapshot))
		return false;
	alone = !look_next(&scan, false, row, nulls);
	look_end(&scan);
	return alone;
}

/* Reads what the customer's request says; returns false where it is another's, or unknown. */
static bool
read_request(const SlaMoment *moment, Snapshot snapshot, SlaRequestState *request)
{
	Datum keys[1] = {Int64GetDatum(moment->request_id)};
	LookScan scan;
	Datum row[6];
	bool nulls[6];
	bool known;

	if (!look_begin(&scan, &request_look, keys, 1, snapshot))
		return false;
	known = look_next(&scan, false, row, nulls) && DatumGetInt64(row[1]) == moment->customer_id;
	if (known)
		*request = (SlaRequestState){TextDatumGetCString(row[2]), TextDatumGetCString(row[3]),
									 text_of(row[4], nulls[4]), DatumGetInt32(row[5])};
	look_end(&scan);
	return known;
}

/* Gives the machine the customer's open clocks, as far as contacts go; returns false where they are unknown. */
static bool
read_clocks(SlaMachine *machine, Snapshot snapshot)
{
	Datum keys[1] = {Int64GetDatum(machine->root)};
	LookScan scan;
	Datum row[7];
	bool nulls[7];

	if (!look_begin(&scan, &clocks_look, keys, 1, snapshot))
		return false;
	while (look_next(&scan, false, row, nulls))
	{
		SlaClock *clock = palloc0(sizeof(SlaClock));

		clock->customer_id = machine->root;
		clock->metric = sla_metric_parse(TextDatumGetCString(row[1]));
		clock->request_id = nulls[2] ? 0 : DatumGetInt64(row[2]);
		clock->channel = TextDatumGetCString(row[3]);
		clock->thread = text_of(row[4], nulls[4]);
		clock->started_at = DatumGetTimestampTz(row[5]);
		clock->stopped_at = NO_TIME;
		sla_pauses_read(clock, row[6]);
		sla_machine_add(machine, clock);
	}
	look_end(&scan);
	return true;
}

/* Returns whether the moment of a customer who stands alone changes no clock. */
static bool
changes_nothing(const SlaPolicies *policies, const SlaMoment *moment, const SlaRequestState *request, Snapshot snapshot)
{
	SlaMachine machine;
	SlaRequestState read;
	SlaMoment said;
	SlaClock **before;
	int count;

	sla_machine_begin(&machine, policies, moment->customer_id);
	machine.partial = true;
	if (!read_clocks(&machine, snapshot))
		return false;
	if (moment->request_id != 0)
	{
		if (request == NULL && !read_request(moment, snapshot, &read))
			return false;
		if (request == NULL)
			request = &read;
		/* Whoever changes a request tells of it at once: it says what was said of it. */
		said = (SlaMoment){.what = MOMENT_REQUEST,
						   .request_id = moment->request_id,
						   .customer_id = moment->customer_id,
						   .state = request->state,
						   .kind = request->kind,
						   .queue = request->queue,
						   .priority = request->priority};
		sla_machine_request(&machine, moment->request_id)->last = &said;
	}
	count = machine.clock_count;
	before = palloc(sizeof(SlaClock *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		before[i] = sla_clock_copy(machine.clocks[i]);
	sla_machine_apply(&machine, moment);
	if (machine.clock_count != count)
		return false;
	for (int i = 0; i < count; i++)
		if (sla_clock_moved(machine.clocks[i], before[i]))
			return false;
	return true;
}

/* Writes the moment; returns false, having done nothing, where it cannot be told that it changes no clock. */
static bool
take_moment(const SlaPolicies *policies, const SlaMoment *moment, const SlaRequestState *request, Snapshot snapshot)
{
	int16 rank = (int16) moment->what;
	Datum keys[1] = {Int64GetDatum(moment->customer_id)};
	Datum known[5] = {TimestampTzGetDatum(moment->at), Int16GetDatum(rank), TimestampTzGetDatum(moment->at),
					  Int16GetDatum(rank), BoolGetDatum(false)};
	LookScan scan;
	Datum row[3];
	bool nulls[3];
	bool taken = false;

	if (!look_begin(&scan, &known_look, keys, 1, snapshot))
		return false;
	if (look_next(&scan, false, row, nulls))
	{
		TimestampTz last_at = DatumGetTimestampTz(row[1]);
		bool late = moment->at < last_at || (moment->at == last_at && rank <= DatumGetInt16(row[2]));

		taken = !late && is_alone(moment->customer_id, snapshot) &&
				changes_nothing(policies, moment, request, snapshot) && row_change(&known_row, &scan, known);
	}
	look_end(&scan);
	return taken;
}

/*
 * sla_moment_prompt takes in one contact where it changes no clock; returns false, having done nothing, where that
 * cannot be told, or is not so.
 *
 * request is what the contact's request says under the active snapshot; where it is NULL, all is read under a new one.
 * Needs an SPI scope that may write the tables of this room.
 */
bool
sla_moment_prompt(const SlaPolicies *policies, const SlaMoment *moment, const SlaRequestState *request)
{
	Datum values[9] = {Int64GetDatum(moment->customer_id), TimestampTzGetDatum(moment->at),
					   Int64GetDatum(moment->moment_id),   (Datum) 0,
					   Int64GetDatum(moment->request_id),  Int64GetDatum(moment->contact_id)};
	bool nulls[9] = {0};
	bool taken;

	if (request == NULL)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	taken = take_moment(policies, moment, request, GetActiveSnapshot());
	if (request == NULL)
		PopActiveSnapshot();
	if (!taken)
		return false;

	values[3] = CStringGetTextDatum(sla_moment_name(moment->what));
	nulls[4] = moment->request_id == 0;
	nulls[5] = moment->contact_id == 0;
	values[6] = CStringGetTextDatum(moment->channel);
	nulls[7] = moment->thread == NULL;
	if (moment->thread != NULL)
		values[7] = CStringGetTextDatum(moment->thread);
	nulls[8] = moment->outcome == NULL;
	if (moment->outcome != NULL)
		values[8] = CStringGetTextDatum(moment->outcome);
	if (!row_insert(&moment_row, values, nulls, false))
		sla_moment_write(moment);
	return true;
}
