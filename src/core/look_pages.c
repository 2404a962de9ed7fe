/*
 * look_pages.c
 *	  Rows of many keys, page by page of their table.
 *
 * An executor hands over each row that it has fetched, tested, taken apart and put together again, with a lock on its
 * page, which costs several times what it takes to read the row where it lies. Here the index says where the rows of
 * all keys are; then each page is visited once, in the order of the table, and its rows are taken from it. Where a good
 * part of a table is wanted, as of the prices for one customer, that takes a third of the statement.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "core/look_columns.h"

typedef struct PageScan
{
	const LookUp *look;
	Relation table;
	Snapshot snapshot;
	Buffer buffer; /* pinned page, or invalid */
	RowTaker take;
	void *arg;
} PageScan;

/*
 * Leaves in places those of the versions that the snapshot sees, of rows at these places of the page, which is locked,
 * or of all on it where n is PAGE_OF_BITMAP_WHOLE; returns how many there are.
 */
static int
visible_places(PageScan *scan, BlockNumber block, OffsetNumber *places, int n)
{
	Page page = BufferGetPage(scan->buffer);
	/* What was marked so by the primary may not be visible to a standby's snapshot yet. */
	bool all_visible = PageIsAllVisible(page) && !scan->snapshot->takenDuringRecovery;
	bool whole = n == PAGE_OF_BITMAP_WHOLE;
	int count = whole ? (int) PageGetMaxOffsetNumber(page) : n;
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		OffsetNumber place = whole ? FirstOffsetNumber + i : places[i];
		ItemId item = PageGetItemId(page, place);
		HeapTupleData row;

		if (all_visible && ItemIdIsNormal(item))
			places[found++] = place;
		else if (whole && ItemIdIsNormal(item))
		{
			row.t_data = (HeapTupleHeader) PageGetItem(page, item);
			row.t_len = ItemIdGetLength(item);
			row.t_tableOid = RelationGetRelid(scan->table);
			ItemPointerSet(&row.t_self, block, place);
			if (HeapTupleSatisfiesVisibility(&row, scan->snapshot, scan->buffer))
				places[found++] = place;
		}
		else if (!whole)
		{
			/* The index names the first version of a row; others on the page follow it. */
			ItemPointerData tid;

			ItemPointerSet(&tid, block, place);
			if (heap_hot_search_buffer(&tid, scan->table, scan->buffer, scan->snapshot, &row, NULL, true))
				places[found++] = ItemPointerGetOffsetNumber(&tid);
		}
	}
	return found;
}

/* Hands the rows at these places of a page over; returns false where no more are wanted. */
static bool
send_page(PageScan *scan, BlockNumber block, OffsetNumber *places, int n)
{
	Datum values[TABLE_COLUMNS];
	bool nulls[TABLE_COLUMNS];
	const LookUp *look = scan->look;
	HeapTupleData row = {0};
	Page page;

	CHECK_FOR_INTERRUPTS();
	scan->buffer = ReleaseAndReadBuffer(scan->buffer, scan->table, block);
	page = BufferGetPage(scan->buffer);
	page_prune(scan->table, scan->buffer);
	LockBuffer(scan->buffer, BUFFER_LOCK_SHARE);
	page_test_snapshot(scan->snapshot, scan->table, page);
	n = visible_places(scan, block, places, n);
	LockBuffer(scan->buffer, BUFFER_LOCK_UNLOCK);
	/* What is seen stays where it is while the page is pinned. */
	for (int i = 0; i < n; i++)
	{
		row.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, places[i]));
		pgstat_count_heap_fetch(scan->table);
		if (unlikely(!look_columns_of_row(look, row.t_data, values, nulls)))
			for (int j = 0; j < look->ncolumns; j++)
				values[j] = heap_getattr(&row, look->attributes[j], RelationGetDescr(scan->table), &nulls[j]);
		if (!scan->take(scan->arg, values, nulls))
			return false;
	}
	return true;
}

/*
 * look_send hands each row that has one of the keys, an array, to take(), until that returns false; returns false where
 * the caller must run a statement instead. The look-up is a cache's, of one key, and all its columns have a type.
 *
 * Rows come in the order of the table. Where work_mem does not hold where they all are, rows that have other keys come
 * too. What take() is given is good until it returns; it must neither read the table nor run statements. Raises what
 * look_open() raises.
 */
bool
look_send(LookUp *look, Datum keys, Snapshot snapshot, RowTaker take, void *arg)
{
	PageScan pages = {look, NULL, snapshot, InvalidBuffer, take, arg};
	OffsetNumber places[MaxHeapTuplesPerPage];
	BitmapPages bitmap;
	ScanKeyData key;
	LookScan scan;
	BlockNumber block;
	int n;

	/* Reads that are to be noted as predicates are left to statements. */
	if (IsolationIsSerializable() || !look_open(&scan, look, 1, snapshot))
		return false;
	/* What is noted of its columns is where they lie in the index. */
	if (look->covered)
	{
		look_end(&scan);
		return false;
	}
	pages.table = scan.table;
	key = look->scan_keys[0];
	key.sk_flags |= SK_SEARCHARRAY;
	key.sk_argument = keys;
	bitmap_pages_begin(&bitmap, scan.index, snapshot, &key);
	while ((n = bitmap_pages_next(&bitmap, &block, places)) != 0)
		if (!send_page(&pages, block, places, n))
			break;
	bitmap_pages_end(&bitmap);
	if (BufferIsValid(pages.buffer))
		ReleaseBuffer(pages.buffer);
	look_end(&scan);
	return true;
}
