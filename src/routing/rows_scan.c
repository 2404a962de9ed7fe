/*
 * rows_scan.c
 *	  Rows found by the bigints that an index begins with, without an index scan.
 *
 * An index scan compares all that is left of a leaf with its keys by function calls and copies it, to begin one costs
 * as much as to descend to the leaf, and each begins at the root. Here keys are compared as the numbers that they are,
 * only what has them is noted, and the leaf where the last key of the same kind was is looked at first: those who
 * arrive and those who are served next have neighbouring keys. That took a third of a claim() away
 * (test/bench/route.sh).
 *
 * It holds for MVCC snapshots where reads need not be locked as predicates, and does what scans do about concurrent
 * changes of the index (see nbtree's README): a leaf is locked while it is read; it may be split or deleted afterwards,
 * so that what comes next is sought by the key and the place of the last row that was read; nobody takes a deleted
 * page for another one as long as the snapshot lasts. A leaf that is remembered is any page by now: it is the one that
 * is sought if it is a leaf of the same file and the key lies between the first of its rows and its high key.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "core/leaf.h"
#include "core/table.h"
#include "routing/rows.h"

/* So many columns of an index are compared. */
#define SCAN_KEYS 5

/* So many rows of a lane are noted at a time: the first one is mostly what is looked for. */
#define SCAN_BATCH 16

/* A row of the index. */
typedef struct ScanEntry
{
	ItemPointerData place; /* in the table */
	OffsetNumber offset;   /* on the leaf */
	bool dead;             /* nobody sees it any more */
	int64 second;          /* the second column, where that is asked for */
} ScanEntry;

struct RowsScan
{
	Relation index;
	RowsLeaf *leaf; /* where the last scan of this kind ended */
	bool skips_dead;
	bool seconds;
	bool in_batches; /* the columns of an entry and its place tell where to go on */

	/* From these columns on, or behind them, or behind the row with this place that has them. */
	int nkeys;
	int64 keys[SCAN_KEYS];
	bool after;
	ItemPointerData after_place;

	/* Until here, as far as these columns go. */
	int nends;
	int64 ends[SCAN_KEYS];
	bool ended;

	/* What was noted last, from the last leaf on which there was any. */
	ScanEntry *entries;
	int count;
	int room;
	int given;
	int on_leaf; /* those from here on are on it */
	int dead;
	BlockNumber block;
	XLogRecPtr lsn;

	Buffer buffer; /* of the table, pinned, or invalid */
	ScanEntry few[SCAN_BATCH];
};

/* Compares columns with those of a row of the index; what a row that leads to others lacks comes before everything. */
static inline int
compare_columns(const int64 *columns, int count, Page page, OffsetNumber place)
{
	IndexTuple row = row_on(page, place);
	const char *own = first_column(row);
	int have = count;

	if (BTreeTupleIsPivot(row))
		have = Min(count, (int) (ItemPointerGetOffsetNumberNoCheck(&row->t_tid) & BT_OFFSET_MASK));
	/* NULL comes last; only a first column can be NULL. */
	if (have > 0 && own == NULL)
		return -1;
	for (int i = 0; i < have; i++)
	{
		int64 value;

		memcpy(&value, own + i * sizeof(value), sizeof(value));
		if (columns[i] != value)
			return columns[i] < value ? -1 : 1;
	}
	return have < count ? 1 : 0;
}

/* Returns whether a row of a leaf comes before where the scan goes on. */
static inline bool
comes_before(const RowsScan *scan, Page page, OffsetNumber place)
{
	int order = compare_columns(scan->keys, scan->nkeys, page, place);

	if (order != 0 || !scan->after)
		return order > 0;
	return !ItemPointerIsValid(&scan->after_place) ||
		   ItemPointerCompare(BTreeTupleGetMaxHeapTID(row_on(page, place)),
							  unconstify(ItemPointerData *, &scan->after_place)) <= 0;
}

