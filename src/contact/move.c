/*
 * move.c
 *	  Recognises the rows that an UPDATE moves to another partition.
 *
 * Such a row fires DELETE triggers where it was and INSERT triggers where it comes to, one right after the other, and
 * nothing tells the latter from those of a new row. But the row that was deleted knows that it has moved, both bear the
 * number of the command that moved them, and whatever comes next of that command is the row that moved, unless a
 * trigger kept that from arriving. So of each command the last row that left is remembered until the next row arrives.
 * Commands can nest, by triggers of the application.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/* Commands that move rows at one time: as deep as they nest, and some whose last row did not arrive. */
#define MOVING_COMMANDS 16

typedef struct MovingCommand
{
	CommandId command;
	MovedRow left; /* its relation is InvalidOid where the entry is free */
} MovingCommand;

static MovingCommand moving[MOVING_COMMANDS];
static LocalTransactionId moving_transaction = InvalidLocalTransactionId;

/* Returns the entry of a command, or NULL. */
static MovingCommand *
moving_find(CommandId command)
{
	if (moving_transaction == MY_LXID)
		for (int i = 0; i < MOVING_COMMANDS; i++)
			if (OidIsValid(moving[i].left.relation) && moving[i].command == command)
				return &moving[i];
	return NULL;
}

/* Frees an entry. */
static void
moving_forget(MovingCommand *entry)
{
	if (OidIsValid(entry->left.relation))
		pfree(entry->left.row);
	entry->left.relation = InvalidOid;
}

/* note_moved_row remembers a row that was deleted from a partition, if it has moved. */
void
note_moved_row(Relation relation, HeapTuple tuple, TupleTableSlot *slot)
{
	MovingCommand *entry;
	MemoryContext old;
	CommandId command;

	if (!HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data))
		return;
	if (moving_transaction != MY_LXID)
	{
		/* What they point at went with its transaction. */
		memset(moving, 0, sizeof(moving));
		moving_transaction = MY_LXID;
	}
	command = HeapTupleHeaderGetCmax(tuple->t_data);
	entry = moving_find(command);
	if (entry == NULL)
	{
		/* A free one, else that of the oldest command. */
		entry = &moving[0];
		for (int i = 1; i < MOVING_COMMANDS && OidIsValid(entry->left.relation); i++)
			if (!OidIsValid(moving[i].left.relation) || moving[i].command < entry->command)
				entry = &moving[i];
	}
	moving_forget(entry);
	old = MemoryContextSwitchTo(TopTransactionContext);
	entry->left.row = ExecCopySlotMinimalTuple(slot);
	MemoryContextSwitchTo(old);
	entry->left.relation = RelationGetRelid(relation);
	entry->command = command;
}

/*
 * take_moved_row returns the row that has left another partition just before an inserted row arrived, in the current
 * context, or NULL. It is the same row where moved_rows_arrive(), else it may be.
 */
const MovedRow *
take_moved_row(HeapTuple tuple)
{
	MovingCommand *entry;
	MovedRow *left;

	if (moving_transaction != MY_LXID)
		return NULL;
	entry = moving_find(HeapTupleHeaderGetCmin(tuple->t_data));
	if (entry == NULL)
		return NULL;
	left = palloc(sizeof(MovedRow));
	left->relation = entry->left.relation;
	left->row = heap_copy_minimal_tuple(entry->left.row, 0);
	moving_forget(entry);
	return left;
}

/* Returns whether no trigger of a table can keep rows from it, and that of the tracking sees them. */
static bool
rows_arrive(Relation triggers, Oid relation, bool partitioned)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool arrive = true;
	bool logged = partitioned;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (arrive && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);

		if (form->tgenabled == TRIGGER_DISABLED)
			continue;
		if (TRIGGER_FOR_ROW(form->tgtype) && TRIGGER_FOR_BEFORE(form->tgtype) && TRIGGER_FOR_INSERT(form->tgtype))
			arrive = false;
		if (strcmp(NameStr(form->tgname), TRACKING_TRIGGER) == 0)
			logged = form->tgenabled != TRIGGER_FIRES_ON_REPLICA;
	}
	systable_endscan(scan);
	return arrive && logged;
}

/*
 * moved_rows_arrive returns whether each row that an UPDATE moves out of a partition of a tracked table comes to
 * another one and is seen there: it is no part of a larger table, and no trigger can keep the row.
 */
bool
moved_rows_arrive(Oid tracked)
{
	static Oid known = InvalidOid;
	static uint64 known_generation = 0;
	static bool arrive;
	Relation triggers;
	ListCell *cell;

	if (known == tracked && known_generation == relations_generation())
		return arrive;
	known_generation = relations_generation();
	known = InvalidOid;
	arrive = !get_rel_relispartition(tracked);
	triggers = table_open(TriggerRelationId, AccessShareLock);
	foreach (cell, find_all_inheritors(tracked, NoLock, NULL))
	{
		char kind = get_rel_relkind(lfirst_oid(cell));

		arrive = arrive && kind != RELKIND_FOREIGN_TABLE &&
				 rows_arrive(triggers, lfirst_oid(cell), kind == RELKIND_PARTITIONED_TABLE);
	}
	table_close(triggers, AccessShareLock);
	known = tracked;
	return arrive;
}
