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
#include "core/row.h"
#include "sla/clock.h"

#define CLOCK_COLUMN_TYPES                                                                                             \
	{                                                                                                                  \
		INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,              \
			INT8ARRAYOID, TIMESTAMPTZARRAYOID, INTERVALARRAYOID, TEXTARRAYOID, TSTZMULTIRANGEARRAYOID,                 \
			TIMESTAMPTZARRAYOID, INTERVALARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INTERVALARRAYOID,                \
			INTERVALARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID       \
	}

#define CLOCK_COLUMN_TYPE                                                                                              \
	{                                                                                                                  \
		INT8OID, INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, INTERVALOID, TEXTOID,  \
			TSTZMULTIRANGEOID, TIMESTAMPTZOID, INTERVALOID, TIMESTAMPTZOID, TEXTOID, INTERVALOID, INTERVALOID,         \
			TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID                                             \
	}

#define CLOCK_ARGUMENTS                                                                                                \
	"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)"
#define MANY_CLOCKS "unnest" CLOCK_ARGUMENTS
#define ONE_CLOCK "(VALUES " CLOCK_ARGUMENTS ")"

#define FROM_CLOCKS(source)                                                                                            \
	" FROM " source                                                                                                    \
	" AS n (customer_id, clock_id, metric, policy, request_id, channel, thread, moment_id, started_at,"                \
	" target, calendar, pauses, due_at, time_left, stopped_at, outcome, elapsed, worked, warn_at, tell_at,"            \
	" warned_at, breached_at)"

#define INSERT_CLOCKS(source)                                                                                          \
	"INSERT INTO omnichannel.sla_clock (customer_id, clock_id, metric, policy, request_id, channel, thread,"           \
	" moment_id, started_at, target, calendar, pauses, due_at, time_left, stopped_at, outcome, elapsed, worked,"       \
	" warn_at, tell_at, warned_at, breached_at)"                                                                       \
	" SELECT n.customer_id, coalesce(n.clock_id, nextval('omnichannel.sla_clock_clock_id_seq')), n.metric,"            \
	" n.policy, n.request_id, n.channel, n.thread, n.moment_id, n.started_at, n.target, n.calendar,"                   \
	" n.pauses, n.due_at, n.time_left, n.stopped_at, n.outcome, n.elapsed, n.worked, n.warn_at,"                       \
	" n.tell_at, n.warned_at, n.breached_at" FROM_CLOCKS(source)

#define UPDATE_CLOCKS(source)                                                                                          \
	"UPDATE omnichannel.sla_clock AS c SET policy = n.policy, request_id = n.request_id, channel = n.channel,"         \
	" thread = n.thread, moment_id = n.moment_id, started_at = n.started_at, target = n.target,"                       \
	" calendar = n.calendar, pauses = n.pauses, due_at = n.due_at, time_left = n.time_left,"                           \
	" stopped_at = n.stopped_at, outcome = n.outcome, elapsed = n.elapsed, worked = n.worked,"                         \
	" warn_at = n.warn_at, tell_at = n.tell_at, warned_at = n.warned_at, breached_at = n.breached_at" FROM_CLOCKS(     \
		source) " WHERE c.customer_id = n.customer_id AND c.clock_id = n.clock_id"

static KeptPlan clocks_insert = {
	.sql = INSERT_CLOCKS(MANY_CLOCKS),
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPES,
};

/* One clock, which is the ordinary case, costs a fraction without arrays. */
static KeptPlan clock_insert = {
	.sql = INSERT_CLOCKS(ONE_CLOCK),
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPE,
};

static KeptPlan clocks_update = {
	.sql = UPDATE_CLOCKS(MANY_CLOCKS),
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPES,
	.indexed = true,
};

static KeptPlan clock_update = {
	.sql = UPDATE_CLOCKS(ONE_CLOCK),
	.nargs = SLA_CLOCK_NCOLUMNS,
	.argtypes = CLOCK_COLUMN_TYPE,
	.indexed = true,
};

