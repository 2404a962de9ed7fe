/*
 * explain.c
 *	  explain_sla(): why the clocks of a request are what they are.
 *
 * The moments of the customer go through the same machine, the same choice of policies and the same reckoning as when
 * they were logged; a collector is told of each step. A clock is explained by the terms that are stored of it, so that
 * this says what the clock says: policies may have changed since, and what started it may be kept no longer. Where it
 * does not follow them yet, that is said too.
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
	const char *held; /* the policy of a clock that is kept, or NULL */
	bool stopped;
	bool none; /* there is no clock: it is told what would hold */
	bool held_is_known;
	int pauses_told;
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
		reason = explanation->none ? "would hold" : explanation->held == NULL || held ? "holds" : "would hold now";
	else if (held)
		reason = psprintf(
			explanation->stopped ? "held when it stopped; now: %s" : "holds until the next tick(); now: %s", reason);
	explain(explanation, "policy", policy->code, NO_TIME, NO_TIME, -1, reason);
}

/* Told of what used the target up; see sla_reckon(). */
static void
explain_spell(void *context, TimestampTz from, TimestampTz to, const Interval *used)
{
	explain_amount(context, "spell", NULL, from, to, used, used->day != 0 ? "a working day" : NULL);
}

/* Explains that the clock stood still. */
static void
explain_pause(Explanation *explanation, const SlaSpan *pause)
{
	explain(explanation, "pause", NULL, pause->from, pause->to, -1,
			pause->to == DT_NOEND ? "waits for the customer" : "waited for the customer, or was closed");
	explanation->pauses_told++;
}

/* Told of a pause; see sla_reckon(). */
static void
explain_left(void *context, const SlaSpan *pause, int64 left, TimestampTz due)
{
	explain(context, "left", NULL, pause->from, due, left, "of the target until it was due");
	explain_pause(context, pause);
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

	explanation->held = clock->clock_id == 0 ? NULL : policy->code;
	explanation->held_is_known = false;
	explanation->stopped = clock->stopped_at != NO_TIME;
	(void) sla_policy_fit(machine->policies, &clock->question, explain_policy, explanation);
	if (explanation->held != NULL && !explanation->held_is_known)
		explain(explanation, "policy", policy->code, NO_TIME, NO_TIME, -1,
				explanation->stopped ? "held when it stopped; it is no more"
									 : "holds until the next tick(); it is no more");
	explanation->held = NULL;
	explain_amount(explanation, "target", policy->code, NO_TIME, NO_TIME, &policy->target,
				   policy->calendar == NULL ? "elapsed time" : psprintf("working time of %s", policy->calendar));
}

/* Explains when the clock is due, is warned of and has ended. */
static void
explain_end(Explanation *explanation, const SlaClock *clock, TimestampTz now, const char *note)
{
	static const char *const outcomes[] = {"open", "met", "breached", "cancelled"};

	if (clock->due_at != NO_TIME)
		explain(explanation, "due", clock->policy->code, clock->due_at, NO_TIME, -1,
				clock->due_at == DT_NOEND ? "never: the calendar has not so much working time left" : note);
	if (clock->warn_at != NO_TIME)
		explain(explanation, "warning", NULL, clock->warn_at, NO_TIME, -1,
				clock->warned_at == NO_TIME ? "not told" : "told");
	if (clock->stopped_at != NO_TIME)
		explain(explanation, "stop", NULL, clock->stopped_at, NO_TIME,
				clock->worked >= 0 ? clock->worked : clock->elapsed, outcomes[clock->outcome]);
	else
		explain(explanation, "runs", NULL, NO_TIME, NO_TIME, -1,
				clock->due_at != NO_TIME && clock->due_at < now ? "breached" : "open");
}

/* Explains what the target was counted in where its calendar is no more: when the clock ran. */
static void
explain_runs(Explanation *explanation, const SlaClock *clock)
{
	TimestampTz from = clock->started_at;

	for (int i = 0; i <= clock->pause_count; i++)
	{
		TimestampTz to = i < clock->pause_count ? clock->pauses[i].from : clock->stopped_at;

		if (from < to)
			explain(explanation, "spell", NULL, from, to, -1, "working time of a calendar that is no more");
		if (i == clock->pause_count)
			break;
		explain_pause(explanation, &clock->pauses[i]);
		from = clock->pauses[i].to;
	}
}

/*
 * Finds what a stored clock can be counted in: sets the calendar of the terms to that which its policy has now where
 * its own is no more, and *note to what is to be said of that. Returns false where there is none. Needs an SPI scope.
 */
static bool
find_calendar(SlaPolicy *terms, const SlaPolicies *policies, const char **note)
{
	const SlaPolicy *policy = sla_policy_find(policies, terms->code, terms->metric);
	Datum values[1];

	if (terms->calendar == NULL)
		return true;
	values[0] = CStringGetTextDatum(terms->calendar);
	if (kept_plan_run(&calendar_exists, values, NULL, false, 1) > 0)
		return true;
	if (policy == NULL || policy->calendar == NULL)
	{
		*note = psprintf("as it was kept; calendar %s is no more", terms->calendar);
		return false;
	}
	*note =
		psprintf("calendar %s is no more: counted in %s, which the policy has now", terms->calendar, policy->calendar);
	terms->calendar = policy->calendar;
	return true;
}

