/*
 * reckon.c
 *	  Clocks from moments: moved on by new ones, or reckoned anew from all.
 *
 * Where all new moments of a customer come after those that are known, they move the open clocks on. Where one came
 * late, where a request went elsewhere or was opened again, or where customers were merged, the clocks are reckoned
 * anew from all moments, and what differs from the stored ones is written.
 *
 * What has ended stays, as policies, calendars and memberships may have changed since, but for what the new moments
 * change of it: where the clocks that all moments give differ from those that they would give without the new ones, by
 * the same policies. That is reckoned by what was promised then, and a promise that the policies of now would have made
 * but that was not made then is not made up for.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"
#include "sla/sla.h"

/* Moves the family's open clocks on by its new moments; what they ask for was read. Needs an SPI scope. */
void
sla_family_advance(SlaFamily *family, const SlaPolicies *policies, SlaChanges *changes)
{
	SlaMachine machine;

	sla_machine_begin(&machine, policies, family->root);
	machine.partial = true;
	for (int i = 0; i < family->clock_count; i++)
		sla_machine_add(&machine, sla_clock_copy(family->clocks[i]));
	sla_machine_know_requests(&machine, family);
	sla_machine_feed(&machine, family->moments, family->moment_count);
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
		return sla_same_thread(left->thread, left->source, right->thread, right->source);
	return strcmp(left->channel, right->channel) == 0;
}

/* Returns whether two clocks started, and stood still, at the same times. */
static bool
same_start(const SlaClock *left, const SlaClock *right)
{
	if (left->started_at != right->started_at || left->pause_count != right->pause_count)
		return false;
	for (int i = 0; i < left->pause_count; i++)
		if (left->pauses[i].from != right->pauses[i].from || left->pauses[i].to != right->pauses[i].to)
			return false;
	return true;
}

/* Returns whether two clocks ran and stood still at the same times. */
static bool
same_times(const SlaClock *left, const SlaClock *right)
{
	return left->stopped_at == right->stopped_at && same_start(left, right);
}

/* Returns the clock with the same start among those that the family's are compared with, or NULL. */
static SlaClock *
find_compared(const SlaFamily *family, SlaClock *clock)
{
	SlaClock **found = sla_clock_find(family->compared, family->compared_count, clock->metric, clock->moment_id);

	return found == NULL ? NULL : *found;
}

/* Returns whether what had ended before the family's earliest new moment leaves this clock open to change. */
static bool
is_open_to_change(const SlaFamily *family, const SlaClock *clock)
{
	return clock->stopped_at == NO_TIME || clock->stopped_at >= family->from;
}

/* Returns whether a clock that was reckoned anew is not the one that it is compared with. */
static bool
differs(const SlaFamily *family, SlaClock *clock)
{
	const SlaClock *compared = find_compared(family, clock);

	return compared == NULL || !same_times(clock, compared) || clock->cancelled != compared->cancelled ||
		   clock->request_id != compared->request_id;
}

/*
 * Returns whether a stored clock is to become what the same moment starts now. What has stopped does not go on because
 * policies, or who is one with whom, are others now, but only by what is new.
 */
static bool
is_to_be_changed(const SlaFamily *family, SlaClock *before, SlaClock *clock)
{
	if (family->parted || is_open_to_change(family, before))
		return true;
	if (family->compared != NULL)
		return differs(family, clock);
	return family->from != DT_NOEND && is_open_to_change(family, clock);
}

/* Returns whether two clocks stand, or would, for the same promise at some time. */
static bool
overlap(const SlaClock *left, const SlaClock *right)
{
	SlaClock same = *left;

	if (sla_is_response(left) && sla_is_response(right))
		same.metric = right->metric;
	return same_promise(&same, right) && (right->stopped_at == NO_TIME || left->started_at <= right->stopped_at) &&
		   (left->stopped_at == NO_TIME || right->started_at <= left->stopped_at);
}