/* Returns the first place on a leaf that does not come before where the scan goes on. */
static OffsetNumber
first_place(const RowsScan *scan, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page));
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (comes_before(scan, page, middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Returns whether all that a page can have comes before the keys. */
static bool
is_left_of_keys(const RowsScan *scan, Page page)
{
	return !P_RIGHTMOST((BTPageOpaque) PageGetSpecialPointer(page)) &&
		   compare_columns(scan->keys, scan->nkeys, page, P_HIKEY) > 0;
}

/* Returns the leaf that is remembered, locked, if the first row that has the keys is on it, or an invalid buffer. */
static Buffer
leaf_remembered(const RowsScan *scan)
{
	const RowsLeaf *leaf = scan->leaf;
	Page page;
	BTPageOpaque opaque;

	if (!BufferIsValid(leaf->buffer) ||
		!ReadRecentBuffer(scan->index->rd_locator, MAIN_FORKNUM, leaf->block, leaf->buffer))
		return InvalidBuffer;
	LockBuffer(leaf->buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(leaf->buffer);
	opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	if (!PageIsNew(page) && leaf->block != BTREE_METAPAGE && P_ISLEAF(opaque) && !P_IGNORE(opaque) &&
		P_FIRSTDATAKEY(opaque) <= PageGetMaxOffsetNumber(page) &&
		compare_columns(scan->keys, scan->nkeys, page, P_FIRSTDATAKEY(opaque)) > 0 && !is_left_of_keys(scan, page))
		return leaf->buffer;
	UnlockReleaseBuffer(leaf->buffer);
	return InvalidBuffer;
}

/* Returns the page to which a page that is no leaf leads: by its last row that comes before the keys. */
static BlockNumber
downlink(const RowsScan *scan, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page)) + 1;
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (compare_columns(scan->keys, scan->nkeys, page, middle) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return BTreeTupleGetDownLink(row_on(page, low - 1));
}

/* Returns the leaf on which the keys are, or the one to the left of it, locked; invalid for an empty index. */
static Buffer
descend(const RowsScan *scan, const Rows *rows, RowsTable table)
{
	Buffer buffer = bt_getroot(scan->index, rows->tables[table]);

	while (BufferIsValid(buffer))
	{
		Page page = BufferGetPage(buffer);
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);

		page_test_snapshot(rows->snapshot, scan->index, page);
		/* It may have been split or deleted since its parent was read. */
		if (!P_RIGHTMOST(opaque) && (P_IGNORE(opaque) || is_left_of_keys(scan, page)))
			buffer = leaf_step(scan->index, buffer, opaque->btpo_next);
		else if (P_IGNORE(opaque))
			elog(ERROR, "fell off the end of index \"%s\"", RelationGetRelationName(scan->index));
		else if (P_ISLEAF(opaque))
			break;
		else
			buffer = leaf_step(scan->index, buffer, downlink(scan, page));
	}
	return buffer;
}

/* Makes room for so many more entries. */
static void
make_room(RowsScan *scan, int more)
{
	int room = (scan->count + more) * 2;

	if (scan->count + more <= scan->room)
		return;
	if (scan->entries != scan->few)
		scan->entries = repalloc_huge(scan->entries, sizeof(ScanEntry) * room);
	else
	{
		scan->entries = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ScanEntry) * room);
		memcpy(scan->entries, scan->few, sizeof(ScanEntry) * scan->count);
	}
	scan->room = room;
}

/* Notes a row of the index, or those that share its columns; but none that was noted before. */
static void
note_row(RowsScan *scan, Page page, OffsetNumber place)
{
	IndexTuple row = row_on(page, place);
	bool shared = BTreeTupleIsPosting(row);
	int n = shared ? BTreeTupleGetNPosting(row) : 1;
	bool again = shared && scan->after && ItemPointerIsValid(&scan->after_place) &&
				 compare_columns(scan->keys, scan->nkeys, page, place) == 0;

	make_room(scan, n);
	for (int i = 0; i < n; i++)
	{
		ScanEntry *entry = &scan->entries[scan->count];

		entry->place = shared ? *BTreeTupleGetPostingN(row, i) : row->t_tid;
		if (again && ItemPointerCompare(&entry->place, &scan->after_place) <= 0)
			continue;
		entry->offset = place;
		entry->dead = false;
		if (scan->seconds)
			memcpy(&entry->second, first_column(row) + sizeof(int64), sizeof(int64));
		scan->count++;
	}
}

/* Lets the scan go on behind a row of a leaf, the last one that was noted. */
static void
go_on_behind(RowsScan *scan, Page page, OffsetNumber place)
{
	IndexTuple row = row_on(page, place);

	memcpy(scan->keys, first_column(row), sizeof(scan->keys));
	scan->nkeys = SCAN_KEYS;
	scan->after = true;
	scan->after_place = *BTreeTupleGetMaxHeapTID(row);
}

/* Notes rows of a locked leaf; returns whether there may be further ones on those to the right. */
static bool
note_leaf(RowsScan *scan, const Rows *rows, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	OffsetNumber last = PageGetMaxOffsetNumber(page);
	OffsetNumber noted = InvalidOffsetNumber;
	int before = scan->count;
	OffsetNumber place;

	page_test_snapshot(rows->snapshot, scan->index, page);
	if (P_IGNORE(opaque))
		return true;
	for (place = first_place(scan, page); place <= last; place++)
	{
		if (scan->in_batches && scan->count - before >= SCAN_BATCH)
			break;
		scan->ended = compare_columns(scan->ends, scan->nends, page, place) < 0;
		if (scan->ended)
			break;
		if (scan->skips_dead && ItemIdIsDead(PageGetItemId(page, place)))
			continue;
		note_row(scan, page, place);
		noted = place;
	}
	if (place > last)
		scan->ended = P_RIGHTMOST(opaque) || compare_columns(scan->ends, scan->nends, page, P_HIKEY) < 0;
	scan->leaf->buffer = buffer;
	scan->leaf->block = BufferGetBlockNumber(buffer);
	if (scan->count > before)
	{
		scan->on_leaf = before;
		scan->block = BufferGetBlockNumber(buffer);
		scan->lsn = BufferGetLSNAtomic(buffer);
		if (scan->in_batches && !scan->ended)
			go_on_behind(scan, page, noted);
	}
	return !scan->ended && !(scan->in_batches && scan->count > before);
}

