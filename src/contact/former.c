/*
 * former.c
 *	  Tells whether what is logged under the key that an updated row had was logged of another row.
 *
 * It was logged of that row, as a rule: a row under another's key is refused when it is written. But a row can be there
 * that was never logged, because a value map left it out or it waits in quarantine, under a key that was logged of
 * another before; its update must not get into the other's contact. Only of such a row it is asked whose the contact
 * is, by the time and the customer that the row had and has: an application may well correct those, and a contact that
 * was logged of the row then says something else than the row does before its next update.
 *
 * And a row can have come to the key that another leaves in the same statement, as where keys are moved up: what is
 * logged under that is the one's that came, which is told by the command that wrote it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "executor/executor.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/* Makes a contact of what the row was, as far as the mapping still fits. */
static void
make_contact(void *argument)
{
	FormerRow *former = argument;
	const FittedMapping *fitted = mapping_fit(former->tracking, former->relation);

	former->asked = mapping_names_rows(fitted, former->relation);
	former->left_out = !mapping_evaluate(fitted, former->slot, true, &former->entry);
}

/* Brings as much of that into the form of the log as logged_of() compares. */
static void
check_contact(void *argument)
{
	ContactEntry *entry = argument;

	if (entry->timed)
		contact_check_when_who(entry);
	else
		contact_check(entry);
}

/*
 * former_read reads what the row of a write was before it, where the tracking can have left that unlogged. With the
 * rights of whoever may read the row, in the current context.
 */
void
former_read(FormerRow *former, const TrackedWrite *write, const Tracking *tracking)
{
	bool leaves_out = mapping_leaves_out(tracking);

	memset(former, 0, sizeof(*former));
	former->command = write->command;
	if ((write->former == NULL && write->left == NULL) || !(leaves_out || tracking->quarantine))
		return;
	former->asked = true;
	former->left_out = leaves_out;
	former->tracking = tracking;
	/* Its statement holds a lock on it. */
	former->relation =
		relation_open(write->former == NULL ? write->left->relation : RelationGetRelid(write->relation), NoLock);
	former->slot = MakeSingleTupleTableSlot(RelationGetDescr(former->relation), &TTSOpsMinimalTuple);
	ExecStoreMinimalTuple(write->former == NULL ? write->left->row : write->former, former->slot, false);
	/* It may be what could not be logged. */
	former->known = row_allows(make_contact, former);
	ExecDropSingleTupleTableSlot(former->slot);
	relation_close(former->relation, NoLock);
}

/*
 * former_is_other returns whether what is logged under the key that the row had was logged of another row: one that has
 * come there since, or the row may have been left unlogged, and neither what it was nor what it is now has the time and
 * the customer.
 *
 * left: the row has another key now. now: the row as it is, checked and not yet logged, or NULL where that cannot be.
 * Needs an SPI scope of the log's owner.
 */
bool
former_is_other(FormerRow *former, const char *source, const char *key, bool left, const ContactEntry *now)
{
	if (left && key_written_since(source, key, former->command))
		return true;
	if (!former->asked || !(former->left_out || was_new(former->tracking, source, key, former->command)))
		return false;
	former->known = former->known && row_allows(check_contact, &former->entry);
	return !(former->known && logged_of(&former->entry, source, key)) && !(now != NULL && logged_of(now, source, key));
}
