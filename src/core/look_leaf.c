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
 *
 * Where it is said which keys come next, the rows of those that follow on the leaf are noted under the same lock.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/leaf.h"
#include "core/look_columns.h"
#include "core/prefetch.h"
#include "core/recent.h"
#include "core/table.h"

/* So many rows ahead memory is asked for: a key or two. */
#define ROWS_AHEAD 8

/* So many rows of others may lie between those of keys that are expected, in one lock: keys mostly lie side by side. */
#define ROWS_BETWEEN 12

/* Keys that turned out to lie apart so many times in a row are not looked for behind one another any more. */
#define KEYS_APART 2

/* Blocks of a table that a byte of the visibility map tells of, and a page of it. */
#define MAP_BYTE_BLOCKS (BITS_PER_BYTE / BITS_PER_HEAPBLOCK)
#define MAP_BLOCKS ((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * MAP_BYTE_BLOCKS)

/* Does what is_visible() does, of a page of the map that is not the last one. */
static pg_noinline bool
is_visible_elsewhere(LookScan *scan, BlockNumber block)
{
	LeafScan *leaves = scan->leaves;
	BlockNumber number = block / MAP_BLOCKS;
	LeafMap *map = &leaves->maps[number % LEAF_MAPS];
	bool visible;

	if (!BufferIsValid(map->buffer))
		map->buffer = recent_map(scan->table, number);
	visible = VM_ALL_VISIBLE(scan->table, block, &map->buffer);
	if (BufferIsValid(map->buffer))
		recent_map_read(scan->table, number, map->buffer);
	/* Of a young table there is no map. */
	map->bits = BufferIsValid(map->buffer) ? (const uint8 *) PageGetContents(BufferGetPage(map->buffer)) : NULL;
	map->first = block - block % MAP_BLOCKS;
	leaves->map = map;
	return visible;
}

/*
 * Returns whether all see all of a block. Rows of one key lie apart: a few pages of the map stay pinned, and what the
 * last one says is read where it lies, as visibilitymap_get_status() does after it has looked at the buffer.
 */
static inline bool
is_visible(LookScan *scan, BlockNumber block)
{
	const LeafMap *map = scan->leaves->map;
	BlockNumber place = block - map->first;

	if (unlikely(map->bits == NULL || place >= MAP_BLOCKS))
		return is_visible_elsewhere(scan, block);
	return (map->bits[place / MAP_BYTE_BLOCKS] >> place % MAP_BYTE_BLOCKS * BITS_PER_HEAPBLOCK &
			VISIBILITYMAP_ALL_VISIBLE) != 0;
}

/* leaf_open readies the scan for leaf_find(), by the first nkeys columns of the index. */
void
leaf_open(LookScan *scan, Snapshot snapshot)
{
	LeafScan *leaves = palloc0(sizeof(LeafScan));

	leaves->snapshot = snapshot;
	leaves->skips_dead = !TransactionStartedDuringRecovery();
	leaves->leaf = InvalidBuffer;
	leaves->map = &leaves->maps[0];
	scan->leaves = leaves;
	leaf_keys_open(scan);
}

/* So many rows are looked behind first where keys lie near one another: rows of a key or two. */
#define NEAR_ROWS 4

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
	if (leaves->next > first && leaves->next <= last && leaf_has_keys(scan, row_on(page, leaves->next)) &&
		!leaf_has_keys(scan, row_on(page, leaves->next - 1)))
	{
		leaves->apart = 0;
		return leaves->next;
	}
	/* Rows of the first one's key may be on leaves to the left; those behind a row that comes before it are not. */
	behind = leaves->next > first && leaves->next <= last + 1 && leaf_compare(scan, page, leaves->next - 1) > 0;
	if (!behind && leaf_compare(scan, page, first) <= 0)
		return InvalidOffsetNumber;
	/* What lies apart is mostly behind all of the leaf, of which nothing else need be looked at then. */
	if (!leaves->near && leaf_is_right_of(scan, page))
		return InvalidOffsetNumber;
	place = behind ? leaf_first_place(scan, page, leaves->next, NEAR_ROWS)
				   : leaf_first_place(scan, page, first, MaxOffsetNumber);
	if (place <= last || !leaf_is_right_of(scan, page))
	{
		leaves->near = true;
		leaves->apart = 0;
		return place;
	}
	leaves->near = false;
	leaves->leaf = leaf_step(scan->index, leaves->leaf, opaque->btpo_next);
	page = BufferGetPage(leaves->leaf);
	opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	if (P_IGNORE(opaque) || leaf_is_right_of(scan, page))
		return InvalidOffsetNumber;
	first = P_FIRSTDATAKEY(opaque);
	if (first <= PageGetMaxOffsetNumber(page) && leaf_has_keys(scan, row_on(page, first)))
		return first;
	return leaf_first_place(scan, page, first, NEAR_ROWS);
}

