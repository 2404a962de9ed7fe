/*
 * know.c
 *	  What a machine knows of a customer before it is given moments.
 *
 * Moments do not tell all: those of before may be deleted, and policies, memberships and customers may be others than
 * they were when something was promised. Whoever reckons with all moments begins with sla_machine_know(), so that all
 * who do get the same clocks.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

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

/* Returns a copy of a settled clock as it was when its moments were deleted: it may have been opened again since. */
static SlaClock *
copy_settled(const SlaClock *clock)
{
	SlaClock *copy = sla_clock_copy(clock);

	for (int i = 0; i < copy->pause_count; i++)
		if (copy->pauses[i].from < copy->settled_until && copy->pauses[i].to >= copy->settled_until)
		{
			copy->stopped_at = copy->pauses[i].from;
			copy->cancelled = false;
			copy->pause_count = i;
		}
	return copy;
}

/* Gives a machine, new to the family, what requests said before its moments. */
void
sla_machine_know_requests(SlaMachine *machine, const SlaFamily *family)
{
	for (int i = 0; i < family->said_count; i++)
		sla_machine_request(machine, family->said[i]->request_id)->last = family->said[i];
}

/* Gives a machine, new to the family, the promises to requests whose moments may be deleted: they may open again. */
void
sla_machine_settle(SlaMachine *machine, const SlaFamily *family)
{
	sla_machine_know_requests(machine, family);
	for (int i = 0; i < family->clock_count; i++)
		if (family->clocks[i]->settled && family->clocks[i]->metric == SLA_RESOLUTION)
			sla_machine_add(machine, copy_settled(family->clocks[i]));
}

/*
 * sla_machine_know makes a machine that reads what it lacks, and knows of a family, which is read, what its moments do
 * not tell; of one that was taken apart nothing of what it was promised as one with others.
 */
void
sla_machine_know(SlaMachine *machine, const SlaPolicies *policies, const SlaFamily *family)
{
	sla_machine_begin(machine, policies, family->root);
	machine->memberships = family->memberships;
	sla_machine_settle(machine, family);
	machine->parted = family->parted;
	machine->stored_count = family->clock_count;
	machine->stored = sla_clocks_sorted(family->clocks, family->clock_count);
	machine->unmade_count = family->unmade_count;
	machine->unmade = family->unmade;
}
