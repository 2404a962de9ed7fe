/*
 * explain.c
 *	  explain_sla(): why the clocks of a request are what they are.
 *
 * The moments of the customer go through the same machine, the same choice of policies and the same reckoning as when
 * they were logged; a collector is told of each step. A clock that has stopped is explained by what is stored of it,
 * because policies may have changed since, and what started it may be kept no longer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"
#include "sla/sla.h"

SQL_FUNCTION(omnichannel_explain_sla);

static KeptPlan request_read = {
	.sql = "SELECT coalesce(k.merged_into, r.customer_id), r.channel, r.kind, r.queue, r.priority, r.opened_at"
		   " FROM omnichannel.request AS r JOIN omnichannel.customer AS k ON k.customer_id = r.customer_id"
		   " WHERE r.request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan calendar_exists = {
	.sql = "SELECT FROM omnichannel.calendar WHERE calendar = $1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/* Where the rows go, and what they have in common. */
typedef struct Explanation
{
	ReturnSetInfo *result;
	int place;
	int64 clock_id;
	SlaMetric metric;
	const char *held; /* the policy of a clock that has stopped, or NULL */
	TimestampTz stop; /* of that clock, or DT_NOEND */
	bool held_is_known;
} Explanation;

/* Puts a row into the result; times of NO_TIME, and amounts and texts of NULL, are NULL. */
static void
explain_amount(Explanation *explanation, const char *step, const char *policy, TimestampTz from, TimestampTz to,
			   const Interval *amount, const char *note)
{
	Datum values[9];
	bool nulls[9] = {false};

	values[0] = Int32GetDatum(++explanation->place);
	values[1] = Int64GetDatum(explanation->clock_id);
	nulls[1] = explanation->clock_id == 0;
	values[2] = CStringGetTextDatum(sla_metric_name(explanation->metric));
	values[3] = CStringGetTextDatum(step);
	nulls[4] = policy == NULL;
	values[4] = policy == NULL ? (Datum) 0 : CStringGetTextDatum(policy);
	values[5] = TimestampTzGetDatum(from);
	nulls[5] = from == NO_TIME;
	values[6] = TimestampTzGetDatum(to);
	nulls[6] = to == NO_TIME || to == DT_NOEND;
	values[7] = IntervalPGetDatum(amount);
	nulls[7] = amount == NULL;
	nulls[8] = note == NULL;
	values[8] = note == NULL ? (Datum) 0 : CStringGetTextDatum(note);
	tuplestore_putvalues(explanation->result->setResult, explanation->result->setDesc, values, nulls);
}

/* The same for an amount in microseconds, below 0 for none. */
static void
explain(Explanation *explanation, const char *step, const char *policy, TimestampTz from, TimestampTz to, int64 used,
		const char *note)
{
	Interval amount = {.time = used};

	explain_amount(explanation, step, policy, from, to, used < 0 ? NULL : &amount, note);
}

/* Told of each policy; see sla_policy_fit(). */
static void
explain_policy(void *context, const SlaPolicy *policy, const char *reason)
{
	Explanation *explanation = context;
	bool held = explanation->held != NULL && strcmp(explanation->held, policy->code) == 0;

	if (held)
		explanation->held_is_known = true;
	if (reason == NULL)
		reason = explanation->held == NULL || held ? "holds" : "would hold now";
	else if (held)
		reason = psprintf("held when it stopped; now: %s", reason);
	explain(explanation, "policy", policy->code, NO_TIME, NO_TIME, -1, reason);
}

/* Told of what used the target up; see sla_reckon(). */
static void
explain_spell(void *context, TimestampTz from, TimestampTz to, int64 amount, int64 days)
{
	Explanation *explanation = context;
	TimestampTz until = Min(to, explanation->stop);

	/* What would have followed a stop was not used. */
	if (from > until || (from == until && from < to))
		return;
	if (days != 0)
		explain(explanation, "spell", NULL, from, until, -1,
				psprintf(until < to ? "of working days: " INT64_FORMAT : "working days: " INT64_FORMAT, days));
	else
		explain(explanation, "spell", NULL, from, until, until < to ? until - from : amount, NULL);
}

/* Returns what started a clock. */
static const char *
start_note(const SlaFamily *family, const SlaClock *clock)
{
	for (int i = 0; i < family->moment_count; i++)
	{
		const SlaMoment *moment = family->moments[i];

		if (moment->moment_id != clock->moment_id)
			continue;
		if (moment->what == MOMENT_REQUEST)
			return psprintf("the request was opened in %s", moment->channel);
		return psprintf("contact " INT64_FORMAT " in %s: %s", moment->contact_id, moment->channel, moment->outcome);
	}
	return psprintf("in %s; what started it is kept no longer", clock->channel);
}

