/*
 * policy.c
 *	  The policies, cached, and which of them holds for a clock.
 *
 * They are few and sorted by metric, rank and code, so that the first one that fits has won. explain_sla() asks the
 * same function and is told of each candidate.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/policy.h"

static void *policies_build(ConfigCache *cache, MemoryContext context);

static ConfigCache sla_cache = {
	.name = "sla", .tables = {"sla_policy", "sla_setting", "channel"}, .build = policies_build};

static KeptPlan policies_select = {
	.sql = "SELECT policy, rank, metric, channel, kind, queue, segment, min_priority, target, calendar, warn_at,"
		   " notice_calendar, coalesce(lower(valid), '-infinity'), coalesce(upper(valid), 'infinity')"
		   " FROM omnichannel.sla_policy"
		   " ORDER BY array_position(ARRAY['first_response', 'next_response', 'resolution', 'callback'], metric), rank,"
		   " policy COLLATE \"C\"",
};

static KeptPlan voices_select = {
	.sql = "SELECT channel FROM omnichannel.channel WHERE medium = 'voice' ORDER BY channel COLLATE \"C\"",
};

static const char *const metric_names[SLA_METRICS] = {"first_response", "next_response", "resolution", "callback"};

/* Returns the metric's name. */
const char *
sla_metric_name(SlaMetric metric)
{
	return metric_names[metric];
}

/* Returns the metric of that name, which a constraint of the tables has checked. */
SlaMetric
sla_metric_parse(const char *name)
{
	for (int i = 0; i < SLA_METRICS; i++)
		if (strcmp(name, metric_names[i]) == 0)
			return (SlaMetric) i;
	elog(ERROR, "unknown metric \"%s\"", name);
}

/* Reads an interval of a row into result; returns whether there is one. */
static bool
read_interval(uint64 row, int column, Interval *result)
{
	bool isnull;
	Datum value = spi_datum(row, column, &isnull);

	if (!isnull)
		*result = *DatumGetIntervalP(value);
	return !isnull;
}

/* Reads a row of policies_select. */
static void
read_policy(SlaPolicy *policy, uint64 row, MemoryContext context)
{
	bool isnull;
	Datum priority;

	policy->code = spi_text(row, 1, context);
	policy->rank = DatumGetInt32(spi_datum(row, 2, &isnull));
	policy->metric = sla_metric_parse(spi_text(row, 3, CurrentMemoryContext));
	policy->channel = spi_text(row, 4, context);
	policy->kind = spi_text(row, 5, context);
	policy->queue = spi_text(row, 6, context);
	policy->segment = spi_text(row, 7, context);
	priority = spi_datum(row, 8, &isnull);
	policy->min_priority = isnull ? NO_PRIORITY : DatumGetInt32(priority);
	(void) read_interval(row, 9, &policy->target);
	policy->calendar = spi_text(row, 10, context);
	policy->warns = read_interval(row, 11, &policy->warn_before);
	policy->notice_calendar = spi_text(row, 12, context);
	policy->valid_from = DatumGetTimestampTz(spi_datum(row, 13, &isnull));
	policy->valid_until = DatumGetTimestampTz(spi_datum(row, 14, &isnull));
}

/* Reads the policies, and which channels are those of calls. */
static void *
policies_build(ConfigCache *cache, MemoryContext context)
{
	SlaPolicies *set = MemoryContextAllocZero(context, sizeof(SlaPolicies));
	uint64 rows = kept_plan_run(&policies_select, NULL, NULL, true, 0);

	set->policies = MemoryContextAllocZero(context, Max(rows, 1) * sizeof(SlaPolicy));
	for (uint64 i = 0; i < rows; i++)
	{
		read_policy(&set->policies[i], i, context);
		set->segments = set->segments || set->policies[i].segment != NULL;
	}
	set->count = (int) rows;

	rows = kept_plan_run(&voices_select, NULL, NULL, true, 0);
	set->voice_channels = MemoryContextAlloc(context, Max(rows, 1) * sizeof(char *));
	for (uint64 i = 0; i < rows; i++)
		set->voice_channels[i] = spi_text(i, 1, context);
	set->channel_count = (int) rows;
	return set;
}

/* Returns the policies, good until the next call; raises 55000 before setup(), 42501 for who may not read them. */
const SlaPolicies *
sla_policies(void)
{
	return config_cache_get(&sla_cache);
}

