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

/* Pages of a table's visibility map that a scan keeps pinned; each tells of 256 MB. */
#define LOOK_MAPS 4

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
	AttrNumber places[TABLE_COLUMNS]; /* in the index */
	FmgrInfo *outputs;                /* by column, where one has no type */
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

typedef struct LookScan
{
	const LookUp *look;
	Relation table;
	Relation index;
	int nkeys;
	ScanKeyData keys[LOOK_KEYS];
	IndexScanDesc scan;
	struct TableScanDescData *whole; /* without keys */
	TupleTableSlot *slot;
	Buffer buffer;          /* pinned page of the row */
	Buffer maps[LOOK_MAPS]; /* the same of the visibility map */
	bool snapshot;          /* one was taken for it */
	bool empty;             /* the table is: nothing else is open */
	/* of look_follow() */
	bool follows;
	bool ahead; /* the index is on a row that was not asked for yet */
	bool ended;
	int leaps; /* since keys lay near one another */
	Datum followed[LOOK_KEYS];
} LookScan;

extern bool look_open(LookScan *scan, LookUp *look, int nkeys, Snapshot snapshot);
extern void look_find(LookScan *scan, const Datum *keys);
extern bool look_at(LookScan *scan, const ItemPointerData *place, Datum *values, bool *nulls);
extern void look_follow(LookScan *scan, const Datum *keys);
extern bool look_begin(LookScan *scan, LookUp *look, const Datum *keys, int nkeys, Snapshot snapshot);
extern bool look_begin_some(LookScan *scan, LookUp *look, const Datum *keys, const LookKey *how, Snapshot snapshot);
extern bool look_next(LookScan *scan, bool backwards, Datum *values, bool *nulls);
extern bool look_fetch(LookScan *scan, LookUp *look, ItemPointer place, Snapshot snapshot, Datum *values, bool *nulls);
extern bool look_touched(const LookScan *scan);
extern void look_end(LookScan *scan);
extern int64 look_up_id(LookUp *look, int column, KeptPlan *statement, Datum *keys);

/* look_resolve.c */
extern bool look_resolve(LookUp *look, Relation table);

#endif /* OMNICHANNEL_LOOK_H */
