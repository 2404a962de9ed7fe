/*
 * write.c
 *	  Clocks that were made, changed or are no more, gathered and written together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/direct.h"
#include "core/row.h"
#include "sla/clock.h"

#define CLOCK_COLUMN_TYPES                                                                                             \
	{                                                                                                                  \
		INT8OID, INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, INTERVALOID,  \
			TEXTOID, TSTZMULTIRANGEOID, TIMESTAMPTZOID, INTERVALOID, TIMESTAMPTZOID, TEXTOID, INTERVALOID,             \
			INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID                                \
	}

/* A row each: joined with arrays they are planned by what the statistics say, which a table that fills is ahead of. */
static KeptPlan clock_insert = {
	.sql =
		"INSERT INTO omnichannel.sla_clock (customer_id, clock_id, metric, policy, request_id, channel, thread,"
		" source, moment_id, started_at, target, calendar, pauses, due_at, time_left, stopped_at, outcome, elapsed,"
		" worked, warn_at, tell_at, warned_at, breached_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,"
		" $23)",
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPES,
};

static KeptPlan clock_update = {
	.sql = "UPDATE omnichannel.sla_clock SET metric = $3, policy = $4, request_id = $5, channel = $6,"
		   " thread = $7, source = $8, moment_id = $9, started_at = $10, target = $11, calendar = $12,"
		   " pauses = $13, due_at = $14, time_left = $15, stopped_at = $16, outcome = $17, elapsed = $18,"
		   " worked = $19, warn_at = $20, tell_at = $21, warned_at = $22, breached_at = $23 WHERE"
		   " customer_id = $1 AND clock_id = $2",
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPES,
	.indexed = true,
};

static KeptPlan clock_delete = {
	.sql = "DELETE FROM omnichannel.sla_clock WHERE customer_id = $1 AND clock_id = $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

static KeptPlan event_withdraw = {
	.sql = "UPDATE omnichannel.sla_event SET withdrawn_at = now()"
		   " WHERE customer_id = $1 AND clock_id = $2 AND event = $3 AND withdrawn_at IS NULL",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TEXTOID},
	.indexed = true,
};

SlaDueListener sla_due_listener = NULL;

static RowTable made_row = {
	.name = "sla_clock",
	.ncolumns = SLA_CLOCK_NCOLUMNS,
	.columns = sla_clock_columns,
};

static const DirectTable made_table = {
	.name = "sla_clock",
	.purpose = DIRECT_INSERT,
	.ncolumns = SLA_CLOCK_NCOLUMNS,
	.columns = sla_clock_columns,
};

static const DirectTable changed_table = {
	.name = "sla_clock",
	.purpose = DIRECT_CHANGE,
	.nkeys = 2,
	.ncolumns = SLA_CLOCK_NCOLUMNS,
	.columns = sla_clock_columns,
};

/* What changes of a clock: all but the first three columns. */
#define UNCHANGED_COLUMNS 3

static RowTable changed_row = {
	.name = "sla_clock",
	.change = true,
	.ncolumns = SLA_CLOCK_NCOLUMNS - UNCHANGED_COLUMNS,
	.columns = sla_clock_columns + UNCHANGED_COLUMNS,
};

/* Begins to gather, or begins anew, in the current context. What is to be reported and to whom stays. */
void
sla_changes_begin(SlaChanges *changes, TimestampTz now)
{
	changes->now = now;
	memset(changes->made, 0, sizeof(changes->made));
	memset(changes->changed, 0, sizeof(changes->changed));
	memset(changes->dropped, 0, sizeof(changes->dropped));
	memset(changes->withdrawn, 0, sizeof(changes->withdrawn));
	memset(&changes->moved, 0, sizeof(changes->moved));
	ItemPointerSetInvalid(&changes->place);
	changes->moved.type = INT8OID;
}

