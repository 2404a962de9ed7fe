/*
 * look.h
 *	  Rows found by an index without SQL, or all rows of a table; see core/look.c.
 */
#ifndef OMNICHANNEL_LOOK_H
#define OMNICHANNEL_LOOK_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "storage/buf.h"
#include "utils/snapshot.h"

#include "omnichannel.h"
#include "core/table.h"

#define LOOK_KEYS 5

/* Rows that look_next_rows() sets at most. */
#define LOOK_ROWS 16

/* Where columns lie in rows; see look_columns.h. */
typedef struct LookPlaces LookPlaces;

/* Where the leaves of an index lie; see leaf_guide.c. */
typedef struct LeafGuide LeafGuide;

/* What leaves are searched for; see leaf_search.c. */
typedef struct LeafKey LeafKey;

/* What is looked up, as a static of the caller. */
typedef struct LookUp
{
	const char *table;
	int nkeys;               /* of columns that lead in an index, in ascending order; 0 to read all rows */
	const TableColumn *keys; /* NULL for the first of the columns */
	IndexWhere where;        /* which rows the index may leave out, besides those without the first key */
	const char *where_column;
	bool seldom;     /* there are no rows mostly: look whether there are any pages first */
	bool for_change; /* what is found will mostly be changed, by row.h */
	bool for_cache;  /* of configuration, which decides on the reader's rights itself */
	bool as_stored;  /* columns of no type are, until look_text() reads them */
	int ncolumns;
	const TableColumn *columns; /* those of no type are read as text */

	/* private to look.c */
	uint64 generation; /* of what follows, or 0 */
	Oid role;
	bool refused;
	bool covered; /* the index holds all columns */
	Oid table_oid;
	Oid index_oid;
	AttrNumber last; /* of the attributes */
	AttrNumber attributes[TABLE_COLUMNS];
	int nplaces;        /* attributes up to the last that is wanted */
	LookPlaces *places; /* of the attributes of the index, if it holds all columns, else of the table */
	FmgrInfo *outputs;  /* by column, where one has no type */
	LeafGuide *guide;   /* of the index, for a cache's look-up, or NULL */
	LeafKey *leaf_key;  /* of the index, for one key, or NULL */
	ScanKeyData scan_keys[LOOK_KEYS];
	ScanKeyData from_keys[LOOK_KEYS]; /* each of a text or bigint: it and all after it */
} LookUp;

/* How a column is compared with its key. */
typedef enum LookKey
{
	LOOK_EQUAL,
	LOOK_NULL, /* it is NULL */
	LOOK_ANY   /* not at all */
} LookKey;

/* Of a scan that finds its rows on the leaves of the index; see look_leaf.c. */
typedef struct LeafScan LeafScan;

typedef struct LookScan
{
	const LookUp *look;
	Relation table;
	Relation index;
	int nkeys;
	ScanKeyData keys[LOOK_KEYS];
	IndexScanDesc scan;
	LeafScan *leaves;                /* instead of it, or NULL */
	struct TableScanDescData *whole; /* without keys */
	TupleTableSlot *slot;
	Buffer buffer; /* pinned page of the row */
	bool snapshot; /* one was taken for it */
	bool empty;    /* the table is: nothing else is open */
	/* of look_follow() */
	bool follows;
	bool ahead; /* the index is on a row that was not asked for yet */
	bool ended;
	int leaps; /* since keys lay near one another */
	Datum followed[LOOK_KEYS];
} LookScan;

extern bool look_open(LookScan *scan, LookUp *look, int nkeys, Snapshot snapshot);
extern bool look_turn(LookScan *scan, LookUp *look, int nkeys);
extern void look_find(LookScan *scan, const Datum *keys);
extern bool look_at(LookScan *scan, const ItemPointerData *place, Datum *values, bool *nulls);
extern void look_expect(LookScan *scan, const Datum *keys, int nkeys);
extern void look_follow(LookScan *scan, const Datum *keys);
extern bool look_begin(LookScan *scan, LookUp *look, const Datum *keys, int nkeys, Snapshot snapshot);
extern bool look_begin_some(LookScan *scan, LookUp *look, const Datum *keys, const LookKey *how, Snapshot snapshot);
extern bool look_next(LookScan *scan, bool backwards, Datum *values, bool *nulls);
extern int look_next_rows(LookScan *scan, Datum *values, bool *nulls);
extern bool look_fetch(LookScan *scan, LookUp *look, ItemPointer place, Snapshot snapshot, Datum *values, bool *nulls);
extern Datum look_text(const LookUp *look, int column, Datum value);
extern bool look_touched(const LookScan *scan);
extern void look_end(LookScan *scan);
extern int64 look_up_id(LookUp *look, int column, KeptPlan *statement, Datum *keys);

/* Returns whether two values of a key are the same: byte for byte, as is what a deterministic collation calls equal. */
static inline bool
index_keys_equal(Form_pg_attribute attribute, Datum a, Datum b)
{
	const char *left = DatumGetPointer(a);
	const char *right = DatumGetPointer(b);
	Size length;

	if (attribute->attbyval)
		return a == b;
	if (VARATT_IS_COMPRESSED(left) || VARATT_IS_EXTERNAL(left))
		left = (const char *) DatumGetTextPP(a);
	if (VARATT_IS_COMPRESSED(right) || VARATT_IS_EXTERNAL(right))
		right = (const char *) DatumGetTextPP(b);
	length = VARSIZE_ANY_EXHDR(left);
	return VARSIZE_ANY_EXHDR(right) == length && memcmp(VARDATA_ANY(left), VARDATA_ANY(right), length) == 0;
}

/* look_pages.c */
extern bool look_send(LookUp *look, Datum keys, Snapshot snapshot, RowTaker take, void *arg);

/* look.c, for look_leaf.c */
extern void look_columns_of_slot(LookScan *scan, Datum *values, bool *nulls);

/* look_leaf.c */
extern void leaf_open(LookScan *scan, Snapshot snapshot);
extern void leaf_find(LookScan *scan, const Datum *keys);
extern void leaf_expect(LookScan *scan, const Datum *keys, int nkeys);
extern bool leaf_next(LookScan *scan, Datum *values, bool *nulls);
extern int leaf_next_covered(LookScan *scan, Datum *values, bool *nulls, int most);
extern Snapshot leaf_end(LookScan *scan);

/* leaf_guide.c */
extern LeafGuide *leaf_guide_make(void);

/* look_columns.c */
extern void look_places_find(LookUp *look, TupleDesc desc, const AttrNumber *numbers);

/* look_resolve.c */
extern bool look_resolve(LookUp *look, Relation table);

#endif /* OMNICHANNEL_LOOK_H */
