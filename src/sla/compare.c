/*
 * compare.c
 *	  The order of moments and of clocks, and what clocks are compared with that are reckoned anew: those without what
 *	  is new, or as one with others.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

/* Compares texts, of which NULL is the first. */
static int
compare_texts(const char *left, const char *right)
{
	if (left == NULL || right == NULL)
		return left == right ? 0 : left == NULL ? -1 : 1;
	return strcmp(left, right);
}

/* Returns whether texts are the same, or both NULL. */
bool
sla_same_text(const char *left, const char *right)
{
	return compare_texts(left, right) == 0;
}

/* Returns whether threads are the same key of the same source, or there is neither. */
bool
sla_same_thread(const char *thread, const char *source, const char *other, const char *other_source)
{
	return sla_same_text(thread, other) && sla_same_text(source, other_source);
}

static int
compare_ids(int64 left, int64 right)
{
	return left < right ? -1 : left > right;
}

/*
 * Orders moments by time; at the same time by what they say, so that the order of logging makes no difference, and only
 * those that say the same by their ids. For qsort of pointers.
 */
int
sla_moment_compare(const void *a, const void *b)
{
	const SlaMoment *left = *(SlaMoment *const *) a;
	const SlaMoment *right = *(SlaMoment *const *) b;
	int order = compare_ids(left->at, right->at);

	if (order == 0)
		order = compare_ids(left->what, right->what);
	if (order == 0)
		order = compare_ids(left->request_id, right->request_id);
	if (order == 0)
		order = compare_ids(left->version, right->version);
	if (order == 0)
		order = compare_texts(left->channel, right->channel);
	if (order == 0)
		order = compare_texts(left->thread, right->thread);
	if (order == 0)
		order = compare_texts(left->source, right->source);
	if (order == 0)
		order = compare_texts(left->outcome, right->outcome);
	return order != 0 ? order : compare_ids(left->moment_id, right->moment_id);
}

/* Orders clocks by the moment that started them, and metric. For qsort and bsearch of pointers. */
int
sla_clock_compare_starts(const void *a, const void *b)
{
	const SlaClock *left = *(SlaClock *const *) a;
	const SlaClock *right = *(SlaClock *const *) b;

	if (left->moment_id != right->moment_id)
		return compare_ids(left->moment_id, right->moment_id);
	return (int) left->metric - (int) right->metric;
}

/* Returns the place of the clock that the moment started, by metric, among clocks sorted by start, or NULL. */
SlaClock **
sla_clock_find(SlaClock **clocks, int count, SlaMetric metric, int64 moment_id)
{
	SlaClock start = {.metric = metric, .moment_id = moment_id};
	SlaClock *key = &start;

	return count == 0 ? NULL : bsearch(&key, clocks, count, sizeof(SlaClock *), sla_clock_compare_starts);
}

/* Returns copies of pointers to clocks, sorted by start. */
SlaClock **
sla_clocks_sorted(SlaClock *const *clocks, int count)
{
	SlaClock **sorted = palloc(sizeof(SlaClock *) * Max(count, 1));

	for (int i = 0; i < count; i++)
		sorted[i] = clocks[i];
	qsort(sorted, count, sizeof(SlaClock *), sla_clock_compare_starts);
	return sorted;
}

/* Returns those of clocks, in their order, of which none of others, which are sorted by start, has the same start. */
SlaClock **
sla_clocks_missing(SlaClock *const *clocks, int count, SlaClock **others, int other_count, int *missing)
{
	SlaClock **found = palloc(sizeof(SlaClock *) * Max(count, 1));

	*missing = 0;
	for (int i = 0; i < count; i++)
		if (sla_clock_find(others, other_count, clocks[i]->metric, clocks[i]->moment_id) == NULL)
			found[(*missing)++] = clocks[i];
	return found;
}

/* Returns a moment as it was while the families were one: it may name a request of another of them. */
static SlaMoment *
moment_together(SlaMoment *moment, const SlaFamily *families, int count)
{
	for (int i = 0; i < count && moment->foreign_id != 0; i++)
		if (families[i].root == moment->foreign_root)
		{
			SlaMoment *copy = palloc(sizeof(SlaMoment));

			*copy = *moment;
			copy->request_id = moment->foreign_id;
			return copy;
		}
	return moment;
}

/* Gives families the clocks to compare with that a machine has, which was fed. */
static void
compare_with(SlaFamily *families, int count, const SlaMachine *machine)
{
	SlaClock **compared = sla_clocks_sorted(machine->clocks, machine->clock_count);

	for (int i = 0; i < count; i++)
	{
		families[i].compared_count = machine->clock_count;
		families[i].compared = compared;
		families[i].from = DT_NOEND;
	}
}

/*
 * sla_families_compare_as_one gives families, which were one and are read, the clocks that they would have as one.
 *
 * Where these are the same, being one has changed nothing, and what has ended stays as it is stored: policies may have
 * changed since.
 */
void
sla_families_compare_as_one(SlaFamily *families, int count, const SlaPolicies *policies)
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
			sla_family_add(&all, moment_together(families[i].moments[j], families, count));
		sla_machine_settle(&machine, &families[i]);
		for (int j = 0; j < families[i].memberships.count; j++)
			machine.memberships.memberships[machine.memberships.count++] = families[i].memberships.memberships[j];
	}
	qsort(all.moments, all.moment_count, sizeof(SlaMoment *), sla_moment_compare);
	sla_machine_feed(&machine, all.moments, all.moment_count);
	compare_with(families, count, &machine);
	for (int i = 0; i < count; i++)
		families[i].parted = true;
}

/*
 * sla_family_compare_without gives a family, which is read, the clocks that it would have without those moments, which
 * are new, or corrected: only what these change of it was told wrongly. What had ended before was told by the policies
 * of then, and, before its customers became one, of each alone, and is not what they would have as one by the policies
 * of now.
 */
void
sla_family_compare_without(SlaFamily *family, const SlaPolicies *policies, const int64 *moment_ids, int count)
{
	SlaFamily before = {0};
	SlaMachine machine;

	for (int i = 0; i < family->moment_count; i++)
		if (bsearch(&family->moments[i]->moment_id, moment_ids, count, sizeof(int64), id_compare) == NULL)
			sla_family_add(&before, family->moments[i]);
	if (family->former_moment != NULL)
		sla_family_add(&before, (SlaMoment *) family->former_moment);
	qsort(before.moments, before.moment_count, sizeof(SlaMoment *), sla_moment_compare);
	family->from = DT_NOEND;
	sla_family_feed(family, policies, before.moments, before.moment_count, &machine);
	compare_with(family, 1, &machine);
	family->never = sla_clocks_missing(family->compared, family->compared_count,
									   sla_clocks_sorted(family->clocks, family->clock_count), family->clock_count,
									   &family->never_count);
}