/* Where only policies and calendars have changed; the arguments are these columns of SLA_CLOCK_COLUMNS. */
static const int term_columns[] = {0, 1, 3, 9, 10, 12, 13, 15, 18, 19, 20, 21};

static KeptPlan terms_update = {
	.sql =
		"UPDATE omnichannel.sla_clock AS c SET policy = n.policy, target = n.target, calendar = n.calendar,"
		" due_at = n.due_at, time_left = n.time_left, outcome = n.outcome, warn_at = n.warn_at, tell_at = n.tell_at,"
		" warned_at = n.warned_at, breached_at = n.breached_at"
		" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS n (customer_id, clock_id, policy, target,"
		" calendar, due_at, time_left, outcome, warn_at, tell_at, warned_at, breached_at)"
		" WHERE c.customer_id = n.customer_id AND c.clock_id = n.clock_id",
	.nargs = lengthof(term_columns),
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INTERVALARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
				 INTERVALARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID,
				 TIMESTAMPTZARRAYOID},
	.indexed = true,
};

static KeptPlan clocks_delete = {
	.sql = "DELETE FROM omnichannel.sla_clock AS c USING unnest($1, $2) AS n (customer_id, clock_id)"
		   " WHERE c.customer_id = n.customer_id AND c.clock_id = n.clock_id",
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan events_withdraw = {
	.sql = "UPDATE omnichannel.sla_event AS e SET withdrawn_at = now() FROM unnest($1, $2, $3)"
		   " AS n (customer_id, clock_id, event) WHERE e.customer_id = n.customer_id AND e.clock_id = n.clock_id"
		   " AND e.event = n.event AND e.withdrawn_at IS NULL",
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

SlaDueListener sla_due_listener = NULL;

static RowTable made_row = {
	.name = "sla_clock",
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

static const char *const outcome_names[] = {NULL, "met", "breached", "cancelled"};

/* Begins to gather, or begins anew, in the current context. What is to be reported and to whom stays. */
void
sla_changes_begin(SlaChanges *changes, TimestampTz now)
{
	changes->now = now;
	memset(changes->made, 0, sizeof(changes->made));
	memset(changes->changed, 0, sizeof(changes->changed));
	memset(changes->reset, 0, sizeof(changes->reset));
	memset(changes->dropped, 0, sizeof(changes->dropped));
	memset(changes->withdrawn, 0, sizeof(changes->withdrawn));
	memset(&changes->moved, 0, sizeof(changes->moved));
	ItemPointerSetInvalid(&changes->place);
	for (int i = 0; i < SLA_CLOCK_NCOLUMNS; i++)
		changes->made[i].type = changes->changed[i].type = changes->reset[i].type = sla_clock_columns[i].type;
	changes->dropped[0].type = changes->dropped[1].type = INT8OID;
	changes->withdrawn[0].type = changes->withdrawn[1].type = changes->moved.type = INT8OID;
	changes->withdrawn[2].type = TEXTOID;
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
	sla_column_add_id(&columns[7], clock->moment_id);
	sla_column_add_time(&columns[8], clock->started_at);
	sla_column_add(&columns[9], IntervalPGetDatum(target), false);
	sla_column_add_text(&columns[10], clock->calendar);
	sla_column_add(&columns[11], sla_pauses_datum(clock), false);
	sla_column_add_time(&columns[12], clock->due_at);
	sla_column_add_microseconds(&columns[13], clock->time_left, clock->due_at != NO_TIME);
	sla_column_add_time(&columns[14], clock->stopped_at);
	sla_column_add_text(&columns[15], outcome_names[clock->outcome]);
	sla_column_add_microseconds(&columns[16], clock->elapsed, !stopped);
	sla_column_add_microseconds(&columns[17], clock->worked, clock->worked < 0);
	sla_column_add_time(&columns[18], clock->warn_at);
	sla_column_add_time(&columns[19], clock->tell_at);
	sla_column_add_time(&columns[20], clock->warned_at);
	sla_column_add_time(&columns[21], clock->breached_at);
}

/* Returns whether two clocks are stored alike in what the moments say of them. */
static bool
same_course(const SlaClock *left, const SlaClock *right)
{
	if (left->customer_id != right->customer_id || left->request_id != right->request_id ||
		left->moment_id != right->moment_id || left->started_at != right->started_at ||
		left->stopped_at != right->stopped_at || left->elapsed != right->elapsed || left->worked != right->worked ||
		left->pause_count != right->pause_count || !sla_same_text(left->channel, right->channel) ||
		!sla_same_text(left->thread, right->thread))
		return false;
	for (int i = 0; i < left->pause_count; i++)
		if (left->pauses[i].from != right->pauses[i].from || left->pauses[i].to != right->pauses[i].to)
			return false;
	return true;
}

/* Returns whether two clocks are stored alike in what policies and calendars make of that; see term_columns. */
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
	bool course = before != NULL && same_course(clock, before);

	if (course && same_terms(clock, before))
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
	add_clock(course ? changes->reset : changes->changed, clock);
	changes->place = before->place;
	return true;
}

/* Runs a statement over the columns, or those of these numbers, if they have rows. */
static void
write_columns(KeptPlan *plan, const SlaColumn *columns, const int *numbers)
{
	Datum values[SLA_CLOCK_NCOLUMNS];

	if (columns[0].count == 0)
		return;
	for (int i = 0; i < plan->nargs; i++)
		values[i] = sla_column_array(&columns[numbers == NULL ? i : numbers[i]]);
	(void) kept_plan_run(plan, values, NULL, false, 0);
}

/* Takes the only clock out of the columns. */
static void
take_one(const SlaColumn *columns, Datum *values, bool *nulls)
{
	for (int i = 0; i < SLA_CLOCK_NCOLUMNS; i++)
	{
		values[i] = columns[i].values[0];
		nulls[i] = columns[i].nulls[0];
	}
}

/* Inserts the only clock of the columns without SQL; returns false where that will not do. */
static bool
insert_one(const SlaColumn *columns)
{
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool nulls[SLA_CLOCK_NCOLUMNS];

	take_one(columns, values, nulls);
	if (nulls[1])
		values[1] = Int64GetDatum(nextval_internal(omni_table("sla_clock_clock_id_seq"), true));
	nulls[1] = false;
	return row_insert(&made_row, values, nulls, ROW_RAISES);
}

/* Runs a statement over all columns of clocks, or, where there is one clock, the other one. */
static void
write_clocks(KeptPlan *many, KeptPlan *one, const SlaColumn *columns)
{
	Datum values[SLA_CLOCK_NCOLUMNS];
	bool isnull[SLA_CLOCK_NCOLUMNS];
	char nulls[SLA_CLOCK_NCOLUMNS];

	if (columns[0].count != 1)
	{
		write_columns(many, columns, NULL);
		return;
	}
	take_one(columns, values, isnull);
	for (int i = 0; i < SLA_CLOCK_NCOLUMNS; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	(void) kept_plan_run(one, values, nulls, false, 0);
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

	if (made + changed > 1 || changes->reset[0].count > 0 || changes->dropped[0].count > 0 ||
		changes->withdrawn[0].count > 0)
		return false;
	if (made == 1 && !insert_one(changes->made))
		return false;
	if (changed == 1)
	{
		Datum values[SLA_CLOCK_NCOLUMNS];
		bool nulls[SLA_CLOCK_NCOLUMNS];

		take_one(changes->changed, values, nulls);
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
	write_columns(&events_withdraw, changes->withdrawn, NULL);
	write_columns(&clocks_delete, changes->dropped, NULL);
	write_columns(&terms_update, changes->reset, term_columns);
	write_clocks(&clocks_update, &clock_update, changes->changed);
	if (changes->made[0].count != 1 || !insert_one(changes->made))
		write_clocks(&clocks_insert, &clock_insert, changes->made);
	end_changes(changes);
}
