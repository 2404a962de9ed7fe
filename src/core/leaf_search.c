/*
 * leaf_search.c
 *	  Keys sought in a btree index: how its rows are compared with them, and the way from the root to a leaf.
 *
 * An operator class compares by a function that unpacks both sides, which takes ten times as long as to look at a
 * short text in byte order, or a number. Twenty rows are compared on the way to a leaf. Only what the operator class
 * would say is said here; where a row that leads to others is equal, or a text is long, it is asked itself.
 *
 * The way down is that of _bt_search(), for reading, without the stack that splits need, unless leaf_guide.c knows the
 * leaf. Who seeks a key that nobody has sought lately waits for memory most of the time: what is looked at next is
 * asked for together.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/pg_locale.h"
#include "utils/rel.h"

#include "core/leaf.h"
#include "core/prefetch.h"
#include "core/recent.h"

/* Returns how rows of the index may be compared with the first key alone. */
static LeafOrder
find_order(const LookScan *scan)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(scan->index), 0);
	const ScanKeyData *key = &scan->leaves->key->scankeys[0];

	if (scan->nkeys != 1 || (key->sk_flags & (SK_BT_DESC | SK_BT_NULLS_FIRST)) != 0)
		return LEAF_ANY;
	if (key->sk_func.fn_oid == F_BTINT8CMP && attribute->attbyval)
		return LEAF_NUMBER;
	if (key->sk_func.fn_oid == F_BTTEXT_PATTERN_CMP ||
		(key->sk_func.fn_oid == F_BTTEXTCMP && collation_is_c(key->sk_collation)))
		return LEAF_BYTES;
	return key->sk_func.fn_oid == F_BTTEXTCMP ? LEAF_TEXT : LEAF_ANY;
}

/* One key as it was made for a look-up last. To make it takes as long as to search a page. */
struct LeafKey
{
	uint64 generation; /* of the look-up */
	LeafOrder order;
	BTScanInsertData key; /* last, as only one of its keys is there */
};

#define ONE_KEY_BYTES (offsetof(BTScanInsertData, scankeys) + sizeof(ScanKeyData))

/* Makes the keys of the scan. */
static void
make_keys(LookScan *scan)
{
	BTScanInsert key = _bt_mkscankey(scan->index, NULL);

	/* It was made for a row of NULLs, and without a look at the index. */
	_bt_metaversion(scan->index, &key->heapkeyspace, &key->allequalimage);
	key->anynullkeys = false;
	key->keysz = scan->nkeys;
	for (int i = 0; i < scan->nkeys; i++)
		key->scankeys[i].sk_flags &= ~SK_ISNULL;
	scan->leaves->key = key;
	scan->leaves->order = find_order(scan);
}

/* leaf_keys_open readies the scan for keys. */
void
leaf_keys_open(LookScan *scan)
{
	LookUp *look = unconstify(LookUp *, scan->look);
	LeafScan *leaves = scan->leaves;
	LeafKey *kept = look->leaf_key;

	if (likely(kept != NULL && kept->generation == look->generation && scan->nkeys == 1))
	{
		leaves->key = memcpy(palloc(ONE_KEY_BYTES), &kept->key, ONE_KEY_BYTES);
		leaves->order = kept->order;
		return;
	}
	make_keys(scan);
	/* What compares others may keep something with the key. */
	if (leaves->order == LEAF_ANY)
		return;
	if (kept == NULL)
		kept = look->leaf_key = MemoryContextAllocZero(CacheMemoryContext, offsetof(LeafKey, key) + ONE_KEY_BYTES);
	memcpy(&kept->key, leaves->key, ONE_KEY_BYTES);
	kept->order = leaves->order;
	kept->generation = look->generation;
}

/* leaf_keys_set sets the keys, which must stay where they are. */
void
leaf_keys_set(LeafScan *leaves, const Datum *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
		leaves->key->scankeys[i].sk_argument = keys[i];
	if (leaves->order == LEAF_NUMBER)
		leaves->number = DatumGetInt64(keys[0]);
	else if (leaves->order != LEAF_ANY)
	{
		text *value = (text *) DatumGetPointer(keys[0]);

		if (VARATT_IS_COMPRESSED(value) || VARATT_IS_EXTERNAL(value))
			value = DatumGetTextPP(keys[0]);
		leaves->text = VARDATA_ANY(value);
		leaves->length = VARSIZE_ANY_EXHDR(value);
	}
}

/* Does what leaf_has_keys() does, of any keys. */
bool
leaf_has_other_keys(const LookScan *scan, IndexTuple row)
{
	TupleDesc desc = RelationGetDescr(scan->index);
	const ScanKeyData *keys = scan->leaves->key->scankeys;

	for (int i = 0; i < scan->nkeys; i++)
	{
		bool isnull;
		Datum value = index_getattr(row, i + 1, desc, &isnull);

		if (isnull || !index_keys_equal(TupleDescAttr(desc, i), value, keys[i].sk_argument))
			return false;
	}
	return true;
}

/*
 * leaf_compare returns below zero where the keys come before a row of a page, above where they come after it; of a page
 * that is no leaf not for its first one, before which no key comes.
 */
