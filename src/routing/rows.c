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

/* Returns whether an index has the first two columns of its table as its own. */
static bool
has_second(Relation index)
{
	Form_pg_index form = index->rd_index;

	return form->indnatts >= 2 && form->indkey.values[0] == 1 && form->indkey.values[1] == 2;
}

/*
 * rows_scan begins to read rows whose first column of the order, a bigint, has this value; rows_end() ends it.
 *
 * Of a table that is empty, as most of the time there are no refusals, the index is not even opened: the locks of so
 * many relations would not fit where a backend keeps its own.
 */
IndexScanDesc
rows_scan(Rows *rows, RowsTable table, RowsOrder order, int64 key)
{
	IndexScanDesc scan;
	ScanKeyData equal;

	if (rows->orders[table][order] == NULL && !has_page(rows, table, 0))
		return NULL;
	scan = index_scan_begin(rows->tables[table], rows_order(rows, table, order), rows->snapshot, 1);
	scan->xs_want_itup = table == ROWS_RELATIONSHIP && has_second(scan->indexRelation);
	ScanKeyInit(&equal, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key));
	index_rescan(scan, &equal, 1, NULL, 0);
	return scan;
}

/* rows_none returns whether there is nothing in a table. */
bool
rows_none(Rows *rows, RowsTable table)
{
	return !has_page(rows, table, 0);
}

/* Ends the reading of rows. */
void
rows_end(IndexScanDesc scan)
{
	if (scan != NULL)
		index_endscan(scan);
}

/*
 * rows_scan_lane begins to read the requests that wait in a lane, in their order, from a place on, or after it, and
 * until another one, or a little further; from the first or until the last where that is NULL.
 *
 * All of a page is compared with the keys when it is entered, so that an end that is near saves most of what a look at
 * a lane takes. The scan ends at a key that holds for a column behind others that are known: the columns in which both
 * places agree. The keys live until rows_end().
 */
IndexScanDesc
rows_scan_lane(Rows *rows, int64 lane_id, const LanePlace *from, bool after, const LanePlace *until, LaneKeys *keys)
{
	static const RegProcedure compare[4] = {F_BTINT8CMP, F_TIMESTAMPTZ_CMP, F_TIMESTAMPTZ_CMP, F_BTINT8CMP};
	static const RegProcedure equal[3] = {F_INT8EQ, F_TIMESTAMPTZ_EQ, F_TIMESTAMPTZ_EQ};
	static const RegProcedure at_most[3] = {F_INT8LE, F_TIMESTAMPTZ_LE, F_TIMESTAMPTZ_LE};
	StrategyNumber strategy = after ? BTGreaterStrategyNumber : BTGreaterEqualStrategyNumber;
	IndexScanDesc scan;
	int agreed = 0;
	int count = 0;

	ScanKeyInit(&keys->keys[count++], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(lane_id));
	if (from != NULL)
	{
		Datum values[4] = {Int64GetDatum(from->rank), TimestampTzGetDatum(from->due_at),
						   TimestampTzGetDatum(from->entered_at), Int64GetDatum(from->request_id)};

		if (until != NULL && from->rank == until->rank)
			agreed = from->due_at == until->due_at ? 2 : 1;
		for (int i = 0; i < agreed; i++)
			ScanKeyInit(&keys->keys[count++], (AttrNumber) (2 + i), BTEqualStrategyNumber, equal[i], values[i]);
		for (int i = agreed; i < 4; i++)
			ScanKeyEntryInitialize(&keys->from[i], SK_ROW_MEMBER | (i == 3 ? SK_ROW_END : 0), (AttrNumber) (2 + i),
								   strategy, InvalidOid, InvalidOid, compare[i], values[i]);
		memset(&keys->keys[count], 0, sizeof(ScanKeyData));
		keys->keys[count].sk_flags = SK_ROW_HEADER;
		keys->keys[count].sk_attno = (AttrNumber) (2 + agreed);
		keys->keys[count].sk_strategy = strategy;
		keys->keys[count++].sk_argument = PointerGetDatum(&keys->from[agreed]);
	}
	if (until != NULL)
	{
		Datum values[3] = {Int64GetDatum(until->rank), TimestampTzGetDatum(until->due_at),
						   TimestampTzGetDatum(until->entered_at)};

		ScanKeyInit(&keys->keys[count++], (AttrNumber) (2 + agreed), BTLessEqualStrategyNumber, at_most[agreed],
					values[agreed]);
	}
	scan = index_scan_begin(rows->tables[ROWS_WAITING], rows_order(rows, ROWS_WAITING, ROWS_WAITING_ORDER),
							rows->snapshot, count);
	index_rescan(scan, keys->keys, count, NULL, 0);
	return scan;
}

