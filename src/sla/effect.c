/*
 * effect.c
 *	  What contacts do to clocks.
 *
 * Moments are written first, which takes the locks of their customers. Then they move the open clocks on, or the clocks
 * are reckoned anew: see reckon.c. A contact that names a request takes in what is new in that as well: see request.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "customer/customer.h"
#include "request/request.h"
#include "sla/clock.h"
#include "sla/sla.h"

/* The moment of a contact. */
static KeptPlan moment_select = {
	.sql = "SELECT " SLA_MOMENT_COLUMNS " FROM omnichannel.sla_moment WHERE customer_id = $1 AND contact_id = $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID},
	.indexed = true,
};

/* An internal contact concerns no clock, like one that failed. */
static KeptPlan moment_revise = {
	.sql =
		"UPDATE omnichannel.sla_moment SET channel = $3, what = CASE $4 WHEN 'internal' THEN what ELSE $4 END,"
		" outcome = CASE $4 WHEN 'internal' THEN 'failed' ELSE $5 END, request_id = coalesce(request_id, nullif($6, 0))"
		" WHERE customer_id = $1 AND contact_id = $2 AND (channel, what, outcome) IS DISTINCT FROM"
		" ($3, CASE $4 WHEN 'internal' THEN what ELSE $4 END, CASE $4 WHEN 'internal' THEN 'failed' ELSE $5 END)"
		" RETURNING at",
	.nargs = 6,
	.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID},
	.indexed = true,
};

/*
 * Once a contact is corrected, others of the customer may no longer wait with one that is written: they become moments.
 * What is settled already stays as it is.
 */