/* Adds a clock to the columns of SLA_CLOCK_COLUMNS. */
static void
add_clock(SlaColumn *columns, const SlaClock *clock)
{
	bool stopped = clock->stopped_at != NO_TIME;
	Interval *target = palloc(sizeof(Interval));

	*target = clock->target;
	sla_column_add_id(&columns[0], clock->customer_id);
	sla_column_add_id(&columns[1], clock->clock_id);
	sla_column_add_text(&columns[2], sla_metric_name(clock->metric));
	sla_column_add_text(&columns[3], clock->policy_code);
	sla_column_add_id(&columns[4], clock->request_id);
	sla_column_add_text(&columns[5], clock->channel);
	sla_column_add_text(&columns[6], clock->thread);
	sla_column_add_text(&columns[7], clock->source);
	sla_column_add_id(&columns[8], clock->moment_id);
	sla_column_add_time(&columns[9], clock->started_at);
	sla_column_add(&columns[10], IntervalPGetDatum(target), false);
	sla_column_add_text(&columns[11], clock->calendar);
	sla_column_add(&columns[12], sla_pauses_datum(clock), false);
	sla_column_add_time(&columns[13], clock->due_at);
	sla_column_add_microseconds(&columns[14], clock->time_left, clock->due_at != NO_TIME);
	sla_column_add_time(&columns[15], clock->stopped_at);
	sla_column_add_text(&columns[16], sla_outcome_name(clock->outcome));
	sla_column_add_microseconds(&columns[17], clock->elapsed, !stopped);
	sla_column_add_microseconds(&columns[18], clock->worked, clock->worked < 0);
	sla_column_add_time(&columns[19], clock->warn_at);
	sla_column_add_time(&columns[20], clock->tell_at);
	sla_column_add_time(&columns[21], clock->warned_at);
	sla_column_add_time(&columns[22], clock->breached_at);
}

/* Returns whether two clocks are stored alike in what the moments say of them. */
static bool
same_course(const SlaClock *left, const SlaClock *right)
{
	if (left->customer_id != right->customer_id || left->request_id != right->request_id ||
		left->moment_id != right->moment_id || left->started_at != right->started_at ||
		left->stopped_at != right->stopped_at || left->elapsed != right->elapsed || left->worked != right->worked ||
		left->pause_count != right->pause_count || !sla_same_text(left->channel, right->channel) ||
		!sla_same_thread(left->thread, left->source, right->thread, right->source))
		return false;
	for (int i = 0; i < left->pause_count; i++)
		if (left->pauses[i].from != right->pauses[i].from || left->pauses[i].to != right->pauses[i].to)
			return false;
	return true;
}

/* Returns whether two clocks are stored alike in what policies and calendars make of that. */
static bool
same_terms(const SlaClock *left, const SlaClock *right)
{
	return left->due_at == right->due_at && left->time_left == right->time_left && left->outcome == right->outcome &&
		   left->warn_at == right->warn_at && left->tell_at == right->tell_at && left->warned_at == right->warned_at &&
		   left->breached_at == right->breached_at && left->target.time == right->target.time &&
		   left->target.day == right->target.day && sla_same_text(left->policy_code, right->policy_code) &&
		   sla_same_text(left->calendar, right->calendar);
}

/* Notes that what was told of a clock is not true any more. */
static void
withdraw(SlaChanges *changes, const SlaClock *before, const char *event)
{
	sla_column_add_id(&changes->withdrawn[0], before->customer_id);
	sla_column_add_id(&changes->withdrawn[1], before->clock_id);
	sla_column_add_text(&changes->withdrawn[2], event);
}

/* Notes that a request's clock is due at another time. */
static void
note_moved(SlaChanges *changes, const SlaClock *clock)
{
	if (clock->request_id != 0)
		sla_column_add_id(&changes->moved, clock->request_id);
}

/* Gathers a stored clock that is no more. */
void
sla_changes_drop(SlaChanges *changes, const SlaClock *before)
{
	if (changes->report != NULL)
		changes->report(changes->context, before, NULL);
	note_moved(changes, before);
	sla_column_add_id(&changes->dropped[0], before->customer_id);
	sla_column_add_id(&changes->dropped[1], before->clock_id);
	if (before->warned_at != NO_TIME)
		withdraw(changes, before, "warning");
	if (before->breached_at != NO_TIME)
		withdraw(changes, before, "breach");
}

/* Gathers a clock, which was stored as before, or is new if that is NULL; returns whether it is to be written. */
bool
sla_changes_put(SlaChanges *changes, SlaClock *clock, const SlaClock *before)
{
	if (before != NULL && same_course(clock, before) && same_terms(clock, before))
		return false;
	if (changes->report != NULL)
	{
		/* Who is told of a new clock wants to find it. */
		if (before == NULL)
			clock->clock_id = nextval_internal(omni_table("sla_clock_clock_id_seq"), true);
		changes->report(changes->context, before, clock);
	}
	if (before == NULL || before->due_at != clock->due_at || before->stopped_at != clock->stopped_at ||
		before->request_id != clock->request_id)
		note_moved(changes, clock);
	if (before != NULL && before->request_id != clock->request_id)
		note_moved(changes, before);
	if (before == NULL)
	{
		add_clock(changes->made, clock);
		return true;
	}
	if (before->warned_at != NO_TIME && clock->warned_at == NO_TIME)
		withdraw(changes, before, "warning");
	if (before->breached_at != NO_TIME && clock->breached_at == NO_TIME)
		withdraw(changes, before, "breach");
	add_clock(changes->changed, clock);
	changes->place = before->place;
	return true;
}