/* Marks rows of the last leaf that nobody sees any more for those who come after, if it is as it was read. */
static void
mark_dead(RowsScan *scan)
{
	Buffer buffer = ReadBuffer(scan->index, scan->block);
	Page page = BufferGetPage(buffer);
	bool marked = false;

	scan->dead = 0;
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (RelationNeedsWAL(scan->index) && BufferGetLSNAtomic(buffer) == scan->lsn)
	{
		for (int i = scan->on_leaf; i < scan->count; i++)
		{
			OffsetNumber place = scan->entries[i].offset;

			/* Of those that share their columns, which are seldom, all would have to be dead. */
			if (!scan->entries[i].dead || BTreeTupleIsPosting(row_on(page, place)))
				continue;
			ItemIdMarkDead(PageGetItemId(page, place));
			marked = true;
		}
	}
	if (marked)
	{
		((BTPageOpaque) PageGetSpecialPointer(page))->btpo_flags |= BTP_HAS_GARBAGE;
		MarkBufferDirtyHint(buffer, true);
	}
	UnlockReleaseBuffer(buffer);
}

/* Notes the rows that come next: all of them, or so many of a lane's. */
static void
note_rows(RowsScan *scan, const Rows *rows, RowsTable table)
{
	Buffer buffer;
	bool more = true;

	if (scan->dead > 0)
		mark_dead(scan);
	scan->count = scan->given = scan->on_leaf = 0;
	buffer = leaf_remembered(scan);
	if (!BufferIsValid(buffer))
		buffer = descend(scan, rows, table);
	scan->ended = !BufferIsValid(buffer);
	while (BufferIsValid(buffer) && more)
	{
		more = note_leaf(scan, rows, buffer);
		if (more)
			buffer = leaf_step(scan->index, buffer,
							   ((BTPageOpaque) PageGetSpecialPointer(BufferGetPage(buffer)))->btpo_next);
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
	pgstat_count_index_tuples(scan->index, scan->count);
}

/* Begins a scan by an order of a table. */
static RowsScan *
scan_begin(Rows *rows, RowsTable table, RowsOrder order, RowsLeaf *leaf)
{
	RowsScan *scan = palloc(sizeof(RowsScan));

	memset(scan, 0, offsetof(RowsScan, few));
	scan->index = rows_order(rows, table, order);
	scan->leaf = leaf;
	scan->skips_dead = !TransactionStartedDuringRecovery();
	scan->entries = scan->few;
	scan->room = SCAN_BATCH;
	pgstat_count_index_scan(scan->index);
	return scan;
}

/* Returns whether an index has the first two columns of its table as its own. */
static bool
has_second(Relation index)
{
	Form_pg_index form = index->rd_index;

	return form->indnkeyatts >= 2 && form->indkey.values[0] == 1 && form->indkey.values[1] == 2;
}

/*
 * rows_scan begins to read rows whose first column of the order, a bigint, has this value; rows_end() ends it.
 *
 * Of a table that is empty, as most of the time there are no refusals, the index is not even opened: the locks of so
 * many relations would not fit where a backend keeps its own.
 */
RowsScan *
rows_scan(Rows *rows, RowsTable table, RowsOrder order, int64 key)
{
	static RowsLeaf leaves[ROWS_TABLES][ROWS_ORDERS];
	RowsScan *scan;

	if (rows->orders[table][order] == NULL && rows_none(rows, table))
		return NULL;
	scan = scan_begin(rows, table, order, &leaves[table][order]);
	scan->seconds = table == ROWS_RELATIONSHIP && has_second(scan->index);
	scan->nkeys = scan->nends = 1;
	scan->keys[0] = scan->ends[0] = key;
	return scan;
}

/*
 * rows_scan_lane begins to read the requests that wait in a lane, in their order, from a place on, or after it, and
 * until those that began to wait with another one; from the first or until the last where that is NULL. It begins to
 * look at this leaf, and leaves there where it ended.
 */
RowsScan *
rows_scan_lane(Rows *rows, int64 lane_id, const LanePlace *from, bool after, const LanePlace *until, RowsLeaf *leaf)
{
	RowsScan *scan = scan_begin(rows, ROWS_WAITING, ROWS_WAITING_ORDER, leaf);

	scan->in_batches = scan->index->rd_index->indnkeyatts == SCAN_KEYS;
	scan->nkeys = scan->nends = 1;
	scan->keys[0] = scan->ends[0] = lane_id;
	if (from != NULL)
	{
		scan->keys[1] = from->rank;
		scan->keys[2] = from->due_at;
		scan->keys[3] = from->entered_at;
		scan->keys[4] = from->request_id;
		scan->nkeys = SCAN_KEYS;
		scan->after = after;
	}
	if (until != NULL)
	{
		scan->ends[1] = until->rank;
		scan->ends[2] = until->due_at;
		scan->ends[3] = until->entered_at;
		scan->nends = 4;
	}
	return scan;
}

/* Returns the next entry, or NULL; backwards only where all are noted at once. */
static ScanEntry *
next_entry(Rows *rows, RowsTable table, RowsScan *scan, ScanDirection direction)
{
	if (scan == NULL)
		return NULL;
	while (scan->given == scan->count)
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->ended)
			return NULL;
		note_rows(scan, rows, table);
	}
	scan->given++;
	return &scan->entries[ScanDirectionIsForward(direction) ? scan->given - 1 : scan->count - scan->given];
}