/* Returns whether a clock that was reckoned anew has ended, and stands for what was not promised when it was time. */
static bool
was_never_promised(const SlaFamily *family, const SlaClock *clock)
{
	if (clock->stopped_at == NO_TIME)
		return false;
	for (int i = 0; i < family->never_count; i++)
		if (overlap(clock, family->never[i]))
			return true;
	return false;
}

/*
 * Returns what is_open_to_change() does, of a clock that was reckoned anew: it also is where it differs. What was not
 * promised when it was time is not.
 */
static bool
is_to_be_made(const SlaFamily *family, SlaClock *clock)
{
	return (is_open_to_change(family, clock) || (family->compared != NULL && differs(family, clock))) &&
		   !was_never_promised(family, clock);
}

/* Returns whether the machine, which was fed, has started a clock, though no policy that there is now promises it. */
static bool
is_unpromised(const SlaMachine *machine, SlaClock *clock)
{
	for (int i = 0; i < machine->unpromised_count; i++)
	{
		SlaClock *other = machine->clocks[machine->clock_count + i];

		if (sla_clock_compare_starts(&clock, &other) == 0 ||
			(clock->metric == SLA_RESOLUTION && same_promise(clock, other)))
			return true;
	}
	return false;
}

/*
 * Returns what is_open_to_change() does, of a stored clock that nothing starts any more: it is also where something
 * had, by what is compared. Of who was taken apart nothing else stays than what there would be alone, by whatever
 * policy.
 */
static bool
is_to_be_dropped(const SlaFamily *family, const SlaMachine *machine, SlaClock *clock)
{
	if (is_open_to_change(family, clock))
		return true;
	if (family->parted)
		return !is_unpromised(machine, clock);
	return family->compared != NULL && find_compared(family, clock) != NULL;
}

/*
 * Gives a machine what a family that was taken apart was told of, has ended, and would be promised nothing for now,
 * not even as one with the others: the policies were others then.
 */
static void
tell(SlaMachine *machine, const SlaFamily *family)
{
	machine->told = palloc(sizeof(SlaClock *) * Max(family->clock_count, 1));
	for (int i = 0; i < family->clock_count; i++)
		if (!is_open_to_change(family, family->clocks[i]) && find_compared(family, family->clocks[i]) == NULL)
			machine->told[machine->told_count++] = family->clocks[i];
	qsort(machine->told, machine->told_count, sizeof(SlaClock *), sla_clock_compare_starts);
}

/*
 * Returns whether by the policies of now a clock, and the one that is stored before, are promised by the same one, or
 * the former by none.
 */
static bool
same_choice(const SlaFamily *family, const SlaClock *clock, SlaClock *before)
{
	const SlaClock *compared = family->compared == NULL ? NULL : find_compared(family, before);

	return clock->policy == NULL || (compared != NULL && compared->policy == clock->policy);
}

/* Returns what was promised by a stored clock, whatever has become of its policy since. */
static const SlaPolicy *
former_policy(const SlaClock *clock)
{
	SlaPolicy *policy = palloc0(sizeof(SlaPolicy));

	if (clock->policy != NULL)
		*policy = *clock->policy;
	policy->code = clock->policy_code;
	policy->metric = clock->metric;
	policy->target = clock->target;
	policy->calendar = clock->calendar;
	return policy;
}

/* Gives a clock what is stored of the time at which it is due. */
static void
take_terms(SlaClock *clock, const SlaClock *before)
{
	clock->policy = NULL;
	clock->policy_code = before->policy_code;
	clock->target = before->target;
	clock->calendar = before->calendar;
	clock->due_at = before->due_at;
	clock->time_left = before->time_left;
	clock->warn_at = before->warn_at;
	clock->tell_at = before->tell_at;
}