/* Puts the row at a place that the index gave into the table's slot; returns whether the snapshot sees any there. */
static bool
fetch(Rows *rows, RowsTable table, IndexScanDesc scan, ItemPointer place)
{
	Buffer buffer = InvalidBuffer;
	bool found = index_fetch_row(scan, place, &buffer, rows->slots[table]);

	ReleaseBuffer(buffer);
	return found;
}

/* Puts the next row into the table's slot as rows_next() does, and counts in passed what is gone before it. */
bool
rows_next_passing(Rows *rows, RowsTable table, IndexScanDesc scan, int *passed)
{
	ItemPointer place;

	while ((place = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		if (fetch(rows, table, scan, place))
			return true;
		(*passed)++;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/* Puts the next row into the table's slot; returns false where there is none. */
bool
rows_next(Rows *rows, RowsTable table, IndexScanDesc scan, ScanDirection direction)
{
	ItemPointer place;

	while (scan != NULL && (place = index_getnext_tid(scan, direction)) != NULL)
	{
		if (fetch(rows, table, scan, place))
			return true;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * rows_next_other does what rows_next() does, but passes over the row of this key, which rows_find() has found, without
 * a look at its page; it may come all the same.
 */
bool
rows_next_other(Rows *rows, RowsTable table, IndexScanDesc scan, ScanDirection direction, int64 key)
{
	ItemPointer place;

	while (scan != NULL && (place = index_getnext_tid(scan, direction)) != NULL)
	{
		if (rows->found[table].key == key && ItemPointerEquals(place, &rows->found[table].place))
			continue;
		if (fetch(rows, table, scan, place))
			return true;
	}
	return false;
}

/*
 * rows_next_of does what rows_next() does, but passes over rows whose second column, a bigint, is not wanted, without a
 * look at their pages where the index has that column; they may come all the same.
 */
bool
rows_next_of(Rows *rows, RowsTable table, IndexScanDesc scan, bool (*wanted)(void *arg, int64 second), void *arg)
{
	ItemPointer place;

	while (scan != NULL && (place = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		bool isnull;

		if (scan->xs_itup != NULL &&
			!wanted(arg, DatumGetInt64(index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &isnull))))
			continue;
		if (fetch(rows, table, scan, place))
			return true;
	}
	return false;
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
	IndexScanDesc scan;
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
 * Returns whether another transaction is about to change or delete the row in the table's slot, or has it locked other
 * than for a foreign key.
 */
bool
rows_is_taken(const Rows *rows, RowsTable table)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(rows->slots[table], false, NULL);
	TransactionId owner;

	if ((tuple->t_data->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) ||
		HEAP_XMAX_IS_KEYSHR_LOCKED(tuple->t_data->t_infomask))
		return false;
	owner = HeapTupleHeaderGetRawXmax(tuple->t_data);
	return !TransactionIdIsCurrentTransactionId(owner) && TransactionIdIsInProgress(owner);
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

/*
 * rows_locate does what rows_find() does, by the index, and fills in the place.
 *
 * The index has the versions of a row by their places: where an old snapshot keeps many, the newest is as a rule the
 * last of them.
 */
bool
rows_locate(Rows *rows, RowsTable table, int64 key, RowPlace *place)
{
	IndexScanDesc scan = rows_scan(rows, table, ROWS_BY_KEY, key);
	ItemPointer root;
	bool found = false;

	while (!found && scan != NULL && (root = index_getnext_tid(scan, BackwardScanDirection)) != NULL)
	{
		place->root = ItemPointerGetOffsetNumber(root);
		found = fetch(rows, table, scan, root);
	}
	rows_end(scan);
	if (found)
		place->last = rows->slots[table]->tts_tid;
	return found;
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
