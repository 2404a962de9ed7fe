/*
 * leaf.h
 *	  A scan that finds its rows on the leaves of a btree index; see core/look_leaf.c.
 */
#ifndef OMNICHANNEL_LEAF_H
#define OMNICHANNEL_LEAF_H

#include "access/itup.h"
#include "access/nbtree.h"
#include "access/tupmacs.h"

#include "core/bytes.h"
#include "core/look.h"

/* A row of the index that has the keys. */
typedef struct LeafRow
{
	ItemPointerData place; /* in the table */
	bool settled;          /* it is known whether the snapshot sees it */
	bool visible;          /* and it does */
	Size at;               /* where its columns are among the bytes; on the page until they are copied */
} LeafRow;

/* Pages of a table's visibility map that a scan keeps pinned; each tells of 256 MB. */
#define LEAF_MAPS 4

typedef struct LeafMap
{
	Buffer buffer;
	BlockNumber first; /* of the table's blocks that it tells of */
	const uint8 *bits; /* NULL: none is known */
} LeafMap;

/* How rows of the index are compared with the keys. */
typedef enum LeafOrder
{
	LEAF_ANY,   /* as its operator classes do */
	LEAF_TEXT,  /* one key, a text; in the order of a collation */
	LEAF_BYTES, /* one key, a text; in byte order */
	LEAF_NUMBER /* one key, a bigint */
} LeafOrder;

struct LeafScan
{
	Snapshot snapshot;
	bool skips_dead; /* what nobody sees any more, as marked by others */
	BTScanInsert key;
	LeafOrder order;
	const char *text; /* the key, as its order says */
	uint32 length;
	int64 number;
	Buffer leaf;       /* pinned, or invalid */
	OffsetNumber next; /* behind the rows of the last key */
	bool near;         /* keys lay together: the next one may be on the leaf to the right */
	LeafRow *rows;     /* that were noted */
	int nrows;
	int space;
	int row; /* the next one of the key's rows, and where they end */
	int end;
	char *bytes;
	Size used;
	Size bytes_space;
	/* of the rows noted on the page that is read, where their columns are on it, and how many bytes they have */
	Size low;
	Size high;
	Size size;
	/* keys that will be asked for */
	const Datum *expected;
	int nexpected;
	int apart;   /* so many times in a row the next one was not right behind the one before */
	int asked;   /* so many of them were */
	int noted;   /* of so many the rows are noted */
	int *starts; /* where they begin */
	LeafMap maps[LEAF_MAPS];
	const LeafMap *map; /* asked last */
};

/* Returns a row of a page of the index. */
static inline IndexTuple
row_on(Page page, OffsetNumber place)
{
	return (IndexTuple) PageGetItem(page, PageGetItemId(page, place));
}

/* Returns the first column of a row of the index, which lies at the beginning whatever is NULL behind it; or NULL. */
static inline const char *
first_column(IndexTuple row)
{
	if (IndexTupleHasNulls(row) && att_isnull(0, (bits8 *) row + sizeof(IndexTupleData)))
		return NULL;
	return (char *) row + IndexInfoFindDataOffset(row->t_info);
}

extern void leaf_keys_open(LookScan *scan);
extern void leaf_keys_set(LeafScan *leaves, const Datum *keys, int nkeys);
extern bool leaf_has_other_keys(const LookScan *scan, IndexTuple row);
extern int leaf_compare(const LookScan *scan, Page page, OffsetNumber place);
extern OffsetNumber leaf_first_place(const LookScan *scan, Page page, OffsetNumber low, int leap);
extern bool leaf_is_right_of(const LookScan *scan, Page page);
extern Buffer leaf_step(Relation index, Buffer from, BlockNumber to);
extern OffsetNumber leaf_descend(LookScan *scan);

/* leaf_guide.c */
extern MemoryContext leaf_memory(void);
extern Size leaf_memory_used(uint64 *made);
extern BlockNumber leaf_guide_find(const LookScan *scan);
extern void leaf_guide_failed(const LookScan *scan);

/* Returns whether a row of the index has the keys, which are equal byte for byte where they are equal at all. */
static inline bool
leaf_has_keys(const LookScan *scan, IndexTuple row)
{
	const LeafScan *leaves = scan->leaves;
	const char *column;
	int64 number;

	if (leaves->order == LEAF_ANY)
		return leaf_has_other_keys(scan, row);
	column = first_column(row);
	if (unlikely(column == NULL))
		return false;
	if (leaves->order == LEAF_NUMBER)
	{
		memcpy(&number, column, sizeof(number));
		return number == leaves->number;
	}
	if (unlikely(!VARATT_IS_1B(column) || VARATT_IS_1B_E(column)))
		return leaf_has_other_keys(scan, row);
	return VARSIZE_1B(column) == leaves->length + VARHDRSZ_SHORT &&
		   bytes_equal(VARDATA_1B(column), leaves->text, leaves->length);
}
#endif /* OMNICHANNEL_LEAF_H */
