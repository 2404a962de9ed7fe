/*
 * look_leaf.c
 *	  Rows of a btree index, found on its leaves without an index scan.
 *
 * An index scan reads the rest of a leaf at each step, compares each row on it by a function call and copies it; to
 * begin one costs as much as to descend to the leaf. Here the rows of a key are looked for on the leaf where those of
 * the last key were, on its neighbour if keys have lain together, or from the root; and only they are copied. Of fifty
 * products with five prices each, as on a page of a shop, that takes a third, as test/bench/prices.sh measures.
 *
 * It holds for MVCC snapshots, where reads need not be locked as predicates. What concurrent changes of the index ask
 * for is done as scans do it (see nbtree's README): a leaf is locked while it is read, and pinned until it is known
 * which of its rows are on pages that everyone sees, as a VACUUM waits for that pin before it lets their places be
 * taken; a leaf that was left unlocked may have been split or deleted, so that keys are only looked for between the
 * first of its rows and its high key.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tupmacs.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/look.h"
#include "core/prefetch.h"
#include "core/table.h"

/* A row of the index that has the keys. */
typedef struct LeafRow
{
	ItemPointerData place; /* in the table */
	bool visible;          /* everyone sees all of its page */
	Size at;               /* where its columns are among the bytes, if they are wanted */
} LeafRow;

/* Pages of a table's visibility map that a scan keeps pinned; each tells of 256 MB. */
#define LEAF_MAPS 4

struct LeafScan
{
	Snapshot snapshot;
	bool skips_dead; /* what nobody sees any more, as marked by others */
	BTScanInsert key;
	Buffer leaf;       /* pinned, or invalid */
	OffsetNumber next; /* behind the rows of the last key */
	bool near;         /* keys lay together: the next one may be on the leaf to the right */
	LeafRow *rows;
	int nrows;
	int space;
	int row;
	char *bytes;
	Size used;
	Size bytes_space;
	Buffer maps[LEAF_MAPS];
};

/* So many rows ahead memory is asked for: a key or two. */
#define ROWS_AHEAD 8

/* Blocks of a table that a page of the visibility map tells of, but for its header. */
#define MAP_BLOCKS (BLCKSZ * BITS_PER_BYTE / BITS_PER_HEAPBLOCK)

/* Returns whether all see all of a block. Rows of one key lie apart: a few pages of the map stay pinned. */
static bool
is_visible(LookScan *scan, BlockNumber block)
{
	return VM_ALL_VISIBLE(scan->table, block, &scan->leaves->maps[block / MAP_BLOCKS % LEAF_MAPS]);
}

/* leaf_open readies the scan for leaf_find(), by the first nkeys columns of the index. */
void
leaf_open(LookScan *scan, Snapshot snapshot)
{
	LeafScan *leaves = palloc0(sizeof(LeafScan));
	BTScanInsert key = _bt_mkscankey(scan->index, NULL);

	leaves->snapshot = snapshot;
	leaves->skips_dead = !TransactionStartedDuringRecovery();
	leaves->leaf = InvalidBuffer;
	leaves->key = key;
	/* It was made for a row of NULLs. */
	key->anynullkeys = false;
	key->keysz = scan->nkeys;
	for (int i = 0; i < scan->nkeys; i++)
		key->scankeys[i].sk_flags &= ~SK_ISNULL;
	scan->leaves = leaves;
}

/* Returns whether a row on a leaf has the keys, which are equal byte for byte where they are equal at all. */
static inline bool
has_keys(const LookScan *scan, IndexTuple row)
{
	TupleDesc desc = RelationGetDescr(scan->index);
	const ScanKeyData *keys = scan->leaves->key->scankeys;

	for (int i = 0; i < scan->nkeys; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool isnull = false;
		Datum value;

		/* The first one lies at the beginning, whatever is NULL behind it. */
		if (i > 0)
			value = index_getattr(row, i + 1, desc, &isnull);
		else if (IndexTupleHasNulls(row) && att_isnull(0, (bits8 *) row + sizeof(IndexTupleData)))
			return false;
		else
			value = fetchatt(attribute, (char *) row + IndexInfoFindDataOffset(row->t_info));
		if (isnull || !index_keys_equal(attribute, value, keys[i].sk_argument))
			return false;
	}
	return true;
}

static IndexTuple
row_on(Page page, OffsetNumber place)
{
	return (IndexTuple) PageGetItem(page, PageGetItemId(page, place));
}

/* So many rows are looked behind first where keys lie near one another: rows of a key or two. */
#define NEAR_ROWS 4

/*
 * Returns the place of the first row on a leaf from low on that does not come before the keys; fastest where it lies
 * within the first `leap` rows.
 */