static KeptPlan stills_write = {
	.sql =
		"WITH written AS (UPDATE omnichannel.contact AS c SET still = NULL WHERE c.customer_id = $1 AND c.still"
		" AND c.occurred_at >= greatest((SELECT h.settled_until FROM omnichannel.sla_customer AS h"
		" WHERE h.customer_id = $1), (SELECT m.at FROM omnichannel.sla_moment AS m WHERE m.customer_id = $1"
		" ORDER BY m.at LIMIT 1)) RETURNING c.*)"
		" INSERT INTO omnichannel.sla_moment (" SLA_MOMENT_COLUMNS ") SELECT " SLA_STILL_COLUMNS " FROM written AS c",
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

/* How the moments of contacts are taken in. */
typedef struct Taking
{
	const SlaPolicies *policies;
	SlaContacts all; /* that are logged together */
	SlaMoved moved;
	MemoryContext scratch;
} Taking;

/*
 * Takes in the moments of contacts, whose roots are found, with what is new in the requests that they name. Needs an
 * SPI scope.
 *
 * The roots are those that were found for all of the statement, so that their rows are taken in one order.
 */
static void
take_contacts(SlaNewMoment **contacts, int count, Taking *taking)
{
	SlaNewMoment **moments = palloc(sizeof(SlaNewMoment *) * Max(count, 1));
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
	if (requests > 0)
		taken += sla_request_moments(request_ids, requests, &taking->all, &moments, taken, &missing, NULL, NULL);
	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_moments_take(moments, taken, taking->policies, true, &taking->moved, &changes);
}

/* How often the moments that change clocks are taken in apart from those that do not, before the rest is together. */
#define MAX_PARTS 32

/* What part of many moments must be of different customers, so that it pays to look at each. */
#define MANY_CUSTOMERS 8

/* How many moments are taken in together at most, and were last. */
#define MOMENTS_AT_ONCE 1000

static int moments_at_once = MOMENTS_AT_ONCE;

/*
 * Takes in the moments of contacts together, which are in the order of their customers.
 *
 * Where all that is known of their customers is read, it would take more and more memory, the more that is: fewer are
 * taken in together then, so that it fits into work_mem, and more again where there is room.
 */
static void
take_together(SlaNewMoment **moments, int count, Taking *taking)
{
	for (int i = 0; i < count;)
	{
		MemoryContext old = MemoryContextSwitchTo(taking->scratch);
		int some = Min(count - i, moments_at_once);
		Size limit = work_mem * (Size) 1024;
		Size taken;

		take_contacts(&moments[i], some, taking);
		MemoryContextSwitchTo(old);
		taken = MemoryContextMemAllocated(taking->scratch, true);
		MemoryContextReset(taking->scratch);
		i += some;
		if (taken > limit)
			moments_at_once = Max(some / 2, 1);
		else if (some == moments_at_once && taken < limit / 4)
			moments_at_once = Min(some * 2, MOMENTS_AT_ONCE);
	}
}

/*
 * The same as sla_moment_still(), leaving nothing in memory; what is to be said of a new request is new. Whoever
 * was merged into another one when the roots were found, and is parted by now, has no place in the order of locks.
 */
static bool
is_still(SlaPrompts *prompts, const SlaNewMoment *contact, bool write, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	bool still =
		!contact->opens && contact->root == contact->moment.customer_id && sla_moment_still(prompts, contact, write);

	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return still;
}

/*
 * Takes in moments of different customers, in their order: those that change no clock one by one, which costs a
 * fraction, the others together as far as the order of the customers' locks allows.
 */
static void
take_each(SlaNewMoment **moments, int count, Taking *taking)
{
	SlaPrompts *prompts = sla_prompts_begin(taking->policies);
	int begun = 0; /* of those that wait to be taken in together, up to the one at hand */
	int parts = 0;

	for (int i = 0; i < count && parts < MAX_PARTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (begun < i)
		{
			if (!is_still(prompts, moments[i], false, taking->scratch))
				continue;
			/* Customers before are locked before. */
			sla_prompts_end(prompts);
			take_together(&moments[begun], i - begun, taking);
			prompts = sla_prompts_begin(taking->policies);
			begun = i;
			parts++;
		}
		if (is_still(prompts, moments[i], true, taking->scratch))
			begun = i + 1;
	}
	sla_prompts_end(prompts);
	if (begun < count)
		take_together(&moments[begun], count - begun, taking);
}

/*
 * Takes in the moments of many contacts, in rounds of each customer's next one.
 *
 * A round is one command of the transaction: the server remembers for each row that it changes again which commands
 * did, once for each pair of commands.
 */
static void
take_many(SlaNewMoment **moments, int count, const SlaPolicies *policies)
{
	SlaNewMoment **next = palloc(sizeof(SlaNewMoment *) * Max(count, 1));
	Taking taking = {
		.policies = policies,
		.all = {palloc(sizeof(SlaNewMoment *) * Max(count, 1)), count},
		.moved = {.context = CurrentMemoryContext, .roots.type = INT8OID},
		.scratch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel clocks", ALLOCSET_DEFAULT_SIZES),
	};
	SlaChanges changes = {0};

	for (int i = 0; i < count; i++)
		taking.all.moments[i] = moments[i];

	/* Whoever was merged is locked as whom they were merged into. */
	sla_roots_find(moments, count);
	qsort(moments, count, sizeof(SlaNewMoment *), sla_new_moment_compare);
	/* Where another one makes the customer's clocks be reckoned anew, they are not there yet to be read. */
	for (int i = 1; i < count; i++)
		if (moments[i]->root == moments[i - 1]->root)
			moments[i]->still = moments[i - 1]->still = NULL;
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
			memcpy(&moments[left], next, sizeof(SlaNewMoment *) * different);
			break;
		}
		CommandCounterIncrement();
		take_each(next, different, &taking);
		count = left;
	}
	if (count > 0)
	{
		qsort(moments, count, sizeof(SlaNewMoment *), sla_new_moment_compare);
		take_together(moments, count, &taking);
	}
	MemoryContextDelete(taking.scratch);
	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_moved_follow(&taking.moved, policies, &changes);
	pfree(taking.all.moments);
	pfree(next);
}

/* Sets the moment of a contact, without an id; returns false where the contact concerns no clock. */
static bool
contact_moment(const SlaPolicies *policies, const SlaContact *contact, SlaMoment *moment)
{
	if (strcmp(contact->direction, "internal") == 0 ||
		(contact->request_id == 0 && contact->thread == NULL && !sla_channel_counts(policies, contact->channel)))
		return false;
	*moment = (SlaMoment){
		.customer_id = contact->customer_id,
		.at = contact->occurred_at,
		.what = strcmp(contact->direction, "inbound") == 0 ? MOMENT_INBOUND : MOMENT_OUTBOUND,
		.request_id = contact->request_id,
		.contact_id = contact->contact_id,
		.channel = contact->channel,
		.thread = contact->thread,
		.source = contact->thread == NULL ? NULL : contact->source,
		.outcome = contact->outcome,
	};
	return true;
}

/*
 * Takes in contacts that were logged live, or are about to be: stills says that it sets still of those that are to say
 * so themselves. With again it returns false for one, having done nothing, where it had to wait for another transaction
 * and the caller would look again.
 */