int
leaf_compare(const LookScan *scan, Page page, OffsetNumber place)
{
	const LeafScan *leaves = scan->leaves;

	if (leaves->order == LEAF_BYTES || leaves->order == LEAF_NUMBER)
	{
		IndexTuple row = row_on(page, place);
		const char *column = first_column(row);

		if (column == NULL)
			return -1;
		if (leaves->order == LEAF_NUMBER)
		{
			int64 number;

			memcpy(&number, column, sizeof(number));
			if (leaves->number != number)
				return leaves->number < number ? -1 : 1;
			if (!BTreeTupleIsPivot(row))
				return 0;
		}
		else if (VARATT_IS_1B(column) && !VARATT_IS_1B_E(column))
		{
			uint32 length = VARSIZE_1B(column) - VARHDRSZ_SHORT;
			int order = memcmp(leaves->text, VARDATA_1B(column), Min(leaves->length, length));

			if (order != 0)
				return order;
			if (leaves->length != length)
				return leaves->length < length ? -1 : 1;
			if (!BTreeTupleIsPivot(row))
				return 0;
		}
	}
	return _bt_compare(scan->index, leaves->key, page, place);
}

/*
 * leaf_first_place returns the place of the first row on a page from low on that does not come before the keys; fastest
 * where it lies within the first `leap` rows.
 */
OffsetNumber
leaf_first_place(const LookScan *scan, Page page, OffsetNumber low, int leap)
{
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + Min((high - low) / 2, leap);

		if (high - low > 8)
		{
			prefetch(row_on(page, low + (middle - low) / 2));
			prefetch(row_on(page, middle + 1 + (high - middle - 1) / 2));
		}
		if (leaf_compare(scan, page, middle) > 0)
		{
			low = middle + 1;
			leap *= 2;
		}
		else
			high = middle;
	}
	return low;
}

/* leaf_is_right_of returns whether the keys come behind all that a page can have. */
bool
leaf_is_right_of(const LookScan *scan, Page page)
{
	return !P_RIGHTMOST((BTPageOpaque) PageGetSpecialPointer(page)) && leaf_compare(scan, page, P_HIKEY) > 0;
}

/*
 * leaf_step unlocks and unpins a page of the index and returns another one, locked, as _bt_relandgetbuf() does.
 */
Buffer
leaf_step(Relation index, Buffer from, BlockNumber to)
{
	LockBuffer(from, BUFFER_LOCK_UNLOCK);
	from = ReleaseAndReadBuffer(from, index, to);
	LockBuffer(from, BUFFER_LOCK_SHARE);
	_bt_checkpage(index, from);
	return from;
}

/*
 * Goes to the leaf that the guide tells; returns the keys' first place on it, locked, or 0 where they may be elsewhere.
 */
static OffsetNumber
follow_guide(LookScan *scan)
{
	BlockNumber leaf = leaf_guide_find(scan);
	Buffer buffer;
	Page page;

	if (leaf == InvalidBlockNumber)
		return InvalidOffsetNumber;
	buffer = recent_read(scan->index, leaf);
	page = BufferGetPage(buffer);
	prefetch(page);
	prefetch(page + BLCKSZ - sizeof(BTPageOpaqueData));
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
		OffsetNumber first = P_FIRSTDATAKEY(opaque);
		OffsetNumber last = PageGetMaxOffsetNumber(page);

		_bt_checkpage(scan->index, buffer);
		if (P_ISLEAF(opaque) && !P_IGNORE(opaque) && first <= last)
		{
			/* What is looked at next, and where the row in the middle is. */
			prefetch(row_on(page, P_HIKEY));
			prefetch(PageGetItemId(page, (first + last) / 2));
			/* Rows of the first one's key may be on leaves to the left. */
			if (leaf_compare(scan, page, first) > 0 && !leaf_is_right_of(scan, page))
			{
				scan->leaves->leaf = buffer;
				return leaf_first_place(scan, page, first + 1, MaxOffsetNumber);
			}
		}
	}
	UnlockReleaseBuffer(buffer);
	leaf_guide_failed(scan);
	return InvalidOffsetNumber;
}

/* leaf_descend seeks the keys from the root; returns their first place on the leaf, locked, or 0 for an empty index. */
OffsetNumber
leaf_descend(LookScan *scan)
{
	LeafScan *leaves = scan->leaves;
	OffsetNumber place = follow_guide(scan);
	Buffer buffer;

	if (place != InvalidOffsetNumber)
		return place;
	buffer = bt_getroot(scan->index, scan->table);
	if (!BufferIsValid(buffer))
		return InvalidOffsetNumber;
	for (;;)
	{
		Page page = BufferGetPage(buffer);
		BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
		OffsetNumber first = P_FIRSTDATAKEY(opaque);

		page_test_snapshot(leaves->snapshot, scan->index, page);
		/* It may have been split or deleted since its parent was read. */
		if (!P_RIGHTMOST(opaque) && (P_IGNORE(opaque) || leaf_is_right_of(scan, page)))
		{
			buffer = leaf_step(scan->index, buffer, opaque->btpo_next);
			continue;
		}
		if (P_IGNORE(opaque))
			elog(ERROR, "fell off the end of index \"%s\"", RelationGetRelationName(scan->index));
		if (P_ISLEAF(opaque))
		{
			leaves->leaf = buffer;
			return leaf_first_place(scan, page, first, MaxOffsetNumber);
		}
		/* The last one that comes before the keys leads to them. */
		first = leaf_first_place(scan, page, first + 1, MaxOffsetNumber) - 1;
		buffer = leaf_step(scan->index, buffer, BTreeTupleGetDownLink(row_on(page, first)));
	}
}
