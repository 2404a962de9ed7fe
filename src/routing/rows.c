/*
 * rows.c
 *	  The rows of what is going on, found and read without SQL; rows_write.c writes and locks them.
 *
 * A statement spends many times what its row does: nine tenths of route() was the executor being built up and torn down
 * (test/bench/route.sh). What SQL would do for these rows is done here by the heap's and the index's own functions;
 * rows_open.c sees to it that SQL would do nothing else. Unique keys, NOT NULL, HOT, TOAST, logical decoding and
 * statistics are honoured. Who changes a row that somebody else is changing waits and looks again, or is told.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"

#include "core/table.h"
#include "routing/rows.h"

/* Returns whether a table has a page; its file, which does not shrink meanwhile, is asked where it was shorter. */
static bool
has_page(Rows *rows, RowsTable table, BlockNumber page)
{
	if (page >= rows->blocks[table])
		rows->blocks[table] = RelationGetNumberOfBlocks(rows->tables[table]);
	return page < rows->blocks[table];
}

/* rows_none returns whether there is nothing in a table. */
bool
rows_none(Rows *rows, RowsTable table)
{
	return !has_page(rows, table, 0);
}

/* Remembers where the row in the table's slot is. */
static void
remember(Rows *rows, RowsTable table, int64 key)
{
	rows->found[table].key = key;
	rows->found[table].place = rows->slots[table]->tts_tid;
	if (table == rows->kept_table)
		rows->kept = NULL;
}

/* Puts the row of this key into the table's slot if it is where it was found last; returns whether. */
static bool
find_again(Rows *rows, RowsTable table, int64 key)
{
	TupleTableSlot *slot = rows->slots[table];
	bool isnull;

	return ItemPointerIsValid(&rows->found[table].place) && rows->found[table].key == key &&
		   table_tuple_fetch_row_version(rows->tables[table], &rows->found[table].place, rows->snapshot, slot) &&
		   DatumGetInt64(slot_getattr(slot, 1, &isnull)) == key;
}

/*
 * rows_find puts the row of this key into the table's slot; returns false where there is none.
 *
 * What is looked for again is not looked for in the index again: many who route the newest requests at once meet there.
 */
bool
rows_find(Rows *rows, RowsTable table, int64 key)
{
	RowsScan *scan;
	bool found;

	if (rows->kept != NULL && table == rows->kept_table && key == rows->found[table].key)
	{
		ExecForceStoreHeapTuple(rows->kept, rows->slots[table], false);
		rows->slots[table]->tts_tid = rows->kept->t_self;
		return true;
	}
	if (find_again(rows, table, key))
		return true;
	scan = rows_scan(rows, table, ROWS_BY_KEY, key);
	found = rows_next(rows, table, scan, ForwardScanDirection);
	rows_end(scan);
	if (found)
		remember(rows, table, key);
	return found;
}

/*
 * rows_keep keeps the row in the table's slot: rows_find() finds it so, whatever becomes of it meanwhile, until it is
 * changed or locked, which tells what became of it.
 */
void
rows_keep(Rows *rows, RowsTable table)
{
	rows->kept = ExecCopySlotHeapTuple(rows->slots[table]);
	rows->kept_table = table;
}

/* Returns whether a row is kept that nobody else was about to change or had locked when it was read. */
bool
rows_kept_free(const Rows *rows)
{
	const HeapTupleHeaderData *header = rows->kept == NULL ? NULL : rows->kept->t_data;
	TransactionId owner;

	if (header == NULL || (header->t_infomask & HEAP_XMAX_INVALID))
		return header != NULL;
	owner = HeapTupleHeaderGetRawXmax(header);
	return !(header->t_infomask & HEAP_XMAX_IS_MULTI) &&
		   (TransactionIdIsCurrentTransactionId(owner) || !TransactionIdIsInProgress(owner));
}

/*
 * rows_is_changing returns whether another transaction is about to change or delete a row, or has it locked other than
 * for a foreign key.
 */
bool
rows_is_changing(HeapTuple tuple)
{
	TransactionId owner;

	if ((tuple->t_data->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) ||
		HEAP_XMAX_IS_KEYSHR_LOCKED(tuple->t_data->t_infomask))
		return false;
	owner = HeapTupleHeaderGetRawXmax(tuple->t_data);
	return !TransactionIdIsCurrentTransactionId(owner) && TransactionIdIsInProgress(owner);
}

/* rows_is_taken returns the same of the row in the table's slot. */
bool
rows_is_taken(const Rows *rows, RowsTable table)
{
	return rows_is_changing(ExecFetchSlotHeapTuple(rows->slots[table], false, NULL));
}

/* Returns the columns of the row in the table's slot, as they lie in the heap. */
const void *
rows_data(Rows *rows, RowsTable table)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(rows->slots[table], false, NULL);

	return (char *) tuple->t_data + tuple->t_data->t_hoff;
}

/*
 * Finds the version of a row that the snapshot sees, from that one on along its chain on a page; returns whether.
 * Otherwise the trail leads to another page, or is invalid.
 */