/* Explains which policy the clock has, and which ones it has not. */
static void
explain_policies(Explanation *explanation, const SlaMachine *machine, const SlaClock *clock)
{
	const SlaPolicy *policy = clock->policy;

	explanation->held = clock->stopped_at == NO_TIME ? NULL : policy->code;
	explanation->held_is_known = false;
	(void) sla_policy_fit(machine->policies, &clock->question, explain_policy, explanation);
	if (explanation->held != NULL && !explanation->held_is_known)
		explain(explanation, "policy", policy->code, NO_TIME, NO_TIME, -1, "held when it stopped; it is no more");
	explanation->held = NULL;
	explain_amount(explanation, "target", policy->code, NO_TIME, NO_TIME, &policy->target,
				   policy->calendar == NULL ? "elapsed time" : psprintf("working time of %s", policy->calendar));
}

/* Explains when the clock stood still. */
static void
explain_pauses(Explanation *explanation, const SlaClock *clock)
{
	for (int i = 0; i < clock->pause_count; i++)
		explain(explanation, "pause", NULL, clock->pauses[i].from, clock->pauses[i].to, -1,
				clock->pauses[i].to == DT_NOEND ? "waits for the customer" : "waited for the customer, or was closed");
}

/* Explains when the clock is due, or what is left of its target. */
static void
explain_due(Explanation *explanation, const SlaClock *clock, const char *note)
{
	if (clock->due_at == NO_TIME)
		explain(explanation, "left", clock->policy->code, NO_TIME, NO_TIME, clock->time_left, "while it stands still");
	else
		explain(explanation, "due", clock->policy->code, clock->due_at, NO_TIME, -1,
				clock->due_at == DT_NOEND ? "never: the calendar has not so much working time left" : note);
	if (clock->warn_at != NO_TIME)
		explain(explanation, "warning", NULL, clock->warn_at, NO_TIME, -1,
				clock->warned_at == NO_TIME ? "not told" : "told");
}

/* Explains a clock that runs or stands still. */
static void
explain_open(Explanation *explanation, const SlaFamily *family, const SlaMachine *machine, SlaClock *clock,
			 TimestampTz now)
{
	SlaCollector collector = {.spell = explain_spell, .context = explanation};

	for (int i = 0; i < family->clock_count; i++)
	{
		const SlaClock *stored = family->clocks[i];

		if (stored->moment_id != clock->moment_id || stored->metric != clock->metric)
			continue;
		explanation->clock_id = stored->clock_id;
		clock->breached_at = stored->breached_at;
		clock->warned_at = stored->warned_at;
	}
	explain(explanation, "start", NULL, clock->started_at, NO_TIME, -1, start_note(family, clock));
	explain_policies(explanation, machine, clock);
	sla_reckon(clock, now, &collector);
	explain_pauses(explanation, clock);
	explain_due(explanation, clock, NULL);
	explain(explanation, "runs", NULL, NO_TIME, NO_TIME, -1,
			clock->due_at != NO_TIME && clock->due_at < now ? "breached" : "open");
}

/* Explains a clock that has stopped, as it is stored. Needs an SPI scope. */
static void
explain_stopped(Explanation *explanation, const SlaFamily *family, const SlaMachine *machine, const SlaClock *stored,
				TimestampTz now)
{
	static const char *const outcomes[] = {"open", "met", "breached", "cancelled"};
	SlaCollector collector = {.spell = explain_spell, .context = explanation};
	SlaPolicy terms = {
		.code = stored->policy_code, .metric = stored->metric, .target = stored->target, .calendar = stored->calendar};
	SlaClock *clock = sla_clock_copy(stored);
	const char *note = NULL;
	Datum values[1];

	explanation->clock_id = stored->clock_id;
	explanation->stop = stored->stopped_at;
	clock->policy = &terms;
	explain(explanation, "start", NULL, clock->started_at, NO_TIME, -1, start_note(family, clock));
	explain_policies(explanation, machine, clock);
	if (terms.calendar != NULL)
		values[0] = CStringGetTextDatum(terms.calendar);
	if (terms.calendar != NULL && kept_plan_run(&calendar_exists, values, NULL, false, 1) == 0)
		note = psprintf("as it was when it stopped; calendar %s is no more", terms.calendar);
	else
	{
		sla_reckon(clock, now, &collector);
		if (clock->due_at != stored->due_at)
			note = "as it was when it stopped; the calendar has changed since";
	}
	explain_pauses(explanation, stored);
	clock->due_at = stored->due_at;
	clock->warn_at = stored->warn_at;
	explain_due(explanation, clock, note);
	explain(explanation, "stop", NULL, stored->stopped_at, NO_TIME,
			stored->worked >= 0 ? stored->worked : stored->elapsed, outcomes[stored->outcome]);
}

/* Orders clocks by start, then metric. For qsort of pointers. */
static int
compare_clocks(const void *a, const void *b)
{
	const SlaClock *left = *(SlaClock *const *) a;
	const SlaClock *right = *(SlaClock *const *) b;

	if (left->started_at != right->started_at)
		return left->started_at < right->started_at ? -1 : 1;
	return (int) left->metric - (int) right->metric;
}