/* Seeks the keys from the root; returns their first place on the leaf, locked, or 0 where the index is empty. */
static OffsetNumber
find_from_root(LookScan *scan)
{
	pgstat_count_index_scan(scan->index);
	return leaf_descend(scan);
}

/* Notes a row of the index, or several that share their columns, for which there may be no room yet. */
static pg_noinline void
add_rows(LeafScan *leaves, IndexTuple row, Size at)
{
	bool shared = BTreeTupleIsPosting(row);
	int n = shared ? BTreeTupleGetNPosting(row) : 1;

	if (leaves->nrows + n > leaves->space)
	{
		leaves->space = Max(leaves->space * 2, leaves->nrows + Max(n, 64));
		leaves->rows = leaves->rows == NULL ? palloc(leaves->space * sizeof(LeafRow))
											: repalloc_huge(leaves->rows, leaves->space * sizeof(LeafRow));
	}
	for (int i = 0; i < n; i++)
		leaves->rows[leaves->nrows++] =
			(LeafRow){.place = shared ? *BTreeTupleGetPostingN(row, i) : row->t_tid, .at = at};
}

/*
 * Returns the place behind the rows that have the keys, from a place of a leaf on. Those between two that have them
 * have them too, so that of many only a few are compared.
 */
static OffsetNumber
find_end(LookScan *scan, Page page, OffsetNumber place, OffsetNumber last)
{
	int leap = 1;

	while (place + leap <= last + 1 && leaf_has_keys(scan, row_on(page, place + leap - 1)))
	{
		place += leap;
		leap *= 2;
	}
	for (leap /= 2; leap > 0; leap /= 2)
		if (place + leap <= last + 1 && leaf_has_keys(scan, row_on(page, place + leap - 1)))
			place += leap;
	return place;
}

/* Notes the rows that have the keys from a place of a leaf on; returns the place behind them. */
static OffsetNumber
add_rows_from(LookScan *scan, Page page, OffsetNumber place, OffsetNumber last)
{
	LeafScan *leaves = scan->leaves;
	const bool skips_dead = leaves->skips_dead;
	OffsetNumber behind = find_end(scan, page, place, last);
	const ItemIdData *items = ((PageHeader) page)->pd_linp - FirstOffsetNumber;
	const ItemIdData *end = items + behind;
	LeafRow *next = leaves->rows + leaves->nrows;
	Size low = leaves->low;
	Size high = leaves->high;
	Size size = leaves->size;

	for (const ItemIdData *item = items + place; item < end; item++)
	{
		Size at = ItemIdGetOffset(item);
		IndexTuple row = (IndexTuple) (page + at);

		/* The next keys mostly have the rows behind. */
		if (item + ROWS_AHEAD <= items + last)
			prefetch(page + ItemIdGetOffset(item + ROWS_AHEAD));
		if (unlikely(ItemIdIsDead(item)) && skips_dead)
			continue;
		if (unlikely(next == leaves->rows + leaves->space || BTreeTupleIsPosting(row)))
		{
			leaves->nrows = next - leaves->rows;
			add_rows(leaves, row, at);
			next = leaves->rows + leaves->nrows;
		}
		else
		{
			next->place = row->t_tid;
			next->at = at;
			next++;
		}
		low = Min(low, at);
		high = Max(high, at + ItemIdGetLength(item));
		size += ItemIdGetLength(item);
	}
	leaves->nrows = next - leaves->rows;
	leaves->low = low;
	leaves->high = high;
	leaves->size = size;
	return behind;
}

/*
 * Copies the columns of the rows noted from this one on from the page that they lie on; returns what is to be added to
 * where each is. Those of one key, or of keys that were loaded together, mostly lie side by side, and are copied with
 * what is between.
 */