static bool
walk_chain(Page page, OffsetNumber offset, Buffer buffer, Snapshot snapshot, int64 key, RowsTrail *trail,
		   HeapTuple tuple)
{
	ItemPointerSetInvalid(&trail->place.last);
	for (int steps = 0; steps < MaxHeapTuplesPerPage; steps++)
	{
		ItemId item;

		if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
			return false;
		item = PageGetItemId(page, offset);
		if (ItemIdIsRedirected(item) && steps == 0)
		{
			offset = ItemIdGetRedirect(item);
			continue;
		}
		if (!ItemIdIsNormal(item))
			return false;
		tuple->t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple->t_len = ItemIdGetLength(item);
		ItemPointerSet(&tuple->t_self, BufferGetBlockNumber(buffer), offset);
		if (TransactionIdIsValid(trail->updated_by) &&
			!TransactionIdEquals(HeapTupleHeaderGetXmin(tuple->t_data), trail->updated_by))
			return false;
		if (*(const int64 *) ((char *) tuple->t_data + tuple->t_data->t_hoff) != key)
			return false;
		if (HeapTupleSatisfiesVisibility(tuple, snapshot, buffer))
		{
			trail->place.last = tuple->t_self;
			return true;
		}
		if ((tuple->t_data->t_infomask & HEAP_XMAX_INVALID) || HeapTupleHeaderIsOnlyLocked(tuple->t_data) ||
			ItemPointerEquals(&tuple->t_self, &tuple->t_data->t_ctid))
			return false;
		trail->updated_by = HeapTupleHeaderGetUpdateXid(tuple->t_data);
		offset = ItemPointerGetOffsetNumber(&tuple->t_data->t_ctid);
		if (!HeapTupleIsHotUpdated(tuple))
		{
			trail->place.last = tuple->t_data->t_ctid;
			trail->place.root = offset;
			return false;
		}
	}
	return false;
}

/*
 * rows_on_page finds the row of a key, the first column, on a page, along its chain of updates; returns whether the
 * version that the snapshot sees is there, its tuple, and in the trail its place. Otherwise the trail leads to another
 * page, or is invalid.
 *
 * The buffer is share-locked.
 */
bool
rows_on_page(Relation relation, Buffer buffer, Snapshot snapshot, int64 key, RowsTrail *trail, HeapTuple tuple)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber last = ItemPointerGetOffsetNumber(&trail->place.last);
	OffsetNumber root = trail->place.root;
	TransactionId updated_by = trail->updated_by;

	tuple->t_tableOid = RelationGetRelid(relation);
	if (walk_chain(page, last, buffer, snapshot, key, trail, tuple))
		return true;
	if (ItemPointerIsValid(&trail->place.last) || root == last)
		return false;
	trail->updated_by = updated_by;
	return walk_chain(page, root, buffer, snapshot, key, trail, tuple);
}

/* rows_moved notes the place of a row's new version. */
void
rows_moved(RowPlace *place, HeapTuple changed)
{
	place->last = changed->t_self;
	if (!HeapTupleIsHeapOnly(changed))
		place->root = ItemPointerGetOffsetNumber(&changed->t_self);
}

/* How many pages a row is followed to; from there on the index is as near. */
#define TRAIL_MAX 8

/*
 * rows_trace returns a copy of the row of a key, the first column, that is to be had from the place where it was last,
 * or NULL where no trail leads from there to the version that the snapshot sees; keeps its place.
 *
 * Its pages are tidied up on the way: it is about to be changed, or has just been. The table has so many pages.
 */
HeapTuple
rows_trace(Relation relation, Snapshot snapshot, BlockNumber blocks, int64 key, RowPlace *place)
{
	RowsTrail trail = {*place, InvalidTransactionId};

	for (int pages = 0; ItemPointerIsValid(&trail.place.last) && pages < TRAIL_MAX; pages++)
	{
		BlockNumber block = ItemPointerGetBlockNumber(&trail.place.last);
		HeapTupleData tuple;
		HeapTuple copy = NULL;
		Buffer buffer;

		/* A trail that was followed to here leads to a page; one that was kept may not. */
		if (pages == 0 && block >= blocks)
			break;
		buffer = ReadBuffer(relation, block);
		page_prune(relation, buffer);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (rows_on_page(relation, buffer, snapshot, key, &trail, &tuple))
			copy = heap_copytuple(&tuple);
		UnlockReleaseBuffer(buffer);
		if (copy != NULL)
		{
			*place = trail.place;
			return copy;
		}
	}
	return NULL;
}

/*
 * rows_follow returns a copy of the row of a key, the first column, or NULL where there is none; keeps its place.
 *
 * Follows it from the place where it was last, however many versions of it an old snapshot keeps in the index.
 */
HeapTuple
rows_follow(Rows *rows, RowsTable table, int64 key, RowPlace *place)
{
	HeapTuple copy = NULL;

	if (ItemPointerIsValid(&place->last) && has_page(rows, table, ItemPointerGetBlockNumber(&place->last)))
		copy = rows_trace(rows->tables[table], rows->snapshot, rows->blocks[table], key, place);
	if (copy == NULL && rows_locate(rows, table, key, place))
		copy = ExecCopySlotHeapTuple(rows->slots[table]);
	return copy;
}