static bool
take_logged(SlaContact *contacts, int count, bool again, bool stills)
{
	const SlaPolicies *policies = sla_policies_to_write();
	SlaNewMoment *rows;
	SlaNewMoment **moments;
	int64 *request_ids;
	bool overtaken = false;
	int requests = 0;
	int taken = 0;

	if (policies->count == 0)
	{
		requests_told(NULL, 0);
		return true;
	}
	rows = palloc0(sizeof(SlaNewMoment) * count);
	moments = palloc(sizeof(SlaNewMoment *) * count);
	for (int i = 0; i < count; i++)
		if (contact_moment(policies, &contacts[i], &rows[taken].moment))
		{
			rows[taken].opens = contacts[i].opens;
			rows[taken].place = contacts[i].place;
			rows[taken].still = stills ? &contacts[i].still : NULL;
			moments[taken] = &rows[taken];
			taken++;
		}
	if (count == 1 && taken == 1 && !rows[0].opens)
	{
		if (sla_moment_prompt(policies, &moments[0]->moment, contacts[0].request, rows[0].still, &overtaken))
		{
			requests_told(&contacts[0].request_id, 1);
			return true;
		}
		if (again && (overtaken || sla_customers_awaited(&contacts[0].customer_id, 1, NULL)))
			return false;
	}
	request_ids = palloc(sizeof(int64) * Max(taken, 1));
	for (int i = 0; i < taken; i++)
	{
		moments[i]->moment.moment_id = sla_next_moment_id();
		if (moments[i]->moment.request_id != 0)
			request_ids[requests++] = moments[i]->moment.request_id;
	}
	take_many(moments, taken, policies);
	requests_told(request_ids, requests);
	return true;
}

/*
 * sla_contacts_logged starts, stops and resumes clocks as contacts say that are logged live, in any order.
 *
 * Where stills says that they are written only afterwards, it sets still of those whose rows have to say so in
 * contact.still, because they change no clock and nothing else tells of them. What is new in the requests that they
 * name is taken in with them. Needs an SPI scope that may write this room's tables. Locks the customers' rows of
 * sla_customer.
 */
void
sla_contacts_logged(SlaContact *contacts, int count, bool stills)
{
	(void) take_logged(contacts, count, false, stills);
}

/*
 * sla_contact_told does the same with one contact; returns false, having done nothing, where again says that the caller
 * looks again then, and it had to wait for another transaction, which may have changed the request that the contact is
 * taken to be about.
 */
bool
sla_contact_told(SlaContact *contact, bool again, bool stills)
{
	return take_logged(contact, 1, again, stills);
}

/*
 * sla_contact_revised makes clocks follow a contact whose channel, direction or outcome was corrected.
 *
 * The customer is that of whom it is logged. Needs an SPI scope that may write the tables of this room.
 */
void
sla_contact_revised(SlaContact *contact)
{
	const SlaPolicies *policies = sla_policies_to_write();
	SlaFamily family = {.root = contact->customer_id};
	SlaChanges changes = {0};
	SlaNewMoment row = {.moment = {.customer_id = contact->customer_id}};
	SlaNewMoment *moment = &row;
	Datum values[6] = {Int64GetDatum(contact->customer_id),   Int64GetDatum(contact->contact_id),
					   CStringGetTextDatum(contact->channel), CStringGetTextDatum(contact->direction),
					   CStringGetTextDatum(contact->outcome), Int64GetDatum(contact->request_id)};
	SlaMoment still = {.moment_id = -contact->contact_id};
	SlaMoment *former = &still;
	bool held;

	if (kept_plan_run(&moment_select, values, NULL, false, 1) > 0)
		family.former_moment = former = sla_moment_from_row(0, 1);
	/* That of a contact that is still is what that says now. */
	if (kept_plan_run(&moment_revise, values, NULL, false, 0) > 0)
		family.from = spi_time(0, 1, NO_TIME);
	else if (contact->still)
		family.from = contact->occurred_at;
	else
	{
		/* Of one that was internal none was ever written. */
		if (contact->internal)
			sla_contacts_logged(contact, 1, false);
		return;
	}
	sla_roots_find(&moment, 1);
	family.root = row.root;
	held = sla_family_hold(&family);
	(void) kept_plan_run(&stills_write, values, NULL, false, 0);
	if (held && family.root != contact->customer_id)
	{
		sla_roots_find(&moment, 1);
		held = row.root == family.root;
	}
	if (!held)
	{
		/* Merged or parted while somebody was waited for, or not to be waited for: tick() sees to it. */
		family.root = contact->customer_id;
		sla_families_behind(&family, 1, true);
		return;
	}
	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_family_add(&family, former);
	sla_families_reckon(&family, 1, policies, &changes);
	sla_changes_write(&changes);
}