static OffsetNumber
first_place(const LookScan *scan, Page page, OffsetNumber low, int leap)
{
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + Min((high - low) / 2, leap);

		if (_bt_compare(scan->index, scan->leaves->key, page, middle) > 0)
		{
			low = middle + 1;
			leap *= 2;
		}
		else
			high = middle;
	}
	return low;
}

/* Returns whether the keys come behind all that a leaf can have. */
static bool
is_right_of(const LookScan *scan, Page page)
{
	return !P_RIGHTMOST((BTPageOpaque) PageGetSpecialPointer(page)) &&
		   _bt_compare(scan->index, scan->leaves->key, page, P_HIKEY) > 0;
}

/* Unpins the leaf. */
static void
forget_leaf(LeafScan *leaves)
{
	if (BufferIsValid(leaves->leaf))
		ReleaseBuffer(leaves->leaf);
	leaves->leaf = InvalidBuffer;
}

/* Returns the first place of the keys on the leaf of the last ones, locked, or on the next one; otherwise 0. */
static OffsetNumber
find_near(LookScan *scan)
{
	LeafScan *leaves = scan->leaves;
	Page page = BufferGetPage(leaves->leaf);
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	OffsetNumber first;
	OffsetNumber last;
	OffsetNumber place;
	bool behind;

	LockBuffer(leaves->leaf, BUFFER_LOCK_SHARE);
	first = P_FIRSTDATAKEY(opaque);
	last = PageGetMaxOffsetNumber(page);
	if (P_IGNORE(opaque) || first > last)
		return InvalidOffsetNumber;
	if (leaves->next > first && leaves->next <= last && has_keys(scan, row_on(page, leaves->next)) &&
		!has_keys(scan, row_on(page, leaves->next - 1)))
		return leaves->next;
	/* Rows of the first one's key may be on leaves to the left; those behind a row that comes before it are not. */
	behind = leaves->next > first && leaves->next <= last + 1 &&
			 _bt_compare(scan->index, leaves->key, page, leaves->next - 1) > 0;
	if (!behind && _bt_compare(scan->index, leaves->key, page, first) <= 0)
		return InvalidOffsetNumber;
	place = behind ? first_place(scan, page, leaves->next, NEAR_ROWS) : first_place(scan, page, first, MaxOffsetNumber);
	if (place <= last || !is_right_of(scan, page))
	{
		leaves->near = true;
		return place;
	}
	if (!leaves->near)
		return InvalidOffsetNumber;
	leaves->near = false;
	leaves->leaf = _bt_relandgetbuf(scan->index, leaves->leaf, opaque->btpo_next, BT_READ);
	page = BufferGetPage(leaves->leaf);
	opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	if (P_IGNORE(opaque) || is_right_of(scan, page))
		return InvalidOffsetNumber;
	first = P_FIRSTDATAKEY(opaque);
	if (first <= PageGetMaxOffsetNumber(page) && has_keys(scan, row_on(page, first)))
		return first;
	return first_place(scan, page, first, NEAR_ROWS);
}

/* Seeks the keys from the root; returns their first place on the leaf, locked, or 0 where the index is empty. */
static OffsetNumber
find_from_root(LookScan *scan)
{
	LeafScan *leaves = scan->leaves;
	Page page;

	pgstat_count_index_scan(scan->index);
	_bt_freestack(bt_search(scan->index, scan->table, leaves->key, &leaves->leaf, leaves->snapshot));
	if (!BufferIsValid(leaves->leaf))
		return InvalidOffsetNumber;
	page = BufferGetPage(leaves->leaf);
	return first_place(scan, page, P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page)), MaxOffsetNumber);
}

/* Notes a row of the index, or several that share their columns. */
static void
add_rows(LookScan *scan, IndexTuple row)
{
	LeafScan *leaves = scan->leaves;
	bool shared = BTreeTupleIsPosting(row);
	int n = shared ? BTreeTupleGetNPosting(row) : 1;

	if (leaves->nrows + n > leaves->space)
	{
		leaves->space = Max(leaves->space * 2, leaves->nrows + Max(n, 16));
		leaves->rows = leaves->rows == NULL ? palloc(leaves->space * sizeof(LeafRow))
											: repalloc_huge(leaves->rows, leaves->space * sizeof(LeafRow));
	}
	for (int i = 0; i < n; i++)
		leaves->rows[leaves->nrows++] =
			(LeafRow){shared ? *BTreeTupleGetPostingN(row, i) : row->t_tid, false, leaves->used};
	if (scan->look->covered)
	{
		Size size = MAXALIGN(IndexTupleSize(row));

		if (leaves->used + size > leaves->bytes_space)
		{
			leaves->bytes_space = Max(leaves->bytes_space * 2, Max(leaves->used + size, 2048));
			leaves->bytes =
				leaves->bytes == NULL ? palloc(leaves->bytes_space) : repalloc_huge(leaves->bytes, leaves->bytes_space);
		}
		memcpy(leaves->bytes + leaves->used, row, IndexTupleSize(row));
		leaves->used += size;
	}
}