/*
 * sla_policies_to_write returns the policies for who is to write clocks by them; see sla_overlap.
 *
 * Takes the lock of a writer before it looks, so that who recomputes knows of all who may not have seen a change.
 */
const SlaPolicies *
sla_policies_to_write(void)
{
	LockRelationOid(omni_table("sla_customer"), RowExclusiveLock);
	return sla_policies();
}

/* Returns whether calls come by this channel. */
bool
sla_channel_speaks(const SlaPolicies *policies, const char *channel)
{
	for (int i = 0; i < policies->channel_count; i++)
		if (strcmp(policies->voice_channels[i], channel) == 0)
			return true;
	return false;
}

/* Returns whether a contact in this channel that belongs to no request and no thread can start or stop a clock. */
bool
sla_channel_counts(const SlaPolicies *policies, const char *channel)
{
	for (int i = 0; i < policies->count; i++)
		if (policies->policies[i].channel == NULL || strcmp(policies->policies[i].channel, channel) == 0)
			return true;
	return policies->count > 0 && sla_channel_speaks(policies, channel);
}

/* Returns whether a condition fits a value; a value that there is not fits none. */
static bool
fits(const char *condition, const char *value)
{
	return condition == NULL || (value != NULL && strcmp(condition, value) == 0);
}

/* Returns whether the customer was in a segment at a time. */
static bool
was_member(const SlaMemberships *memberships, const char *segment, TimestampTz at)
{
	for (int i = 0; i < memberships->count; i++)
		if (memberships->memberships[i].from <= at && at < memberships->memberships[i].until &&
			strcmp(memberships->memberships[i].segment, segment) == 0)
			return true;
	return false;
}

/* Returns a value as it stands in a reason. */
static const char *
shown(const char *value)
{
	return value == NULL ? "none" : value;
}

/* Returns why a policy does not fit, or NULL if it does. Without `words` any text will do. */
static const char *
misfit(const SlaPolicy *policy, const SlaQuestion *question, bool words)
{
	if (question->started_at < policy->valid_from || question->started_at >= policy->valid_until)
		return words ? psprintf("not valid at %s", timestamptz_to_str(question->started_at)) : "";
	if (!fits(policy->channel, question->channel))
		return words ? psprintf("channel is %s, not %s", shown(question->channel), policy->channel) : "";
	if (!fits(policy->kind, question->kind))
		return words ? psprintf("kind is %s, not %s", shown(question->kind), policy->kind) : "";
	if (!fits(policy->queue, question->queue))
		return words ? psprintf("queue is %s, not %s", shown(question->queue), policy->queue) : "";
	if (policy->min_priority != NO_PRIORITY && question->priority < policy->min_priority)
		return words ? psprintf("priority is %d, below %d", question->priority, policy->min_priority) : "";
	if (policy->segment != NULL && !was_member(question->memberships, policy->segment, question->started_at))
		return words ? psprintf("customer was not in segment %s", policy->segment) : "";
	return NULL;
}

/*
 * sla_policy_fit returns the policy that holds, or NULL where none fits.
 *
 * verdict, if not NULL, is told of every policy of the metric, in their order.
 */
const SlaPolicy *
sla_policy_fit(const SlaPolicies *policies, const SlaQuestion *question, SlaVerdict verdict, void *context)
{
	const SlaPolicy *winner = NULL;

	for (int i = 0; i < policies->count; i++)
	{
		const SlaPolicy *policy = &policies->policies[i];
		const char *reason;

		if (policy->metric != question->metric)
			continue;
		reason = misfit(policy, question, verdict != NULL);
		if (reason == NULL && winner == NULL)
			winner = policy;
		else if (reason == NULL)
			reason = psprintf("policy %s comes before it", winner->code);
		if (verdict != NULL)
			verdict(context, policy, reason);
		else if (winner != NULL)
			break;
	}
	return winner;
}

/* Returns the policy with that code, or NULL where there is none any more. */
const SlaPolicy *
sla_policy_find(const SlaPolicies *policies, const char *code, SlaMetric metric)
{
	for (int i = 0; i < policies->count; i++)
		if (policies->policies[i].metric == metric && strcmp(policies->policies[i].code, code) == 0)
			return &policies->policies[i];
	return NULL;
}
