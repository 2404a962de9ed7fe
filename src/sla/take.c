/*
 * take.c
 *	  Takes moments in: writes them, and moves clocks on or has them reckoned anew.
 */
#include "postgres.h"

#include "omnichannel.h"
#include "sla/clock.h"

/* Orders new moments by family, then as sla_moment_compare() does. For qsort of pointers. */
int
sla_new_moment_compare(const void *a, const void *b)
{
	const SlaNewMoment *left = *(SlaNewMoment *const *) a;
	const SlaNewMoment *right = *(SlaNewMoment *const *) b;
	const SlaMoment *left_moment = &left->moment;
	const SlaMoment *right_moment = &right->moment;

	if (left->root != right->root)
		return left->root < right->root ? -1 : 1;
	return sla_moment_compare(&left_moment, &right_moment);
}

/*
 * sla_moments_take writes moments and what they do, which changes, begun, may tell of. Needs an SPI scope.
 *
 * Without wait the moments of customers whom another transaction holds are only written, and tick() follows them up:
 * who holds other locks must not wait here. Where moved is given, what belongs to other families than it seemed is
 * added there, to be followed once nobody is waited for any more.
 */
void
sla_moments_take(SlaNewMoment **moments, int count, const SlaPolicies *policies, bool wait, SlaMoved *moved,
				 SlaChanges *changes)
{
	SlaFamily *families = palloc0(sizeof(SlaFamily) * Max(count, 1));
	SlaFamily *anew;
	SlaFamily *prompt;
	SlaMoved at_once = {.context = CurrentMemoryContext, .roots.type = INT8OID};
	int family_count = 0;
	int anew_count = 0;
	int prompt_count = 0;

	if (count == 0)
		return;
	qsort(moments, count, sizeof(SlaNewMoment *), sla_new_moment_compare);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || moments[i]->root != moments[i - 1]->root)
			families[family_count++].root = moments[i]->root;
		sla_family_add(&families[family_count - 1], &moments[i]->moment);
		if (moments[i]->anew)
			families[family_count - 1].late = true;
		if (moments[i]->others)
			families[family_count - 1].others = true;
	}
	if (!wait)
		family_count = sla_families_try(families, family_count);
	if (family_count == 0)
		return;
	sla_moments_write(families, family_count);
	family_count = sla_moved_find(moments, count, families, family_count, moved != NULL ? moved : &at_once);
	sla_families_foreign(families, family_count);

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
	sla_moved_follow(&at_once, policies, changes);
	sla_families_doubt(families, family_count);
}
