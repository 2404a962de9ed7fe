/*
 * compare.c
 *	  What clocks are compared with that are reckoned anew: those without what is new, or as one with others.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

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

/* Gives families the clocks to compare with that a machine, new to the moments of another family, makes of these. */
static void
compare_with(SlaFamily *families, int count, SlaMachine *machine, const SlaFamily *other)
{
	qsort(other->moments, other->moment_count, sizeof(SlaMoment *), sla_moment_compare);
	sla_machine_feed(machine, other->moments, other->moment_count);
	if (machine->clock_count == 0)
		machine->clocks = palloc(sizeof(SlaClock *));
	qsort(machine->clocks, machine->clock_count, sizeof(SlaClock *), sla_clock_compare_starts);
	for (int i = 0; i < count; i++)
	{
		families[i].compared_count = machine->clock_count;
		families[i].compared = machine->clocks;
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
	compare_with(families, count, &machine, &all);
	for (int i = 0; i < count; i++)
		families[i].parted = true;
}

/* Gives a family, which has clocks to compare with, those of them that are not stored, in `never`. */
static void
gather_never(SlaFamily *family)
{
	SlaClock **stored = palloc(sizeof(SlaClock *) * Max(family->clock_count, 1));

	for (int i = 0; i < family->clock_count; i++)
		stored[i] = family->clocks[i];
	qsort(stored, family->clock_count, sizeof(SlaClock *), sla_clock_compare_starts);
	family->never = palloc(sizeof(SlaClock *) * Max(family->compared_count, 1));
	for (int i = 0; i < family->compared_count; i++)
		if (sla_clock_find(stored, family->clock_count, family->compared[i]->metric, family->compared[i]->moment_id) ==
			NULL)
			family->never[family->never_count++] = family->compared[i];
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

	sla_machine_know(&machine, policies, family);
	for (int i = 0; i < family->moment_count; i++)
		if (bsearch(&family->moments[i]->moment_id, moment_ids, count, sizeof(int64), id_compare) == NULL)
			sla_family_add(&before, family->moments[i]);
	if (family->former_moment != NULL)
		sla_family_add(&before, (SlaMoment *) family->former_moment);
	compare_with(family, 1, &machine, &before);
	gather_never(family);
}