static Size
copy_columns(LeafScan *leaves, Page page, int from)
{
	bool together = leaves->high - leaves->low <= 2 * leaves->size;
	Size size = together ? leaves->high - leaves->low : leaves->size;
	Size used = leaves->used;
	Size last = 0;

	if (used + size > leaves->bytes_space)
	{
		leaves->bytes_space = Max(leaves->bytes_space * 2, Max(used + size, 4096));
		leaves->bytes =
			leaves->bytes == NULL ? palloc(leaves->bytes_space) : repalloc_huge(leaves->bytes, leaves->bytes_space);
	}
	if (together)
	{
		/* What is aligned on the page is so here. */
		memcpy(leaves->bytes + used, page + leaves->low, size);
		leaves->used += size;
		return used - leaves->low;
	}
	for (int i = from; i < leaves->nrows; i++)
	{
		Size at = leaves->rows[i].at;

		/* Some share theirs. */
		if (at != last)
		{
			used = leaves->used;
			size = IndexTupleSize((IndexTuple) (page + at));
			memcpy(leaves->bytes + used, page + at, size);
			leaves->used += size;
		}
		last = at;
		leaves->rows[i].at = used;
	}
	return 0;
}

/*
 * Notes the rows of keys that are expected next, from the place behind those of the last one on, as long as all of them
 * are on the leaf; returns the place behind them. The rows before them have other keys, so that they are the first.
 */
static OffsetNumber
add_expected(LookScan *scan, Page page, OffsetNumber place, OffsetNumber last)
{
	LeafScan *leaves = scan->leaves;
	int noted = leaves->noted;

	while (leaves->noted < leaves->nexpected)
	{
		OffsetNumber first = place;
		OffsetNumber behind;
		int nrows = leaves->nrows;

		leaf_keys_set(leaves, &leaves->expected[leaves->noted], 1);
		while (first <= last && first - place <= ROWS_BETWEEN && !leaf_has_keys(scan, row_on(page, first)))
			first++;
		if (first > last || first - place > ROWS_BETWEEN)
			break;
		behind = add_rows_from(scan, page, first, last);
		if (behind > last)
		{
			leaves->nrows = nrows;
			break;
		}
		leaves->starts[leaves->noted++] = nrows;
		place = behind;
	}
	leaves->apart = leaves->noted > noted ? 0 : leaves->apart + 1;
	return place;
}

/*
 * Settles which of the rows noted from this one on lie on pages of which everyone sees all, and where their columns
 * are: by so much elsewhere than was noted.
 */
