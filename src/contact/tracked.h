/*
 * tracked.h
 *	  Logging rows of tracked tables: what triggers, imports and retries share.
 */
#ifndef OMNICHANNEL_TRACKED_H
#define OMNICHANNEL_TRACKED_H

#include "contact/mapping.h"
#include "routing/routing.h"

/* What track() calls the trigger for inserted rows. */
#define TRACKING_TRIGGER "omnichannel_log_contact"

/* A row that an UPDATE has moved out of a partition, as it was there. */
typedef struct MovedRow
{
	Oid relation;
	MinimalTuple row;
} MovedRow;

/* Rows of one tracked table that are logged together, and how. */
typedef struct TrackedWrite
{
	const char *code;
	Relation relation;
	TupleTableSlot *slot;
	const ContactEntry *entry; /* being logged, or NULL */
	bool owner;                /* with the rights of the log's owner */
	bool live;                 /* with effects on requests */
	bool update;               /* what was logged before is revised */
	bool backfill;             /* rows that were there before */
	Snapshot seen;             /* by which backfill has read them */
	bool older;                /* what is logged of the row, if anything is, was written later */
	bool retry;                /* by who clears what waits itself */
	MinimalTuple former;       /* what the row was before the UPDATE, or NULL */
	CommandId command;         /* that wrote the row, where former or left tells what it was */
	const MovedRow *left;      /* another partition just before, or NULL: perhaps the row */
	const char *source;        /* that the key is of, or NULL for the tracking's */
	uint64 logged;             /* so far */
	uint64 strange;            /* rows whose key is another's; only counted by backfill */
	ContactBatches batches;    /* what is kept from one to the next */
} TrackedWrite;

/* What an updated row was before. */
typedef struct FormerRow
{
	CommandId command;  /* that has written the row since */
	bool asked;         /* whether what is logged under its key was logged of it */
	bool left_out;      /* value maps kept it from being logged, or may have */
	bool known;         /* entry says what it was */
	ContactEntry entry; /* checked once */

	const Tracking *tracking; /* while it is read */
	Relation relation;
	TupleTableSlot *slot;
} FormerRow;

extern void former_read(FormerRow *former, const TrackedWrite *write, const Tracking *tracking);
extern bool former_is_other(FormerRow *former, const char *source, const char *key, bool left, const ContactEntry *now);

extern void tracked_write_rows(TrackedWrite *write, MinimalTuple *rows, int count);
extern void tracked_log_rows(TrackedWrite *write, MinimalTuple *rows, int count);
extern int tracked_batch_rows(const TrackedWrite *write);
extern void tracked_begin_batches(TrackedWrite *write);
extern void tracked_end_batches(TrackedWrite *write);
extern void tracked_lock_batches(void);

extern bool row_allows(void (*make)(void *row), void *row);
extern void reject_row(const Tracking *tracking, const TrackedWrite *write, const ErrorData *error);

extern void note_displaced(const Tracking *tracking, const char *source_key, CommandId command);
extern bool was_new(const Tracking *tracking, const char *source, const char *source_key, CommandId command);

/* What waits under the key that an updated row had before. */
typedef struct FormerReject FormerReject;

extern FormerReject *former_reject_hold(const Tracking *tracking, const TrackedWrite *write, const char *key);
extern void former_reject_delete(const FormerReject *former);

extern void note_moved_row(Relation relation, HeapTuple tuple, TupleTableSlot *slot);
extern const MovedRow *take_moved_row(HeapTuple tuple);
extern bool moved_rows_arrive(Oid tracked);

#endif /* OMNICHANNEL_TRACKED_H */