/* Gives a clock that was reckoned anew what is stored of it. */
static void
take_over(const SlaFamily *family, SlaClock *clock, SlaClock *before, SlaChanges *changes)
{
	bool ended = clock->stopped_at != NO_TIME && before->stopped_at != NO_TIME;

	/*
	 * What has ended keeps the policy that it ended under, but not the request of who is another again; nor is it what
	 * something else of the same time has started or stopped.
	 */
	if (ended && same_times(clock, before) && clock->moment_id == before->moment_id &&
		(clock->cancelled == before->cancelled || before->outcome == SLA_BREACHED))
	{
		SlaClock *same = sla_clock_copy(before);

		same->request_id = clock->request_id;
		(void) sla_changes_put(changes, same, before);
		return;
	}
	clock->clock_id = before->clock_id;
	clock->warned_at = before->warned_at;
	clock->breached_at = before->breached_at;
	if (ended && same_choice(family, clock, before))
	{
		if (same_start(clock, before) || !sla_ruler_exists(before->calendar))
			take_terms(clock, before);
		else
			clock->policy = former_policy(before);
	}
	sla_reckon(clock, changes->now, NULL);
	(void) sla_changes_put(changes, clock, before);
}

/* Returns whether a stored clock that has stopped stays as it is, where the same moment starts this one now. */
static bool
is_to_stay(const SlaFamily *family, SlaClock *before, SlaClock *clock)
{
	/* What would go on has nothing to go on by. */
	return before->orphaned || (clock->former && clock->stopped_at == NO_TIME) ||
		   !is_to_be_changed(family, before, clock);
}

/*
 * Notes which stored clocks stay as they are, though a machine, which was fed with moments of a family, gives that they
 * go on; returns whether there are more of them than are noted already.
 */
static bool
find_stays(const SlaFamily *family, const SlaMachine *machine)
{
	SlaClock **reckoned = sla_clocks_sorted(machine->clocks, machine->clock_count);
	SlaClock **stored = machine->stored;
	bool news = false;

	for (int i = 0; i < machine->stored_count; i++)
	{
		SlaClock **found = sla_clock_find(reckoned, machine->clock_count, stored[i]->metric, stored[i]->moment_id);

		if (found == NULL || stored[i]->stays || stored[i]->metric == SLA_RESOLUTION ||
			stored[i]->stopped_at == NO_TIME || !is_to_stay(family, stored[i], *found) ||
			((*found)->stopped_at != NO_TIME && (*found)->stopped_at <= stored[i]->stopped_at))
			continue;
		news = stored[i]->stays = true;
	}
	return news;
}

/*
 * Finds out which clocks a machine, which was fed with moments of a family, gives that are not made; returns whether
 * that may concern the others: what is promised is to wait with what there is.
 */
static bool
find_unmade(SlaFamily *family, const SlaMachine *machine)
{
	SlaClock **reckoned = sla_clocks_sorted(machine->clocks, machine->clock_count);
	int missing;
	int count;

	family->unmade = sla_clocks_missing(reckoned, machine->clock_count, machine->stored, machine->stored_count, &count);
	family->unmade_count = 0;
	for (int i = 0; i < count; i++)
		if (!is_to_be_made(family, family->unmade[i]))
			family->unmade[family->unmade_count++] = family->unmade[i];
	(void) sla_clocks_missing(machine->stored, machine->stored_count, reckoned, machine->clock_count, &missing);
	return missing > 0 && family->unmade_count > 0;
}

/*
 * sla_family_feed makes a machine that knows a family, which is read, and feeds it with moments of it.
 *
 * Not all that it gives then is followed: what has stopped may stay as it is, and what the policies of now would have
 * promised, but are too new for, is not made. Where that makes a difference, it is fed again, knowing it: nothing waits
 * with a promise that there is not. What starts only now, as what it had waited with stays stopped, may be stored and
 * stay stopped in turn: so it is fed until there is no more of that.
 */
void
sla_family_feed(SlaFamily *family, const SlaPolicies *policies, SlaMoment *const *moments, int count,
				SlaMachine *machine)
{
	bool stays;

	sla_machine_know(machine, policies, family);
	if (family->parted)
		tell(machine, family);
	sla_machine_feed(machine, moments, count);
	if (family->parted)
		return;
	stays = find_stays(family, machine);
	if (!find_unmade(family, machine) && !stays)
		return;
	do
	{
		sla_machine_know(machine, policies, family);
		sla_machine_feed(machine, moments, count);
	} while (find_stays(family, machine));
}