/* Gives a stored clock what a policy must have fitted. */
static void
ask_again(SlaMachine *machine, SlaClock *clock, const SlaRequest *request)
{
	for (int i = 0; i < machine->clock_count; i++)
		if (machine->clocks[i]->moment_id == clock->moment_id && machine->clocks[i]->metric == clock->metric &&
			!machine->clocks[i]->settled)
		{
			clock->question = machine->clocks[i]->question;
			return;
		}
	clock->question = sla_machine_question(machine, clock->metric, request, clock->channel, clock->started_at);
}

/* Returns the clocks of a request in the order of their starts: those that have stopped as they are stored. */
static SlaClock **
request_clocks(SlaMachine *machine, const SlaFamily *family, const SlaRequest *request, int *count)
{
	SlaClock **clocks = palloc(sizeof(SlaClock *) * Max(machine->clock_count + family->clock_count, 1));

	*count = 0;
	for (int i = 0; i < family->clock_count; i++)
		if (family->clocks[i]->request_id == request->request_id && family->clocks[i]->stopped_at != NO_TIME)
		{
			ask_again(machine, family->clocks[i], request);
			clocks[(*count)++] = family->clocks[i];
		}
	for (int i = 0; i < machine->clock_count; i++)
		if (machine->clocks[i]->request_id == request->request_id && machine->clocks[i]->stopped_at == NO_TIME)
			clocks[(*count)++] = machine->clocks[i];
	qsort(clocks, *count, sizeof(SlaClock *), compare_clocks);
	return clocks;
}

/* explain_sla(request_id): returns the steps that led to each clock of a request, and why there is no other. */
Datum
omnichannel_explain_sla(PG_FUNCTION_ARGS)
{
	Explanation explanation = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	const SlaPolicies *policies;
	SlaMachine machine;
	SlaMoment state = {.what = MOMENT_REQUEST};
	SlaRequest request = {.last = &state};
	SlaFamily family = {0};
	SlaClock **clocks;
	int count;
	bool has_clock[SLA_METRICS] = {false};
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz opened_at;
	int64 request_id;
	SpiScope scope;
	Datum values[1];
	bool isnull;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("request_id must not be NULL"),
						errhint("open_requests(customer_id) lists those of a customer.")));
	request_id = PG_GETARG_INT64(0);
	omni_table("sla_clock");
	init_materialized_srf(fcinfo);
	spi_scope_begin(&scope, false);
	policies = sla_policies();
	values[0] = Int64GetDatum(request_id);
	if (kept_plan_run(&request_read, values, NULL, false, 1) == 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("request " INT64_FORMAT " does not exist", request_id),
						errhint("open_requests(customer_id) lists those of a customer.")));
	family.root = DatumGetInt64(spi_datum(0, 1, &isnull));
	state.channel = spi_text(0, 2, CurrentMemoryContext);
	state.kind = spi_text(0, 3, CurrentMemoryContext);
	state.queue = spi_text(0, 4, CurrentMemoryContext);
	state.priority = DatumGetInt32(spi_datum(0, 5, &isnull));
	opened_at = DatumGetTimestampTz(spi_datum(0, 6, &isnull));

	sla_moments_read(&family, 1);
	sla_clocks_read(policies, &family, 1, SLA_LOOK_AT_ALL);
	sla_machine_begin(&machine, policies, family.root);
	sla_machine_settle(&machine, &family);
	for (int i = 0; i < family.moment_count; i++)
		sla_machine_apply(&machine, family.moments[i]);
	request.request_id = request_id;
	clocks = request_clocks(&machine, &family, &request, &count);
	for (int i = 0; i < count; i++)
	{
		explanation.metric = clocks[i]->metric;
		explanation.clock_id = 0;
		explanation.stop = DT_NOEND;
		has_clock[clocks[i]->metric] = true;
		if (clocks[i]->stopped_at == NO_TIME)
			explain_open(&explanation, &family, &machine, clocks[i], now);
		else
			explain_stopped(&explanation, &family, &machine, clocks[i], now);
	}

	/* Why there is no other: as the request is now. */
	explanation.clock_id = 0;
	for (int metric = 0; metric < SLA_METRICS; metric++)
	{
		SlaQuestion question;

		if (has_clock[metric])
			continue;
		explanation.metric = (SlaMetric) metric;
		question = sla_machine_question(&machine, (SlaMetric) metric, &request, state.channel, opened_at);
		explain(&explanation, "none", NULL, NO_TIME, NO_TIME, -1,
				sla_policy_fit(policies, &question, NULL, NULL) == NULL ? "no policy fits" : "nothing has started it");
		(void) sla_policy_fit(policies, &question, explain_policy, &explanation);
	}
	spi_scope_end(&scope);
	return (Datum) 0;
}