static void
settle_visible(LookScan *scan, int from, Size moved)
{
	LeafScan *leaves = scan->leaves;
	const LeafRow *end = leaves->rows + leaves->nrows;
	BlockNumber last = InvalidBlockNumber;
	bool visible = false;

	for (LeafRow *row = leaves->rows + from; row < end; row++)
	{
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(&row->place);

		/* All of them were in the index before the page is asked about. */
		if (block != last)
			visible = is_visible(scan, block);
		last = block;
		row->settled = row->visible = visible;
		row->at += moved;
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
		Size moved = 0;
		bool more;

		page_test_snapshot(leaves->snapshot, scan->index, page);
		leaves->low = BLCKSZ;
		leaves->high = leaves->size = 0;
		place = add_rows_from(scan, page, place, last);
		more = place > last && !P_RIGHTMOST(opaque) && leaf_compare(scan, page, P_HIKEY) >= 0;
		leaves->end = leaves->nrows;
		if (!more && place <= last && leaves->noted < leaves->nexpected && leaves->apart < KEYS_APART)
			place = add_expected(scan, page, place, last);
		leaves->next = place;
		if (scan->look->covered && leaves->nrows > from)
			moved = copy_columns(leaves, page, from);
		LockBuffer(leaves->leaf, BUFFER_LOCK_UNLOCK);
		settle_visible(scan, from, moved);
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

/*
 * leaf_expect says that leaf_find() will be asked for each of these keys, in this order, which is best that of the
 * index. They must stay where they are until it was. Only for one key column.
 */
void
leaf_expect(LookScan *scan, const Datum *keys, int nkeys)
{
	LeafScan *leaves = scan->leaves;

	Assert(scan->nkeys == 1);
	if (leaves->starts != NULL)
		pfree(leaves->starts);
	leaves->expected = keys;
	leaves->nexpected = nkeys;
	leaves->asked = leaves->noted = 0;
	leaves->starts = palloc(Max(nkeys, 1) * sizeof(int));
}

/* Returns whether the rows of a key are noted, and begins with them. */
static bool
find_noted(LeafScan *leaves, const Datum *keys)
{
	if (leaves->asked >= leaves->nexpected || leaves->expected[leaves->asked] != keys[0])
	{
		/* Nothing is expected any more. */
		leaves->nexpected = leaves->asked = leaves->noted = 0;
		return false;
	}
	leaves->asked++;
	if (leaves->asked > leaves->noted)
	{
		/* Those behind it may be noted beside it. */
		leaves->noted = leaves->asked;
		return false;
	}
	leaves->row = leaves->starts[leaves->asked - 1];
	leaves->end = leaves->asked < leaves->noted ? leaves->starts[leaves->asked] : leaves->nrows;
	return true;
}

/* leaf_find begins with the rows that have these keys; fastest where they come in the order of the index. */
void
leaf_find(LookScan *scan, const Datum *keys)
{
	LeafScan *leaves = scan->leaves;
	OffsetNumber place = InvalidOffsetNumber;

	if (leaves->nexpected > 0 && find_noted(leaves, keys))
		return;
	leaf_keys_set(leaves, keys, scan->nkeys);
	leaves->nrows = leaves->row = leaves->end = 0;
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
 * Returns whether the snapshot sees the version at a place of a page, which is locked, as is plain of nearly all: it
 * was written by a transaction that is known to have committed, before the snapshot, and nobody has touched it since.
 */
static inline bool
is_plainly_visible(Page page, OffsetNumber number, Snapshot snapshot)
{
	const uint16 plain = HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID;
	ItemId item;
	HeapTupleHeader row;

	if (number > PageGetMaxOffsetNumber(page))
		return false;
	item = PageGetItemId(page, number);
	if (!ItemIdIsNormal(item))
		return false;
	row = (HeapTupleHeader) PageGetItem(page, item);
	/* A version that others lead to is no row of the index, but may take the place of one that was. */
	return (row->t_infomask & plain) == plain && !HeapTupleHeaderIsHeapOnly(row) &&
		   (HeapTupleHeaderXminFrozen(row) || TransactionIdPrecedes(HeapTupleHeaderGetRawXmin(row), snapshot->xmin));
}

/*
 * Settles which rows the snapshot sees, from this one of the key's rows on as far as they lie on one page of the table:
 * to lock it anew for each takes several times as long as to look at the row.
 */
static void
settle_page(LookScan *scan, int from)
{
	LeafScan *leaves = scan->leaves;
	BlockNumber block = ItemPointerGetBlockNumber(&leaves->rows[from].place);
	HeapTupleData tuple;
	Page page;

	scan->buffer = recent_release_and_read(scan->buffer, scan->table, block);
	page_prune(scan->table, scan->buffer);
	page = BufferGetPage(scan->buffer);
	LockBuffer(scan->buffer, BUFFER_LOCK_SHARE);
	for (int i = from; i < leaves->end && ItemPointerGetBlockNumberNoCheck(&leaves->rows[i].place) == block; i++)
	{
		LeafRow *row = &leaves->rows[i];

		row->settled = true;
		row->visible = is_plainly_visible(page, ItemPointerGetOffsetNumberNoCheck(&row->place), leaves->snapshot);
		if (unlikely(!row->visible))
		{
			ItemPointerData place = row->place;

			row->visible =
				heap_hot_search_buffer(&place, scan->table, scan->buffer, leaves->snapshot, &tuple, NULL, true);
		}
		pgstat_count_heap_fetch(scan->index);
	}
	LockBuffer(scan->buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * Does what leaf_next_covered() does, as long as rows have a shape of varying attributes, and it is known who sees
 * them.
 */
static int
next_varying(LeafScan *leaves, const LookShape *shape, Datum *values, bool *nulls, int most)
{
	const LeafRow *row = leaves->rows + leaves->row;
	const LeafRow *end = leaves->rows + leaves->end;
	int n = 0;

	memset(nulls, 0, most * shape->n * sizeof(bool));
	for (; row < end && n < most; row++)
	{
		IndexTuple columns = (IndexTuple) (leaves->bytes + row->at);

		if (unlikely(!row->settled || IndexTupleHasNulls(columns)))
			break;
		if (unlikely(!row->visible))
			continue;
		take_varying(shape, (const char *) columns + IndexInfoFindDataOffset(0), values, nulls);
		values += shape->n;
		n++;
	}
	leaves->row = row - leaves->rows;
	return n;
}

/*
 * leaf_next_covered sets the columns of the next rows that the snapshot sees, so many at most, one behind the other, of
 * an index that holds all columns; returns how many they are, 0 after the last. They are good until keys are sought.
 */
int
leaf_next_covered(LookScan *scan, Datum *values, bool *nulls, int most)
{
	const LookUp *look = scan->look;
	LeafScan *leaves = scan->leaves;
	const LookShape *all = look_shape(look, look->places->attributes);
	int n = 0;

	while (n < most && leaves->row < leaves->end)
	{
		Datum *next = values + n * look->ncolumns;
		bool *next_nulls = nulls + n * look->ncolumns;
		const LeafRow *row = &leaves->rows[leaves->row];
		IndexTuple columns = (IndexTuple) (leaves->bytes + row->at);
		uint64 present = present_in_index(look, columns);

		if (unlikely(!row->settled))
			settle_page(scan, leaves->row);
		/* NULLs may be those of columns that nobody wants. */
		if (all->varying && all->present == present && !IndexTupleHasNulls(columns))
		{
			n += next_varying(leaves, all, next, next_nulls, most - n);
			continue;
		}
		leaves->row++;
		if (unlikely(!row->visible))
			continue;
		take_attributes(look_shape(look, present), (const char *) columns + IndexInfoFindDataOffset(columns->t_info),
						next, next_nulls);
		n++;
	}
	return n;
}

/*
 * Returns the row at a place, of which it was settled that everyone sees it, on its page, which stays pinned; NULL
 * where it is not where it was.
 *
 * Neither needs the page to be locked: as long as the snapshot may see a row it is not cleared away, and what is on a
 * page that somebody has pinned is not moved. Those who add rows, or lock or delete this one, leave its columns alone.
 */
static HeapTupleHeader
row_of_all(LookScan *scan, const ItemPointerData *place)
{
	Page page;
	OffsetNumber number = ItemPointerGetOffsetNumber(place);
	ItemId item;

	scan->buffer = recent_release_and_read(scan->buffer, scan->table, ItemPointerGetBlockNumber(place));
	page = BufferGetPage(scan->buffer);
	if (number > PageGetMaxOffsetNumber(page))
		return NULL;
	item = PageGetItemId(page, number);
	return ItemIdIsNormal(item) ? (HeapTupleHeader) PageGetItem(page, item) : NULL;
}

/*
 * leaf_next sets the columns of the next row that the snapshot sees, of an index that does not hold all; returns false
 * after the last. They are good until the next call.
 */
bool
leaf_next(LookScan *scan, Datum *values, bool *nulls)
{
	LeafScan *leaves = scan->leaves;

	while (leaves->row < leaves->end)
	{
		const LeafRow *row = &leaves->rows[leaves->row++];
		HeapTupleHeader data;
		bool all_dead;

		pgstat_count_heap_fetch(scan->index);
		if (row->visible && (data = row_of_all(scan, &row->place)) != NULL &&
			look_columns_of_row(scan->look, data, values, nulls))
			return true;
		if (scan->slot == NULL)
			scan->slot = table_slot_create(scan->table, NULL);
		if (heap_fetch_row(scan->table, leaves->snapshot, &row->place, true, &scan->buffer, scan->slot, &all_dead))
		{
			if (!look_columns_of_row(scan->look, ((BufferHeapTupleTableSlot *) scan->slot)->base.tuple->t_data, values,
									 nulls))
				look_columns_of_slot(scan, values, nulls);
			return true;
		}
	}
	return false;
}

/* leaf_end ends what leaf_open() began, and returns its snapshot. */
Snapshot
leaf_end(LookScan *scan)
{
	LeafScan *leaves = scan->leaves;
	Snapshot snapshot = leaves->snapshot;

	forget_leaf(leaves);
	for (int i = 0; i < LEAF_MAPS; i++)
		if (BufferIsValid(leaves->maps[i].buffer))
			ReleaseBuffer(leaves->maps[i].buffer);
	if (leaves->rows != NULL)
		pfree(leaves->rows);
	if (leaves->bytes != NULL)
		pfree(leaves->bytes);
	if (leaves->starts != NULL)
		pfree(leaves->starts);
	pfree(leaves->key);
	pfree(leaves);
	scan->leaves = NULL;
	return snapshot;
}