/* Notes the rows that have the keys from a place of the leaf on, which is locked, and unlocks it. */
static void
gather_rows(LookScan *scan, OffsetNumber place)
{
	LeafScan *leaves = scan->leaves;

	for (;;)
	{
		int from = leaves->nrows;
		Page page = BufferGetPage(leaves->leaf);
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
		OffsetNumber last = PageGetMaxOffsetNumber(page);
		BlockNumber right = opaque->btpo_next;
		bool more;

		page_test_snapshot(leaves->snapshot, scan->index, page);
		for (; place <= last && has_keys(scan, row_on(page, place)); place++)
		{
			/* The next keys mostly have the rows behind. */
			if (place + ROWS_AHEAD <= last)
				prefetch(row_on(page, place + ROWS_AHEAD));
			if (!leaves->skips_dead || !ItemIdIsDead(PageGetItemId(page, place)))
				add_rows(scan, row_on(page, place));
		}
		more = place > last && !P_RIGHTMOST(opaque) && _bt_compare(scan->index, leaves->key, page, P_HIKEY) >= 0;
		leaves->next = place;
		LockBuffer(leaves->leaf, BUFFER_LOCK_UNLOCK);
		for (int i = from; scan->look->covered && i < leaves->nrows; i++)
			leaves->rows[i].visible = is_visible(scan, ItemPointerGetBlockNumber(&leaves->rows[i].place));
		if (!more)
			break;

		CHECK_FOR_INTERRUPTS();
		do
		{
			forget_leaf(leaves);
			leaves->leaf = _bt_getbuf(scan->index, right, BT_READ);
			page = BufferGetPage(leaves->leaf);
			opaque = (BTPageOpaque) PageGetSpecialPointer(page);
			right = opaque->btpo_next;
			if (P_IGNORE(opaque))
				LockBuffer(leaves->leaf, BUFFER_LOCK_UNLOCK);
		} while (P_IGNORE(opaque));
		place = P_FIRSTDATAKEY(opaque);
	}
	pgstat_count_index_tuples(scan->index, leaves->nrows);
}

/* leaf_find begins with the rows that have these keys; fastest where they come in the order of the index. */
void
leaf_find(LookScan *scan, const Datum *keys)
{
	LeafScan *leaves = scan->leaves;
	OffsetNumber place = InvalidOffsetNumber;

	for (int i = 0; i < scan->nkeys; i++)
		leaves->key->scankeys[i].sk_argument = keys[i];
	leaves->nrows = leaves->row = 0;
	leaves->used = 0;
	if (BufferIsValid(leaves->leaf))
	{
		place = find_near(scan);
		if (place == InvalidOffsetNumber)
		{
			LockBuffer(leaves->leaf, BUFFER_LOCK_UNLOCK);
			forget_leaf(leaves);
		}
	}
	if (place == InvalidOffsetNumber)
		place = find_from_root(scan);
	if (BufferIsValid(leaves->leaf))
		gather_rows(scan, place);
}

/*
 * leaf_next goes to the next row that the snapshot sees; returns false after the last. Where the index holds all
 * columns they are in *columns, otherwise in the slot.
 */
bool
leaf_next(LookScan *scan, IndexTuple *columns)
{
	LeafScan *leaves = scan->leaves;

	while (leaves->row < leaves->nrows)
	{
		const LeafRow *row = &leaves->rows[leaves->row++];
		bool all_dead;

		*columns = (IndexTuple) (leaves->bytes + row->at);
		if (row->visible)
			return true;
		if (scan->slot == NULL)
			scan->slot = table_slot_create(scan->table, NULL);
		pgstat_count_heap_fetch(scan->index);
		if (heap_fetch_row(scan->table, leaves->snapshot, &row->place, &scan->buffer, scan->slot, &all_dead))
			return true;
	}
	return false;
}

/* leaf_end ends what leaf_open() began. */
void
leaf_end(LookScan *scan)
{
	LeafScan *leaves = scan->leaves;

	forget_leaf(leaves);
	for (int i = 0; i < LEAF_MAPS; i++)
		if (BufferIsValid(leaves->maps[i]))
			ReleaseBuffer(leaves->maps[i]);
	if (leaves->rows != NULL)
		pfree(leaves->rows);
	if (leaves->bytes != NULL)
		pfree(leaves->bytes);
	pfree(leaves->key);
	pfree(leaves);
	scan->leaves = NULL;
}
