/*
 * effect.c
 *	  What contacts, changes of requests and merges do to clocks.
 *
 * Moments are written first, which takes the locks of their customers. Where all new moments of a customer come after
 * those that are known, they move the open clocks on. Where one came late, where a request went elsewhere or was opened
 * again, or where customers were merged, the clocks are reckoned anew from all moments, and what differs from the
 * stored ones is written. What had ended before the earliest new moment stays: policies may have changed since.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "customer/customer.h"
#include "request/request.h"
#include "sla/clock.h"
#include "sla/sla.h"

static KeptPlan roots_select = {
	.sql = "SELECT customer_id, coalesce(merged_into, customer_id) FROM omnichannel.customer"
		   " WHERE customer_id = ANY ($1) ORDER BY customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* An internal contact concerns no clock, like one that failed. */
static KeptPlan moment_revise = {
	.sql = "UPDATE omnichannel.sla_moment SET channel = $3, what = CASE $4 WHEN 'internal' THEN what ELSE $4 END,"
		   " outcome = CASE $4 WHEN 'internal' THEN 'failed' ELSE $5 END"
		   " WHERE customer_id = $1 AND contact_id = $2 AND (channel, what, outcome) IS DISTINCT FROM"
		   " ($3, CASE $4 WHEN 'internal' THEN what ELSE $4 END, CASE $4 WHEN 'internal' THEN 'failed' ELSE $5 END)"
		   " RETURNING at",
	.nargs = 5,
	.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan requests_select = {
	.sql = "SELECT r.request_id, r.customer_id, coalesce(k.merged_into, r.customer_id), r.state, r.kind, r.queue,"
		   " r.channel, r.priority, r.version, r.opened_at, r.state_since, s.state, s.kind, s.queue, s.priority, s.at,"
		   " EXISTS (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id),"
		   " coalesce(h.settled_until, '-infinity')"
		   " FROM omnichannel.request AS r JOIN omnichannel.customer AS k ON k.customer_id = r.customer_id"
		   " LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = r.customer_id"
		   " LEFT JOIN LATERAL (SELECT * FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id"
		   " AND m.version IS NOT NULL ORDER BY m.at DESC, m.version DESC LIMIT 1) AS s ON true"
		   " WHERE r.request_id = ANY ($1) ORDER BY r.request_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Of requests that are no more: what was said of them, and whose they were. */
static KeptPlan gone_delete = {
	.sql = "WITH gone AS (DELETE FROM omnichannel.sla_moment AS m WHERE m.request_id = ANY ($1) AND m.what = 'request'"
		   " AND NOT EXISTS (SELECT FROM omnichannel.request AS r WHERE r.request_id = m.request_id)"
		   " RETURNING m.customer_id) SELECT DISTINCT coalesce(k.merged_into, k.customer_id) FROM gone AS g"
		   " JOIN omnichannel.customer AS k ON k.customer_id = g.customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan due_select = {
	.sql = "SELECT coalesce(min(due_at), 'infinity') FROM omnichannel.sla_clock"
		   " WHERE request_id = $1 AND stopped_at IS NULL",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

/* Registers what this room does when requests and groups of customers change. */
void
sla_init(void)
{
	customer_listener = sla_customers_changed;
	request_listener = sla_requests_changed;
}

/* Makes a machine that reads what it lacks. */
void
sla_machine_begin(SlaMachine *machine, const SlaPolicies *policies, int64 root)
{
	sla_machine_init(machine, policies, root);
	machine->find_memberships = sla_memberships_read;
	machine->wrote_before = sla_wrote_before;
}

/* Returns a copy of a clock with pauses of its own. */
SlaClock *
sla_clock_copy(const SlaClock *clock)
{
	SlaClock *copy = palloc(sizeof(SlaClock));

	*copy = *clock;
	if (clock->pause_count > 0)
	{
		copy->pauses = palloc(sizeof(SlaSpan) * clock->pause_count);
		memcpy(copy->pauses, clock->pauses, sizeof(SlaSpan) * clock->pause_count);
	}
	else
		copy->pauses = NULL;
	return copy;
}

/* Returns whether moments have moved a clock that was stored as before. */
bool
sla_clock_moved(const SlaClock *clock, const SlaClock *before)
{
	return before->stopped_at != clock->stopped_at || before->pause_count != clock->pause_count ||
		   (clock->pause_count > 0 &&
			before->pauses[clock->pause_count - 1].to != clock->pauses[clock->pause_count - 1].to);
}

/* Gives a machine, new to the family, the promises to requests whose moments may be deleted: they may open again. */
void
sla_machine_settle(SlaMachine *machine, const SlaFamily *family)
{
	for (int i = 0; i < family->clock_count; i++)
		if (family->clocks[i]->settled && family->clocks[i]->metric == SLA_RESOLUTION)
			sla_machine_add(machine, sla_clock_copy(family->clocks[i]));
}

/* Moves the family's open clocks on by its new moments; what they ask for was read. Needs an SPI scope. */
void
sla_family_advance(SlaFamily *family, const SlaPolicies *policies, SlaChanges *changes)
{
	SlaMachine machine;

	sla_machine_begin(&machine, policies, family->root);
	machine.partial = true;
	for (int i = 0; i < family->clock_count; i++)
		sla_machine_add(&machine, sla_clock_copy(family->clocks[i]));
	for (int i = 0; i < family->said_count; i++)
		sla_machine_request(&machine, family->said[i]->request_id)->last = family->said[i];

	for (int i = 0; i < family->moment_count; i++)
		sla_machine_apply(&machine, family->moments[i]);
	for (int i = 0; i < machine.clock_count; i++)
	{
		SlaClock *clock = machine.clocks[i];
		const SlaClock *before = i < family->clock_count ? family->clocks[i] : NULL;

		/* Most clocks are not concerned. */
		if (before != NULL && !sla_clock_moved(clock, before))
			continue;
		sla_reckon(clock, changes->now, NULL);
		(void) sla_changes_put(changes, clock, before);
	}
}

/* Orders clocks by the moment that started them, and metric. For qsort of pointers. */
static int
compare_starts(const void *a, const void *b)
{
	const SlaClock *left = *(SlaClock *const *) a;
	const SlaClock *right = *(SlaClock *const *) b;

	if (left->moment_id != right->moment_id)
		return left->moment_id < right->moment_id ? -1 : 1;
	return (int) left->metric - (int) right->metric;
}

/* Returns whether two clocks may be the same promise to one customer, of which a late contact moved the start. */
static bool
same_promise(const SlaClock *left, const SlaClock *right)
{
	if (left->metric != right->metric || left->customer_id != right->customer_id)
		return false;
	if (left->metric == SLA_CALLBACK)
		return true;
	if (left->request_id != 0 || right->request_id != 0)
		return left->request_id == right->request_id;
	if (left->thread != NULL || right->thread != NULL)
		return left->thread != NULL && right->thread != NULL && strcmp(left->thread, right->thread) == 0;
	return strcmp(left->channel, right->channel) == 0;
}

/* Returns whether two clocks ran and stood still at the same times. */
static bool
same_times(const SlaClock *left, const SlaClock *right)
{
	if (left->started_at != right->started_at || left->stopped_at != right->stopped_at ||
		left->pause_count != right->pause_count)
		return false;
	for (int i = 0; i < left->pause_count; i++)
		if (left->pauses[i].from != right->pauses[i].from || left->pauses[i].to != right->pauses[i].to)
			return false;
	return true;
}

/* Returns the clock with the same start that the customers taken apart would have as one, or NULL. */
static SlaClock *
find_together(const SlaFamily *family, SlaClock *clock)
{
	SlaClock **found = bsearch(&clock, family->together, family->together_count, sizeof(SlaClock *), compare_starts);

	return found == NULL ? NULL : *found;
}

/* Returns whether what had ended before the family's earliest new moment leaves this clock open to change. */
static bool
is_open_to_change(const SlaFamily *family, const SlaClock *clock)
{
	return clock->stopped_at == NO_TIME || clock->stopped_at >= family->from;
}

/* The same of a clock that was reckoned anew: it is also where the customer's being taken apart changes it. */
static bool
is_to_be_made(const SlaFamily *family, SlaClock *clock)
{
	const SlaClock *together;

	if (family->together == NULL || is_open_to_change(family, clock))
		return is_open_to_change(family, clock);
	together = find_together(family, clock);
	return together == NULL || !same_times(clock, together);
}

/* The same of a stored clock that nothing starts any more: it is also where only the group had started it. */
static bool
is_to_be_dropped(const SlaFamily *family, SlaClock *clock)
{
	return is_open_to_change(family, clock) || (family->together != NULL && find_together(family, clock) != NULL);
}

/* Gives a clock that was reckoned anew what is stored of it. */
static void
take_over(SlaClock *clock, const SlaClock *before, SlaChanges *changes)
{
	/* What has ended keeps the policy that it ended under. */
	if (clock->stopped_at != NO_TIME && same_times(clock, before))
		return;
	clock->clock_id = before->clock_id;
	clock->warned_at = before->warned_at;
	clock->breached_at = before->breached_at;
	sla_reckon(clock, changes->now, NULL);
	(void) sla_changes_put(changes, clock, before);
}

/*
 * sla_family_reckon feeds a machine, new to the family, with all of its moments, and gathers what differs from the
 * stored clocks.
 */
void
sla_family_reckon(SlaFamily *family, SlaMachine *machine, SlaChanges *changes)
{
	SlaClock **reckoned;
	bool *matched;
	bool *kept = palloc0(sizeof(bool) * Max(family->clock_count, 1));
	int count;

	sla_machine_settle(machine, family);
	for (int i = 0; i < family->moment_count; i++)
		sla_machine_apply(machine, family->moments[i]);

	count = machine->clock_count;
	reckoned = palloc(sizeof(SlaClock *) * Max(count, 1));
	matched = palloc0(sizeof(bool) * Max(count, 1));
	for (int i = 0; i < count; i++)
		reckoned[i] = machine->clocks[i];
	qsort(reckoned, count, sizeof(SlaClock *), compare_starts);

	/* Those that the same moment started. */
	for (int i = 0; i < family->clock_count; i++)
	{
		SlaClock **found = bsearch(&family->clocks[i], reckoned, count, sizeof(SlaClock *), compare_starts);

		if (found == NULL)
			continue;
		matched[found - reckoned] = kept[i] = true;
		if (is_to_be_made(family, *found) || is_open_to_change(family, family->clocks[i]))
			take_over(*found, family->clocks[i], changes);
	}
	/* Those whose start a late moment moved. */
	for (int i = 0; i < family->clock_count; i++)
	{
		if (kept[i] || family->clocks[i]->settled || !is_to_be_dropped(family, family->clocks[i]))
			continue;
		for (int j = 0; j < count && !kept[i]; j++)
			if (!matched[j] && is_to_be_made(family, reckoned[j]) && same_promise(reckoned[j], family->clocks[i]))
			{
				matched[j] = kept[i] = true;
				take_over(reckoned[j], family->clocks[i], changes);
			}
		if (!kept[i])
			sla_changes_drop(changes, family->clocks[i]);
	}
	for (int j = 0; j < count; j++)
		if (!matched[j] && is_to_be_made(family, reckoned[j]))
		{
			sla_reckon(reckoned[j], changes->now, NULL);
			(void) sla_changes_put(changes, reckoned[j], NULL);
		}
}

/* Reads and locks all that is stored of families, which are sorted by root. Needs an SPI scope. */
static void
read_families(SlaFamily *families, int count, const SlaPolicies *policies)
{
	sla_moments_read(families, count);
	sla_clocks_read(policies, families, count, SLA_HOLD_ALL);
	sla_families_memberships(policies, families, count);
}

/*
 * Gives families, which were one and are read, the clocks that they would have as one.
 *
 * Where these are the same, being one has changed nothing, and what has ended stays as it is stored: policies may have
 * changed since.
 */
static void
reckon_together(SlaFamily *families, int count, const SlaPolicies *policies)
{
	SlaFamily all = {0};
	SlaMachine machine;
	int room = 1;

	sla_machine_begin(&machine, policies, families[0].root);
	for (int i = 0; i < count; i++)
		room += families[i].memberships.count;
	machine.memberships.memberships = palloc(sizeof(SlaMembership) * room);
	machine.memberships.known = true;
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < families[i].moment_count; j++)
			sla_family_add(&all, families[i].moments[j]);
		sla_machine_settle(&machine, &families[i]);
		for (int j = 0; j < families[i].memberships.count; j++)
			machine.memberships.memberships[machine.memberships.count++] = families[i].memberships.memberships[j];
	}
	qsort(all.moments, all.moment_count, sizeof(SlaMoment *), sla_moment_compare);
	for (int i = 0; i < all.moment_count; i++)
		sla_machine_apply(&machine, all.moments[i]);
	if (machine.clock_count == 0)
		machine.clocks = palloc(sizeof(SlaClock *));
	qsort(machine.clocks, machine.clock_count, sizeof(SlaClock *), compare_starts);
	for (int i = 0; i < count; i++)
	{
		families[i].together_count = machine.clock_count;
		families[i].together = machine.clocks;
	}
}

/* Reckons families anew that are read. */
static void
reckon_read(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	for (int i = 0; i < count; i++)
	{
		SlaMachine machine;

		sla_machine_begin(&machine, policies, families[i].root);
		machine.memberships = families[i].memberships;
		sla_family_reckon(&families[i], &machine, changes);
	}
}

/* Reckons families anew, from all that is stored of them. They are sorted by root. Needs an SPI scope. */
void
sla_families_reckon(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	if (count == 0)
		return;
	read_families(families, count, policies);
	reckon_read(families, count, policies, changes);
}

/* A new moment, before it has found its family. */
typedef struct NewMoment
{
	int64 root;
	bool anew; /* it does more than move open clocks on */
	SlaMoment moment;
} NewMoment;

/* Orders new moments by family, then as sla_moment_compare() does. For qsort of pointers. */
static int
compare_new(const void *a, const void *b)
{
	const NewMoment *left = *(NewMoment *const *) a;
	const NewMoment *right = *(NewMoment *const *) b;
	const SlaMoment *left_moment = &left->moment;
	const SlaMoment *right_moment = &right->moment;

	if (left->root != right->root)
		return left->root < right->root ? -1 : 1;
	return sla_moment_compare(&left_moment, &right_moment);
}

/* Orders new moments by the customer of whom they were logged. For qsort of pointers. */
static int
compare_customers(const void *a, const void *b)
{
	int64 left = (*(NewMoment *const *) a)->moment.customer_id;
	int64 right = (*(NewMoment *const *) b)->moment.customer_id;

	return left < right ? -1 : left > right;
}

/* Sets whose family new moments belong to. Needs an SPI scope. */
static void
find_roots(NewMoment **moments, int count)
{
	SlaColumn ids = {.type = INT8OID};
	Datum values[1];
	uint64 rows;
	uint64 row = 0;

	if (count == 0)
		return;
	qsort(moments, count, sizeof(NewMoment *), compare_customers);
	for (int i = 0; i < count; i++)
		if (i == 0 || moments[i]->moment.customer_id != moments[i - 1]->moment.customer_id)
			sla_column_add_id(&ids, moments[i]->moment.customer_id);
	values[0] = sla_column_array(&ids);
	rows = kept_plan_run(&roots_select, values, NULL, false, 0);
	for (int i = 0; i < count; i++)
	{
		int64 customer_id = moments[i]->moment.customer_id;
		bool isnull;

		while (row < rows && DatumGetInt64(spi_datum(row, 1, &isnull)) < customer_id)
			row++;
		if (row < rows && DatumGetInt64(spi_datum(row, 1, &isnull)) == customer_id)
			moments[i]->root = DatumGetInt64(spi_datum(row, 2, &isnull));
		else
			moments[i]->root = customer_id;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Writes moments and what they do, which changes, begun, may tell of. Needs an SPI scope.
 *
 * Without wait the moments of customers whom another transaction holds are only written, and tick() follows them up:
 * who holds other locks must not wait here.
 */
static void
take_moments(NewMoment **moments, int count, const SlaPolicies *policies, bool wait, SlaChanges *changes)
{
	SlaFamily *families = palloc0(sizeof(SlaFamily) * Max(count, 1));
	SlaFamily *anew;
	SlaFamily *prompt;
	int family_count = 0;
	int anew_count = 0;
	int prompt_count = 0;

	if (count == 0)
		return;
	qsort(moments, count, sizeof(NewMoment *), compare_new);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || moments[i]->root != moments[i - 1]->root)
			families[family_count++].root = moments[i]->root;
		sla_family_add(&families[family_count - 1], &moments[i]->moment);
		if (moments[i]->anew)
			families[family_count - 1].late = true;
	}
	if (!wait)
		family_count = sla_families_try(families, family_count);
	if (family_count == 0)
		return;
	sla_moments_write(families, family_count);

	anew = palloc(sizeof(SlaFamily) * family_count);
	prompt = palloc(sizeof(SlaFamily) * family_count);
	for (int i = 0; i < family_count; i++)
		if (families[i].late)
			anew[anew_count++] = families[i];
		else
			prompt[prompt_count++] = families[i];
	if (prompt_count > 0)
	{
		sla_clocks_read(policies, prompt, prompt_count, SLA_HOLD_OPEN);
		sla_requests_read(prompt, prompt_count);
		sla_earlier_read(prompt, prompt_count);
	}
	for (int i = 0; i < prompt_count; i++)
		sla_family_advance(&prompt[i], policies, changes);
	sla_families_reckon(anew, anew_count, policies, changes);
	sla_changes_write(changes);
}

/* Returns what a state means for clocks. */
const char *
sla_state_class(const char *state)
{
	return sla_state_ends(state) || strcmp(state, "waiting_customer") == 0 ? state : "new";
}

static bool
differ(const char *left, const char *right)
{
	return left == NULL || right == NULL ? left != right : strcmp(left, right) != 0;
}

/* Returns a time of a row that is not NULL. */
static TimestampTz
time_of(uint64 row, int column)
{
	bool isnull;

	return DatumGetTimestampTz(spi_datum(row, column, &isnull));
}

/* Turns a row of requests_select into the moments that tell what is new in it; returns how many, up to two. */
static int
request_moments(uint64 row, NewMoment *moments)
{
	SlaMoment *moment = &moments[0].moment;
	char *known_state = spi_text(row, 12, CurrentMemoryContext);
	TimestampTz since = time_of(row, 11);
	bool isnull;
	bool changed;
	bool moved;

	memset(moments, 0, sizeof(NewMoment) * 2);
	moments[0].root = DatumGetInt64(spi_datum(row, 3, &isnull));
	moment->what = MOMENT_REQUEST;
	moment->request_id = DatumGetInt64(spi_datum(row, 1, &isnull));
	moment->customer_id = DatumGetInt64(spi_datum(row, 2, &isnull));
	moment->state = spi_text(row, 4, CurrentMemoryContext);
	moment->kind = spi_text(row, 5, CurrentMemoryContext);
	moment->queue = spi_text(row, 6, CurrentMemoryContext);
	moment->channel = spi_text(row, 7, CurrentMemoryContext);
	moment->priority = DatumGetInt32(spi_datum(row, 8, &isnull));
	moment->version = DatumGetInt64(spi_datum(row, 9, &isnull));

	/* A state without a time of its own began just now, after all that this transaction has logged before. */
	if (since == GetCurrentTransactionStartTimestamp())
		since = GetCurrentTimestamp();

	if (known_state == NULL)
	{
		TimestampTz opened_at = time_of(row, 10);
		TimestampTz settled_until = time_of(row, 18);

		/* What was closed before anybody looked is history. */
		if (sla_state_ends(moment->state) && since < GetCurrentTransactionStartTimestamp())
			return 0;
		/* Its moments are deleted, and now it is opened again. */
		if (opened_at < settled_until)
		{
			moment->at = Max(since, settled_until);
			moments[0].anew = true;
			return 1;
		}
		moment->at = opened_at;
		moments[0].anew = DatumGetBool(spi_datum(row, 17, &isnull));
		if (strcmp(sla_state_class(moment->state), "new") == 0)
			return 1;
		moments[1] = moments[0];
		moments[0].moment.state = "new";
		moments[0].moment.version = 0;
		moments[1].moment.at = Max(since, opened_at);
		moments[1].anew = true;
		return 2;
	}

	changed = strcmp(sla_state_class(moment->state), sla_state_class(known_state)) != 0;
	moved = differ(moment->kind, spi_text(row, 13, CurrentMemoryContext)) ||
			differ(moment->queue, spi_text(row, 14, CurrentMemoryContext)) ||
			moment->priority != DatumGetInt32(spi_datum(row, 15, &isnull));
	if (!changed && !moved)
		return 0;
	moment->at = Max(changed ? since : GetCurrentTimestamp(), time_of(row, 16));
	moments[0].anew = moved || sla_state_ends(known_state);
	return 1;
}

/* Returns an array of ids. */
static Datum
ids_array(const int64 *ids, int count)
{
	SlaColumn column = {.type = INT8OID};

	for (int i = 0; i < count; i++)
		sla_column_add_id(&column, ids[i]);
	return sla_column_array(&column);
}

/*
 * Adds to moments those that tell what is new in requests; returns how many, and in *missing how many of the ids belong
 * to no request. Needs an SPI scope.
 */
static int
add_request_moments(const int64 *request_ids, int count, NewMoment ***moments, int taken, int *missing)
{
	Datum values[1] = {ids_array(request_ids, count)};
	NewMoment *rows;
	uint64 found;
	int made = 0;

	found = kept_plan_run(&requests_select, values, NULL, false, 0);
	*missing = count - (int) found;
	rows = palloc(sizeof(NewMoment) * 2 * Max(found, 1));
	for (uint64 i = 0; i < found; i++)
		made += request_moments(i, &rows[made]);
	SPI_freetuptable(SPI_tuptable);

	*moments = *moments == NULL ? palloc(sizeof(NewMoment *) * Max(made, 1))
								: repalloc(*moments, sizeof(NewMoment *) * Max(taken + made, 1));
	for (int i = 0; i < made; i++)
	{
		rows[i].moment.moment_id = sla_next_moment_id();
		(*moments)[taken + i] = &rows[i];
	}
	return made;
}

/* Ends the open clocks of requests that are no more. Needs an SPI scope. */
static void
forget_requests(const int64 *request_ids, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	Datum values[1] = {ids_array(request_ids, count)};
	int roots_count = (int) kept_plan_run(&gone_delete, values, NULL, false, 0);
	int64 *roots = palloc(sizeof(int64) * Max(roots_count, 1));
	bool isnull;

	for (int i = 0; i < roots_count; i++)
		roots[i] = DatumGetInt64(spi_datum(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	sla_customers_reckon(roots, roots_count, policies, changes);
}

/*
 * sla_requests_follow starts, pauses, resumes, stops and restarts clocks as requests say that were opened or changed.
 *
 * It compares them with what it saw last, so that a call too many does nothing. It never waits: routing calls it with
 * locks of queues, agents and requests in its hands; only
 * for requests that were deleted does it wait. Needs an SPI scope that may write the tables of this room.
 */
void
sla_requests_follow(const int64 *request_ids, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	NewMoment **moments = NULL;
	int missing;
	int taken;

	if (policies->count == 0 || count == 0)
		return;
	taken = add_request_moments(request_ids, count, &moments, 0, &missing);
	take_moments(moments, taken, policies, false, changes);
	if (missing > 0)
		forget_requests(request_ids, count, policies, changes);
}

/* Makes clocks follow requests that were opened or changed; see sla_requests_follow(). */
void
sla_requests_changed(const int64 *request_ids, int count)
{
	SlaChanges changes = {0};

	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_requests_follow(request_ids, count, sla_policies(), &changes);
}

/* Takes in the moments of contacts, with what is new in the requests that they name. Needs an SPI scope. */
static void
take_contacts(NewMoment **contacts, int count, const SlaPolicies *policies)
{
	NewMoment **moments = palloc(sizeof(NewMoment *) * Max(count, 1));
	int64 *request_ids = palloc(sizeof(int64) * Max(count, 1));
	SlaChanges changes = {0};
	int requests = 0;
	int taken = count;
	int missing;

	for (int i = 0; i < count; i++)
	{
		moments[i] = contacts[i];
		if (contacts[i]->moment.request_id != 0)
			request_ids[requests++] = contacts[i]->moment.request_id;
	}
	find_roots(moments, count);
	if (requests > 0)
		taken += add_request_moments(request_ids, requests, &moments, taken, &missing);
	sla_changes_begin(&changes, GetCurrentTimestamp());
	take_moments(moments, taken, policies, true, &changes);
}

/* How often the moments that change clocks are taken in apart from those that do not, before the rest is together. */
#define MAX_PARTS 32

/* What part of many moments must be of different customers, so that it pays to look at each. */
#define MANY_CUSTOMERS 8

/* How many moments are taken in together at most: each takes some kilobytes for its customer's clocks. */
#define MOMENTS_AT_ONCE 1000

/* Takes in the moments of contacts together, which are in the order of their customers. */
static void
take_together(NewMoment **moments, int count, const SlaPolicies *policies, MemoryContext scratch)
{
	for (int i = 0; i < count; i += MOMENTS_AT_ONCE)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);

		take_contacts(&moments[i], Min(count - i, MOMENTS_AT_ONCE), policies);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
}

/* The same as sla_moment_still(), leaving nothing in memory. */
static bool
is_still(const SlaPolicies *policies, const SlaMoment *moment, bool write, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	bool still = sla_moment_still(policies, moment, write);

	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return still;
}

/*
 * Takes in moments of different customers, in their order: those that change no clock one by one, which costs a
 * fraction, the others together as far as the order of the customers' locks allows.
 */
static void
take_each(NewMoment **moments, int count, const SlaPolicies *policies, MemoryContext scratch)
{
	int begun = 0; /* of those that wait to be taken in together, up to the one at hand */
	int parts = 0;

	for (int i = 0; i < count && parts < MAX_PARTS; i++)
	{
		const SlaMoment *moment = &moments[i]->moment;

		CHECK_FOR_INTERRUPTS();
		if (begun < i)
		{
			if (!is_still(policies, moment, false, scratch))
				continue;
			/* Customers before are locked before. */
			take_together(&moments[begun], i - begun, policies, scratch);
			begun = i;
			parts++;
		}
		if (is_still(policies, moment, true, scratch))
			begun = i + 1;
	}
	if (begun < count)
		take_together(&moments[begun], count - begun, policies, scratch);
}

/*
 * Takes in the moments of many contacts, in rounds of each customer's next one.
 *
 * A round is one command of the transaction: the server remembers for each row that it changes again which commands
 * did, once for each pair of commands.
 */
static void
take_many(NewMoment **moments, int count, const SlaPolicies *policies)
{
	NewMoment **next = palloc(sizeof(NewMoment *) * Max(count, 1));
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel clocks", ALLOCSET_DEFAULT_SIZES);

	/* Whoever was merged is locked as whom they were merged into. */
	find_roots(moments, count);
	qsort(moments, count, sizeof(NewMoment *), compare_new);
	while (count > 1)
	{
		int different = 0;
		int left = 0;

		for (int i = 0; i < count; i++)
			if (different == 0 || next[different - 1]->root != moments[i]->root)
				next[different++] = moments[i];
			else
				moments[left++] = moments[i];
		if (different < count / MANY_CUSTOMERS)
		{
			memcpy(&moments[left], next, sizeof(NewMoment *) * different);
			break;
		}
		CommandCounterIncrement();
		take_each(next, different, policies, scratch);
		count = left;
	}
	if (count > 0)
	{
		qsort(moments, count, sizeof(NewMoment *), compare_new);
		take_together(moments, count, policies, scratch);
	}
	MemoryContextDelete(scratch);
	pfree(next);
}

/*
 * sla_contacts_logged starts, stops and resumes clocks as contacts say that were logged live, in any order.
 *
 * What is new in the requests that they name is taken in with them. Needs an SPI scope that may write this room's
 * tables. Locks the customers' rows of sla_customer.
 */
void
sla_contacts_logged(const SlaContact *contacts, int count)
{
	const SlaPolicies *policies = sla_policies();
	NewMoment *rows;
	NewMoment **moments;
	int64 *request_ids;
	int requests = 0;
	int taken = 0;

	if (policies->count == 0)
	{
		requests_told(NULL, 0);
		return;
	}
	rows = palloc0(sizeof(NewMoment) * count);
	moments = palloc(sizeof(NewMoment *) * count);
	for (int i = 0; i < count; i++)
	{
		const SlaContact *contact = &contacts[i];
		SlaMoment *moment = &rows[taken].moment;

		if (strcmp(contact->direction, "internal") == 0 ||
			(contact->request_id == 0 && contact->thread == NULL && !sla_channel_counts(policies, contact->channel)))
			continue;
		moment->customer_id = contact->customer_id;
		moment->moment_id = sla_next_moment_id();
		moment->at = contact->occurred_at;
		moment->what = strcmp(contact->direction, "inbound") == 0 ? MOMENT_INBOUND : MOMENT_OUTBOUND;
		moment->request_id = contact->request_id;
		moment->contact_id = contact->contact_id;
		moment->channel = contact->channel;
		moment->thread = contact->thread;
		moment->outcome = contact->outcome;
		moments[taken] = &rows[taken];
		taken++;
	}
	if (count == 1 && taken == 1 && sla_moment_prompt(policies, &moments[0]->moment, contacts[0].request))
		return;
	request_ids = palloc(sizeof(int64) * Max(taken, 1));
	for (int i = 0; i < taken; i++)
		if (moments[i]->moment.request_id != 0)
			request_ids[requests++] = moments[i]->moment.request_id;
	take_many(moments, taken, policies);
	requests_told(request_ids, requests);
}

/*
 * sla_contact_revised makes clocks follow a contact whose channel, direction or outcome was corrected.
 *
 * The customer is that of whom it is logged. Needs an SPI scope that may write the tables of this room.
 */
void
sla_contact_revised(const SlaContact *contact)
{
	const SlaPolicies *policies = sla_policies();
	SlaFamily family = {.root = contact->customer_id};
	SlaChanges changes = {0};
	NewMoment row = {.moment = {.customer_id = contact->customer_id}};
	NewMoment *moment = &row;
	Datum values[5] = {Int64GetDatum(contact->customer_id), Int64GetDatum(contact->contact_id),
					   CStringGetTextDatum(contact->channel), CStringGetTextDatum(contact->direction),
					   CStringGetTextDatum(contact->outcome)};

	if (kept_plan_run(&moment_revise, values, NULL, false, 0) == 0)
		return;
	family.from = time_of(0, 1);
	find_roots(&moment, 1);
	family.root = row.root;
	sla_families_hold(&family, 1);
	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_families_reckon(&family, 1, policies, &changes);
	sla_changes_write(&changes);
}

/* Orders ids. For qsort. */
static int
compare_ids(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* Makes families of roots, each once and sorted; returns how many. */
int
sla_families_of(const int64 *roots, int count, SlaFamily **families)
{
	int64 *sorted = palloc(sizeof(int64) * Max(count, 1));
	int found = 0;

	*families = palloc0(sizeof(SlaFamily) * Max(count, 1));
	for (int i = 0; i < count; i++)
		sorted[i] = roots[i];
	qsort(sorted, count, sizeof(int64), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || sorted[i] != sorted[i - 1])
			(*families)[found++].root = sorted[i];
	pfree(sorted);
	return found;
}

/* Makes families of customers, sorted, of which only what is open may change, and takes their locks. */
static int
hold_customers(const int64 *roots, int count, SlaFamily **families)
{
	int family_count = sla_families_of(roots, count, families);

	for (int i = 0; i < family_count; i++)
		(*families)[i].from = DT_NOEND;
	if (family_count > 0)
		sla_families_hold(*families, family_count);
	return family_count;
}

/*
 * sla_customers_reckon gathers what differs from the stored open clocks of customers when reckoned anew, and writes it.
 *
 * Takes the customers' locks. Needs an SPI scope that may write the tables of this room.
 */
void
sla_customers_reckon(const int64 *roots, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	SlaFamily *families;
	int family_count = hold_customers(roots, count, &families);

	if (family_count == 0)
		return;
	sla_families_reckon(families, family_count, policies, changes);
	sla_changes_write(changes);
}

/*
 * sla_customers_changed makes the open clocks of customers what their moments say: of those that others were merged
 * into, and, if parted, of those that were one and were taken apart, each of them.
 *
 * These then have the clocks that they would have had, also those that ended while they were one. Needs an SPI scope
 * that may write this room's tables.
 */
void
sla_customers_changed(const int64 *roots, int count, bool parted)
{
	const SlaPolicies *policies = sla_policies();
	SlaChanges changes = {0};
	SlaFamily *families;
	int family_count;

	sla_changes_begin(&changes, GetCurrentTimestamp());
	if (!parted)
	{
		sla_customers_reckon(roots, count, policies, &changes);
		return;
	}
	family_count = hold_customers(roots, count, &families);
	if (family_count == 0)
		return;
	read_families(families, family_count, policies);
	reckon_together(families, family_count, policies);
	reckon_read(families, family_count, policies, &changes);
	sla_changes_write(&changes);
}

/* Returns when the first open clock of a request is due, infinity where none is. Needs an SPI scope. */
TimestampTz
sla_request_due(int64 request_id)
{
	Datum values[1] = {Int64GetDatum(request_id)};

	(void) kept_plan_run(&due_select, values, NULL, false, 1);
	return time_of(0, 1);
}