/* Explains what a clock that runs will be once it follows what has changed since; reckoned is NULL where it is none. */
static void
explain_next(Explanation *explanation, const SlaClock *stored, SlaClock *reckoned, TimestampTz now)
{
	if (reckoned == NULL || reckoned->stopped_at != NO_TIME)
	{
		explain(explanation, "next", NULL, NO_TIME, NO_TIME, -1, "ends with the next tick()");
		return;
	}
	sla_reckon(reckoned, now, NULL);
	if (strcmp(reckoned->policy_code, stored->policy_code) == 0 && reckoned->due_at == stored->due_at)
		return;
	explain(explanation, "next", reckoned->policy_code, reckoned->due_at, NO_TIME,
			reckoned->due_at == NO_TIME ? reckoned->time_left : -1,
			reckoned->due_at == NO_TIME ? "what is left from the next tick() on"
										: "due at this time from the next tick() on");
}

/*
 * Explains a clock, as it is stored; or, where it is not yet, as it was reckoned. reckoned is the same from the moments
 * as they are now, or NULL. Needs an SPI scope.
 */
static void
explain_clock(Explanation *explanation, const SlaFamily *family, const SlaMachine *machine, SlaClock *clock,
			  SlaClock *reckoned, TimestampTz now)
{
	SlaCollector collector = {.spell = explain_spell, .pause = explain_left, .until = DT_NOEND, .context = explanation};
	SlaPolicy terms = {
		.code = clock->policy_code, .metric = clock->metric, .target = clock->target, .calendar = clock->calendar};
	SlaClock *counted = sla_clock_copy(clock);
	const char *note = NULL;
	bool counts = true;

	explanation->metric = clock->metric;
	explanation->clock_id = clock->clock_id;
	explanation->pauses_told = 0;
	explain(explanation, "start", NULL, clock->started_at, NO_TIME, -1, start_note(family, clock));
	if (clock->clock_id != 0)
		clock->policy = &terms;
	explain_policies(explanation, machine, clock);

	counted->policy = clock->policy;
	if (clock->clock_id != 0)
	{
		counts = find_calendar(&terms, machine->policies, &note);
		if (clock->stopped_at != NO_TIME)
			collector.until = clock->stopped_at;
	}
	if (counts)
		sla_reckon(counted, now, &collector);
	else
		explain_runs(explanation, clock);
	for (int i = explanation->pauses_told; i < clock->pause_count; i++)
		explain_pause(explanation, &clock->pauses[i]);

	if (clock->clock_id == 0)
	{
		explain_end(explanation, counted, now, NULL);
		explain(explanation, "next", NULL, NO_TIME, NO_TIME, -1, "begins with the next tick()");
		return;
	}
	if (note == NULL && counted->due_at != clock->due_at)
		note = "as it was kept; the calendar has changed since";
	explain_end(explanation, clock, now, note);
	if (clock->stopped_at == NO_TIME)
		explain_next(explanation, clock, reckoned, now);
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

/* Returns the clock that the same moment started, or NULL. */
static SlaClock *
find_same(SlaClock **clocks, int count, const SlaClock *clock)
{
	for (int i = 0; i < count; i++)
		if (clocks[i]->moment_id == clock->moment_id && clocks[i]->metric == clock->metric)
			return clocks[i];
	return NULL;
}

/* Returns the clocks of a request in the order of their starts: as they are stored, and those that are not yet. */
static SlaClock **
request_clocks(SlaMachine *machine, const SlaFamily *family, const SlaRequest *request, int *count)
{
	SlaClock **clocks = palloc(sizeof(SlaClock *) * Max(machine->clock_count + family->clock_count, 1));

	*count = 0;
	for (int i = 0; i < family->clock_count; i++)
		if (family->clocks[i]->request_id == request->request_id)
			clocks[(*count)++] = family->clocks[i];
	for (int i = 0; i < machine->clock_count; i++)
	{
		SlaClock *reckoned = machine->clocks[i];

		if (reckoned->request_id == request->request_id && reckoned->stopped_at == NO_TIME &&
			find_same(family->clocks, family->clock_count, reckoned) == NULL)
			clocks[(*count)++] = reckoned;
	}
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
	SlaFamily family = {.from = DT_NOEND};
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
	family.root = spi_id(0, 1);
	state.channel = spi_text(0, 2, CurrentMemoryContext);
	state.kind = spi_text(0, 3, CurrentMemoryContext);
	state.queue = spi_text(0, 4, CurrentMemoryContext);
	state.priority = DatumGetInt32(spi_datum(0, 5, &isnull));
	opened_at = DatumGetTimestampTz(spi_datum(0, 6, &isnull));

	sla_moments_read(&family, 1);
	sla_clocks_read(policies, &family, 1, SLA_LOOK_AT_ALL);
	sla_family_feed(&family, policies, family.moments, family.moment_count, &machine);
	request.request_id = request_id;
	clocks = request_clocks(&machine, &family, &request, &count);
	for (int i = 0; i < count; i++)
	{
		SlaClock *reckoned = find_same(machine.clocks, machine.clock_count, clocks[i]);

		has_clock[clocks[i]->metric] = true;
		/* What it was asked when it began; of what is not kept, as the request is now. */
		if (reckoned != NULL && !reckoned->settled)
			clocks[i]->question = reckoned->question;
		else
			clocks[i]->question =
				sla_machine_question(&machine, clocks[i]->metric, &request, clocks[i]->channel, clocks[i]->started_at);
		explain_clock(&explanation, &family, &machine, clocks[i], reckoned, now);
	}

	/* Why there is no other: as the request is now. */
	explanation.clock_id = 0;
	explanation.none = true;
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