/* Takes a row out of as many columns as the statement has arguments. */
static void
take_row(const SlaColumn *columns, int count, int row, Datum *values, bool *nulls)
{
	for (int i = 0; i < count; i++)
	{
		values[i] = columns[i].values[row];
		nulls[i] = columns[i].nulls[row];
	}
}

/* The same of a clock, which gets a number where it has none. */
static void
take_clock(const SlaColumn *columns, int row, Datum *values, bool *nulls)
{
	take_row(columns, SLA_CLOCK_NCOLUMNS, row, values, nulls);
	if (nulls[1])
		values[1] = Int64GetDatum(nextval_internal(omni_table("sla_clock_clock_id_seq"), true));
	nulls[1] = false;
}

/* Runs a statement with a row. */
static void
run_row(KeptPlan *plan, Datum *values, const bool *isnull)
{
	char nulls[SLA_CLOCK_NCOLUMNS];

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < plan->nargs; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	(void) kept_plan_run(plan, values, nulls, false, 0);
}

/* Runs a statement with each row of the columns. */
static void
run_rows(KeptPlan *plan, const SlaColumn *columns)
{
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];

	for (int row = 0; row < columns[0].count; row++)
	{
		take_row(columns, plan->nargs, row, values, nulls);
		run_row(plan, values, nulls);
	}
}

/* Inserts the only clock of the columns without SQL; returns false where that will not do. */
static bool
insert_one(const SlaColumn *columns)
{
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];

	take_clock(columns, 0, values, nulls);
	return row_insert(&made_row, values, nulls, ROW_RAISES);
}

/* Inserts the clocks of the columns. */
static void
write_made(const SlaColumn *columns)
{
	int count = columns[0].count;
	DirectWrite *write;
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];

	if (count == 0 || (count == 1 && insert_one(columns)))
		return;
	write = count > 1 ? direct_open(&made_table) : NULL;
	for (int row = 0; row < count; row++)
	{
		take_clock(columns, row, values, nulls);
		if (write == NULL)
			run_row(&clock_insert, values, nulls);
		else
			(void) direct_add(write, values, nulls);
	}
	if (write != NULL)
		direct_close(write);
}

/* A clock among the columns. */
typedef struct ClockRow
{
	const SlaColumn *columns;
	int row;
} ClockRow;

/* Gives a stored clock the values of one of the columns. */
static void
set_clock(Datum *values, bool *nulls, void *arg)
{
	const ClockRow *clock = arg;

	take_row(clock->columns, SLA_CLOCK_NCOLUMNS, clock->row, values, nulls);
}

/* Changes the clocks of the columns. */
static void
write_changed(const SlaColumn *columns)
{
	int count = columns[0].count;
	DirectWrite *write = count > 1 ? direct_open(&changed_table) : NULL;

	if (write == NULL)
	{
		run_rows(&clock_update, columns);
		return;
	}
	for (int row = 0; row < count; row++)
	{
		Datum keys[2] = {columns[0].values[row], columns[1].values[row]};
		ClockRow clock = {columns, row};

		(void) direct_change(write, keys, set_clock, &clock);
	}
	direct_close(write);
}

/* Tells of the requests whose clocks are due at other times, and begins to gather anew. */
static void
end_changes(SlaChanges *changes)
{
	if (changes->moved.count > 0 && sla_due_listener != NULL)
		sla_due_listener(sla_column_array(&changes->moved));
	sla_changes_begin(changes, changes->now);
}

/*
 * sla_changes_write_one writes what was gathered of clocks that are not locked, if that is one clock or none; returns
 * false, having written nothing, where it is more, or another transaction has changed the clock. Needs an SPI scope.
 */
bool
sla_changes_write_one(SlaChanges *changes)
{
	int made = changes->made[0].count;
	int changed = changes->changed[0].count;

	if (made + changed > 1 || changes->dropped[0].count > 0 || changes->withdrawn[0].count > 0)
		return false;
	if (made == 1 && !insert_one(changes->made))
		return false;
	if (changed == 1)
	{
		Datum values[SLA_CLOCK_NCOLUMNS];
		bool nulls[SLA_CLOCK_NCOLUMNS];

		take_row(changes->changed, SLA_CLOCK_NCOLUMNS, 0, values, nulls);
		if (!row_change_at(&changed_row, &changes->place, values + UNCHANGED_COLUMNS, nulls + UNCHANGED_COLUMNS))
			return false;
	}
	end_changes(changes);
	return true;
}

/* Writes all that was gathered. Needs an SPI scope. */
void
sla_changes_write(SlaChanges *changes)
{
	run_rows(&event_withdraw, changes->withdrawn);
	run_rows(&clock_delete, changes->dropped);
	write_changed(changes->changed);
	write_made(changes->made);
	end_changes(changes);
}