/* Gathers what differs from the stored clocks of a family in those of a machine, which was fed with its moments. */
static void
reckon_family(SlaFamily *family, const SlaMachine *machine, SlaChanges *changes)
{
	int count = machine->clock_count;
	SlaClock **reckoned = sla_clocks_sorted(machine->clocks, count);
	bool *matched = palloc0(sizeof(bool) * Max(count, 1));
	bool *kept = palloc0(sizeof(bool) * Max(family->clock_count, 1));

	/* Those that the same moment started. */
	for (int i = 0; i < family->clock_count; i++)
	{
		SlaClock **found = sla_clock_find(reckoned, count, family->clocks[i]->metric, family->clocks[i]->moment_id);

		if (found == NULL)
			continue;
		matched[found - reckoned] = kept[i] = true;
		if (!is_to_stay(family, family->clocks[i], *found))
			take_over(family, *found, family->clocks[i], changes);
	}
	/* Those whose start a late moment moved. */
	for (int i = 0; i < family->clock_count; i++)
	{
		if (kept[i] || family->clocks[i]->settled || family->clocks[i]->orphaned ||
			!is_to_be_dropped(family, machine, family->clocks[i]))
			continue;
		for (int j = 0; j < count && !kept[i]; j++)
			if (!matched[j] && is_to_be_made(family, reckoned[j]) && same_promise(reckoned[j], family->clocks[i]))
			{
				matched[j] = kept[i] = true;
				take_over(family, reckoned[j], family->clocks[i], changes);
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

/* Reckons families anew that are read. Needs an SPI scope. */
void
sla_families_reckon_read(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	for (int i = 0; i < count; i++)
	{
		SlaMachine machine;

		sla_requests_gone(&families[i]);
		sla_family_feed(&families[i], policies, families[i].moments, families[i].moment_count, &machine);
		reckon_family(&families[i], &machine, changes);
	}
}

/*
 * Reckons families anew, from all that is stored of them; the moments that they have are new, or corrected. They are
 * sorted by root. Needs an SPI scope.
 */
void
sla_families_reckon(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	int64 **moment_ids = palloc(sizeof(int64 *) * Max(count, 1));
	int *new_count = palloc(sizeof(int) * Max(count, 1));

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		new_count[i] = families[i].moment_count;
		moment_ids[i] = palloc(sizeof(int64) * Max(new_count[i], 1));
		for (int j = 0; j < new_count[i]; j++)
			moment_ids[i][j] = families[i].moments[j]->moment_id;
		qsort(moment_ids[i], new_count[i], sizeof(int64), id_compare);
	}
	read_families(families, count, policies);
	for (int i = 0; i < count; i++)
		if (new_count[i] > 0)
			sla_family_compare_without(&families[i], policies, moment_ids[i], new_count[i]);
	sla_families_reckon_read(families, count, policies, changes);
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
	qsort(sorted, count, sizeof(int64), id_compare);
	for (int i = 0; i < count; i++)
		if (i == 0 || sorted[i] != sorted[i - 1])
			(*families)[found++].root = sorted[i];
	pfree(sorted);
	return found;
}

/*
 * Makes families of customers, sorted, of which only what is open may change, and takes their locks; returns how many.
 * tick() sees to those that were merged into somebody meanwhile.
 */
static int
hold_customers(const int64 *roots, int count, SlaFamily **families)
{
	int family_count = sla_families_of(roots, count, families);
	int held = 0;

	for (int i = 0; i < family_count; i++)
		(*families)[i].from = DT_NOEND;
	if (family_count > 0)
		held = sla_families_hold(*families, family_count);
	sla_families_behind(&(*families)[held], family_count - held, true);
	return held;
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
	const SlaPolicies *policies = sla_policies_to_write();
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
	sla_families_compare_as_one(families, family_count, policies);
	sla_families_reckon_read(families, family_count, policies, &changes);
	sla_changes_write(&changes);
}
