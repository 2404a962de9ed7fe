/*
 * move.c
 *	  Recognises the rows that an UPDATE moves to another partition.
 *
 * Such a row fires DELETE triggers where it was and INSERT triggers where it comes to, one right after the other, and
 * nothing tells the latter from those of a new row. But the row that was deleted knows that it has moved, and both bear
 * the number of the command that moved them. Commands can nest, by triggers of the application; a row that a trigger
 * keeps from arriving is left over, until its transaction ends.
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "omnichannel.h"
#include "contact/mapping.h"

/* Commands that move rows at one time: as deep as they nest, and some whose rows did not arrive. */
#define MOVING_COMMANDS 16

typedef struct MovingCommand
{
	CommandId command;
	uint64 rows; /* that left and have not arrived; 0: free */
} MovingCommand;

static MovingCommand moving[MOVING_COMMANDS];
static LocalTransactionId moving_transaction = InvalidLocalTransactionId;

/* Returns the entry of a command, or NULL. */
static MovingCommand *
moving_find(CommandId command)
{
	if (moving_transaction == MY_LXID)
		for (int i = 0; i < MOVING_COMMANDS; i++)
			if (moving[i].rows > 0 && moving[i].command == command)
				return &moving[i];
	return NULL;
}

/* Notes a row that was deleted, if it has moved. */
void
note_moved_row(HeapTuple row)
{
	MovingCommand *entry;
	CommandId command;

	if (!HeapTupleHeaderIndicatesMovedPartitions(row->t_data))
		return;
	if (moving_transaction != MY_LXID)
	{
		memset(moving, 0, sizeof(moving));
		moving_transaction = MY_LXID;
	}
	command = HeapTupleHeaderGetCmax(row->t_data);
	entry = moving_find(command);
	if (entry == NULL)
	{
		/* A free one, else that of the oldest command. */
		entry = &moving[0];
		for (int i = 1; i < MOVING_COMMANDS && entry->rows > 0; i++)
			if (moving[i].rows == 0 || moving[i].command < entry->command)
				entry = &moving[i];
		*entry = (MovingCommand){.command = command};
	}
	entry->rows++;
}

/* Returns whether an inserted row is the next one that its command has moved. */
bool
take_moved_row(HeapTuple row)
{
	MovingCommand *entry;

	if (moving_transaction != MY_LXID)
		return false;
	entry = moving_find(HeapTupleHeaderGetCmin(row->t_data));
	if (entry == NULL)
		return false;
	entry->rows--;
	return true;
}
