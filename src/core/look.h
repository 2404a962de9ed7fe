/*
 * look.h
 *	  Rows looked up by an index without SQL; see core/look.c.
 */
#ifndef OMNICHANNEL_LOOK_H
#define OMNICHANNEL_LOOK_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "core/table.h"

#define LOOK_KEYS 3

/* Which rows of the table an index may hold, but for those without the first of the keys. */
typedef enum LookWhere
{
	LOOK_ALL,
	LOOK_NULL, /* of which a column is NULL */
	LOOK_NOT_NULL
} LookWhere;

/* What is looked up, as a static of the caller: the columns, of which the first so many are the index's keys. */
typedef struct LookUp
{
	const char *table;
	const char *index; /* NULL for the primary key */
	int nkeys;
	LookWhere where;
	const char *where_column;
	int ncolumns;
	const TableColumn *columns;

	/* private to look.c */
	uint64 generation; /* of what follows, or 0 */
	Oid role;
	bool refused;
	Oid table_oid;
	Oid index_oid;
	AttrNumber attributes[TABLE_COLUMNS];
	ScanKeyData keys[LOOK_KEYS];
} LookUp;

typedef struct LookScan
{
	const LookUp *look;
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	bool snapshot; /* one was taken for it */
} LookScan;

extern bool look_begin(LookScan *scan, LookUp *look, const Datum *keys, int nkeys, Snapshot snapshot);
extern bool look_next(LookScan *scan, bool backwards, Datum *values, bool *nulls);
extern void look_end(LookScan *scan);

#endif /* OMNICHANNEL_LOOK_H */