/*
 * Puts the row of an entry into the table's slot; returns whether the snapshot sees any there.
 *
 * Pages of requests that wait are left to VACUUM: none of them is changed, and each that goes would have its page
 * cleared by whoever comes next, with its lock and in the log, for nobody's sake.
 */
static bool
fetch(Rows *rows, RowsTable table, RowsScan *scan, ScanEntry *entry)
{
	bool found;

	pgstat_count_heap_fetch(scan->index);
	found = heap_fetch_row(rows->tables[table], rows->snapshot, &entry->place, table != ROWS_WAITING, &scan->buffer,
						   rows->slots[table], &entry->dead);
	entry->dead = entry->dead && !found && scan->skips_dead;
	scan->dead += entry->dead;
	return found;
}

/* Puts the next row into the table's slot; returns false where there is none. */
bool
rows_next(Rows *rows, RowsTable table, RowsScan *scan, ScanDirection direction)
{
	ScanEntry *entry;

	while ((entry = next_entry(rows, table, scan, direction)) != NULL)
		if (fetch(rows, table, scan, entry))
			return true;
	return false;
}

/* Does what rows_next() does, forward, and counts in passed what is gone before the row. */
bool
rows_next_passing(Rows *rows, RowsTable table, RowsScan *scan, int *passed)
{
	ScanEntry *entry;

	while ((entry = next_entry(rows, table, scan, ForwardScanDirection)) != NULL)
	{
		if (fetch(rows, table, scan, entry))
			return true;
		(*passed)++;
	}
	return false;
}

/*
 * rows_next_other does what rows_next() does, but passes over the row of this key, which rows_find() has found, without
 * a look at its page; it may come all the same.
 */
bool
rows_next_other(Rows *rows, RowsTable table, RowsScan *scan, ScanDirection direction, int64 key)
{
	ScanEntry *entry;

	while ((entry = next_entry(rows, table, scan, direction)) != NULL)
	{
		if (rows->found[table].key == key && ItemPointerEquals(&entry->place, &rows->found[table].place))
			continue;
		if (fetch(rows, table, scan, entry))
			return true;
	}
	return false;
}

/*
 * rows_next_of does what rows_next() does, forward, but passes over rows whose second column, a bigint, is not wanted,
 * without a look at their pages where the index has that column; they may come all the same.
 */
bool
rows_next_of(Rows *rows, RowsTable table, RowsScan *scan, bool (*wanted)(void *arg, int64 second), void *arg)
{
	ScanEntry *entry;

	while ((entry = next_entry(rows, table, scan, ForwardScanDirection)) != NULL)
		if (!(scan->seconds && !wanted(arg, entry->second)) && fetch(rows, table, scan, entry))
			return true;
	return false;
}

/* Ends the reading of rows. */
void
rows_end(RowsScan *scan)
{
	if (scan == NULL)
		return;
	if (scan->dead > 0)
		mark_dead(scan);
	if (BufferIsValid(scan->buffer))
		ReleaseBuffer(scan->buffer);
	if (scan->entries != scan->few)
		pfree(scan->entries);
	pfree(scan);
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
	RowsScan *scan = rows_scan(rows, table, ROWS_BY_KEY, key);
	ScanEntry *entry;
	bool found = false;

	while (!found && (entry = next_entry(rows, table, scan, BackwardScanDirection)) != NULL)
	{
		place->root = ItemPointerGetOffsetNumber(&entry->place);
		found = fetch(rows, table, scan, entry);
	}
	rows_end(scan);
	if (found)
		place->last = rows->slots[table]->tts_tid;
	return found;
}
